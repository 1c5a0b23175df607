// The files of this session: sent one after another, followed until they are taken in, and remembered until the tab is
// closed, so that whoever leaves the view or the page and comes back sees what became of them.
import { api, ApiError, send } from "./api.js";
import { table } from "./ads.js";
import { busy, chip, fill, h } from "./dom.js";
import { bytes, number, percent, t } from "./i18n.js";

const KEPT = "adtailor.uploads";
const MOST_KEPT = 30;
const TYPES = /\.(jsonl|ndjson|csv)(\.gz)?$/i;
const LOOKED_AT = 4096; // bytes of a file, to see whether it is text
const SOON = 400; // ms between two looks, at first
const LATE = 4000; // and after a while
const SILENT = 10 * 60000; // without any change: it is left to the reader to look again

let all = null; // newest first; what they draw into stays with them
let going = Promise.resolve(); // the file that is being sent
let sending = 0;

export function entries() {
  if (!all) {
    all = remembered();
    for (const one of all) if (one.phase === "sent") follow(one);
  }
  return all;
}

/** Takes a file in: looks at it, sends it when those before it have gone, and follows it. */
export async function enter(kind, file, head = "") {
  const one = { kind, file: file.name, size: file.size, at: Date.now(), name: named(kind, file, head), phase: "queued", gone: 0, report: null, problem: null };
  entries().unshift(one);
  one.problem = await unfit(file);
  if (one.problem) {
    one.phase = "refused";
    keep();
    draw(one);
    return;
  }
  one.stop = new AbortController();
  going = going.then(() => through(one, file));
}

/** Not two uploads of one name: the report of the earlier would be taken for the later's. A head has one by its name. */
function named(kind, file, head) {
  const [type] = TYPES.exec(file.name) ?? [".jsonl"];
  if (kind === "labels") return head + type.toLowerCase();
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 6)}-${file.name.replace(/[^\w.\u4e00-\u9fff-]+/g, "_").replace(/^\.+/, "").slice(-120)}`;
}

/** Why a file is none that could be read, before anything of it is sent; null where it may be. */
async function unfit(file) {
  if (!TYPES.test(file.name)) return t("up.notype", file.name);
  let start = null;
  try {
    start = new Uint8Array(await file.slice(0, LOOKED_AT).arrayBuffer());
  } catch {
    return t("up.unreadable");
  }
  if (!start.length) return t("up.emptyfile");
  if (start[0] === 0x1f && start[1] === 0x8b) return null; // gzip
  if ((start[0] === 0xff && start[1] === 0xfe) || (start[0] === 0xfe && start[1] === 0xff)) return t("up.utf16");
  if (start.includes(0)) return t("up.binary");
  if (!/\.csv(\.gz)?$/i.test(file.name) && !start.includes(0x7b)) return t("up.nojson"); // no "{" in all of it
  return null;
}

async function through(one, file) {
  if (one.stop.signal.aborted) return;
  sending += 1;
  one.phase = "sending";
  keep();
  draw(one);
  try {
    const place = await api.upload(one.kind, one.name);
    if (place.most_bytes && file.size > place.most_bytes) throw new ApiError(413, t("up.toolarge", bytes(file.size), bytes(place.most_bytes)), null);
    one.name = place.name;
    await send(place, file, (gone) => {
      one.gone = gone;
      moved(one);
    }, one.stop.signal);
    one.phase = "sent";
    follow(one);
  } catch (error) {
    one.phase = "refused";
    one.problem = error.name === "AbortError" ? t("up.stopped") : error.status === 0 ? t("up.broken") : error.message;
  } finally {
    sending -= 1;
    keep();
    draw(one);
  }
}

async function follow(one) {
  let wait = SOON;
  let changed = Date.now();
  let before = "";
  one.silent = false;
  while (Date.now() - changed < SILENT) {
    try {
      one.report = await api.report(one.kind, one.name);
      one.unheard = null;
    } catch (error) {
      one.unheard = error.message;
      if (error.status >= 400 && error.status < 500 && error.status !== 404 && error.status !== 429) break;
    }
    const now = JSON.stringify(one.report);
    if (now !== before) {
      changed = Date.now();
      wait = SOON;
      draw(one);
    }
    before = now;
    if (["done", "failed"].includes(one.report?.state)) {
      keep();
      dispatchEvent(new CustomEvent("takenin", { detail: one.kind }));
      return;
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(LATE, wait * 1.3);
  }
  one.silent = true;
  draw(one);
}

/** The card of a file; it changes as the file goes on. */
export function drawn(one) {
  one.card = h("section", { class: "card upload", "aria-label": one.file });
  one.bar = null;
  draw(one);
  return one.card;
}

function moved(one) {
  if (!one.bar) return;
  const share = one.size ? one.gone / one.size : 0;
  one.bar.value = share;
  one.told.textContent = `${bytes(one.gone)} / ${bytes(one.size)} · ${percent(share)}`;
}

function draw(one) {
  if (!one.card) return;
  one.bar = null;
  fill(one.card, h("header", { class: "row" }, h("h2", { text: one.file }), state(one)),
    h("p", { class: "quiet" }, `${t(`up.${one.kind}`)} · ${bytes(one.size)} · `, h("code", { text: one.name })),
    one.phase === "sending" ? gauge(one) : null,
    one.phase === "sent" ? told(one) : null,
    one.problem ? h("p", { class: "alert", role: "alert", text: one.problem }) : null,
    ["queued", "sending"].includes(one.phase) ? h("div", { class: "actions" }, h("button", { type: "button", class: "small", text: t("up.stop"), onclick: () => {
      one.stop?.abort();
      if (one.phase === "queued") Object.assign(one, { phase: "refused", problem: t("up.stopped") });
      draw(one);
    } })) : null);
}

/** A file that could not be read to its end is not done, whatever was taken in of it. */
function ended(report) {
  if (report?.state !== "done" || !report.problem) return report?.state ?? "waiting";
  return report.accepted || report.duplicates ? "partly" : "failed";
}

function state(one) {
  const at = one.phase === "sent" ? ended(one.report) : one.phase;
  return h("span", { role: "status" }, chip(t(`up.state.${at}`), { done: "good", partly: "warn", failed: "bad", refused: "bad" }[at] ?? ""));
}

function gauge(one) {
  one.bar = h("progress", { max: "1", value: 0, "aria-label": t("up.sending", one.file) });
  one.told = h("p", { class: "quiet" });
  moved(one);
  return [one.bar, one.told];
}

function told(one) {
  const report = one.report;
  if (one.silent) return [h("p", { class: "note", text: one.unheard ?? t("up.slow") }), h("div", { class: "actions" }, h("button", { type: "button", text: t("up.again"), onclick: (event) => busy(event.target, () => follow(one)) }))];
  if (one.unheard) return h("p", { class: "note", text: one.unheard });
  if (!report || report.state === "waiting") return h("progress", { max: "1", "aria-label": t("up.state.waiting") });
  const { chunks } = report;
  const whole = chunks?.total;
  const over = ["done", "failed"].includes(report.state);
  return [
    over ? null : h("progress", { max: "1", value: whole ? chunks.done / whole : null, "aria-label": t("up.state.reading") }),
    over || !chunks ? null : h("p", { class: "quiet", text: whole ? t("up.chunks", number(chunks.done), number(whole)) : t("up.chunksofar", number(chunks.done)) }),
    h("dl", { class: "figures" }, ["accepted", "duplicates", "rejected"].map((name) => h("div", { class: name === "rejected" && report.rejected ? "bad" : null }, h("dt", { text: t(`up.${name}`) }), h("dd", { text: number(report[name] ?? 0) })))),
    report.problem ? h("p", { class: "alert", text: report.problem }) : null,
    one.kind === "labels" && report.state === "done" ? h("p", {}, h("a", { href: `#models/${encodeURIComponent(one.name.replace(TYPES, ""))}`, text: t("up.tohead") })) : null,
    rejected(report, one),
  ];
}

function rejected(report, one) {
  // What is wrong with the file as a whole is told above.
  const lines = (report.lines ?? []).filter((line) => line.line !== null || line.reason !== report.problem);
  if (!lines.length && !report.rejected) return null;
  return [
    h("div", { class: "row" }, h("h3", { text: t("up.lines") }),
      report.rejected_url ? h("a", { class: "button small", href: report.rejected_url, download: `${one.file}.rejected.jsonl`, target: "_blank", rel: "noopener", text: t("up.download") }) : null),
    report.rejected > lines.length ? h("p", { class: "hint", text: t("up.first", number(lines.length), number(report.rejected)) }) : null,
    h("div", { class: "scroll" }, table([t("up.line"), t("up.field"), t("up.reason")], lines.map((line) => [String(line.line ?? "—"), h("code", { text: line.field ?? "" }), line.reason ?? ""]), t("up.lines"))),
  ];
}

function keep() {
  const rows = entries().filter((one) => one.phase !== "queued").slice(0, MOST_KEPT).map(({ kind, file, size, at, name, phase, problem }) => ({ kind, file, size, at, name, phase, problem }));
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(rows));
  } catch {
    // Without storage they are known until the page is left.
  }
}

function remembered() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    for (const one of kept) if (one.phase === "sending") Object.assign(one, { phase: "refused", problem: t("up.left") });
    return kept;
  } catch {
    return [];
  }
}

// A file that has not gone yet is lost with the page.
addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});
