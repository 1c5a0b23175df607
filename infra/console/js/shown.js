// What a person would be shown, personalised and not, side by side, and what has changed since the last answer.
import { api } from "./api.js";
import { busy, card, chip, bar, field, fill, h, select, toast } from "./dom.js";
import { langOf, language, named, percent, t } from "./i18n.js";

const AHEAD = ["0", "3600", "86400", "604800", "2592000"];
const DOMAINS = ["ecommerce", "social", "education", "health"];

/** The card, and `ask()`, which fetches a new answer and marks what is new, has moved or is gone. `loaded(answer)` ends
 * when the rest of the person is there to stand beside it; null: without an answer, false: none may be had. `moved(profile)` is
 * told the profile that an answer at another time rests on. */
export function recommendations(state, signal, loaded, moved) {
  const form = h("form", { class: "bar-form" },
    field(t("rec.domain"), (id) => select(id, [["", t("any")], ...DOMAINS.map((one) => [one, t(`domain.${one}`)])], "", { name: "domain" })),
    field(t("rec.language"), (id) => select(id, [["", t("any")], ["zh", t("lang.zh")], ["en", t("lang.en")]], "", { name: "language" })),
    field(t("rec.count"), (id) => select(id, ["3", "5", "8"].map((one) => [one, one]), "3", { name: "n" })),
    field(t("rec.when"), (id) => select(id, AHEAD.map((one) => [one, t(`ahead.${one}`)]), "0", { name: "ahead" })),
    h("button", { text: t("rec.ask") }));
  const body = h("div", { "aria-live": "polite", class: "answer" }, h("p", { class: "empty", text: t("loading") }));
  let before = null;
  let turn = 0; // a slow answer to an earlier question must not replace that to the last one
  // A look leaves no trace; `real` decides as a page would: it takes of budgets and caps, and can be seen and clicked.
  const ask = async (real = false) => {
    const mine = ++turn;
    const value = (name) => form.elements.namedItem(name).value;
    const context = {};
    if (value("domain")) context.domain = value("domain");
    if (value("language")) context.language = value("language");
    const seconds = Number(value("ahead"));
    const n = Number(value("n"));
    let found = null;
    try {
      found = real ? await api.recommend({ user_id: state.id, n, context, compare: true }) : await api.ahead(state.id, seconds, { n, context });
    } catch (error) {
      if (error.status !== 403) throw error; // a token may see people and not be allowed to show them ads
      await loaded(false);
      if (!signal.aborted && mine === turn) fill(body, h("p", { class: "alert", role: "alert", text: error.message }));
      return;
    }
    await loaded(real ? null : found);
    if (signal.aborted || mine !== turn) return;
    moved(seconds ? found.profile : null);
    fill(body, seconds ? h("p", { class: "note", text: t("rec.preview", t(`ahead.${seconds}`)) }) : null, answer(found, before, impersonal(state), { real, decide: seconds ? null : () => ask(true) }));
    before = found.ads.map((ad) => ad.ad_id);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), () => ask());
  });
  form.addEventListener("change", (event) => {
    if (event.target.name !== "ahead") before = null;
    busy(form.querySelector("button"), () => ask());
  });
  return { element: card(t("rec.title"), form, body), ask };
}

/** Why an answer that is not personalised is none: what may be said of somebody whose data may not be used. */
function impersonal({ profile, kept }) {
  if (profile.consent.basis !== "none" && !profile.consent.personalisation) return "rec.off";
  return profile.events || kept ? "rec.unusable" : "rec.stranger";
}

function answer(found, before, why, { real, decide }) {
  const now = found.ads.map((ad) => ad.ad_id);
  const twin = found.twin;
  const parts = [];
  if (before) {
    const fresh = now.filter((id) => !before.includes(id)).length;
    const gone = before.filter((id) => !now.includes(id)).length;
    const moved = now.filter((id, place) => before.includes(id) && before.indexOf(id) !== place).length;
    parts.push(h("p", { class: `changed ${fresh + gone + moved ? "yes" : ""}`, text: fresh + gone + moved ? t("rec.changed", fresh, moved, gone) : t("rec.unchanged") }));
  }
  if (!found.personalised) parts.push(h("p", { class: "note", text: t(why) }));
  const tried = found.personalised && twin ? triedOut(twin.difference) : [];
  parts.push(h("div", { class: "sides" },
    side(t("rec.personal"), found.ads, { found, before, mine: true, tried, real, decide }),
    twin ? side(t("rec.twin"), twin.ads, {}) : null));
  if (twin && found.personalised) parts.push(difference(twin.difference, tried));
  return parts;
}

/** Ads of the personalised answer that are there to be tried: chance brought them, not what is known of the person. */
function triedOut({ explained, only_personalised: own }) {
  return explained.filter((one) => one.code === "exploring" && own.includes(one.ad_id)).map((one) => one.ad_id);
}

function difference(told, tried) {
  const { same, moved, only_personalised: own, explained } = told;
  const counted = tried.length ? t("rec.counts", same, moved.length, own.length - tried.length, tried.length) : named(told.text);
  return h("div", { class: "difference" }, h("h3", { text: t("rec.why") }), h("p", { text: counted }),
    h("ul", { class: "evidence" }, explained.map((one) => h("li", {}, h("code", { text: one.ad_id }), " ", tried.includes(one.ad_id) ? t("rec.tried") : named(one.text)))));
}

function side(title, ads, { found, before, mine, tried = [], real, decide }) {
  const deciding = real ? chip(t("rec.recorded"), "good") : decide ? h("button", { type: "button", class: "small", title: t("rec.real.hint"), text: t("rec.real"), onclick: (event) => busy(event.target, decide) }) : null;
  return h("div", { class: mine ? "side-a" : "side-b" }, h("div", { class: "row" }, h("h3", { text: title }), deciding),
    ads.length ? h("ol", { class: "ads" }, ads.map((ad, place) => item(ad, place, { found, before, mine, tried: tried.includes(ad.ad_id), real }))) : h("p", { class: "empty", text: t("rec.empty") }));
}

function item(ad, place, { found, before, mine, tried, real }) {
  const was = before ? before.indexOf(ad.ad_id) : null;
  const moved = was === null ? null : was < 0 ? chip(t("rec.new"), "good") : was > place ? chip(t("rec.up", was - place), "good") : was < place ? chip(t("rec.down", place - was)) : null;
  const chinese = /[\u4e00-\u9fff]/.test(ad.copy);
  return h("li", { class: moved ? "ad moved" : "ad" },
    h("p", { class: "copy", lang: langOf(chinese ? "zh" : "en") }, ad.copy, moved ? [" ", moved] : null, tried ? [" ", chip(t("rec.trial"))] : null),
    h("ul", { class: "reasons" }, ad.reasons.map((reason) => h("li", { lang: langOf(/[\u4e00-\u9fff]/.test(reason.text) ? "zh" : "en"), text: reason.text }))),
    h("p", { class: "figure", title: mine ? t("rec.propensity", percent(ad.propensity)) : null }, bar(ad.score), h("span", { text: t("rec.score", percent(ad.score, 1)) })),
    h("div", { class: "foot" }, h("span", {}, h("a", { href: `#ads/${encodeURIComponent(ad.ad_id)}`, text: ad.ad_id }), ` · ${[t(`served.${ad.served_by}`), ad.label ? ad.label[language()] ?? ad.label.en : null].filter(Boolean).join(" · ")}`),
      real ? ["seen", "clicked"].map((one) => h("button", { type: "button", class: "small", text: t(`rec.${one}`), "aria-label": `${t(`rec.${one}`)}: ${ad.copy}`,
        onclick: (event) => busy(event.target, () => tell(found.decision_id, ad.ad_id, one === "seen" ? "impression" : "click")) })) : null));
}

async function tell(decision, ad, type) {
  const { results } = await api.feedback([{ decision_id: decision, ad_id: ad, type, timestamp: new Date().toISOString() }]);
  const [one] = results;
  toast(one.result === "refused" ? t("rec.refused", one.reason ?? "") : t(`rec.${one.result}`), one.result === "refused" ? "bad" : "good");
}
