// Spans on a text: policy findings and claims. Spans count code points, as the API does.
import { h } from "./dom.js";
import { either, word } from "./i18n.js";

/** The text with marks. spans: [{start, end, kind, title}]; where several overlap, the gravest (first in order) shows. */
export function marked(text, spans, lang = null) {
  const characters = Array.from(text);
  const owner = new Array(characters.length).fill(null);
  for (const span of [...spans].reverse()) {
    for (let place = Math.max(0, span.start); place < Math.min(characters.length, span.end); place += 1) owner[place] = span;
  }
  const parts = [];
  let from = 0;
  for (let place = 1; place <= characters.length; place += 1) {
    if (place < characters.length && owner[place] === owner[from]) continue;
    const piece = characters.slice(from, place).join("");
    parts.push(owner[from] ? h("mark", { class: owner[from].kind, title: owner[from].title, text: piece }) : document.createTextNode(piece));
    from = place;
  }
  return h("p", { class: "marked", lang }, parts);
}

export function ofFindings(findings) {
  const grave = [...findings].sort((a, b) => (a.severity === "block" ? 0 : 1) - (b.severity === "block" ? 0 : 1));
  return grave.map((one) => ({ start: one.span[0], end: one.span[1], kind: one.severity, title: `${one.rule}: ${either(one.reason)}` }));
}

export function ofClaims(claims) {
  return claims.map((one) => ({ start: one.span[0], end: one.span[1], kind: one.support ? "claim" : "block", title: `${word("kind", one.kind)} ← ${one.support ?? "—"}` }));
}
