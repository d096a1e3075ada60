// The page at `/`: what can be asked, a place to ask it, and what came back. It fetches nothing but the API's answers.

import { bare, sketch, written } from "./sketch.js";
import { TEXTS } from "./texts.js";

const ENDPOINT = "/graphql";
const ANSWERS_MAX = 50; // of a subscription, on the page: the oldest go
const FOUND_MAX = 60; // fields or types shown for what is searched
const TOKEN_KEPT = "igob.token";

const TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";
const INTROSPECTION = `{ __schema {
  queryType { name } mutationType { name } subscriptionType { name }
  types {
    kind name description
    fields(includeDeprecated: true) {
      name description isDeprecated deprecationReason
      args { name description defaultValue type { ${TYPE} } }
      type { ${TYPE} }
    }
    inputFields { name description defaultValue type { ${TYPE} } }
    enumValues { name description }
    possibleTypes { name }
  }
} }`;

const $ = (id) => document.getElementById(id);
let texts = TEXTS.es;
let types = new Map();
let roots = [];
let asking = null; // the AbortController of what is under way

function make(tag, properties = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
}

function speak(language) {
  texts = TEXTS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = texts[element.dataset.hint];
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = texts[element.dataset.label];
}

function headers(accept) {
  const said = { "Content-Type": "application/json", Accept: accept, "Accept-Language": $("language").value };
  const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
  if (token) said.Authorization = `Bearer ${token}`;
  return said;
}

// What is asked

function operations(text) {
  const plain = text.replace(/"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#.*/g, "");
  return [...plain.matchAll(/(?:^|\})\s*(query|mutation|subscription)\b\s*([_A-Za-z]\w*)?/g)].map(([, kind, name]) => ({ kind, name }));
}

function showOperations() {
  const named = operations($("document").value).filter(({ name }) => name);
  const chosen = $("operation").value;
  $("operation").replaceChildren(...named.map(({ name }) => make("option", { value: name, textContent: name })));
  $("operation").hidden = named.length < 2;
  if (named.some(({ name }) => name === chosen)) $("operation").value = chosen;
}

function variables() {
  const text = $("variables").value.trim();
  return text ? JSON.parse(text) : {};
}

async function ask() {
  stop();
  const control = (asking = new AbortController());
  const query = $("document").value;
  const found = operations(query);
  const operationName = found.length > 1 ? $("operation").value : undefined;
  const kind = (found.find(({ name }) => name === operationName) ?? found[0])?.kind;
  $("answers").replaceChildren();
  $("summary").textContent = texts.asking;
  let said;
  try {
    said = JSON.stringify({ query, variables: variables(), operationName });
  } catch {
    return fail(texts.variablesWrong);
  }
  $("stop").hidden = kind !== "subscription";
  const begun = performance.now();
  try {
    const accept = kind === "subscription" ? "text/event-stream" : "application/graphql-response+json";
    const answer = await fetch(ENDPOINT, { method: "POST", headers: headers(accept), body: said, signal: control.signal });
    if ((answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) await follow(answer);
    else summarise(answer, show(await answer.json()), performance.now() - begun);
  } catch (error) {
    if (!control.signal.aborted) fail(error instanceof SyntaxError ? texts.notJson : texts.unreachable);
  } finally {
    if (asking === control) stop();
  }
}

function stop() {
  if (!asking) return;
  asking.abort();
  asking = null;
  $("stop").hidden = true;
}

// What came back

function show(answer) {
  const wrong = Boolean(answer.errors);
  $("answers").prepend(make("pre", { className: wrong ? "wrong" : "", textContent: JSON.stringify(answer, null, 2) }));
  while ($("answers").childElementCount > ANSWERS_MAX) $("answers").lastElementChild.remove();
  return answer;
}

function fail(why) {
  $("summary").textContent = "";
  $("answers").replaceChildren(make("p", { className: "wrong", textContent: why }));
}

function summarise(answer, body, milliseconds) {
  const told = [`${answer.status}`, `${Math.round(milliseconds)} ms`];
  if (body.extensions?.cost) told.push(`${texts.cost} ${body.extensions.cost}`);
  const id = answer.headers.get("X-Correlation-Id");
  if (id) told.push(id);
  $("summary").textContent = told.join(" · ");
}

async function follow(answer) {
  let told = 0;
  $("summary").textContent = texts.following;
  for await (const { name, data } of events(answer.body)) {
    if (name === "complete") return void ($("summary").textContent = `${texts.complete} · ${told}`);
    if (name !== "next") continue;
    show(JSON.parse(data));
    $("summary").textContent = `${texts.following} · ${(told += 1)}`;
  }
  $("summary").textContent = texts.cut;
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").map((line) => line.split(/: ?(.*)/s));
      const of = (wanted) => lines.find(([name]) => name === wanted)?.[1] ?? "";
      yield { name: of("event"), data: of("data") };
    }
  }
}

// What can be asked

async function learn() {
  try {
    const answer = await fetch(ENDPOINT, {
      method: "POST", headers: headers("application/json"), body: JSON.stringify({ query: INTROSPECTION }),
    });
    const { data, errors } = await answer.json();
    if (!data) throw new Error(errors?.[0]?.message);
    types = new Map(data.__schema.types.map((type) => [type.name, type]));
    roots = ["query", "mutation", "subscription"].flatMap((kind) =>
      (types.get(data.__schema[`${kind}Type`]?.name)?.fields ?? []).map((field) => ({ kind, field })));
    search();
  } catch (error) {
    $("found").replaceChildren(make("p", { className: "wrong", textContent: error.message || texts.unreachable }));
  }
}

function typeLink(type) {
  const { name } = bare(type);
  return make("button", { type: "button", className: "link", textContent: written(type), onclick: () => look(name) });
}

function look(name) {
  $("search").value = name;
  search();
  $("search").focus();
}

function search() {
  const wanted = $("search").value.trim().toLowerCase();
  const fields = nearest(wanted, roots, ({ field }) => field.name);
  const named = wanted ? nearest(wanted, [...types.values()].filter(({ name }) => !name.startsWith("__")), ({ name }) => name) : [];
  const exact = types.has($("search").value.trim());
  const shown = [...(exact ? [] : fields.map(shownField)), ...named.map(shownType)];
  $("found").replaceChildren(...shown.slice(0, FOUND_MAX));
  if (!shown.length) $("found").append(make("p", { textContent: texts.nothingFound }));
  if (shown.length > FOUND_MAX) $("found").append(make("p", { textContent: `${texts.andMore} ${shown.length - FOUND_MAX}` }));
}

function nearest(wanted, things, nameOf) {
  const rank = (thing) => {
    const name = nameOf(thing).toLowerCase();
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : 2;
  };
  return things.filter((thing) => nameOf(thing).toLowerCase().includes(wanted)).sort((one, other) => rank(one) - rank(other));
}

function described(thing) {
  const old = thing.isDeprecated ? [make("p", { className: "wrong", textContent: thing.deprecationReason })] : [];
  return thing.description ? [make("p", { textContent: thing.description }), ...old] : old;
}

function shownField({ kind, field }) {
  const use = make("button", { type: "button", className: `link ${field.isDeprecated ? "old" : ""}`, textContent: field.name });
  use.onclick = () => {
    const { query, values } = sketch(kind, field, types);
    $("document").value = query;
    $("variables").value = values;
    keep();
    $("document").focus();
    $("document").setSelectionRange(0, 0);
    $("document").scrollTop = 0;
  };
  return make("article", {}, make("span", { className: "quiet", textContent: `${kind} ` }), use, ": ", typeLink(field.type), ...described(field));
}

function shownType(type) {
  const inside = [...(type.fields ?? []), ...(type.inputFields ?? [])].map((field) => {
    const said = (field.args ?? []).map(({ name, type: of }) => `${name}: ${written(of)}`).join(", ");
    return make("li", { className: field.isDeprecated ? "old" : "", title: field.description ?? "" }, field.name + (said ? `(${said})` : ""), ": ", typeLink(field.type));
  });
  const values = (type.enumValues ?? []).map(({ name, description }) => make("li", { title: description ?? "", textContent: name }));
  const kinds = type.kind === "OBJECT" ? [] : (type.possibleTypes ?? []).map(({ name }) => make("li", {}, typeLink({ kind: "OBJECT", name })));
  const list = make("ul", {}, ...inside, ...values, ...kinds);
  return make("article", {}, make("span", { className: "quiet", textContent: `${type.kind.toLowerCase().replace("_", " ")} ` }), make("strong", { textContent: type.name }), ...described(type), list);
}

// What is remembered: the document in this browser, the token until its tab is closed.

function keep() {
  showOperations();
  localStorage.setItem("igob.document", $("document").value);
  localStorage.setItem("igob.variables", $("variables").value);
}

function begin() {
  const language = localStorage.getItem("igob.language") ?? (navigator.language.startsWith("en") ? "en" : "es");
  $("language").value = language;
  speak(language);
  $("document").value = localStorage.getItem("igob.document") ?? texts.first;
  $("variables").value = localStorage.getItem("igob.variables") ?? "";
  $("token").value = sessionStorage.getItem(TOKEN_KEPT) ?? "";
  showOperations();
  $("language").onchange = () => {
    localStorage.setItem("igob.language", $("language").value);
    speak($("language").value);
    search();
  };
  $("token").oninput = () => sessionStorage.setItem(TOKEN_KEPT, $("token").value);
  $("document").oninput = $("variables").oninput = keep;
  $("search").oninput = search;
  $("ask").onclick = ask;
  $("stop").onclick = () => {
    stop();
    $("summary").textContent = texts.stopped;
  };
  document.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  };
  learn();
}

begin();
