// The daemon as the page sees it: requests, the session of this browser, and the events of the link.
import { answerOf as signedChallenge, deviceKey } from "./device.js";
import { attempted, byLink, closeLink, linked, openLink } from "./link.js";

const CSRF = "quantd.csrf";
const OUT = "quantd.out";  // a person signed this device out: it does not sign in by itself
const QUIET_MS = 5000;
const OLD_MS = 12000;  // two beats without an answer
const SESSION_MS = 30000;
const READ_MS = 20000;  // 500 symbols on a slow machine take 6 s
const BEAT_MS = 4000;
const LOOK_MS = 2000;
const UPGRADE_MS = 15000;  // between two attempts where the upgrade is refused
const HEDGE_MS = 1500;  // after which an act that the link has not answered is sent by HTTP too
const OPEN_MS = 1000;  // for which an act waits for a link that opens
const FREE_MS = 1000;  // after which a sign-in ends the reads that hold the browser's connections

// What every screen reads. `at` is when the daemon answered last; `lost` is true while it does not answer, and `polls`
// where it answers without a link. `run` is the run that answers, also while `live` has the figures of the one before.
/** @type {{ session: api.SessionNow, live: { overview: api.Overview }, at: number, lost: boolean, polls: boolean, ended: string, asking: string, recorded: boolean, stops: boolean, renewed: boolean, device: string, pairing: string, run: string, acknowledged?: number }} */
export const daemon = {
  session: null, live: null, at: 0, lost: false, polls: false, ended: "", asking: "", recorded: false, stops: false,
  renewed: false, device: "", pairing: "", run: "",
};

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Whether the daemon answered lately. A tab that was frozen has no answer until the next one.
export const up = () => !daemon.lost && daemon.at > 0 && Math.abs(Date.now() - daemon.at) < OLD_MS;

const listeners = new Set();
export const listen = (each) => { listeners.add(each); return () => listeners.delete(each); };
export const changed = (news) => { Object.assign(daemon, news); listeners.forEach((each) => each()); };

// The CSRF token of the session, for all tabs; for this tab alone where the browser stores nothing.
let unstored = "";
function csrfNow() {
  try { return localStorage.getItem(CSRF) || unstored; } catch { return unstored; }
}
function keepCsrf(text) {
  unstored = "";
  try {
    if (text) localStorage.setItem(CSRF, text); else localStorage.removeItem(CSRF);
  } catch { unstored = text; }
}

// A control exists where the token of the session grants its scope. The cookie alone only reads.
export const may = (scope) => Boolean(daemon.session && daemon.session.scopes.includes(scope) && csrfNow());

// A session that ended by itself leaves the ways to stop trading on the page; they ask for a token.
export const mayStop = () => may("trade") || daemon.stops;

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && daemon.session && daemon.session.name) session().catch(() => {});
  if (!response.ok) throw new Error(body.detail || body.title || `status ${response.status}`);
  return body;
}

// The reads under way. A sign-in that waits for one of the browser's connections ends those of all tabs.
let reads = new AbortController();
const free = () => { reads.abort(); reads = new AbortController(); };
const tabs = (() => { try { return new BroadcastChannel("quantd.free"); } catch { return null; } })();
if (tabs) tabs.onmessage = free;

/**
 * The answer of a GET; its type is that of the route, with or without a query.
 * @template {string} P
 * @param {P} path
 * @param {number} [within] milliseconds; a read without an answer holds one of the browser's few connections
 * @returns {Promise<Answer<P>>}
 */
export async function read(path, within = READ_MS) {
  const signal = AbortSignal.any([reads.signal, AbortSignal.timeout(within)]);
  return answerOf(await answered(fetch(path, { headers: { Accept: "application/json" }, signal, cache: "no-store" })));
}

// A browser's own words for a lost answer say nothing.
const answered = (asked) => asked.catch(() => { throw new Error("no answer of the daemon"); });

// A question about an act: by the link, so that it waits for no read.
export async function question(path, within) {
  const signal = AbortSignal.timeout(within);
  return linked() ? byLink("GET", path, signal) : fetch(path, { headers: { Accept: "application/json" }, signal });
}

// The fields of a form that a person filled in: the daemon refuses an empty name.
const given = (body) => JSON.parse(JSON.stringify(body, (name, value) => (value === "" && name !== "reason" ? undefined : value)));

function byHttp(path, body, key = "", signal = null) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrfNow() };
  if (key) headers["Idempotency-Key"] = key;
  return fetch(path, { method: "POST", headers, body: JSON.stringify(given(body)), signal, credentials: "include" });
}

// The address for a halt at the port that no flood of the API reaches; empty for other acts, and behind a proxy.
function doorOf(path, { command }) {
  const port = daemon.session && daemon.session.halt_port;
  const stops = path === "/api/v1/commands" && (command === "halt" || command === "reduce");
  return port && stops ? `${location.protocol}//${location.hostname}:${port}/${command}` : "";
}

// The answer of one of two ways of the same act: "still carried out" only says that the other way has it.
async function told(asking) {
  const answer = await asking;
  const text = await answer.json();
  if (answer.status === 409 && text.code === "idempotency") throw new Error("the other way has it");
  return { status: answer.status, ok: answer.ok, json: async () => text };
}

// An act under a key by one way, and by a second one after HEDGE_MS, or at once where the first way has failed.
function hedged(first, second) {
  let over = false;
  const one = told(first).then((answer) => { over = true; return answer; });
  const two = Promise.race([one.catch(() => null), pause(HEDGE_MS)]).then(() => (over ? one : told(second())));
  return answered(Promise.any([one, two]));
}

// Acts without an entry of the journal: a daemon that was started again does not know their keys.
export const JOBS = /^\/api\/v1\/(research|schedules)\//;

// A POST, for acts.js alone. The key makes a request that is sent twice, by a double click too, one act. A halt has a
// port of its own; all others go by the link, and by HTTP where the link has not answered or has ended.
export async function post(path, body, key = "", signal = null) {
  const door = key && doorOf(path, body);
  return door ? hedged(byHttp(door, body, key, signal), () => byMain(path, body, key, signal)) : byMain(path, body, key, signal);
}

async function byMain(path, body, key, signal) {
  if (!linked()) await Promise.race([attempted(), pause(OPEN_MS)]);
  if (!linked()) return answered(byHttp(path, body, key, signal));
  const first = byLink("POST", path, signal, { body: given(body), ...(key ? { key } : {}) });
  return !key || JOBS.test(path) ? answered(first) : hedged(first, () => byHttp(path, body, key, signal));
}

// A sign-in or sign-out, whose answer changes the cookie. The link begins anew with it.
async function enter(path, body) {
  const waits = setTimeout(() => { free(); if (tabs) tabs.postMessage(""); }, FREE_MS);
  try { return await answerOf(await answered(byHttp(path, body))); } finally { clearTimeout(waits); }
}

/**
 * A request to another daemon of this page: with the token that a person gave for that daemon, without the cookies of
 * this browser. With `sent` it is a POST under a key.
 * @param {string} origin
 * @param {string} path
 * @param {string} token
 * @param {AbortSignal} signal
 * @param {{ body: object, key: string } | null} [sent]
 */
export async function elsewhere(origin, path, token, signal, sent = null) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (!sent) return answered(fetch(origin + path, { headers, signal, credentials: "omit" }));
  Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": sent.key });
  return answered(fetch(origin + path, { method: "POST", headers, body: JSON.stringify(given(sent.body)), signal, credentials: "omit" }));
}

export const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (x) => x.toString(36)).join("-");

export async function session() {
  const before = daemon.session;
  const found = await read("/api/v1/session");
  let { ended, stops } = daemon;
  if (found.name) [ended, stops] = ["", false];
  // not by a sign-out, here or in another tab; the tab that saw it first has removed the CSRF token of all
  else if (before && before.name && !signedOut()) [ended, stops] = [before.name, before.scopes.includes("trade")];
  if (!found.name) keepCsrf("");
  if (!found.name && daemon.device && !signedOut() && await byDevice(found.challenge)) return;
  changed({ session: found, ended, stops });
  if (found.reads) follow(); else stop(!ended);
}

let unstoredOut = false;
function signedOut() {
  try { return Boolean(localStorage.getItem(OUT)); } catch { return unstoredOut; }
}
function keepSignedOut(out) {
  unstoredOut = out;
  try { if (out) localStorage.setItem(OUT, "1"); else localStorage.removeItem(OUT); } catch { /* a private window */ }
}

// Signs a paired device in by its key; false where the daemon does not know it.
let asks = false;
async function byDevice(challenge) {
  if (asks) return false;
  asks = true;
  try {
    await signIn(await signedChallenge(challenge));
    return true;
  } catch { return false; } finally { asks = false; }
}

/**
 * Offers the key of this browser by the code of a link; whether the person at the terminal has accepted it.
 * @param {string} code
 * @param {string} key
 */
export async function offer(code, key) {
  return (await enter("/api/v1/pair", { code, key })).paired;
}

// By the key of this device, as a person asks for it.
export async function signInByDevice() {
  await signIn(await signedChallenge((await read("/api/v1/session")).challenge));
}

export async function signIn(what) {
  const found = await enter("/api/v1/sign-in", what);
  keepCsrf(found.csrf);
  keepSignedOut(false);
  changed({ ended: "" });
  connect();
  await session();
  if (!daemon.session.name) {
    throw new Error("this browser did not keep the cookie of the session: allow cookies for this page, and sign in "
      + "again. A halt needs none: quantd halt, on the daemon's machine");
  }
}

export async function signOut() {
  keepSignedOut(true);  // before the session ends, so that no tab takes it for an end by itself
  try { await enter("/api/v1/sign-out", {}); } catch (why) { keepSignedOut(false); throw why; }
  keepCsrf("");
  stop();
  changed({ session: { ...daemon.session, name: "", scopes: [] }, ended: "", stops: false });
  await session();
}

let following = false;
let again = 0;
let begun = 0;

// Without the right to read. A session that ended by itself leaves the last figures, with an open dialog and its input.
function stop(clear = true) {
  following = false;
  clearTimeout(again);
  closeLink();
  changed(clear ? { live: null } : {});
}

function follow() {
  if (following) return;
  following = true;
  connect();
}

function connect() {
  clearTimeout(again);
  begun = Date.now();
  if (following) openLink(csrfNow(), (live) => fresh({ live, polls: false }), ended);
}

// Whether a person is in a dialog, or has filled in a form: a reload would lose it.
export const typed = () => Boolean(document.querySelector("dialog[open]"))
  || [.../** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("main form [required]"))].some((field) => field.value);

// The daemon has answered. Figures of another run do not mix with those that are here: the page begins anew, once
// nothing that was typed is lost by it.
function fresh(news) {
  const { live, ...rest } = news;
  const renewed = Boolean(live && daemon.live && daemon.live.overview.run !== live.overview.run);
  const run = live ? live.overview.run : daemon.run;
  const back = daemon.lost;
  if (renewed) {
    changed({ ...rest, at: Date.now(), lost: false, renewed, run });
    return;
  }
  changed({ ...news, at: Date.now(), lost: false, run });
  if (back) session().catch(() => {});
}

// The link has ended, or was refused. A proxy may refuse the upgrade alone: then the page polls.
async function ended(was) {
  if (!following) return;
  if (!was && !daemon.session) { again = setTimeout(connect, 500); return; }  // perhaps without the right to read
  if (!was) await poll();
  else changed({ lost: true });
  clearTimeout(again);
  if (following) again = setTimeout(connect, was ? 500 : daemon.polls ? UPGRADE_MS : LOOK_MS);
}

async function poll() {
  try {
    const overview = await read("/api/v1/status", BEAT_MS);
    if (following && !linked()) fresh({ live: { overview }, polls: true });
  } catch {
    if (following && !linked()) changed({ lost: true, polls: false });
    session().catch(() => {});
  }
}

// A quiet link and a dead one look the same: ask whether the daemon still answers. It counts only while it does.
let looking = false;
async function look() {
  if (!following || looking) return;
  looking = true;
  try {
    if (!linked()) {
      if (daemon.polls || Date.now() - begun > BEAT_MS) await poll();
    } else if (Math.abs(Date.now() - daemon.at) >= QUIET_MS) {
      await question("/health", BEAT_MS);
      fresh({});
    }
  } catch {
    changed({ lost: true });
    closeLink();
    connect();
  } finally { looking = false; }
}

export async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", location.pathname);
    await signIn({ code }).catch((why) => changed({ asking: String(why.message) }));
  }
  const pairing = new URLSearchParams(location.hash.slice(1)).get("pair") || "";
  if (pairing) history.replaceState(null, "", location.pathname);
  changed({ device: await deviceKey(), pairing });
  setInterval(look, LOOK_MS);
  document.addEventListener("visibilitychange", look);
  setInterval(() => session().catch(() => {}), SESSION_MS);
  // a sign-in or sign-out of another tab
  window.addEventListener("storage", ({ key }) => { if (key === CSRF) { connect(); session().catch(() => {}); } changed({}); });
  follow();  // beside the question for the session, which ends it where there is no right to read
  while (!daemon.session) {
    await session().catch(() => changed({ lost: true }));
    if (!daemon.session) await pause(LOOK_MS);
  }
  const found = await read("/api/v1/config").catch(() => ({ settings: [] }));
  changed({ recorded: found.settings.some((each) => each.key === "feed.kind" && each.value === "replay") });
}
