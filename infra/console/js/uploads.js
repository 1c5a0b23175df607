// Upload by drag and drop: progress, what became of the file, and its rejected lines.
import { api, optional, upload } from "./api.js";
import { table } from "./ads.js";
import { chip, field, fill, h, select, toast } from "./dom.js";
import { number, percent, t } from "./i18n.js";

const MINUTES = 10;
const sent = []; // cards of this page, newest first; they stay while it is open

export async function uploads(root, _, signal) {
  const there = await optional(api.people());
  if (signal.aborted) return;
  const list = h("div", { class: "stack" });
  fill(list, sent);
  const head = h("header", { class: "headline" }, h("div", {}, h("h1", { text: t("up.title") }), h("p", { class: "lead", text: t("up.lead") })));
  if (there === null) {
    root.append(head, h("p", { class: "note", text: t("up.missing") }));
    return;
  }
  let kind = null;
  const kinds = field(t("up.kind"), (id) => {
    kind = select(id, [["events", t("up.events")], ["ads", t("up.ads")]], "events");
    return kind;
  });
  const input = h("input", { type: "file", multiple: true, id: "files", class: "visually-hidden", accept: ".jsonl,.csv,.gz,.json", onchange: () => {
    take(input.files, kind.value, list);
    input.value = "";
  } });
  const zone = h("div", { class: "drop" }, h("p", { class: "drop-title", text: t("up.drop") }), input, h("label", { class: "button", for: "files", text: t("up.choose") }));
  for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files, kind.value, list);
  });
  root.append(head, h("section", { class: "card" }, kinds, zone), list);
}

function take(files, kind, list) {
  for (const file of files) {
    const one = h("section", { class: "card" });
    sent.unshift(one);
    list.prepend(one);
    send(one, file, kind).catch((error) => {
      fill(one, h("h2", { text: file.name }), h("p", { class: "alert", role: "alert", text: error.message }));
      toast(error.message, "bad");
    });
  }
}

async function send(root, file, kind) {
  // A name of its own each time: the report of an earlier file of the same name would be taken for this one's.
  const name = `${Date.now()}-${file.name.replace(/[^\w.\u4e00-\u9fff-]+/g, "_").slice(-120)}`;
  const progress = h("progress", { max: "1", value: 0, "aria-label": t("up.sending", file.name) });
  const status = h("p", { role: "status", text: t("up.sending", file.name) });
  fill(root, h("h2", { text: file.name }), progress, status);
  await upload(kind, name, file, (share) => {
    progress.value = share;
    status.textContent = `${t("up.sending", file.name)} · ${percent(share)}`;
  });
  progress.removeAttribute("value");
  status.textContent = t("up.reading");
  const until = Date.now() + MINUTES * 60000;
  while (Date.now() < until) {
    const report = await api.report(kind, name);
    if (report.done) {
      fill(root, h("h2", { text: file.name }), told(report));
      return;
    }
    await new Promise((done) => setTimeout(done, 400));
  }
  status.textContent = t("up.slow");
}

function told(report) {
  return [
    h("p", { class: "chips", role: "status" }, chip(t("up.done"), "good"), chip(`${t("up.accepted")} ${number(report.accepted)}`), chip(`${t("up.duplicates")} ${number(report.duplicates)}`), chip(`${t("up.rejected")} ${number(report.rejected)}`, report.rejected ? "bad" : "")),
    report.problem ? h("p", { class: "alert", text: report.problem }) : null,
    report.lines.length ? [h("h3", { text: t("up.lines") }), report.rejected > report.lines.length ? h("p", { class: "hint", text: t("up.first", report.lines.length, report.rejected) }) : null,
      table([t("up.line"), t("up.field"), t("up.reason")], report.lines.map((one) => [String(one.line ?? "—"), h("code", { text: one.field ?? "" }), one.reason ?? ""]), t("up.lines"))] : null,
  ];
}
