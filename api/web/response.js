// The response: its summary, its errors, its JSON, and whether it still belongs to the request.

import { $, link, make } from "./dom.js";

const RESPONSES_MAX = 50; // of a subscription, on the page: the oldest go
const COLOURED_MAX = 100_000; // characters; more JSON is shown without colours
const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b/g;

/** Remove everything, and show why there is no response. */
export function showFailure(why) {
  clear();
  summarise("");
  $("responses").append(make("p", { className: "wrong", textContent: why }));
}

export function clear() {
  $("responses").replaceChildren();
  $("errors").replaceChildren();
  $("correlation").hidden = true;
}

export function summarise(...parts) {
  $("summary").textContent = parts.filter((part) => part !== undefined && part !== "").join(" · ");
}

export function showCorrelation(label, id) {
  $("correlation").hidden = !id;
  $("correlation").textContent = `${label} ${id}`;
}

/** Put a response before the others. `goTo` is called with the place of an error that is chosen. */
export function showResponse(response, texts, goTo) {
  const wrong = Array.isArray(response.errors);
  const shown = make("pre", { className: wrong ? "with-errors" : "" }, ...coloured(JSON.stringify(response, null, 2)));
  $("responses").prepend(shown);
  while ($("responses").childElementCount > RESPONSES_MAX) $("responses").lastElementChild.remove();
  $("errors").replaceChildren(...(wrong ? response.errors : []).map((error) => errorItem(error, texts, goTo)));
}

function errorItem({ message, locations }, texts, goTo) {
  const places = (locations ?? []).map((place) => link(texts.place(place), () => goTo(place)));
  return make("li", {}, ...places, `${message}`);
}

/** Mark the responses as belonging to an earlier request, or no longer. */
export function markOutdated(outdated, texts) {
  $("responses").classList.toggle("outdated", outdated);
  $("outdated").hidden = !outdated;
  $("outdated").textContent = outdated ? texts.outdated : "";
}

function coloured(json) {
  if (json.length > COLOURED_MAX) return [json];
  const parts = [];
  let end = 0;
  for (const found of json.matchAll(TOKEN)) {
    const [whole, string, colon = ""] = found;
    const kind = string ? (colon ? "key" : "string") : "number";
    parts.push(json.slice(end, found.index), make("span", { className: kind, textContent: string ?? whole }), colon);
    end = found.index + whole.length;
  }
  return [...parts, json.slice(end)];
}
