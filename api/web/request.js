// Requests to the API: what is sent, and the messages of an event stream.

const ENDPOINT = "graphql";

/** Send a body of JSON. Rejects with TypeError if the server does not respond. */
export function send(body, { accept = "application/json", language, token, signal }) {
  const headers = { "Content-Type": "application/json", Accept: accept, "Accept-Language": language };
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(ENDPOINT, { method: "POST", headers, body, signal });
}

/** The operations of a document, `{ kind, name }`; an anonymous one has no name. */
export function operations(text) {
  const plain = text.replace(/"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#.*|,/g, " ");
  let depth = 0;
  const outside = [...plain].map((character) => {
    if ("}])".includes(character)) depth -= 1;
    const kept = depth === 0 ? character : "";
    if ("{[(".includes(character)) depth += 1;
    return kept;
  });
  const heads = outside.join("").replace(/fragment\s+\w+\s+on\s+\w+/g, " ");
  return [...heads.matchAll(/\b(query|mutation|subscription)\b\s*([_A-Za-z]\w*)?/g)].map(([, kind, name]) => ({ kind, name }));
}

/** The body of a request. Throws SyntaxError if the variables are not JSON. */
export function bodyOf({ query, variables, operationName }) {
  const written = variables.trim() || "{}";
  JSON.parse(written);
  const name = operationName ? `, "operationName": ${JSON.stringify(operationName)}` : "";
  // The variables are sent as written: parsed and encoded again, large numbers would lose digits.
  return `{"query": ${JSON.stringify(query)}, "variables": ${written}${name}}`;
}

/** The messages of an event stream, `{ event, data, comment }`, until it ends. */
export async function* eventsOf(stream) {
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
