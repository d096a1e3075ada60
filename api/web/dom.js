// Elements of the page, found and made.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; children that are strings become text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const link = (text, onclick) => make("button", { type: "button", className: "link", textContent: text, onclick });
