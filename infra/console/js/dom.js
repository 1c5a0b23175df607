// Elements from data. Text only ever becomes text: nothing here parses markup.

const PROPERTIES = new Set(["value", "checked", "disabled", "open", "selected", "hidden", "multiple", "required"]);

/** An element. `on…` are listeners, `vars` custom properties of CSS, `text` its text; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else if (name === "text") element.textContent = value;
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts children in the place of what an element had. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let numbers = 0;

/** A label with its control. The control is `make(id)`. */
export function field(label, make, hint = null) {
  const id = `f${++numbers}`;
  const control = make(id);
  if (hint) control.setAttribute("aria-describedby", `${id}h`);
  return h("div", { class: "field" }, h("label", { for: id, text: label }), control,
    hint ? h("p", { class: "hint", id: `${id}h`, text: hint }) : null);
}

/** A select of [value, label] pairs. */
export function select(id, options, value = "", more = {}) {
  return h("select", { id, ...more }, options.map(([one, label]) => h("option", { value: one, text: label, selected: one === value })));
}

/** A card with a heading of the second level. */
export function card(title, ...children) {
  const id = `h${++numbers}`;
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id, text: title }), ...children);
}

export function chip(text, kind = "") {
  return h("span", { class: `chip ${kind}`, text });
}

/** A bar for a share from 0 to 1; the number beside it is for those who cannot see it. */
export function bar(share, kind = "") {
  return h("span", { class: `bar ${kind}`, "aria-hidden": "true", vars: { "--share": String(Math.max(0, Math.min(1, share))) } });
}

const TOASTS = 2; // at once

export function toast(text, kind = "") {
  const one = h("div", { class: `toast ${kind}`, text });
  const all = document.getElementById("toasts");
  all.append(one);
  while (all.childElementCount > TOASTS) all.firstElementChild.remove();
  setTimeout(() => one.remove(), 5000);
}

/** Offers a file that was made here. */
export function download(name, body) {
  const url = URL.createObjectURL(new Blob([body], { type: "application/json" }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Runs `work` while the button waits; a problem is told in a corner. Where the API refuses who asks, the frame is told
 * first (`refused`): it may ask who it is, in the place of what only somebody known may see. */
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } catch (error) {
    const taken = [401, 403].includes(error.status) && !dispatchEvent(new CustomEvent("refused", { detail: error, cancelable: true }));
    if (!taken) toast(error.message, "bad");
    return undefined;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** A modal dialog that is gone when closed. `make(close)` gives its content, the first of it a heading. */
export function dialog(title, make) {
  const id = `d${++numbers}`;
  const element = h("dialog", { "aria-labelledby": id, onclose: () => element.remove() });
  element.append(h("h2", { id, text: title }), ...make(() => element.close()));
  document.body.append(element);
  element.showModal();
  return element;
}
