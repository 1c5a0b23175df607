// Words in both languages. `t(name, value…)` puts the values in the place of {0}, {1}.
import { WORDS } from "./words.js";

let current = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

export const language = () => current;

export function setLanguage(to) {
  current = to;
}

export function t(key, ...values) {
  const pair = WORDS[key];
  if (!pair) return key;
  return pair[current === "zh" ? 0 : 1].replace(/\{(\d)\}/g, (_, place) => String(values[Number(place)] ?? ""));
}

/** A word that may have no translation: `word("kind", "price")`. */
export function word(group, name) {
  return WORDS[`${group}.${name}`] ? t(`${group}.${name}`) : name;
}

/** The text of `{"zh", "en"}` in the language of the page. */
export function named(names) {
  return names ? names[current] || names.en || names.zh || "" : "";
}

/** Why a candidate was refused. The gate says it in English, in a few shapes; what has another is shown as it is. */
export function refusal(reason) {
  if (current !== "zh") return reason;
  const unsupported = /^unsupported (\S+): ([^]*)$/.exec(reason);
  if (unsupported) return t("refusal.unsupported", word("kind", unsupported[1]), unsupported[2]);
  const policy = /^policy (\S+): ([^]*)$/.exec(reason);
  const at = policy ? bracket(policy[2]) : 0;
  if (at > 0) return t("refusal.policy", policy[2].slice(0, at - 1), policy[1], policy[2].slice(at + 1, -1));
  return word("refusal", reason);
}

/** Where the bracket begins that a text ends with, whatever brackets are within it; 0 without one. */
function bracket(text) {
  let depth = 0;
  for (let place = text.length - 1; place > 0; place -= 1) {
    if (text[place] === ")") depth += 1;
    else if (text[place] === "(") depth -= 1;
    if (depth === 0) return text[place] === "(" && text[place - 1] === " " ? place : 0;
  }
  return 0;
}

const locale = () => (current === "zh" ? "zh-CN" : "en-GB");

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

export const percent = (share, digits = 0) =>
  new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits }).format(share);

/** A size in bytes, as people say it. */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = size < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(size) / 3));
  return `${number(size / 1000 ** step, step ? 1 : 0)} ${units[step]}`;
}

export function moment(value) {
  if (!value) return "—";
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(value));
}

export function clock(value) {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit" }).format(new Date(value));
}

export function day(value) {
  return new Intl.DateTimeFormat(locale(), { weekday: "short", month: "short", day: "numeric" }).format(new Date(value));
}

/** What the rule packs say in both languages, "中文 / English", in that of the page. */
export function either(text) {
  const parts = text.split(" / ");
  return parts.length === 2 ? parts[current === "zh" ? 0 : 1] : text;
}

/** The `lang` of a text that is in another language than the page. */
export const langOf = (code) => (code === "zh" ? "zh-CN" : code === "en" ? "en" : null);
