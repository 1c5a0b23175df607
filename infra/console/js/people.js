// A person: what they would be shown, and everything that is known of them.
import { api, optional, people as sample } from "./api.js";
import { daily } from "./charts.js";
import { bar, busy, card, chip, dialog, download, field, fill, h, select, toast } from "./dom.js";
import { clock, day, langOf, language, moment, named, number, percent, t } from "./i18n.js";
import { recommendations } from "./shown.js";

const EVENTS = ["view", "click", "favourite", "cart", "purchase", "like", "comment", "share", "enrol", "complete", "consult", "dismiss"];
const DOMAINS = ["ecommerce", "social", "education", "health"];
const DAYS = 45;
const PAGE = 25;
const EVIDENCE = 8;

/** Ids that were looked at and are not in the sample stay in the list while the page is open. */
const visited = new Map();

export async function people(root, id, signal) {
  const list = await sample();
  if (signal.aborted) return;
  const known = new Map(list.map((one) => [one.user_id, one]));
  if (!id && list.length) id = list[0].user_id;
  if (id && !known.has(id)) visited.set(id, { user_id: id, about: "", language: "", domains: [] });
  const detail = h("div", { class: "detail" });
  root.append(picker([...list, ...[...visited.values()].filter((one) => !known.has(one.user_id))], id), detail);
  if (!id) fill(detail, h("p", { class: "empty", text: t("people.pick") }));
  else await person(detail, id, known.get(id), signal);
}

function picker(list, chosen) {
  const items = h("ul", { class: "pick" });
  const place = (user) => `#people/${encodeURIComponent(user)}`;
  const matching = (wanted) => list.filter((one) => `${one.user_id} ${one.about ?? ""}`.toLowerCase().includes(wanted.toLowerCase()));
  const exact = (wanted) => list.find((one) => one.user_id === wanted) ?? list.find((one) => one.user_id.toLowerCase() === wanted.toLowerCase());
  const show = (wanted) => {
    const found = matching(wanted);
    fill(items, found.map((one) => h("li", {}, h("a", {
      href: place(one.user_id),
      "aria-current": one.user_id === chosen ? "true" : null,
    }, h("strong", { text: one.user_id }), one.about ? h("span", { lang: langOf(one.language), text: one.about }) : null))),
    !wanted || exact(wanted) ? null : h("li", {}, h("a", { href: place(wanted), text: t(found.length ? "people.open" : "people.nobody", wanted) })));
  };
  show("");
  const search = field(t("people.find"), (id) => h("input", {
    id,
    type: "search",
    autocomplete: "off",
    oninput: (event) => show(event.target.value.trim()),
    onkeydown: (event) => {
      if (event.key !== "Enter" || !event.target.value.trim()) return;
      const wanted = event.target.value.trim();
      const found = matching(wanted);
      const one = exact(wanted) ?? (found.length === 1 ? found[0] : null);
      if (one || !found.length) location.hash = place(one?.user_id ?? wanted);
      else items.querySelector("a").focus(); // several: whoever looks chooses, the id as it was typed among them
    },
  }), t("people.hint"));
  const wide = matchMedia("(min-width: 861px)").matches;
  return h("details", { class: "side", open: wide || !chosen }, h("summary", { text: t("people.list") }), search, items);
}

async function person(root, id, about, signal) {
  fill(root, h("p", { class: "empty", text: t("loading") }));
  const state = { id, about, profile: null, data: null, kept: 0 };
  let loading = null;
  let mounted = false;
  // found: an answer of `ahead`, which tells of an unknown person without the 404 that the other routes give; null: none
  // yet, false: not to be had.
  const load = async (found) => {
    const known = found ?? await api.ahead(id, 0, { n: 1, context: {} }).catch((error) => {
      if (error.status === 403) return false; // it is another scope
      throw error;
    });
    const [profile, data] = known && !known.profile ? [] : await Promise.all([optional(api.profile(id)), optional(api.export(id))]);
    Object.assign(state, profile && data ? { profile, data } : nobody());
    state.kept = state.data.complete === false ? state.profile.events : state.data.events.length;
    if (mounted && !signal.aborted) draw();
  };
  const loaded = (found) => (loading ??= load(found));
  const places = { head: h("div", {}), interests: h("div", {}), timeline: h("div", {}), consent: h("div", {}), ids: h("div", {}) };
  const shown = recommendations(state, signal, loaded, (profile) => fill(places.interests, interests(profile ? { ...state, profile } : state, changed)));
  const draw = () => {
    fill(places.head, head(state, signal));
    fill(places.interests, interests(state, changed));
    fill(places.timeline, timeline(state, signal));
    fill(places.consent, consent(state, changed));
    fill(places.ids, identities(state, changed));
  };
  const changed = async () => {
    loading = null;
    await shown.ask();
  };
  let problem = null;
  try {
    await shown.ask(); // their ads, and with them whether anything is known
  } catch (error) {
    problem = error; // it is told below what may be seen without
    await loaded(null);
  }
  if (signal.aborted) return;
  mounted = true;
  fill(root, places.head, h("div", { class: "two person" },
    h("div", { class: "shown-area" }, shown.element),
    h("div", { class: "column side-area" }, adding(state, changed), places.interests, places.consent, places.ids),
    h("div", { class: "time-area" }, places.timeline)));
  draw();
  if (problem) throw problem;
}

/** What there is of an id that nothing is kept of. */
function nobody() {
  return {
    profile: { events: 0, interests: [], segments: [], updated_at: null, consent: { personalisation: true, sensitive: false, basis: "none", source: "", at: null, minor: false } },
    data: { complete: true, events: [], decisions: [], statements: [], ids: [] },
  };
}

function head({ id, about, profile, data, kept }, signal) {
  return h("header", { class: "headline" },
    h("div", {}, h("h1", { text: id }),
      about?.about ? h("p", { class: "lead", lang: langOf(about.language), text: about.about }) : null,
      h("p", { class: "chips" }, chip(t("people.events", number(kept))),
        kept && !profile.events ? chip(t("people.unused"), "warn") : null,
        profile.events ? chip(t("people.updated", moment(profile.updated_at))) : null,
        profile.consent.basis === "none" ? null : profile.consent.personalisation ? chip(`${t("con.personalisation")} ✓`, "good") : chip(`${t("con.personalisation")} ✕`, "bad"),
        profile.segments.map((one) => chip(named(profile.interests.find((other) => other.id === one)?.name) || one)))),
    h("div", { class: "actions" },
      h("button", { type: "button", text: t("people.export"), onclick: (event) => busy(event.target, async () => {
        const found = await api.export(id);
        if (found.complete) download(`${id}.json`, JSON.stringify(found, null, 2));
        else location.assign(found.url);
      }) }),
      h("button", { type: "button", class: "danger", text: t("people.erase"), onclick: () => erasing(id, data, signal) })));
}

function adding(state, changed) {
  const domain = state.about?.domains?.[0] ?? "ecommerce";
  const form = h("form", { class: "stack", novalidate: true });
  const value = (name) => form.elements.namedItem(name).value.trim();
  form.append(
    h("p", { class: "hint", text: t("add.lead") }),
    h("div", { class: "pair" },
      field(t("add.type"), (id) => select(id, EVENTS.map((one) => [one, t(`event.${one}`)]), "favourite", { name: "event" })),
      field(t("add.when"), (id) => select(id, ["0", "3600", "86400", "604800", "2592000"].map((one) => [one, t(`when.${one}`)]), "0", { name: "when" }))),
    field(t("add.text"), (id) => h("input", { id, name: "text", placeholder: t("add.placeholder"), autocomplete: "off" })),
    h("div", { class: "pair" },
      field(t("studio.domain"), (id) => select(id, DOMAINS.map((one) => [one, t(`domain.${one}`)]), domain, { name: "domain" })),
      field(t("add.item"), (id) => h("input", { id, name: "item", autocomplete: "off" }))),
    h("button", { class: "primary", text: t("add.send") }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), async () => {
      const made = { user_id: state.id, event: value("event"), timestamp: Date.now() / 1000 - Number(value("when")), domain: value("domain"), platform: "console" };
      if (value("text")) made.text = value("text");
      if (value("item")) made.item_id = value("item");
      const report = await api.events([made]);
      if (report.rejected.length) {
        toast(t("add.rejected", report.rejected[0].field, report.rejected[0].reason), "bad");
        return;
      }
      toast(t("add.done"), "good");
      for (const name of ["text", "item"]) form.elements.namedItem(name).value = "";
      await changed();
    });
  });
  return card(t("add.title"), form);
}

function interests({ id, profile, data, kept }, changed) {
  const events = new Map((data.events ?? []).map((one) => [one.event_id, one]));
  if (!profile.interests.length) return card(t("int.title"), h("p", { class: "empty", text: t(kept ? "int.none" : "people.unknown") }));
  // An interest may stand in both terms, each with a weight of its own.
  const terms = Map.groupBy(profile.interests, (one) => one.id);
  const both = new Set(profile.interests.map((one) => one.term)).size > 1;
  return card(t("int.title"), both ? h("p", { class: "hint", text: t("int.shares") }) : null, h("ul", { class: "interests" }, [...terms.values()].map((all) => {
    const [one] = all;
    const name = named(one.name);
    const [proof, against] = ["evidence", "against"].map((which) => [...new Set(all.flatMap((of) => of[which]))]);
    return h("li", { class: one.enabled ? "" : "off" },
      h("div", { class: "interest" },
        h("div", { class: "grow" },
          h("p", {}, h("strong", { text: name })),
          all.map((of) => h("p", { class: "figure" }, bar(of.weight), h("span", { text: percent(of.weight) }), h("span", { class: "quiet", text: `${t("int.strength", number(of.strength, 1))} · ${t(`int.${of.term}`)}` })))),
        h("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(one.enabled), "aria-label": name,
          title: t(one.enabled ? "int.on" : "int.off", name),
          onclick: (event) => busy(event.currentTarget, async () => {
            await api.interests(id, one.enabled ? { disable: [one.id] } : { enable: [one.id] });
            await changed();
          }) })),
      h("details", {}, h("summary", { text: t("int.evidence", number(proof.length)) + (against.length ? ` · ${t("int.against", number(against.length))}` : "") }),
        evidence([...proof, ...against].map((key) => events.get(key) ?? key))));
  })));
}

/** What an interest rests on: events, or their ids where they lie elsewhere. */
function evidence(all) {
  const list = h("ul", { class: "evidence" });
  const grow = (until) => fill(list, all.slice(0, until).map((one) => h("li", { text: typeof one === "string" ? one : `${t(`event.${one.event}`)} · ${one.text ?? one.item_id ?? one.tags.join(" ")}` })),
    all.length > until ? h("li", {}, h("button", { type: "button", class: "ghost small", text: t("more"), onclick: () => grow(all.length) })) : null);
  grow(EVIDENCE);
  return list;
}

function timeline({ data }, signal) {
  if (data.complete === false) return card(t("time.title"), h("p", { text: t("time.elsewhere") }));
  const entries = [
    ...data.events.map((one) => ({ at: Date.parse(one.timestamp), kind: one.event, label: t(`event.${one.event}`), text: one.text ?? one.item_id ?? one.tags.join(" ") })),
    ...data.decisions.map((one) => ({ at: Date.parse(one.at), kind: "shown", label: t("time.shown", number(one.ads.length)), text: one.ads.slice(0, 3).map((ad) => ad.copy ?? ad.ad_id).join(" · ") })),
  ].sort((a, b) => b.at - a.at);
  if (!entries.length) return card(t("time.title"), h("p", { class: "empty", text: t("time.empty") }));
  const holder = h("div", {});
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  const days = Array.from({ length: DAYS }, (_, place) => midnight - (DAYS - 1 - place) * 86400);
  const counts = new Array(DAYS).fill(0);
  for (const one of data.events) {
    const place = DAYS - 1 - Math.floor((midnight + 86400 - Date.parse(one.timestamp) / 1000) / 86400);
    if (place >= 0 && place < DAYS) counts[place] += 1;
  }
  const short = (second) => new Intl.DateTimeFormat(language() === "zh" ? "zh-CN" : "en-GB", { day: "numeric", month: "numeric" }).format(new Date(second * 1000));
  requestAnimationFrame(() => !signal.aborted && daily(holder, t("time.chart", DAYS), days, counts, short, signal));
  const rows = h("ol", { class: "timeline" });
  const more = h("button", { type: "button", class: "ghost", text: t("more") });
  let until = 0;
  const grow = () => {
    until += PAGE;
    let last = "";
    fill(rows, entries.slice(0, until).flatMap((one) => {
      const date = day(one.at);
      const opened = date === last ? null : h("li", { class: "date", text: date });
      last = date;
      return [opened, h("li", { class: one.kind }, h("time", { datetime: new Date(one.at).toISOString(), text: clock(one.at) }), h("b", { text: one.label }), h("span", { text: one.text }))];
    }));
    more.hidden = until >= entries.length;
  };
  more.addEventListener("click", grow);
  grow();
  return card(t("time.title"), h("p", { class: "hint", text: t("time.chart", DAYS) }), holder, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("time.title") }, rows, more));
}

function consent({ id, profile, data }, changed) {
  const now = profile.consent;
  const form = h("form", { class: "stack" },
    ["personalisation", "sensitive"].map((one) => h("label", { class: "check" }, h("input", { type: "checkbox", name: one, checked: now.basis !== "none" && now[one] }), h("span", { text: t(`con.${one}`) }))),
    h("button", { class: "primary", text: t("save") }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), async () => {
      const said = (name) => form.elements.namedItem(name).checked;
      await api.consent(id, { personalisation: said("personalisation"), sensitive: said("sensitive"), source: "console", at: new Date().toISOString() });
      toast(t("con.saved"), "good");
      await changed();
    });
  });
  const history = [...(data.statements ?? [])].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  return card(t("con.title"),
    h("p", { class: "quiet" }, [t(`con.basis.${now.basis}`), now.source, now.at ? moment(now.at) : null].filter(Boolean).join(" · "), now.minor ? [" ", chip(t("con.minor"), "warn")] : null),
    form,
    history.length ? h("details", {}, h("summary", { text: `${t("con.history")} (${history.length})` }), h("ul", { class: "evidence" }, history.map((one) => h("li", {
      text: `${moment(one.at)} · ${t("con.personalisation")}: ${t(one.personalisation ? "con.yes" : "con.no")} · ${t("con.sensitive")}: ${t(one.sensitive ? "con.yes" : "con.no")} · ${one.source}`,
    })))) : null);
}

function identities({ id, data }, changed) {
  const others = (data.ids ?? []).filter((one) => !one.asked);
  const form = h("form", { class: "stack" });
  const send = (button, change) => busy(button, async () => {
    const other = { id: form.elements.namedItem("other").value.trim() };
    const platform = form.elements.namedItem("platform").value.trim();
    if (!other.id) return;
    if (platform) other.platform = platform;
    const answer = await api.identities(id, { [change]: [other] });
    toast(answer.changes.map((one) => t(`ids.${one.result}`)).join(", "), "good");
    await changed();
  });
  form.append(
    h("div", { class: "pair" },
      field(t("ids.id"), (of) => h("input", { id: of, name: "other", autocomplete: "off", required: true })),
      field(t("ids.platform"), (of) => h("input", { id: of, name: "platform", autocomplete: "off" }))),
    h("div", { class: "actions" }, h("button", { class: "primary", text: t("ids.link") }),
      h("button", { type: "button", text: t("ids.unlink"), onclick: (event) => send(event.target, "unlink") })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form.querySelector("button"), "link");
  });
  return card(t("ids.title"),
    others.length ? h("ul", { class: "plain" }, others.map((one) => h("li", {}, h("strong", { text: one.platform ?? t("ids.unnamed") }), " ", h("code", { text: one.ref })))) : h("p", { class: "quiet", text: t("ids.none") }),
    form);
}

function erasing(id, data, signal) {
  const opened = dialog(t("erase.title", id), (close) => {
    const go = h("button", { class: "danger", text: t("erase.go"), disabled: true });
    const form = h("form", { class: "stack" }, h("p", { text: t("erase.text") }),
      field(t("erase.type"), (of) => h("input", { id: of, autocomplete: "off", oninput: (event) => { go.disabled = event.target.value !== id; } })),
      h("div", { class: "actions" }, h("button", { type: "button", text: t("cancel"), onclick: close }), go));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(go, async () => {
        const receipt = await api.erase(id);
        await follow(opened, id, receipt, signal);
      });
    });
    return [form];
  });
}

async function follow(opened, id, receipt, signal) {
  const heading = opened.querySelector("h2");
  heading.textContent = t("erase.receipt");
  const body = h("div", { class: "stack", role: "status" });
  const draw = (one) => fill(body,
    h("p", { class: "state" }, chip(t(`erase.${one.state}`), one.state === "done" ? "good" : ""), " ", h("code", { text: one.erasure_id })),
    counts(t("erase.removed"), one.removed.table), counts(t("erase.objects"), one.removed.objects),
    one.left.length ? h("p", { text: `${t("erase.left")}: ${one.left.join(", ")}` }) : null,
    Object.keys(one.kept).length ? h("details", {}, h("summary", { text: t("erase.kept") }), h("ul", { class: "evidence" }, Object.entries(one.kept).map(([what, why]) => h("li", { text: `${what}: ${why}` })))) : null);
  opened.replaceChildren(heading, body, h("div", { class: "actions" }, h("button", { type: "button", text: t("close"), onclick: () => opened.close() })));
  draw(receipt);
  let last = receipt;
  opened.addEventListener("close", () => {
    visited.delete(id);
    location.hash = "people";
  });
  while (last.state !== "done" && opened.open && !signal.aborted) {
    await new Promise((done) => setTimeout(done, 700));
    try {
      last = await api.erasure(last.erasure_id);
      draw(last);
    } catch (error) {
      if (error.status === 401) throw error;
      toast(error.message, "bad"); // it goes on without anybody looking
    }
  }
}

function counts(title, found) {
  const some = Object.entries(found ?? {}).filter(([, count]) => count);
  return some.length ? h("p", { text: `${title}: ${some.map(([what, count]) => `${what} ${number(count)}`).join(", ")}` }) : null;
}
