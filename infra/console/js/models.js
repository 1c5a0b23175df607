// What has been learned: heads of own labels beside their baselines, and the ranker with the gate's verdict.
import { api, optional } from "./api.js";
import { table } from "./ads.js";
import { interval } from "./charts.js";
import { busy, card, chip, fill, h } from "./dom.js";
import { moment, number, percent, t, word } from "./i18n.js";
import { drawn, entries } from "./sending.js";
import { zone } from "./uploads.js";

const OFTEN = 3000; // ms between two looks while something is being trained
const SELDOM = 10000;
const KINDS = { served: "good", training: "", untrained: "", held: "warn", refused: "warn", failed: "bad" };

export async function models(root, chosen, signal) {
  const places = { ranker: h("div", {}), heads: h("div", { "aria-live": "polite" }) };
  let timer = null;
  let before = "";
  const draw = async () => {
    clearTimeout(timer);
    const [{ heads }, ranker] = await Promise.all([api.heads(), api.ranker()]);
    if (signal.aborted) return;
    const now = JSON.stringify([heads, ranker]);
    if (now !== before) {
      fill(places.ranker, serving(ranker, signal));
      fill(places.heads, trained(heads, chosen));
      before = now;
    }
    // What is being trained ends by itself; a look that fails is taken again.
    if ([ranker, ...heads].some((one) => one.state === "training")) timer = setTimeout(() => draw().catch(again), OFTEN);
  };
  const again = () => { timer = setTimeout(() => draw().catch(again), SELDOM); };
  signal.addEventListener("abort", () => clearTimeout(timer));
  addEventListener("takenin", (event) => { if (event.detail === "labels") draw().catch(again); }, { signal });
  root.append(h("header", { class: "headline" }, h("div", {}, h("h1", { text: t("mod.title") }), h("p", { class: "lead", text: t("mod.lead") })),
    h("div", { class: "actions" }, h("button", { type: "button", text: t("camp.refresh"), onclick: (event) => busy(event.target, draw) }))));
  fill(places.ranker, h("p", { class: "empty", text: t("loading") }));
  root.append(h("div", { class: "two even level" }, places.ranker, training()), places.heads);
  await draw();
}

function serving(ranker, signal) {
  const figures = ranker.verdict;
  const facts = [
    [t("mod.serves"), ranker.version ? h("code", { text: ranker.version }) : t("mod.formula")],
    ranker.updated_at ? [t("mod.when"), moment(ranker.updated_at)] : null,
    ranker.candidate ? [t("mod.candidate"), h("code", { text: ranker.candidate })] : null,
    ranker.clicks !== undefined ? [t("mod.clicks"), number(ranker.clicks)] : null,
    ranker.reason ? [t("mod.reason"), ranker.reason] : null,
  ].filter(Boolean);
  const chart = h("div", {});
  if (figures?.low !== undefined) {
    requestAnimationFrame(() => !signal.aborted && interval(chart, t("mod.difference"), figures, (value) => number(value, 2), signal));
  }
  return card(t("mod.ranker"), h("p", { class: "chips" }, chip(t(`mod.state.${ranker.state}`), KINDS[ranker.state])),
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", { text: name }), h("dd", {}, value)])),
    figures ? [h("h3", { text: t("mod.gate") }), h("p", {}, chip(t(`mod.verdict.${figures.verdict}`), figures.verdict === "promote" ? "good" : "warn"), " ",
      figures.difference === undefined ? "" : t("mod.gain", signed(figures.difference), signed(figures.low), signed(figures.high), number(figures.decisions ?? 0))),
    figures.low === undefined ? null : chart,
    figures.candidate === undefined ? null : h("p", { class: "quiet", text: t("mod.rates", number(figures.candidate, 3), number(figures.current, 3)) })]
      : h("p", { class: "hint", text: t("mod.nogate") }));
}

const signed = (value) => (value > 0 ? "+" : "") + number(value, 3);

function trained(heads, chosen) {
  if (!heads.length) return card(t("mod.heads"), h("p", { class: "empty", text: t("mod.noheads") }));
  return card(t("mod.heads"), heads.map((one) => h("article", { class: one.name === chosen ? "head chosen" : "head", "aria-label": one.name },
    h("header", { class: "row" }, h("h3", { class: "strong", text: one.name }), h("span", { class: "chips" }, chip(t(`mod.state.${one.state}`), KINDS[one.state]), one.waiting ? chip(t("mod.waiting")) : null)),
    h("p", { class: "quiet" }, [one.updated_at ? moment(one.updated_at) : null, one.started_by ? t("mod.by", word("mod.by", one.started_by)) : null,
      one.rows !== undefined ? t("mod.rows", number(one.rows), number(one.rejected ?? 0)) : null, one.version ? t("mod.version", one.version) : null].filter(Boolean).join(" · ")),
    one.state === "failed" ? h("p", { class: "alert", text: one.reason ? why(one.reason) : t("mod.failed") }) : one.reason ? h("p", { class: "note", text: why(one.reason) }) : null,
    one.metrics?.warning ? h("p", { class: "note", text: one.metrics.warning }) : null,
    one.metrics ? compared(one.metrics, one.name) : null,
    one.version ? labels(one.name) : null)));
}

/** A reason as training gives it; the commonest one says what to do about it here, where no file is held out by hand. */
function why(reason) {
  const few = /no label has enough different texts to hold any out: (\d+) are needed of one at least, and (\d+) is/.exec(reason);
  return few ? t("mod.few", few[1], few[2]) : reason;
}

/** The labels that a head knows, asked for when somebody wants to see them. */
function labels(name) {
  const list = h("p", { class: "chips" });
  const opened = h("details", {}, h("summary", { text: t("mod.labels") }), list);
  opened.addEventListener("toggle", async () => {
    if (!opened.open || list.childElementCount) return;
    const found = await busy(opened.querySelector("summary"), () => optional(api.head(name)));
    fill(list, (found?.labels ?? []).map((label) => chip(label)));
  });
  return opened;
}

function compared(metrics, name) {
  const share = (value) => (value === undefined || value === null ? "—" : percent(value, 1));
  const row = (label, figures, own) => [own ? h("strong", { text: label }) : label, share(figures.accuracy), share(figures.macro_f1), figures.ece === undefined ? "—" : number(figures.ece, 3)];
  return table([t("mod.model"), t("mod.accuracy"), t("mod.f1"), t("mod.ece")],
    [row(t("mod.this"), metrics, true), ...Object.entries(metrics.baselines ?? {}).map(([of, figures]) => row(word("mod.baseline", of), figures, false))], `${t("mod.accuracy")}: ${name}`, [1, 2, 3]);
}

function training() {
  const list = h("div", { class: "stack" });
  const show = () => fill(list, entries().filter((one) => one.kind === "labels").map(drawn));
  show();
  return card(t("mod.train"), h("p", { class: "hint", text: t("mod.train.lead") }), zone(show, "labels"), list);
}
