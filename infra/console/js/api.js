// The public API. Nothing else is asked, but the sample's list of people beside the page.
import { base, bearer, renewable } from "./session.js";
import { t } from "./i18n.js";

const PAGE = 500;

export class ApiError extends Error {
  constructor(status, message, document) {
    super(message);
    this.status = status;
    this.document = document;
  }
}

async function call(method, path, body) {
  const send = async (again) => {
    const options = { method, headers: {} };
    const token = await bearer(again);
    if (token) options.headers.authorization = `Bearer ${token}`;
    if (body !== undefined) {
      options.headers["content-type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    return fetched(base() + path, options);
  };
  let answer = await send(false);
  if (answer.status === 401 && renewable()) answer = await send(true);
  const text = await answer.text();
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    document = null;
  }
  if (!answer.ok) throw new ApiError(answer.status, said(answer.status, document), document);
  // A host of pages answers 200 to paths that it does not know.
  if (document === null) throw new ApiError(0, t("api.nojson", `${method} ${base()}${path}`), null);
  return document;
}

/** Reading is tried again where the network broke off: that changes nothing. */
async function fetched(url, options) {
  const attempts = options.method === "GET" ? 2 : 1;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetch(url, options);
    } catch {
      if (attempt === attempts) throw new ApiError(0, `${options.method} ${url}: no answer`, null);
      await new Promise((done) => setTimeout(done, 300));
    }
  }
}

/** A problem document (RFC 9457) in one line. */
function said(status, document) {
  if (!document) return `HTTP ${status}`;
  if (!document.title) return document.message ?? `HTTP ${status}`; // API Gateway's own
  const more = document.errors?.length ? document.errors.map((one) => `${one.field}: ${one.reason}`).join("; ") : document.detail;
  const field = !document.errors?.length && document.field ? `${document.field}: ` : "";
  return [document.title, more ? field + more : null].filter(Boolean).join(". ");
}

const one = (id) => encodeURIComponent(id);
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "")).toString();

export const api = {
  profile: (id) => call("GET", `/v1/users/${one(id)}/profile`),
  ahead: (id, seconds, { n, context }) => call("GET", `/v1/users/${one(id)}/ahead?${query({ seconds, n, ...context })}`),
  export: (id) => call("GET", `/v1/users/${one(id)}/export`),
  interests: (id, change) => call("PATCH", `/v1/users/${one(id)}/interests`, change),
  consent: (id, said_) => call("PUT", `/v1/users/${one(id)}/consent`, said_),
  identities: (id, change) => call("PUT", `/v1/users/${one(id)}/identities`, change),
  erase: (id) => call("DELETE", `/v1/users/${one(id)}`),
  erasure: (id) => call("GET", `/v1/erasures/${one(id)}`),
  events: (events) => call("POST", "/v1/events", { events }),
  recommend: (wanted) => call("POST", "/v1/recommendations", wanted),
  feedback: (feedback) => call("POST", "/v1/feedback", { feedback }),
  ads: (after = null) => call("GET", `/v1/ads?${query({ limit: PAGE, after })}`),
  ad: (id) => call("GET", `/v1/ads/${one(id)}`),
  listed,
  variants: (id) => call("GET", `/v1/ads/${one(id)}/variants`),
  putAds: (ads) => call("PUT", "/v1/ads", { ads }),
  campaigns: (after = null) => call("GET", `/v1/campaigns?${query({ limit: PAGE, after })}`),
  classify: (texts, top = 3) => call("POST", "/v1/classify", { texts, top }),
  copy: (wanted) => call("POST", "/v1/copy", wanted),
  job: (id) => call("GET", `/v1/copy/${one(id)}`),
  review: (reviews) => call("POST", "/v1/copy/reviews", { reviews }),
  heads: () => call("GET", "/v1/heads"),
  head: (name) => call("GET", `/v1/heads/${one(name)}`),
  ranker: () => call("GET", "/v1/ranker"),
  upload: (kind, name) => call("POST", "/v1/uploads", { kind, name }),
  report: (kind, name) => call("GET", `/v1/uploads/${kind}/${one(name)}`),
};

/** The ad of an id as the list has it; null where there is none, which is no error here: `api.ad` answers 404 to that,
 * and a 404 stands in the browser's console. */
async function listed(id) {
  // The list goes by code point: it begins just before the id.
  const letters = Array.from(id);
  const last = letters.pop().codePointAt(0) - 1;
  let after = letters.join("") + (last > 32 && !(last >= 0xd800 && last < 0xe000) ? `${String.fromCodePoint(last)}~~~~` : "");
  for (;;) {
    const { ads, next } = await call("GET", `/v1/ads?${query({ limit: 20, after })}`);
    const found = ads.find((ad) => ad.ad_id === id);
    if (found || !next || ads.some((ad) => ad.ad_id > id)) return found ?? null;
    after = next;
  }
}

/** People to begin with: a file beside the page. On AWS a person is known only by a hash, and their id is typed. */
export async function people() {
  const answer = await fetch("people.json");
  try {
    return answer.ok ? await answer.json() : [];
  } catch {
    return []; // a host of pages answers something else to paths that it does not know
  }
}

/** Sends a file where `place` (of `api.upload`) says; `progress(bytes)`. Only XMLHttpRequest tells how much of a body has
 * gone; it reads the file as it sends it. */
export function send(place, file, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(place.method, place.url);
    for (const [name, value] of Object.entries(place.headers ?? {})) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(new ApiError(0, "no answer", null)));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.addEventListener("load", () => {
      if (request.status < 300) resolve();
      else reject(new ApiError(request.status, refused(request), null));
    });
    request.send(place.method === "POST" ? form(place.fields, file) : file);
  });
}

function form(fields, file) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields ?? {})) body.append(name, value);
  body.append("file", file); // the last one: S3 ignores what follows it
  return body;
}

/** What S3 says: XML with a message, or JSON of ours. */
function refused(request) {
  const found = /<Message>([^<]*)<\/Message>/.exec(request.responseText);
  return found ? found[1] : `HTTP ${request.status}`;
}

/** What a route answers; null where there is no such thing. */
export async function optional(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}
