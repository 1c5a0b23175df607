// Upload by drag and drop: how much has gone, how much of it is taken in, and the lines that were refused.
import { field, fill, h, select } from "./dom.js";
import { t } from "./i18n.js";
import { drawn, entries, enter } from "./sending.js";

const HEAD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/;

export async function uploads(root) {
  const list = h("div", { class: "stack", role: "region", "aria-label": t("up.list") });
  const show = () => fill(list, entries().map(drawn));
  root.append(
    h("header", { class: "headline" }, h("div", {}, h("h1", { text: t("up.title") }), h("p", { class: "lead", text: t("up.lead") }))),
    h("section", { class: "card" }, zone(show)), list);
  show();
}

/** Where files are dropped or chosen. fixed: the kind, where the view has only one. */
export function zone(after, fixed = null) {
  let kind = null;
  let head = null;
  const own = (id) => h("input", { id, autocomplete: "off", maxlength: "60", placeholder: "topics" });
  const name = field(t("up.head"), (id) => {
    head = own(id);
    return head;
  }, t("up.head.hint"));
  const wanted = () => fixed ?? kind.value;
  const ofLabels = () => { name.hidden = wanted() !== "labels"; };
  const kinds = fixed ? null : field(t("up.kind"), (id) => {
    kind = select(id, ["events", "ads", "labels"].map((one) => [one, t(`up.${one}`)]), "events", { onchange: ofLabels });
    return kind;
  });
  const problem = h("p", { class: "alert", role: "alert", hidden: true });
  const take = async (files) => {
    problem.hidden = true;
    const given = [...files];
    if (wanted() === "labels" && (given.length > 1 || !HEAD.test(head.value.trim()))) {
      problem.textContent = t(given.length > 1 ? "up.onehead" : "up.namehead");
      problem.hidden = false;
      head.focus();
      return;
    }
    await Promise.all(given.map((file) => enter(wanted(), file, head.value.trim())));
    after();
  };
  const input = h("input", { type: "file", multiple: true, class: "visually-hidden", "aria-label": t("up.choose"), accept: ".jsonl,.ndjson,.csv,.gz,.json", onchange: async () => {
    const files = [...input.files];
    input.value = "";
    await take(files);
  } });
  const box = h("div", { class: "drop" },
    h("p", { class: "drop-title", text: t("up.drop") }), h("p", { class: "hint", text: t("up.formats") }),
    h("label", { class: "button" }, input, h("span", { text: t("up.choose") })));
  let inside = 0; // children send their own enter and leave
  box.addEventListener("dragenter", (event) => {
    event.preventDefault();
    inside += 1;
    box.classList.add("over");
  });
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("dragleave", () => {
    inside -= 1;
    if (inside <= 0) box.classList.remove("over");
  });
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    box.classList.remove("over");
    take(event.dataTransfer.files);
  });
  ofLabels();
  return h("div", { class: "sending" }, h("div", { class: "stack" }, kinds, name), box, problem);
}
