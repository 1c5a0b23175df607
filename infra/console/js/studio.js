// The studio: facts in, gated copy out, with what was refused and why; edit, check again, approve.
import { api, people as sample } from "./api.js";
import { findings, ledger, MADE } from "./ads.js";
import { busy, card, chip, dialog, field, fill, h, select, toast } from "./dom.js";
import { langOf, language, number, percent, refusal, t, word } from "./i18n.js";
import { marked, ofClaims, ofFindings } from "./marks.js";

const CHANNELS = ["feed", "banner", "push", "email_subject", "google_headline", "google_description", "bing_headline", "bing_description", "meta_headline", "meta_primary", "linkedin_headline", "linkedin_intro", "x", "tiktok", "douyin", "weibo", "wechat_moments", "xiaohongshu_title", "xiaohongshu_body"];
const TONES = ["plain", "warm", "playful", "formal"];
const MINUTES = 10;
const DELIVERY = ["ad_id", "campaign_id", "bid_cpm", "daily_budget", "frequency_cap", "start", "end", "targeting"]; // no facts
const AMOUNT = /^(\d+)(?:[.,](\d{1,2}))?$/; // no thousands' marks: 1,234 may be either

/** The form, the ad that it was begun from and the last answer: they stay while the page does, in either language. */
const draft = { values: {}, start: null, answer: null, wanted: null, memory: {} };
/** What was made of each copy of that answer: {text, said} */
const edits = new WeakMap();

/** Something in the form that cannot be sent as it is. */
class Unfit extends Error {
  constructor(name, message) {
    super(message);
    this.field = name;
  }
}

export async function studio(root, adId, signal) {
  const [{ ads }, people] = await Promise.all([api.ads(), sample()]);
  if (signal.aborted) return;
  const results = h("div", { class: "column", "aria-live": "polite" });
  const show = () => fill(results, draft.answer ? shown(draft) : card(t("studio.results"), h("p", { class: "empty", text: t("studio.empty") })));
  const form = build(ads, people);
  const problem = h("p", { class: "alert", role: "alert", hidden: true });
  form.querySelector("button.primary").before(problem);
  const value = (name) => form.elements.namedItem(name).value.trim();
  const keep = () => { draft.values = Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, one.value])); };
  // Where a field cannot be sent, the form says so, and nothing is asked.
  const told = (error) => {
    for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
    problem.hidden = !error;
    problem.textContent = error?.message ?? "";
    if (!error) return;
    form.elements.namedItem(error.field).setAttribute("aria-invalid", "true");
    form.elements.namedItem(error.field).focus();
  };
  const begin = async (id) => {
    const found = await start(form, id);
    if (signal.aborted) return;
    told(found ? null : new Unfit("from", t("ads.unknown", id)));
    keep();
  };
  form.addEventListener("input", keep);
  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    let wanted = null;
    try {
      wanted = asked(value, draft.start);
      told(null);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      told(error);
      return;
    }
    fill(results, card(t("studio.results"), h("p", { class: "empty", text: t("studio.writing") })));
    busy(form.querySelector("button.primary"), async () => {
      try {
        const answer = await finished(await api.copy(wanted), signal);
        Object.assign(draft, { answer, wanted, memory: {} });
        if (!signal.aborted) show();
      } catch (error) {
        fill(results, card(t("studio.results"), h("p", { class: "alert", role: "alert", text: error.message })));
        throw error;
      }
    });
  });
  form.elements.namedItem("from").addEventListener("change", () => busy(form.querySelector("button.primary"), () => begin(value("from"))));
  show();
  root.append(h("header", { class: "headline" }, h("div", {}, h("h1", { text: t("studio.title") }), h("p", { class: "lead", text: t("studio.lead") }))),
    h("div", { class: "two studio-grid" }, card(t("studio.facts.title"), form), results));
  for (const [name, kept] of Object.entries(draft.values)) form.elements.namedItem(name).value = kept;
  form.elements.namedItem("audience").dispatchEvent(new Event("change"));
  if (adId && draft.start?.ad_id !== adId) {
    form.elements.namedItem("from").value = adId;
    await begin(adId);
  }
}

function build(ads, people) {
  const inputs = (name, more = {}) => (id) => h("input", { id, name, autocomplete: "off", ...more });
  const categories = [...new Map(ads.filter((one) => one.category).map((one) => [one.category.id, one.category.name])).entries()];
  const who = field(t("studio.who"), inputs("who", { list: "people" }));
  const which = field(t("studio.which"), inputs("which", { list: "segments" }));
  who.hidden = true;
  which.hidden = true;
  const audience = field(t("studio.audience"), (id) => select(id, [["", t("anyone")], ["person", t("studio.person")], ["segment", t("studio.segment")]], "", { name: "audience", onchange: (event) => {
    who.hidden = event.target.value !== "person";
    which.hidden = event.target.value !== "segment";
  } }));
  return h("form", { class: "stack" },
    field(t("studio.from"), inputs("from", { list: "ads" })),
    field(t("studio.product"), inputs("title", { required: true })),
    field(t("studio.facts"), (id) => h("textarea", { id, name: "description", rows: "5" })),
    field(t("studio.url"), inputs("url", { type: "url", value: "https://example.com/", required: true })),
    h("div", { class: "pair" }, field(t("studio.brand"), inputs("brand")), field(t("studio.price"), inputs("price", { inputmode: "decimal" }))),
    h("div", { class: "pair" },
      field(t("studio.domain"), (id) => select(id, ["ecommerce", "social", "education", "health"].map((one) => [one, t(`domain.${one}`)]), "ecommerce", { name: "domain" })),
      field(t("studio.language"), (id) => select(id, [["zh", t("lang.zh")], ["en", t("lang.en")]], language(), { name: "language" }))),
    h("div", { class: "pair" }, audience, field(t("studio.count"), (id) => select(id, ["1", "2", "3", "5", "8"].map((one) => [one, one]), "3", { name: "n" }))),
    who, which,
    h("div", { class: "pair" },
      field(t("studio.channel"), (id) => select(id, CHANNELS.map((one) => [one, t(`channel.${one}`)]), "feed", { name: "channel" })),
      field(t("studio.tone"), (id) => select(id, [["", t("any")], ...TONES.map((one) => [one, t(`tone.${one}`)])], "", { name: "tone" }))),
    h("datalist", { id: "ads" }, ads.map((one) => h("option", { value: one.ad_id, text: one.title }))),
    h("datalist", { id: "people" }, people.map((one) => h("option", { value: one.user_id, text: one.about ?? "" }))),
    h("datalist", { id: "segments" }, categories.map(([id, name]) => h("option", { value: id, text: name[language()] ?? name.en }))),
    h("button", { class: "primary", text: t("studio.go") }));
}

/** Fills the form with an ad of the catalogue; without one it is a product that is no ad yet. Whether there is that ad. */
async function start(form, id) {
  draft.start = null;
  if (!id) return true;
  if (!(await api.listed(id))) return false;
  const ad = await api.ad(id);
  draft.start = ad;
  const set = (name, value) => { form.elements.namedItem(name).value = value ?? ""; };
  set("title", ad.title);
  set("description", ad.description);
  set("url", ad.landing_url);
  set("brand", ad.brand);
  set("price", ad.attributes?.price);
  set("domain", ad.domain);
  set("language", ad.language);
  return true;
}

/** Facts of an ad as the form has them. */
const factsOf = (ad) => ({
  title: ad.title.trim(), description: (ad.description ?? "").trim(), url: (ad.landing_url ?? "").trim(),
  brand: (ad.brand ?? "").trim(), price: String(ad.attributes?.price ?? "").trim(), domain: ad.domain,
});

/** An ad of the catalogue is asked for by its id; one whose facts were changed here is only asked about, with all that
 * the form does not show. start: the ad that the form was filled with, null without one. */
function asked(value, start) {
  if (value("from") !== (start?.ad_id ?? "")) throw new Unfit("from", t("ads.unknown", value("from")));
  if (value("audience") === "person" && !value("who")) throw new Unfit("who", t("studio.nowho"));
  if (value("audience") === "segment" && !value("which")) throw new Unfit("which", t("studio.nowhich"));
  const facts = start ? factsOf(start) : {};
  const changed = (name) => value(name) !== facts[name];
  const amount = AMOUNT.exec(value("price"));
  if (value("price") && changed("price") && !amount) throw new Unfit("price", t("studio.noprice"));
  const wanted = { channel: value("channel"), language: value("language"), n: Number(value("n")), fresh: true };
  if (value("tone")) wanted.tone = value("tone");
  if (value("audience") === "person" && value("who")) wanted.user_id = value("who");
  if (value("audience") === "segment" && value("which")) wanted.segment = value("which");
  if (start && !Object.keys(facts).some(changed)) {
    wanted.ad_id = start.ad_id;
    return wanted;
  }
  const rest = Object.entries(start ?? { language: value("language") }).filter(([name]) => !MADE.includes(name) && !DELIVERY.includes(name));
  const ad = { ...Object.fromEntries(rest), title: value("title"), description: value("description"), landing_url: value("url"), domain: value("domain") };
  delete ad.brand;
  if (value("brand")) ad.brand = value("brand");
  const { price: before, ...attributes } = start?.attributes ?? {};
  if (value("price")) attributes.price = changed("price") ? Number(`${amount[1]}.${amount[2] ?? 0}`) : before;
  if (Object.keys(attributes).length) ad.attributes = attributes;
  else delete ad.attributes;
  wanted.ad = ad;
  return wanted;
}

async function finished(answer, signal) {
  if (!answer.job_id) return answer;
  const until = Date.now() + MINUTES * 60000;
  while (Date.now() < until && !signal.aborted) {
    await new Promise((done) => setTimeout(done, 1000));
    const job = await api.job(answer.job_id);
    if (job.state === "done") return job.result;
    if (job.state === "failed") throw new Error(job.error ?? "failed");
  }
  throw new Error(t("up.slow"));
}

function shown({ answer, wanted, memory }) {
  return [written(answer, wanted, memory), refused(answer.rejected), card(t("ads.ledger"), h("p", { class: "hint", text: t("ads.ledger.lead") }), ledger(answer.copies.flatMap((one) => one.claims)))];
}

function written(answer, wanted, memory) {
  return card(t("studio.results"),
    h("p", { class: "chips" }, chip(t(`served.${answer.served_by}`)), answer.cost ? chip(t("studio.cost", number(answer.cost.candidates), number(answer.cost.seconds, 1))) : null),
    answer.notice ? h("p", { class: "note", text: word("notice", answer.notice) }) : null,
    answer.copies.length ? null : h("p", { class: "note", text: t("studio.nocopy") }),
    h("ol", { class: "copies" }, answer.copies.map((copy) => one(copy, wanted, memory))));
}

function one(copy, wanted, memory) {
  const state = edits.get(copy) ?? { text: copy.text, adId: null, banked: false };
  edits.set(copy, state);
  const text = h("div", {}, marked(copy.text, ofClaims(copy.claims), langOf(copy.language)));
  const verdict = h("div", { role: "status" });
  const size = h("span", { class: "quiet", text: t("studio.characters", Array.from(state.text).length) });
  const check = async () => {
    const { results: [found] } = await api.classify([state.text]);
    fill(text, marked(state.text, ofFindings(found.findings), langOf(copy.language)));
    fill(verdict, found.findings.length ? findings(found.findings, state.text, async (rewrite) => {
      state.text = rewrite;
      input.value = rewrite;
      await check();
    }, copy.language) : h("p", { class: "good-note", text: t("studio.fine") }));
  };
  let input = null;
  const edit = h("details", { open: state.text !== copy.text }, h("summary", { text: t("studio.edit") }), h("div", { class: "stack" }, field(t("ads.text"), (id) => {
    input = h("textarea", { id, rows: "3", lang: langOf(copy.language), value: state.text, oninput: (event) => {
      state.text = event.target.value;
      size.textContent = t("studio.characters", Array.from(state.text).length);
    } });
    return input;
  }), h("div", { class: "actions" }, h("button", { type: "button", text: t("studio.recheck"), onclick: (event) => busy(event.target, check) }))));
  const approve = h("button", { type: "button", class: "primary", text: t("studio.approve"), onclick: (event) => busy(event.target, () => approving(state, copy, wanted, memory, verdict, event.target)) });
  if (state.adId) fill(verdict, approved(state));
  approve.hidden = Boolean(state.adId);
  return h("li", {}, text,
    h("p", { class: "chips" }, chip(t(`served.${copy.served_by}`)), copy.label ? chip(copy.label[language()] ?? copy.label.en) : null, copy.provenance?.match !== undefined ? chip(t("studio.match", percent(copy.provenance.match))) : null, size),
    h("div", { class: "deciding" }, approve, edit), verdict);
}

function approved({ banked, adId }) {
  return h("p", { class: "good-note" }, t(banked ? "studio.banked" : "studio.approved"), " ", h("a", { href: `#ads/${encodeURIComponent(adId)}`, text: adId }));
}

async function approving(state, copy, wanted, memory, verdict, button) {
  const review = async (adId) => {
    const item = { ad_id: adId, text: state.text, state: "approved", language: copy.language };
    if (wanted.segment) item.segment = wanted.segment;
    const { results: [found] } = await api.review([item]);
    if (found.result === "refused") fill(verdict, h("p", { class: "alert", role: "alert", text: t("studio.refused", (found.reasons ?? []).map(refusal).join("; ")) }));
    else {
      Object.assign(state, { adId, banked: Boolean(found.banked) });
      fill(verdict, approved(state));
      button.hidden = true;
    }
  };
  const known = wanted.ad_id ?? memory.adId;
  if (known) {
    await review(known);
    return;
  }
  const opened = dialog(t("studio.approvetitle"), (close) => {
    const taken = h("p", { class: "alert", role: "alert", hidden: true });
    const form = h("form", { class: "stack" }, h("p", { text: t("studio.newad") }),
      field(t("studio.adid"), (id) => h("input", { id, name: "ad_id", required: true, value: `studio-${Date.now().toString(36)}` })),
      field(t("studio.cpm"), (id) => h("input", { id, name: "cpm", type: "number", min: "0", step: "0.1", value: "5" })),
      taken, h("div", { class: "actions" }, h("button", { type: "button", text: t("cancel"), onclick: close }), h("button", { class: "primary", text: t("studio.approve") })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = (name) => form.elements.namedItem(name).value.trim();
      busy(form.querySelector("button.primary"), async () => {
        const there = await api.listed(value("ad_id")); // putting it would replace that ad
        taken.hidden = !there;
        taken.textContent = there ? t("studio.taken", there.ad_id, there.title) : "";
        if (there) return;
        const { ads: [saved] } = await api.putAds([{ ...wanted.ad, ad_id: value("ad_id"), bid_cpm: Number(value("cpm")) || 0 }]);
        if (!saved.accepted) {
          toast(t("studio.notsaved", `${saved.rejected.field}: ${saved.rejected.reason}`), "bad");
          return;
        }
        memory.adId = value("ad_id");
        close();
        await review(memory.adId);
      });
    });
    return [form];
  });
  await new Promise((done) => opened.addEventListener("close", done));
}

function refused(candidates) {
  const rejected = [...new Map(candidates.map((one_) => [`${one_.text}\n${one_.reasons.join()}`, one_])).values()];
  return card(t("studio.rejected", number(rejected.length)), rejected.length ? h("ul", { class: "refused" }, rejected.map((one_) => h("li", {}, h("p", { lang: langOf(/[\u4e00-\u9fff]/.test(one_.text) ? "zh" : "en"), text: one_.text }),
    h("p", { class: "chips" }, one_.reasons.map((reason) => chip(refusal(reason), "bad")))))) : h("p", { class: "quiet", text: t("studio.rejected.none") }));
}
