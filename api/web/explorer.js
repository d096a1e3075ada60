// The page at `/`: a request, its response, and the schema. It loads nothing but this server's files and answers.

import { $, make } from "./dom.js";
import { Editor } from "./editor.js";
import { ERRORS } from "./errors.js";
import { bodyOf, eventsOf, operations, send } from "./request.js";
import { clear, markOutdated, showCorrelation, showFailure, showResponse, summarise } from "./response.js";
import { INTROSPECTION, Schema } from "./schema.js";
import { sketch } from "./sketch.js";
import { preferredLanguage, TEXTS } from "./texts.js";

// What is kept: the document and a chosen language in this browser; token and variables, which may name somebody, in
// this tab only.
const KEPT = { document: () => localStorage, variables: () => sessionStorage, token: () => sessionStorage, language: () => localStorage };
const NARROW = window.matchMedia("(max-width: 60rem)");

const editors = { document: new Editor($("document")), variables: new Editor($("variables")) };
const schema = new Schema(choose);
let texts = TEXTS.es;
let executing = null; // the AbortController of the request under way
let executed = null; // the request of the responses that are shown

function setLanguage(language) {
  const first = texts.first;
  texts = TEXTS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = texts[element.dataset.hint];
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = texts[element.dataset.label];
  if (editors.document.value === first) editors.document.value = texts.first;
}

// The request

function written() {
  const operationName = $("operation").hidden ? undefined : $("operation").value;
  const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
  return { query: editors.document.value, variables: editors.variables.value, operationName, token };
}

function showOperations() {
  const named = operations(editors.document.value).filter(({ name }) => name);
  const chosen = $("operation").value;
  $("operation").replaceChildren(...named.map(({ name }) => make("option", { value: name, textContent: name })));
  $("operation").hidden = named.length < 2;
  if (named.some(({ name }) => name === chosen)) $("operation").value = chosen;
}

function choose(kind, field) {
  const { query, values } = sketch(kind, field, schema.types, ERRORS[field.name]);
  editors.document.value = query;
  editors.variables.value = values;
  changed();
  editors.document.goTo({ line: 1, column: 1 });
}

async function execute() {
  stop();
  const request = (executed = written());
  const kinds = operations(request.query);
  const kind = (kinds.find(({ name }) => name === request.operationName) ?? kinds[0])?.kind;
  clear();
  changed();
  editors.document.mark([]);
  editors.variables.mark([]);
  if (!/^[!-~]*$/.test(request.token)) return showFailure(texts.tokenWrong);
  let body;
  try {
    body = bodyOf(request);
  } catch (error) {
    return refuseVariables(error);
  }
  summarise(texts.executing);
  $("stop").hidden = kind !== "subscription";
  const control = (executing = new AbortController());
  const accept = kind === "subscription" ? "text/event-stream" : "application/graphql-response+json";
  const begun = performance.now();
  try {
    const answer = await send(body, { accept, language: $("language").value, token: request.token, signal: control.signal });
    showCorrelation(texts.correlation, answer.headers.get("X-Correlation-Id"));
    if ((answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) await follow(answer);
    else show(await answer.json(), answer.status, performance.now() - begun);
  } catch (error) {
    if (!control.signal.aborted) showFailure(error instanceof SyntaxError ? texts.notJson : texts.unreachable);
  } finally {
    if (executing === control) stop();
  }
}

function refuseVariables(error) {
  const [, line, column] = /line (\d+) column (\d+)/.exec(error.message) ?? [];
  if (line) editors.variables.mark([{ line: Number(line), column: Number(column) }]);
  showFailure(texts.variablesWrong);
}

function stop() {
  if (!executing) return;
  executing.abort();
  executing = null;
  $("stop").hidden = true;
}

// The response

function show(response, status, milliseconds) {
  showOne(response);
  const cost = response.extensions?.cost;
  summarise(status, `${Math.round(milliseconds)} ms`, cost && `${texts.cost} ${cost}`);
  if (NARROW.matches) $("responding").scrollIntoView({ block: "start" });
}

function showOne(response) {
  showResponse(response, texts, (place) => editors.document.goTo(place));
  if (executed?.query !== editors.document.value) return;
  const places = Array.isArray(response.errors) ? response.errors.flatMap(({ locations }) => locations ?? []) : [];
  editors.document.mark(places);
}

async function follow(answer) {
  let count = 0;
  let farewell = "";
  summarise(texts.following);
  try {
    for await (const { event, data, comment } of eventsOf(answer.body)) {
      if (event === "complete") return summarise(texts.complete, count);
      if (event === "next") {
        showOne(JSON.parse(data));
        summarise(texts.following, (count += 1));
      }
      farewell = comment;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  summarise(texts.cut, farewell); // the responses stay
}

// The schema

async function loadSchema() {
  const language = $("language").value;
  try {
    const answer = await send(JSON.stringify({ query: INTROSPECTION }), { language }); // no token: it may have expired
    const { data, errors } = await answer.json();
    if (!data) throw new Error(errors?.[0]?.message);
    if (language === $("language").value) schema.fill(data, texts);
  } catch (error) {
    schema.fail(error instanceof TypeError ? texts.unreachable : error.message, texts, loadSchema);
  }
}

// On a narrow screen the response comes before the schema, for eyes, keyboard and screen reader alike.
function arrange() {
  if (NARROW.matches) document.querySelector("main").append($("schema"));
  else document.querySelector("main").prepend($("schema"));
}

function kept(id) {
  try {
    return KEPT[id]().getItem(`igob.${id}`);
  } catch {
    return null; // the browser keeps nothing
  }
}

function keep(id) {
  try {
    KEPT[id]().setItem(`igob.${id}`, $(id).value);
  } catch {
    // the browser keeps nothing
  }
}

/** After every change: draw, keep, and compare with the request of the response. */
function changed() {
  for (const editor of Object.values(editors)) editor.draw();
  showOperations();
  markOutdated(executed !== null && JSON.stringify(written()) !== JSON.stringify(executed), texts);
  for (const id of ["document", "variables", "token"]) keep(id);
}

function begin() {
  const language = kept("language") ?? preferredLanguage();
  $("language").value = language;
  setLanguage(language);
  editors.document.value = kept("document") ?? texts.first;
  editors.variables.value = kept("variables") ?? "";
  $("token").value = kept("token") ?? "";
  showOperations();
  arrange();
  NARROW.onchange = arrange;
  $("language").onchange = () => {
    keep("language");
    setLanguage($("language").value);
    changed();
    loadSchema();
  };
  $("document").oninput = $("variables").oninput = $("token").oninput = $("operation").onchange = changed;
  $("execute").onclick = execute;
  $("stop").onclick = () => {
    stop();
    summarise(texts.stopped);
  };
  document.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) execute();
  };
  loadSchema();
}

begin();
