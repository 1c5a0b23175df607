// The public API, and what the local server adds beside it (`/console/…`).

const meta = document.querySelector('meta[name="adtailor-api"]');
const BASE = (meta?.content || "").replace(/\/$/, "");

let token = null;
try {
  token = sessionStorage.getItem("adtailor.token");
} catch {
  // Without storage a token holds until the page is left.
}

/** Sends this bearer token with every call from now on. */
export function useToken(value) {
  token = value;
  try {
    sessionStorage.setItem("adtailor.token", value);
  } catch {
    // As above.
  }
}

export class ApiError extends Error {
  constructor(status, message, document) {
    super(message);
    this.status = status;
    this.document = document;
  }
}

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (token) options.headers.authorization = `Bearer ${token}`;
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetched(BASE + path, options);
  const text = await answer.text();
  let document = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    document = null;
  }
  if (!answer.ok) throw new ApiError(answer.status, said(answer.status, document), document);
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
  const more = document.errors?.length ? document.errors.map((one) => `${one.field}: ${one.reason}`).join("; ") : document.detail;
  const field = !document.errors?.length && document.field ? `${document.field}: ` : "";
  return [document.title, more ? field + more : null].filter(Boolean).join(". ");
}

const one = (id) => encodeURIComponent(id);

export const api = {
  profile: (id) => call("GET", `/v1/users/${one(id)}/profile`),
  export: (id) => call("GET", `/v1/users/${one(id)}/export`),
  interests: (id, change) => call("PATCH", `/v1/users/${one(id)}/interests`, change),
  consent: (id, said_) => call("PUT", `/v1/users/${one(id)}/consent`, said_),
  identities: (id, change) => call("PUT", `/v1/users/${one(id)}/identities`, change),
  erase: (id) => call("DELETE", `/v1/users/${one(id)}`),
  erasure: (id) => call("GET", `/v1/erasures/${one(id)}`),
  events: (events) => call("POST", "/v1/events", { events }),
  recommend: (wanted) => call("POST", "/v1/recommendations", wanted),
  feedback: (feedback) => call("POST", "/v1/feedback", { feedback }),
  ad: (id) => call("GET", `/v1/ads/${one(id)}`),
  putAds: (ads) => call("PUT", "/v1/ads", { ads }),
  classify: (texts, top = 3) => call("POST", "/v1/classify", { texts, top }),
  copy: (wanted) => call("POST", "/v1/copy", wanted),
  job: (id) => call("GET", `/v1/copy/${one(id)}`),
  review: (reviews) => call("POST", "/v1/copy/reviews", { reviews }),
  people: () => call("GET", "/console/people.json"),
  ads: () => call("GET", "/console/ads.json"),
  campaigns: () => call("GET", "/console/campaigns.json"),
  ahead: (id, seconds, { n, context }) => call("GET", `/console/ahead/${one(id)}?${new URLSearchParams({ seconds, n, ...context })}`),
  variants: (id) => call("GET", `/console/variants/${one(id)}`),
  report: (kind, name) => call("GET", `/console/uploads/${kind}/${one(name)}`),
};

/** Sends a file; `progress(share)` from 0 to 1. Only XMLHttpRequest tells how much of a body has gone. */
export function upload(kind, name, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `${BASE}/console/uploads/${kind}/${one(name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    if (token) request.setRequestHeader("authorization", `Bearer ${token}`);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new ApiError(0, "no answer", null)));
    request.addEventListener("load", () => {
      let document = null;
      try {
        document = JSON.parse(request.responseText);
      } catch {
        document = null;
      }
      if (request.status < 300) resolve(document);
      else reject(new ApiError(request.status, said(request.status, document), document));
    });
    request.send(file);
  });
}

/** What an optional route answers; null where this deployment has none. */
export async function optional(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.status === 404 || error.status === 401 || error.status === 403) return null;
    throw error;
  }
}
