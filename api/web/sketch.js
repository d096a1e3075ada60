// A document that asks for one root field with all that is plain in its answer, and variables to be filled in.

const DEPTH_MAX = 4; // of objects within each other; connections count, too
const FIRST = 10;

export const bare = (type) => (type.ofType ? bare(type.ofType) : type);

export function written(type) {
  if (type.kind === "NON_NULL") return `${written(type.ofType)}!`;
  return type.kind === "LIST" ? `[${written(type.ofType)}]` : type.name;
}

const isList = (type) => type.kind === "LIST" || (type.kind === "NON_NULL" && isList(type.ofType));
const isNeeded = ({ type, defaultValue }) => type.kind === "NON_NULL" && defaultValue === null;
const isPlain = (type) => ["SCALAR", "ENUM"].includes(bare(type).kind);

/** `query` is the document, `values` its variables as JSON; both as a person would write them. */
export function sketch(kind, field, types) {
  const wanted = field.args.filter(isNeeded);
  const declared = wanted.map(({ name, type }) => `$${name}: ${written(type)}`).join(", ");
  const passed = wanted.map(({ name }) => `${name}: $${name}`).join(", ");
  const inside = selection(field.type, types, 1, "  ");
  const query = `${kind}${declared ? ` (${declared})` : ""} {\n  ${field.name}${passed ? `(${passed})` : ""}${inside}\n}\n`;
  const values = Object.fromEntries(wanted.map((one) => [one.name, placeholder(one.name, one.type, types)]));
  return { query, values: wanted.length ? `${JSON.stringify(values, null, 2)}\n` : "" };
}

function selection(type, types, depth, indent) {
  if (isPlain(type)) return "";
  const deeper = `${indent}  `;
  const fields = (types.get(bare(type).name).fields ?? [])
    .filter((field) => !field.isDeprecated && !field.args.some(isNeeded))
    .filter((field) => isPlain(field.type) || depth < DEPTH_MAX);
  const lines = fields.map((field) => deeper + field.name + selection(field.type, types, depth + 1, deeper));
  return lines.length ? ` {\n${lines.join("\n")}\n${indent}}` : " { __typename }";
}

function placeholder(name, type, types) {
  if (isList(type)) return [];
  const of = types.get(bare(type).name);
  if (of.kind === "INPUT_OBJECT") {
    const needed = of.inputFields.filter(isNeeded);
    return Object.fromEntries(needed.map((one) => [one.name, placeholder(one.name, one.type, types)]));
  }
  if (type.kind !== "NON_NULL") return null;
  if (of.kind === "ENUM") return of.enumValues[0].name;
  if (name === "idempotencyKey") return crypto.getRandomValues(new Uint32Array(4)).join("-");
  return { Int: name === "first" ? FIRST : 1, Float: 1, Boolean: false, Date: new Date().toISOString().slice(0, 10) }[of.name] ?? "";
}
