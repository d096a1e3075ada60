// The page at `/`: what can be asked, a place to ask it, and what came back. It fetches nothing but the API's answers.

import { bare, sketch, written } from "./sketch.js";
import { TEXTS } from "./texts.js";

const ENDPOINT = "/graphql";
const ANSWERS_MAX = 50; // of a subscription, on the page: the oldest go
const FOUND_MAX = 60; // fields or types shown for what is searched

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

function send(accept, body, token, more = {}) {
  const headers = { "Content-Type": "application/json", Accept: accept, "Accept-Language": $("language").value };
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(ENDPOINT, { method: "POST", headers, body, ...more });
}

// What is asked

function operations(text) {
  const plain = text.replace(/"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#.*|,/g, " ");
  let depth = 0;
  const outside = [...plain].map((sign) => {
    if ("}])".includes(sign)) depth -= 1;
    const kept = depth === 0 ? sign : "";
    if ("{[(".includes(sign)) depth += 1;
    return kept;
  });
  const heads = outside.join("").replace(/fragment\s+\w+\s+on\s+\w+/g, " ");
  return [...heads.matchAll(/\b(query|mutation|subscription)\b\s*([_A-Za-z]\w*)?/g)].map(([, kind, name]) => ({ kind, name }));
}

function showOperations() {
  const named = operations($("document").value).filter(({ name }) => name);
  const chosen = $("operation").value;
  $("operation").replaceChildren(...named.map(({ name }) => make("option", { value: name, textContent: name })));
  $("operation").hidden = named.length < 2;
  if (named.some(({ name }) => name === chosen)) $("operation").value = chosen;
}

// As it was written: numbers would lose digits on their way through JavaScript.
function body(query, operationName) {
  const written = $("variables").value.trim() || "{}";
  JSON.parse(written);
  const name = operationName ? `, "operationName": ${JSON.stringify(operationName)}` : "";
  return `{"query": ${JSON.stringify(query)}, "variables": ${written}${name}}`;
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
  const token = $("token").value.trim().replace(/^Bearer\s+/i, "");
  if (!/^[!-~]*$/.test(token)) return fail(texts.tokenWrong);
  let said;
  try {
    said = body(query, operationName);
  } catch {
    return fail(texts.variablesWrong);
  }
  $("stop").hidden = kind !== "subscription";
  const begun = performance.now();
  try {
    const accept = kind === "subscription" ? "text/event-stream" : "application/graphql-response+json";
    const answer = await send(accept, said, token, { signal: control.signal });
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
  let farewell = "";
  $("summary").textContent = texts.following;
  try {
    for await (const { event, data, comment } of events(answer.body)) {
      if (event === "complete") return void ($("summary").textContent = `${texts.complete} · ${told}`);
      if (event === "next") {
        show(JSON.parse(data));
        $("summary").textContent = `${texts.following} · ${(told += 1)}`;
      }
      farewell = comment;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  $("summary").textContent = [texts.cut, farewell].filter(Boolean).join(" · "); // what was told stays
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
      const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: ?(.*)/s)));
      yield { event: fields.event, data: fields.data, comment: fields[""] };
    }
  }
}

// What can be asked

async function learn() {
  try {
    const answer = await send("application/json", JSON.stringify({ query: INTROSPECTION }), ""); // no token: it may have ended
    const { data, errors } = await answer.json();
    if (!data) throw new Error(errors?.[0]?.message);
    types = new Map(data.__schema.types.map((type) => [type.name, type]));
    roots = ["query", "mutation", "subscription"].flatMap((kind) =>
      (types.get(data.__schema[`${kind}Type`]?.name)?.fields ?? []).map((field) => ({ kind, field })));
    search();
  } catch (error) {
    const why = error instanceof TypeError ? texts.unreachable : error.message;
    const again = make("button", { type: "button", textContent: texts.again, onclick: learn });
    $("found").replaceChildren(make("p", { className: "wrong", textContent: why }), again);
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
  if (!types.size) return;
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

function members(things) {
  const shown = things.map((thing) => {
    const standard = (thing.defaultValue ?? "null") === "null" ? "" : ` = ${thing.defaultValue}`;
    const typed = thing.type ? [": ", typeLink(thing.type), standard] : [];
    return make("li", {}, thing.name, ...typed, ...described(thing), ...members(thing.args ?? []));
  });
  return shown.length ? [make("ul", {}, ...shown)] : [];
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
  return make("article", {}, make("span", { className: "quiet", textContent: `${kind} ` }), use, ": ", typeLink(field.type), ...described(field), ...members(field.args));
}

function shownType(type) {
  const inside = members([...(type.fields ?? []), ...(type.inputFields ?? []), ...(type.enumValues ?? [])]);
  const kinds = (type.possibleTypes ?? []).map(({ name }) => make("li", {}, typeLink({ kind: "OBJECT", name })));
  const kind = make("span", { className: "quiet", textContent: `${type.kind.toLowerCase().replace("_", " ")} ` });
  const lists = kinds.length ? [...inside, make("ul", {}, ...kinds)] : inside;
  return make("article", {}, kind, make("strong", { textContent: type.name }), ...described(type), ...lists);
}

// What is remembered: the document in this browser. Token and variables, which may name somebody, in this tab alone.

const INPUTS = { document: () => localStorage, variables: () => sessionStorage, token: () => sessionStorage, language: () => localStorage };

function remembered(id) {
  try {
    return INPUTS[id]().getItem(`igob.${id}`);
  } catch {
    return null; // the browser was told to keep nothing
  }
}

function keep() {
  showOperations();
  for (const [id, store] of Object.entries(INPUTS)) {
    try {
      store().setItem(`igob.${id}`, $(id).value);
    } catch {
      return;
    }
  }
}

function begin() {
  const language = remembered("language") ?? (navigator.language.startsWith("en") ? "en" : "es");
  $("language").value = language;
  speak(language);
  $("document").value = remembered("document") ?? texts.first;
  $("variables").value = remembered("variables") ?? "";
  $("token").value = remembered("token") ?? "";
  showOperations();
  $("language").onchange = () => {
    keep();
    speak($("language").value);
    search();
  };
  $("document").oninput = $("variables").oninput = $("token").oninput = keep;
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
