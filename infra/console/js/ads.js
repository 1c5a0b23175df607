// An ad: category, findings on the text itself, the facts, its variants and what their claims rest on.
import { api, optional } from "./api.js";
import { bar, busy, card, chip, field, fill, h, toast } from "./dom.js";
import { either, langOf, moment, named, number, percent, refusal, t, word } from "./i18n.js";
import { marked, ofClaims, ofFindings } from "./marks.js";

// What `GET /v1/ads/{id}` adds to the ad that was put: these do not go back.
export const MADE = ["accepted", "active", "category", "content_category", "findings", "inactive_reason", "versions"];
const SHOWN = 60;
const TEXTS = ["title", "description"];

/** What was edited and not saved, by ad and text: {text, base}, base being what stood there when it was begun. It stays
 * while the page does. */
const drafts = new Map();

addEventListener("beforeunload", (event) => {
  if (drafts.size) event.preventDefault();
});

export async function ads(root, id, signal) {
  const page = await api.ads();
  if (signal.aborted) return;
  if (!id && page.ads.length) id = (page.ads.find((one) => one.findings) ?? page.ads[0]).ad_id;
  const detail = h("div", { class: "detail" });
  root.append(picker(page, id, signal), detail);
  if (id) await open(detail, id, page.ads.some((one) => one.ad_id === id), signal);
  else fill(detail, h("p", { class: "empty", text: t("ads.pick") }));
}

/** What somebody looked for stays while they go from ad to ad. */
const looked = { text: "", flagged: false, shown: SHOWN };

/** The catalogue's list: what is there at once, and further pages when somebody asks for them or searches. */
function picker(page, chosen, signal) {
  const items = h("ul", { class: "pick" });
  const count = h("p", { class: "hint", role: "status" });
  const state = Object.assign(looked, { list: page.ads, next: page.next });
  const further = async () => {
    const { ads: more, next } = await api.ads(state.next);
    state.list = [...state.list, ...more];
    state.next = next;
  };
  const matching = () => {
    const wanted = state.text.toLowerCase();
    return state.list.filter((one) => (!state.flagged || one.findings) && `${one.ad_id} ${one.title} ${one.campaign_id ?? ""}`.toLowerCase().includes(wanted));
  };
  let turn = 0;
  const show = async () => {
    const mine = ++turn;
    draw();
    while (state.next && (state.text || state.flagged) && matching().length < SHOWN) {
      await further();
      if (mine !== turn || signal.aborted) return;
      draw();
    }
  };
  const more = async () => {
    state.shown += SHOWN;
    if (state.next && matching().length < state.shown) await further();
    draw();
  };
  const draw = () => {
    const found = matching();
    count.textContent = state.list.length ? t(state.next ? "ads.countmore" : "ads.count", number(found.length)) : t("ads.nothing");
    fill(items, found.slice(0, state.shown).map((one) => h("li", {}, h("a", { href: `#ads/${encodeURIComponent(one.ad_id)}`, "aria-current": one.ad_id === chosen ? "true" : null },
      h("strong", { lang: langOf(one.language), text: one.title }), h("span", { class: "row" }, h("span", { text: one.ad_id }),
        one.active ? null : chip(t("ads.inactive"), "bad"), one.findings ? h("span", { class: "chip warn", title: t("ads.findings"), text: String(one.findings) }) : null)))),
    found.length > state.shown || state.next ? h("li", {}, h("button", { type: "button", class: "ghost", text: t("more"), onclick: (event) => busy(event.target, more) })) : null);
  };
  const search = field(t("ads.find"), (of) => h("input", { id: of, type: "search", autocomplete: "off", value: state.text,
    oninput: (event) => { Object.assign(state, { text: event.target.value.trim(), shown: SHOWN }); show(); },
    onkeydown: (event) => {
      const wanted = event.target.value.trim();
      if (event.key !== "Enter" || !wanted) return;
      const [first] = matching();
      location.hash = `ads/${encodeURIComponent(state.list.some((one) => one.ad_id === wanted) || !first ? wanted : first.ad_id)}`;
    } }), t("ads.hint"));
  const flagged = h("label", { class: "check" }, h("input", { type: "checkbox", checked: state.flagged, onchange: (event) => { state.flagged = event.target.checked; show(); } }), h("span", { text: t("ads.flagged") }));
  show();
  requestAnimationFrame(() => items.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" }));
  return h("details", { class: "side", open: matchMedia("(min-width: 861px)").matches || !chosen }, h("summary", { text: t("ads.list") }), search, flagged, count, items);
}

async function open(root, id, known, signal) {
  fill(root, h("p", { class: "empty", text: t("loading") }));
  const ad = known || (await api.listed(id)) ? await optional(api.ad(id)) : null;
  if (signal.aborted) return;
  if (!ad) {
    fill(root, h("p", { class: "note", role: "alert", text: t("ads.unknown", id) }));
    return;
  }
  const texts = await split(ad);
  const draft = drafts.get(id);
  if (draft) for (const one of TEXTS) if (draft[one]) texts[one] = await findingsOf(draft[one].text);
  if (signal.aborted) return;
  const variants = h("div", {});
  fill(root, head(ad), h("div", { class: "two advert" }, policy(ad, texts), h("div", { class: "column" }, category(ad), facts(ad))), variants);
  await bank(variants, ad, signal);
}

function head(ad) {
  return h("header", { class: "headline" }, h("div", {}, h("h1", { lang: langOf(ad.language), text: ad.title }),
    h("p", { class: "chips" }, h("code", { text: ad.ad_id }), ad.active ? chip(t("ads.active"), "good") : chip(`${t("ads.inactive")}${ad.inactive_reason ? `: ${either(ad.inactive_reason)}` : ""}`, "bad"), chip(t(`domain.${ad.domain}`)))));
}

/** The findings of title and description apart. The ad has them in one row, the title's first: what the title alone is
 * found to say tells where the description's begin. */
async function split(ad) {
  const description = ad.description ?? "";
  const kept = ad.findings ?? [];
  if (!kept.length) return { title: [], description: [] };
  const { results: [title] } = await api.classify([ad.title]);
  const key = (one) => `${one.rule} ${one.span[0]} ${one.span[1]}`;
  const own = new Set(title.findings.map(key));
  let end = 0;
  const length = Array.from(ad.title).length;
  while (end < kept.length && (own.has(key(kept[end])) || kept[end].rule === "sensitive_targeting" || (!description && kept[end].span[1] <= length))) end += 1;
  const late = kept.slice(end).filter((one) => one.rule === "sensitive_targeting");
  return { title: [...kept.slice(0, end), ...late], description: kept.slice(end).filter((one) => one.rule !== "sensitive_targeting") };
}

async function findingsOf(text) {
  return text.trim() ? (await api.classify([text])).results[0].findings : [];
}

function policy(ad, kept) {
  const edited = drafts.get(ad.ad_id) ?? {};
  const draft = Object.fromEntries(TEXTS.map((one) => [one, edited[one]?.text ?? ad[one] ?? ""]));
  const found = { title: kept.title, description: kept.description };
  const body = h("div", {});
  const note = h("p", { class: "hint", role: "status" });
  const inputs = {};
  const state = () => {
    for (const one of TEXTS) {
      const base = edited[one]?.base ?? ad[one] ?? "";
      if (draft[one] === base) delete edited[one];
      else edited[one] = { text: draft[one], base };
    }
    if (Object.keys(edited).length) drafts.set(ad.ad_id, edited);
    else drafts.delete(ad.ad_id);
    note.textContent = drafts.has(ad.ad_id) ? t("ads.changed") : "";
  };
  const save = async () => {
    const now = await api.ad(ad.ad_id); // somebody else may have changed it since
    const theirs = TEXTS.filter((one) => edited[one] && edited[one].base !== (now[one] ?? "") && edited[one].text !== (now[one] ?? ""));
    for (const one of theirs) edited[one].base = now[one] ?? "";
    conflict.hidden = !theirs.length;
    fill(conflict, theirs.map((one) => h("p", { class: "alert", role: "alert", text: t("ads.conflict", t(`ads.${one}`), now[one] ?? "") })));
    if (theirs.length) return;
    const row = Object.fromEntries(Object.entries(now).filter(([name]) => !MADE.includes(name)));
    const { ads: [saved] } = await api.putAds([{ ...row, ...Object.fromEntries(Object.entries(edited).map(([one, { text }]) => [one, text])) }]);
    if (!saved.accepted) {
      toast(t("studio.notsaved", `${saved.rejected.field}: ${saved.rejected.reason}`), "bad");
      return;
    }
    drafts.delete(ad.ad_id);
    toast(t("ads.saved"), "good");
    dispatchEvent(new HashChangeEvent("hashchange"));
  };
  const conflict = h("div", { class: "stack", hidden: true });
  const check = async () => {
    const wanted = TEXTS.filter((one) => draft[one].trim());
    const { results } = await api.classify(wanted.map((one) => draft[one]));
    found.title = [];
    found.description = [];
    wanted.forEach((one, place) => { found[one] = results[place].findings; });
    draw();
  };
  const draw = () => {
    state();
    fill(body, TEXTS.filter((one) => draft[one]).map((one) => h("div", { class: "checked" },
      h("h3", { text: t(`ads.${one}`) }), marked(draft[one], ofFindings(found[one]), langOf(ad.language)),
      findings(found[one], draft[one], async (rewrite) => {
        draft[one] = rewrite;
        inputs[one].value = rewrite;
        await check();
      }, ad.language))),
    !found.title.length && !found.description.length ? h("p", { class: "good-note", text: t("ads.clean") }) : null);
  };
  const edit = h("details", { open: drafts.has(ad.ad_id) }, h("summary", { text: t("ads.edit") }), h("div", { class: "stack" }, TEXTS.map((one) => field(t(`ads.${one}`), (of) => {
    inputs[one] = h("textarea", { id: of, rows: one === "title" ? "2" : "5", lang: langOf(ad.language), value: draft[one], oninput: (event) => { draft[one] = event.target.value; state(); } });
    return inputs[one];
  }))));
  const actions = h("div", { class: "actions" },
    h("button", { type: "button", text: t("ads.check"), onclick: (event) => busy(event.target, check) }),
    h("button", { type: "button", class: "primary", text: t("ads.put"), onclick: (event) => busy(event.target, save) }));
  draw();
  return card(t("ads.findings"), body, edit, note, conflict, actions);
}

/** Findings, those of one rule together with the words that each found; a rewrite that several offer stands once. */
export function findings(list, text, apply, lang = null) {
  if (!list.length) return null;
  const letters = Array.from(text);
  const rewrites = [...new Set(list.map((one) => one.rewrite).filter(Boolean))];
  const rules = new Map();
  for (const one of list) {
    const key = `${one.severity} ${one.rule} ${one.reason}`;
    const words = letters.slice(...one.span).join("");
    if (rules.has(key)) rules.get(key).words.push(words);
    else rules.set(key, { ...one, words: [words] });
  }
  return h("div", {}, h("ul", { class: "findings" }, [...rules.values()].map((one) => h("li", { class: one.severity },
    h("p", {}, chip(t(`ads.${one.severity}`), one.severity === "block" ? "bad" : "warn"), " ", h("strong", { text: either(one.reason) }), " ",
      [...new Set(one.words)].filter(Boolean).map((words) => [h("q", { lang: langOf(lang), text: words }), " "])),
    h("p", { class: "quiet" }, h("code", { text: one.rule }), one.citation ? ` · ${one.citation}` : "")))),
  apply ? rewrites.map((rewrite) => h("div", { class: "rewrite" }, h("p", {}, h("strong", { text: t("ads.rewrite") }), h("span", { lang: langOf(lang), text: rewrite })),
    h("button", { type: "button", class: "small", text: t("ads.apply"), onclick: (event) => busy(event.target, () => apply(rewrite)) }))) : null);
}

function category(ad) {
  const labels = (one) => (!one || one.abstained || !one.labels.length ? h("p", { class: "quiet", text: t("ads.abstained") })
    : h("ul", { class: "plain" }, one.labels.map((label) => h("li", {}, h("p", {}, h("strong", { text: named(label.name) }), " ", h("code", { text: label.id })), h("p", { class: "figure" }, bar(label.probability), h("span", { text: percent(label.probability) }))))));
  return card(t("ads.category"), labels(ad.category), ad.content_category ? [h("h3", { text: t("ads.content") }), labels(ad.content_category)] : null);
}

function facts(ad) {
  const rows = [
    [t("ads.campaign"), ad.campaign_id], [t("studio.brand"), ad.brand], [t("ads.bid"), ad.bid_cpm], [t("ads.budget"), ad.daily_budget],
    [t("ads.cap"), ad.frequency_cap ? t("ads.cap.value", ad.frequency_cap.count, ad.frequency_cap.hours) : null], [t("ads.ends"), ad.end ? moment(ad.end) : null],
    [t("ads.landing"), ad.landing_url], ...Object.entries(ad.attributes ?? {}),
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return card(t("ads.facts"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: String(value) })])));
}

async function bank(root, ad, signal) {
  const draw = async () => {
    const found = await api.variants(ad.ad_id);
    if (signal.aborted) return;
    const write = h("button", { type: "button", text: t("ads.write"), onclick: (event) => busy(event.target, async () => {
      await api.copy({ ad_id: ad.ad_id, n: 4, fresh: true });
      await draw();
    }) });
    const copies = found.rungs.flatMap((rung) => rung.copies.map((copy) => ({ ...copy, segment: rung.segment, language: rung.language })));
    const claims = copies.flatMap((copy) => copy.claims);
    fill(root, h("div", { class: "column" },
      card(t("ads.variants"), copies.length ? table(
        [t("ads.text"), t("studio.audience"), t("ads.chance"), t("ads.results"), t("ads.review")],
        copies.map((copy) => [marked(copy.text, ofClaims(copy.claims), langOf(copy.language)), h("span", { class: "nowrap", text: copy.segment === "-" ? t("anyone") : copy.segment }), h("span", { class: "figure" }, bar(copy.chance), h("span", { text: percent(copy.chance) })),
          `${number(copy.impressions, 0)} / ${number(copy.clicks, 0)}`, reviewed(ad, copy, draw)]), t("ads.variants")) : h("p", { class: "quiet", text: t("ads.novariants") }),
      h("div", { class: "actions" }, write, h("a", { class: "button", href: `#studio/${encodeURIComponent(ad.ad_id)}`, text: t("ads.studio") }))),
      card(t("ads.ledger"), h("p", { class: "hint", text: t("ads.ledger.lead") }), ledger(claims))));
  };
  await draw();
}

/** The state of a text's review, and the buttons that change it. */
function reviewed(ad, copy, draw) {
  const state = copy.review ?? "none";
  const say = (to) => h("button", { type: "button", class: "small", text: t(`review.${to}.do`), "aria-label": `${t(`review.${to}.do`)}: ${copy.text}`, onclick: (event) => busy(event.target, async () => {
    const item = { ad_id: ad.ad_id, text: copy.text, state: to, language: copy.language };
    if (copy.segment !== "-") item.segment = copy.segment;
    const { results: [found] } = await api.review([item]);
    if (found.result === "refused") toast(t("studio.refused", (found.reasons ?? []).map(refusal).join("; ")), "bad");
    await draw();
  }) });
  return h("div", { class: "review" }, h("p", { text: word("review", state) }), h("p", { class: "chips" }, state === "approved" ? null : say("approved"), say("rejected")));
}

export function ledger(all) {
  const claims = [...new Map(all.map((one) => [`${one.kind} ${one.text} ${one.support}`, one])).values()];
  if (!claims.length) return h("p", { class: "quiet", text: t("ads.noclaims") });
  return table([t("ledger.claim"), t("ledger.kind"), t("ledger.support")], claims.map((one) => [one.text, word("kind", one.kind), ["reading", "judge"].includes(one.support) ? t(`ledger.${one.support}`) : one.support ? h("code", { text: one.support }) : chip(t("ledger.none"), "bad")]), t("ads.ledger"));
}

/** A table that scrolls inside its own box, so that a narrow page does not. right: columns of numbers. */
export function table(heads, rows, name, right = []) {
  const side = (place) => (right.includes(place) ? "right" : null);
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": name }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((one, place) => h("th", { scope: "col", class: side(place), text: one })))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, place) => h("td", { class: side(place) }, cell)))))));
}
