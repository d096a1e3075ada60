// A text area with line numbers and marks, which grows with its text.
//
// A copy of the text lies behind the text area, line by line, with the same font and width: it gives the height, numbers
// the lines, and shows the marks. Its own letters are invisible.

import { make } from "./dom.js";

const WORD = /^(?:[\w$]+|\S|$)/;

export class Editor {
  #lines = make("div", { className: "lines", ariaHidden: "true" });
  #marked = { text: "", places: [] };

  constructor(area) {
    this.area = area;
    area.before(this.#lines);
  }

  get value() {
    return this.area.value;
  }

  set value(text) {
    this.area.value = text;
    this.draw();
  }

  /** Mark places, `{ line, column }` counted from 1. The marks are shown while the text is what it is now. */
  mark(places) {
    this.#marked = { text: this.value, places };
    this.draw();
  }

  draw() {
    const places = this.#marked.text === this.value ? this.#marked.places : [];
    this.#lines.replaceChildren(...this.value.split("\n").map((text, index) => drawn(text, places.filter(({ line }) => line === index + 1))));
    this.area.ariaInvalid = places.length ? "true" : null;
  }

  /** Put the cursor there, and show it. */
  goTo({ line, column }) {
    const before = this.value.split("\n").slice(0, line - 1);
    const offset = before.reduce((sum, text) => sum + text.length + 1, column - 1);
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(offset, offset);
    (this.#lines.children[line - 1] ?? this.area).scrollIntoView({ block: "center" });
  }
}

function drawn(text, places) {
  if (!places.length) return make("div", {}, text || "\u200b");
  const column = Math.min(places[0].column - 1, text.length);
  const word = text.slice(column).match(WORD)[0] || " ";
  return make("div", { className: "wrong" }, text.slice(0, column), make("mark", {}, word), text.slice(column + word.length));
}
