// A document that selects one root field with all the plain fields of its result, and variables to fill in.

const DEPTH_MAX = 4; // of objects within each other; connections count, too
const BRIEFLY = ["id", "name"]; // selected of an object within another one that has an id
const FIRST = 10;

export const bare = (type) => (type.ofType ? bare(type.ofType) : type);

/** A type as the schema language writes it: [Slot!]! */
export function written(type) {
  if (type.kind === "NON_NULL") return `${written(type.ofType)}!`;
  return type.kind === "LIST" ? `[${written(type.ofType)}]` : type.name;
}

const isList = (type) => type.kind === "LIST" || (type.kind === "NON_NULL" && isList(type.ofType));
// A list needs `first` or `last`, though it declares both as optional.
const isNeeded = ({ name, type, defaultValue }) => name === "first" || (type.kind === "NON_NULL" && defaultValue === null);
const isPlain = (type) => ["SCALAR", "ENUM"].includes(bare(type).kind);

/**
 * `query` is the document, `values` its variables as JSON, both as a person would write them. `errorTypes` are the names
 * of the types of error that the field may return: each with fields of its own gets an inline fragment.
 */
export function sketch(kind, field, types, errorTypes = []) {
  const wanted = field.args.filter(isNeeded);
  const declared = wanted.map(({ name, type }) => `$${name}: ${written(type)}`).join(", ");
  const passed = wanted.map(({ name }) => `${name}: $${name}`).join(", ");
  const inside = selection(field.type, { types, errorTypes }, 1, "  ");
  const query = `${kind}${declared ? ` (${declared})` : ""} {\n  ${field.name}${passed ? `(${passed})` : ""}${inside}\n}\n`;
  const values = Object.fromEntries(wanted.map((one) => [one.name, placeholder(one.name, one.type, types)]));
  return { query, values: wanted.length ? `${JSON.stringify(values, null, 2)}\n` : "" };
}

function selection(type, context, depth, indent) {
  if (isPlain(type)) return "";
  const of = context.types.get(bare(type).name);
  const brief = context.inObject && hasId(of);
  const fields = (of.fields ?? []).filter(({ name }) => !brief || BRIEFLY.includes(name));
  const inside = { ...context, inObject: context.inObject || hasId(of) };
  const deeper = `${indent}  `;
  const lines = [
    ...(of.kind === "OBJECT" ? [] : [`${deeper}__typename`]),
    ...fieldLines(fields, inside, depth, deeper),
    ...fragments(of, inside, depth, deeper),
  ];
  return lines.length ? ` {\n${lines.join("\n")}\n${indent}}` : " { __typename }";
}

const hasId = (of) => (of.fields ?? []).some(({ name }) => name === "id");

function fieldLines(fields, context, depth, indent) {
  const hasNodes = fields.some(({ name }) => name === "nodes"); // of a connection: then its edges say nothing new
  return fields
    .filter(({ name }) => name !== "edges" || !hasNodes)
    .filter((field) => !field.isDeprecated && !field.args.some(isNeeded))
    .filter((field) => isPlain(field.type) || depth < DEPTH_MAX)
    .sort((one, other) => (one.name === "errors") - (other.name === "errors")) // last: a result comes first
    .map((field) => indent + field.name + selection(field.type, context, depth + 1, indent));
}

/** An inline fragment for each type of error that has more fields than all errors have. */
function fragments(of, context, depth, indent) {
  const common = new Set((of.fields ?? []).map(({ name }) => name));
  return (of.possibleTypes ?? [])
    .filter(({ name }) => context.errorTypes.includes(name))
    .map(({ name }) => {
      const own = context.types.get(name).fields.filter((field) => !common.has(field.name));
      const lines = fieldLines(own, { ...context, inObject: true }, depth, `${indent}  `);
      return lines.length ? `${indent}... on ${name} {\n${lines.join("\n")}\n${indent}}` : "";
    })
    .filter(Boolean);
}

function placeholder(name, type, types) {
  if (name === "first") return FIRST;
  if (isList(type)) return [];
  const of = types.get(bare(type).name);
  if (of.kind === "INPUT_OBJECT") {
    const needed = of.inputFields.filter(isNeeded);
    return Object.fromEntries(needed.map((one) => [one.name, placeholder(one.name, one.type, types)]));
  }
  if (type.kind !== "NON_NULL") return null;
  if (of.kind === "ENUM") return of.enumValues[0].name;
  if (name === "idempotencyKey") return crypto.getRandomValues(new Uint32Array(4)).join("-");
  return { Int: 1, Float: 1, Boolean: false, Date: new Date().toISOString().slice(0, 10) }[of.name] ?? "";
}
