// The schema: root fields in groups, a search over fields and types, and a page for each type, `#Appointment`.

import { $, link, make } from "./dom.js";
import { ERRORS } from "./errors.js";
import { bare, written } from "./sketch.js";

const FOUND_MAX = 60; // fields or types shown for a search
const KINDS = ["query", "mutation", "subscription"];
const TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

export const INTROSPECTION = `{ __schema {
  queryType { name } mutationType { name } subscriptionType { name }
  types {
    kind name description
    fields(includeDeprecated: true) {
      name description isDeprecated deprecationReason
      args { name description defaultValue type { ${TYPE} } }
      type { ${TYPE} }
    }
    inputFields { name description defaultValue type { ${TYPE} } }
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
    possibleTypes { name }
  }
} }`;

export class Schema {
  types = new Map();
  #roots = [];
  #texts = {};

  /** `choose(kind, field)` is called with the root field that is chosen. */
  constructor(choose) {
    this.choose = choose;
    $("search").oninput = () => {
      if (location.hash) history.replaceState(null, "", location.pathname);
      this.show();
    };
    $("search").onkeydown = (event) => {
      if (event.key === "Escape") this.close();
    };
    window.addEventListener("hashchange", () => {
      this.show();
      if (this.#typeShown()) $("schema").scrollIntoView({ block: "nearest" });
    });
  }

  /** Show the answer to the introspection. */
  fill({ __schema: schema }, texts) {
    this.#texts = texts;
    this.types = new Map(schema.types.map((type) => [type.name, type]));
    this.#roots = KINDS.flatMap((kind) => (this.types.get(schema[`${kind}Type`]?.name)?.fields ?? []).map((field) => ({ kind, field })));
    const open = new Set([...$("groups").querySelectorAll(".group[open]")].map(({ id }) => id));
    $("groups").replaceChildren(...KINDS.map((kind) => this.#group(kind, open)));
    this.show();
  }

  fail(why, texts, retry) {
    this.types.clear();
    $("found").hidden = true;
    $("groups").hidden = false;
    $("groups").replaceChildren(make("p", { className: "wrong", textContent: why }), link(texts.retry, retry));
  }

  close() {
    $("search").value = "";
    if (location.hash) history.pushState(null, "", location.pathname);
    this.show();
  }

  /** Show the type in the address, or what is searched, or the groups. */
  show() {
    if (!this.types.size) return;
    const type = this.#typeShown();
    const wanted = $("search").value.trim().toLowerCase();
    $("groups").hidden = Boolean(type || wanted);
    $("found").hidden = !type && !wanted;
    $("found").replaceChildren(...(type ? this.#page(type) : wanted ? this.#results(wanted) : []));
  }

  #typeShown() {
    return this.types.get(location.hash.slice(1));
  }

  #group(kind, open) {
    const fields = this.#roots.filter((root) => root.kind === kind);
    const summary = make("summary", {}, make("h3", { textContent: kind[0].toUpperCase() + kind.slice(1) }),
      make("span", { className: "quiet", textContent: `${fields.length} · ${this.#texts[kind]}` }));
    const id = `group-${kind}`;
    return make("details", { className: "group", id, open: open.has(id) }, summary, ...fields.map((root) => this.#rootField(root)));
  }

  #results(wanted) {
    const fields = nearest(wanted, this.#roots, ({ field }) => field.name);
    const types = nearest(wanted, [...this.types.values()].filter(({ name }) => !name.startsWith("__")), ({ name }) => name);
    if (!fields.length && !types.length) return [make("p", { textContent: this.#texts.nothingFound })];
    const shownFields = fields.slice(0, FOUND_MAX);
    const shownTypes = types.slice(0, FOUND_MAX - shownFields.length);
    const left = fields.length + types.length - shownFields.length - shownTypes.length;
    return [
      ...(shownFields.length ? [make("h3", { textContent: this.#texts.fields }), ...shownFields.map((root) => this.#rootField(root, true))] : []),
      ...(shownTypes.length ? [make("h3", { textContent: this.#texts.types }), ...shownTypes.map((type) => this.#typeHead(type))] : []),
      ...(left ? [make("p", { textContent: this.#texts.more(left) })] : []),
    ];
  }

  #rootField({ kind, field }, withKind = false) {
    const name = make("button", {
      type: "button", className: field.isDeprecated ? "link deprecated" : "link", textContent: field.name,
      title: this.#texts.use(field.name), onclick: () => this.choose(kind, field),
    });
    const head = make("h4", {}, ...(withKind ? [make("span", { className: "quiet", textContent: `${kind} ` })] : []), name, ": ", typeLink(field.type));
    const takes = field.args.length
      ? [make("details", {}, make("summary", { textContent: `${this.#texts.takes}: ${field.args.map((one) => one.name).join(", ")}` }), this.#list(field.args))]
      : [];
    const errors = (ERRORS[field.name] ?? []).filter((one) => this.types.has(one)).flatMap((one) => [" ", nameLink(one)]);
    const returned = kind === "mutation" && errors.length ? [make("p", {}, this.#texts.errors, ...errors)] : [];
    return make("article", {}, head, ...described(field), ...takes, ...returned);
  }

  #typeHead(type, heading = "h4") {
    const kind = make("span", { className: "quiet", textContent: `${type.kind.toLowerCase().replace("_", " ")} ` });
    return make("article", {}, make(heading, {}, kind, nameLink(type.name)), ...described(type));
  }

  #page(type) {
    const page = this.#typeHead(type, "h3");
    const members = [...(type.fields ?? []), ...(type.inputFields ?? []), ...(type.enumValues ?? [])];
    if (members.length) page.append(this.#list(members));
    if (type.possibleTypes?.length) {
      page.append(make("p", { textContent: this.#texts.possible }), make("ul", {}, ...type.possibleTypes.map(({ name }) => make("li", {}, nameLink(name)))));
    }
    return [link(this.#texts.back, () => this.close()), page];
  }

  #list(members) {
    return make("ul", {}, ...members.map((member) => this.#member(member)));
  }

  #member(member) {
    const name = make("code", { textContent: member.name, className: member.isDeprecated ? "deprecated" : "" });
    const typed = member.type ? [": ", typeLink(member.type)] : [];
    const initial = (member.defaultValue ?? "null") === "null" ? [] : [" ", make("span", { className: "quiet", textContent: `${this.#texts.values} ${member.defaultValue}` })];
    const takes = member.args?.length ? [this.#list(member.args)] : [];
    return make("li", {}, name, ...typed, ...initial, ...described(member), ...takes);
  }
}

function nameLink(name, text = name) {
  return make("a", { href: `#${name}`, textContent: text });
}

const typeLink = (type) => nameLink(bare(type).name, written(type));

function described(thing) {
  const deprecated = thing.isDeprecated ? [make("p", { className: "wrong", textContent: thing.deprecationReason })] : [];
  return thing.description ? [make("p", {}, ...withCode(thing.description)), ...deprecated] : deprecated;
}

/** A description with `names` as code. */
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", { textContent: part }) : part));
}

function nearest(wanted, things, nameOf) {
  const rank = (thing) => {
    const name = nameOf(thing).toLowerCase();
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : 2;
  };
  return things.filter((thing) => nameOf(thing).toLowerCase().includes(wanted)).sort((one, other) => rank(one) - rank(other));
}
