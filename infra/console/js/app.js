// The frame: tabs, language, theme, and which view is open.
import { begin, hasIssuer, refused, scope, signIn, signOut, usePasted, who } from "./session.js";
import { busy, card, field, fill, h, toast } from "./dom.js";
import { language, setLanguage, t } from "./i18n.js";
import { ads } from "./ads.js";
import { campaigns } from "./campaigns.js";
import { models } from "./models.js";
import { people } from "./people.js";
import { studio } from "./studio.js";
import { uploads } from "./uploads.js";

const VIEWS = { people, ads, campaigns, studio, models, uploads };
const main = document.getElementById("main");
let leave = null;

/** `#people/u-1` is ["people", "u-1"]. */
function place() {
  const [view, ...rest] = location.hash.slice(1).split("/");
  let argument = rest.join("/");
  try {
    argument = decodeURIComponent(argument);
  } catch {
    argument = "";
  }
  return [VIEWS[view] ? view : "people", argument];
}

function frame() {
  const [open] = place();
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  document.title = `${t(`tab.${open}`)} · AdTailor`;
  document.getElementById("skip").textContent = t("skip");
  const tabs = document.getElementById("tabs");
  tabs.setAttribute("aria-label", t("tabs"));
  const held = tabs.contains(document.activeElement);
  fill(tabs, Object.keys(VIEWS).map((view) => h("button", {
    type: "button",
    role: "tab",
    id: `tab-${view}`,
    "aria-selected": String(view === open),
    "aria-controls": view === open ? "view" : null,
    tabindex: view === open ? "0" : "-1",
    text: t(`tab.${view}`),
    onclick: () => { location.hash = view; },
  })));
  if (held) document.getElementById(`tab-${open}`).focus();
  const other = document.getElementById("language");
  other.textContent = language() === "zh" ? "English" : "中文";
  other.lang = language() === "zh" ? "en" : "zh-CN";
  const theme = document.getElementById("theme");
  theme.textContent = dark() ? "☀" : "☾";
  theme.setAttribute("aria-label", t(dark() ? "theme.light" : "theme.dark"));
  theme.title = t(dark() ? "theme.light" : "theme.dark");
  const leaving = document.getElementById("leave");
  const name = who();
  leaving.hidden = name === null;
  leaving.textContent = t("sign.out");
  leaving.title = name ? t("sign.as", name) : "";
}

function dark() {
  const set = document.documentElement.dataset.theme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Without storage it holds until the page is left.
  }
}

async function show() {
  leave?.abort();
  leave = new AbortController();
  const { signal } = leave;
  frame();
  const [view, argument] = place();
  const root = h("div", { id: "view", class: `view ${view}`, role: "tabpanel", "aria-labelledby": `tab-${view}` });
  fill(main, root);
  if (hasIssuer() && who() === null) {
    fill(root, entrance(null));
    return;
  }
  try {
    await VIEWS[view](root, argument, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (unknown(error)) await turnedAway(error);
    else if (error.status === 403) fill(root, denied(error));
    else {
      for (const one of root.querySelectorAll(".empty")) one.remove(); // it will not come
      root.append(h("p", { class: "alert", role: "alert", text: error.message }));
    }
  }
}

/** Whether an error says that nobody is known, rather than that somebody may not. */
const unknown = (error) => error.status === 401 || (error.status === 403 && who() === null);

/** The API knows nobody any more: what only somebody known may see makes room for the entrance. */
async function turnedAway(error) {
  leave?.abort();
  await refused();
  if (main.querySelector(".entrance")) return; // another request was refused before, and somebody types there
  for (const one of document.querySelectorAll("dialog")) one.remove();
  frame();
  const [view] = place();
  fill(main, h("div", { id: "view", class: `view ${view}`, role: "tabpanel", "aria-labelledby": `tab-${view}` }, entrance(error)));
}

/** What stands in the forms of the view, to be put back where it is drawn anew in the other language. */
function typed() {
  return [...main.querySelectorAll("form")].map((form) => [...form.elements].filter((one) => one.name).map((one) => [one.name, one.type === "checkbox" ? one.checked : one.value]));
}

function retype(forms) {
  const now = [...main.querySelectorAll("form")];
  forms.forEach((values, place) => {
    let last = null;
    for (const [name, value] of values) {
      const one = now[place]?.elements.namedItem(name);
      const what = one?.type === "checkbox" ? "checked" : "value";
      if (!one || one[what] === value) continue;
      one[what] = value;
      last = one;
    }
    last?.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

/** Where the API wants to know who asks: the issuer's page, or a token that is kept until the browser's tab is closed.
 * error: what it said, null where nobody has asked it yet. */
function entrance(error) {
  const form = h("form", { class: "stack" },
    hasIssuer() ? null : h("p", { class: "hint", text: t("sign.noissuer") }),
    field(t("sign.label"), (id) => h("input", { id, type: "password", name: "token", autocomplete: "off", required: true })),
    h("div", { class: "actions" }, h("button", { class: hasIssuer() ? "" : "primary", text: t("sign.use") })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    usePasted(form.elements.namedItem("token").value.trim());
    show();
  });
  const said = error ? h("p", { class: "note", role: "alert", text: `${t("sign.ended")} (${error.message})` }) : null;
  if (!hasIssuer()) return h("div", { class: "entrance" }, card(t("sign.title"), h("p", { text: t("sign.text") }), said, form));
  return h("div", { class: "entrance" }, card(t("sign.title"), h("p", { text: t("sign.text") }), said,
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", text: t("sign.go"), onclick: (event) => busy(event.target, signIn) })),
    h("details", {}, h("summary", { text: t("sign.other") }), form)));
}

/** Somebody who is known, and may not do this. */
function denied(error) {
  return h("div", { class: "entrance" }, card(t("deny.title"), h("p", { text: t("deny.text") }), h("p", { class: "alert", role: "alert", text: error.message }),
    scope() ? h("p", { class: "hint", text: t("deny.scopes", scope()) }) : null,
    h("div", { class: "actions" }, h("button", { type: "button", text: t("deny.again"), onclick: (event) => busy(event.target, leave_) }))));
}

/** Whatever a view remembers of people goes with the page. */
async function leave_() {
  if (await signOut()) return;
  main.replaceChildren();
  location.reload();
}

document.getElementById("tabs").addEventListener("keydown", (event) => {
  const order = Object.keys(VIEWS);
  const at = order.indexOf(place()[0]);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: order.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = order[(to + order.length) % order.length];
  location.hash = next;
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

document.getElementById("leave").addEventListener("click", (event) => busy(event.target, leave_));

document.getElementById("language").addEventListener("click", () => {
  const to = language() === "zh" ? "en" : "zh";
  setLanguage(to);
  remember("adtailor.language", to);
  const kept = typed();
  show().then(() => retype(kept));
});

document.getElementById("theme").addEventListener("click", () => {
  const to = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = to;
  remember("adtailor.theme", to);
  frame();
  dispatchEvent(new Event("themed"));
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  frame();
  dispatchEvent(new Event("themed"));
});
addEventListener("hashchange", show);
addEventListener("refused", (event) => {
  if (!unknown(event.detail)) return; // it is told as any other problem
  event.preventDefault();
  turnedAway(event.detail);
});

try {
  await begin();
} catch (error) {
  toast(t("sign.failed", error.message), "bad");
}
await show();
