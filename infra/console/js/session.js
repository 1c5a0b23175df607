// Who asks: what `config.json` beside the page says, and signing in with the issuer that it names.
//
// {"api": "https://…", "issuer": "https://…", "client_id": "…", "scope": "openid adtailor/read …"}, all of them optional:
// without `api` the page's own origin answers, without `issuer` a token is pasted where the API asks for one.

import { t } from "./i18n.js";

const KEPT = "adtailor.token";
const EARLY = 60; // seconds before a token ends at which another is fetched
const LIBRARY = "vendor/oidc-client-ts/oidc-client-ts.min.js";

let config = {};
let manager = null;
let user = null; // who signed in with the issuer
let pasted = null;
let renewing = null;

/** Reads the configuration, and takes in what the issuer sent somebody back with: they are at the place (`#people/…`)
 * again that they left for signing in. */
export async function begin() {
  pasted = remembered();
  const answer = await fetch("config.json", { cache: "no-cache" });
  if (answer.ok) config = await answer.json().catch(() => { throw new Error(t("sign.noconfig")); });
  if (!config.issuer) return;
  await library();
  const { InMemoryWebStorage, UserManager, WebStorageStateStore } = globalThis.oidc;
  const store = new WebStorageStateStore({ store: storage() ?? new InMemoryWebStorage() });
  const here = location.origin + location.pathname;
  manager = new UserManager({
    authority: config.issuer,
    client_id: config.client_id,
    scope: config.scope || "openid",
    response_type: "code", // with PKCE, which the library always adds
    redirect_uri: here,
    post_logout_redirect_uri: here,
    userStore: store,
    stateStore: store,
    loadUserInfo: false,
    automaticSilentRenew: false, // by its refresh token when it is needed: see `bearer`
  });
  const asked = new URLSearchParams(location.search);
  if (asked.has("state") && (asked.has("code") || asked.has("error"))) {
    let back = null;
    try {
      user = (await manager.signinCallback()) ?? null;
      back = user?.state;
    } catch (error) {
      back = error.state; // of a refusal: where they were
      user = await manager.getUser(); // an answer that nobody here asked for signs nobody out
      throw error;
    } finally {
      history.replaceState(null, "", here + (typeof back === "string" ? back : ""));
    }
  } else user = await manager.getUser();
}

/** Origin of the API; empty: this page's own. */
export const base = () => (config.api || "").replace(/\/$/, "");

/** Whether the page knows where to sign in. */
export const hasIssuer = () => manager !== null;

/** The scopes that the page asks the issuer for. */
export const scope = () => config.scope || "";

/** What to call who is signed in; null where nobody is. */
export function who() {
  if (pasted) return "";
  if (!user) return null;
  const { email, preferred_username: name, sub } = user.profile;
  return email || name || sub || "";
}

/** The token to send, renewed where it is about to end; null without one. again: it was just refused. A renewal that
 * the issuer refuses ends the session; one that does not come through is an error only where the token is needed. */
export async function bearer(again = false) {
  if (pasted) return pasted;
  if (!user) return null;
  if (user.refresh_token && (again || (user.expires_in ?? Infinity) < EARLY)) {
    renewing ??= renew().finally(() => { renewing = null; });
    const problem = await renewing;
    if (problem && (again || user.expired)) throw problem;
  }
  return user && !user.expired ? user.access_token : null;
}

/** What kept the token from being renewed, for now; null where it was, or where the session has ended. */
async function renew() {
  try {
    user = (await manager.signinSilent()) ?? user;
  } catch (error) {
    if (error.error !== "invalid_grant") return new Error(t("sign.notrenewed", error.message)); // RFC 6749, 5.2
    await forget();
  }
  return null;
}

/** Whether a refused token may be replaced by another without asking anybody. */
export const renewable = () => !pasted && Boolean(user?.refresh_token);

/** Leaves for the issuer; the page comes back to the place that it shows now. */
export async function signIn() {
  usePasted(null);
  try {
    await manager.signinRedirect({ state: location.hash });
  } catch (error) {
    throw new Error(t("sign.down", config.issuer, error.message));
  }
}

/** The API takes the token that it was sent for none: it is forgotten. */
export async function refused() {
  usePasted(null);
  if (user) await forget();
}

/** Forgets every token; with an issuer also its own session, by going there. Whether the page is being left for that. */
export async function signOut() {
  usePasted(null);
  if (!user) return false;
  const leaving = user;
  await forget();
  const { end_session_endpoint: end } = await manager.metadataService.getMetadata().catch(() => ({})); // it may be down
  if (!end) return false;
  const here = location.origin + location.pathname;
  // Amazon Cognito reads the second pair of names, everybody else those of the library.
  await manager.signoutRedirect({ id_token_hint: leaving.id_token, extraQueryParams: { client_id: config.client_id, logout_uri: here } });
  return true;
}

/** Sends this token from now on, until the tab is closed. */
export function usePasted(token) {
  pasted = token;
  try {
    if (token) sessionStorage.setItem(KEPT, token);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage it holds until the page is left.
  }
}

async function forget() {
  user = null;
  await manager.removeUser();
}

function remembered() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function storage() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

function library() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = LIBRARY;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error(`${LIBRARY} cannot be read`)));
    document.head.append(script);
  });
}
