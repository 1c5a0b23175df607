// Campaigns: spend against pacing, exposure, click rates with intervals.
import { api } from "./api.js";
import { table } from "./ads.js";
import { intervals, spend, wilson } from "./charts.js";
import { bar, busy, card, chip, fill, h } from "./dom.js";
import { langOf, number, percent, t } from "./i18n.js";

const PAGES = 20;
const CHARTED = 12;
const LISTED = 15;
const COUNTS = ["impressions", "clicks", "conversions", "dismissals"];

export async function campaigns(root, chosen, signal) {
  const body = h("div", { class: "stack" });
  const draw = async () => {
    const { rows, whole } = await read(signal);
    if (signal.aborted) return;
    fill(body, whole ? null : h("p", { class: "note", text: t("camp.first", number(rows.length)) }),
      rows.length ? all(rows, chosen, signal) : h("p", { class: "empty", text: t("ads.nothing") }));
  };
  root.append(h("header", { class: "headline" }, h("div", {}, h("h1", { text: t("camp.title") }), h("p", { class: "lead", text: t("camp.lead") })),
    h("div", { class: "actions" }, h("button", { type: "button", text: t("camp.refresh"), onclick: (event) => busy(event.target, draw) }))), body);
  fill(body, h("p", { class: "empty", text: t("loading") }));
  await draw();
}

/** Every ad's figures, as far as that many pages go. */
async function read(signal) {
  const rows = [];
  let next = null;
  for (let page = 0; page < PAGES && !signal.aborted; page += 1) {
    const found = await api.campaigns(next);
    rows.push(...found.ads);
    next = found.next;
    if (!next) return { rows, whole: true };
  }
  return { rows, whole: false };
}

function grouped(ads) {
  const groups = new Map();
  for (const ad of ads) {
    const id = ad.campaign_id ?? "";
    const group = groups.get(id) ?? { id, name: id || t("camp.without"), ads: 0, spent: 0, allowed: 0, budget: 0, paced: false, ...Object.fromEntries(COUNTS.map((one) => [one, 0])) };
    group.ads += 1;
    for (const one of COUNTS) group[one] += ad[one];
    if (ad.daily_budget !== null) {
      group.paced = true;
      group.spent += ad.spent ?? 0;
      group.allowed += ad.allowed ?? 0;
      group.budget += ad.daily_budget;
    }
    groups.set(id, group);
  }
  return [...groups.values()].sort((a, b) => b.impressions - a.impressions || b.spent - a.spent || b.budget - a.budget || a.name.localeCompare(b.name));
}

/** Figures with their interval: a click rate has impressions below it. */
function rated(row) {
  const [low, high] = wilson(row.clicks, row.impressions);
  return { ...row, rate: row.impressions ? row.clicks / row.impressions : null, low, high };
}

function all(ads, chosen, signal) {
  const groups = grouped(ads);
  const paced = groups.filter((one) => one.paced).slice(0, CHARTED);
  const seen = groups.filter((one) => one.impressions).slice(0, CHARTED).map(rated);
  const charts = h("div", { class: "two even level" });
  if (paced.length) {
    const holder = h("div", {});
    charts.append(card(t("camp.spendchart"), h("p", { class: "legend" }, h("span", { class: "key spent", text: t("camp.spent") }), h("span", { class: "key allowed", text: t("camp.allowed") }), h("span", { class: "key budget", text: t("camp.budget") })), holder));
    requestAnimationFrame(() => !signal.aborted && spend(holder, t("camp.spendchart"), paced, (value) => percent(value), signal));
  }
  if (seen.length) {
    const holder = h("div", {});
    charts.append(card(t("camp.ratechart"), holder));
    requestAnimationFrame(() => !signal.aborted && intervals(holder, t("camp.ratechart"), seen, (value) => percent(value, 1), signal));
  } else charts.append(card(t("camp.ratechart"), h("p", { class: "empty", text: t("camp.quiet") })));
  const open = groups.find((one) => one.id === chosen && chosen);
  const missing = chosen && !open ? h("p", { class: "note", role: "alert", text: t("camp.unknown", chosen) }) : null;
  const rest = h("div", {});
  const tabled = (some) => table(
    [t("camp.campaign"), t("camp.ads"), t("camp.spent"), t("camp.state"), t("camp.impressions"), t("camp.clicks"), t("camp.rate"), t("camp.conversions"), t("camp.dismissals")],
    some.map((one) => [one.id ? h("a", { href: `#campaigns/${encodeURIComponent(one.id)}`, text: one.name }) : one.name, number(one.ads), money(one), pace(one), ...figures(one)]), t("camp.title"), [1, 4, 5, 6, 7, 8]);
  const some = groups.slice(0, LISTED);
  fill(rest, tabled(some), groups.length > some.length ? h("button", { type: "button", class: "ghost", text: `${t("more")} (${number(groups.length - some.length)})`, onclick: () => fill(rest, tabled(groups)) }) : null);
  return [missing, charts, open ? each(open, ads) : null, card(t("camp.title"), rest)];
}

function each(group, ads) {
  return card(t("camp.each", group.name), table(
    [t("tab.ads"), t("ads.bid"), t("camp.spent"), t("camp.state"), t("camp.impressions"), t("camp.clicks"), t("camp.rate"), t("camp.conversions"), t("camp.dismissals")],
    ads.filter((one) => one.campaign_id === group.id).map((one) => {
      const row = { ...one, budget: one.daily_budget, paced: one.daily_budget !== null };
      return [h("a", { href: `#ads/${encodeURIComponent(one.ad_id)}`, lang: langOf(one.language), text: one.title }), number(one.bid_cpm, 2), money(row), one.active ? pace(row) : chip(t("ads.inactive"), "bad"), ...figures(row)];
    }), t("camp.each", group.name), [1, 4, 5, 6, 7, 8]));
}

function figures(one) {
  const { rate, low, high } = rated(one);
  return [number(one.impressions), number(one.clicks), rate === null ? "—" : h("span", {}, h("strong", { text: percent(rate, 1) }), " ", h("span", { class: "quiet nowrap", text: `${percent(low, 1)} – ${percent(high, 1)}` })), number(one.conversions), number(one.dismissals)];
}

function money(one) {
  return one.paced ? h("span", { class: "figure" }, bar(one.budget ? one.spent / one.budget : 0), h("span", { class: "nowrap", text: `${number(one.spent, 2)} / ${number(one.budget)}` })) : "—";
}

function pace(one) {
  if (!one.paced) return "—";
  return one.spent >= one.allowed ? chip(t("camp.ahead"), "warn") : chip(t("camp.onpace"), "good");
}
