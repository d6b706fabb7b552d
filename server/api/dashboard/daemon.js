// The daemon as the page sees it: requests, the session of this browser, and the stream of events.

const CSRF = "quantd.csrf";
const QUIET_MS = 5000;
const SESSION_MS = 30000;
const READ_MS = 20000;  // 500 symbols on a slow machine take 6 s

// What every screen reads. `at` is when the newest figures came; `lost` is true while the daemon does not answer.
/** @type {{ session: api.SessionNow, live: { overview: api.Overview }, at: number, lost: boolean, ended: string, asking: string, recorded: boolean, stops: boolean, acknowledged?: number }} */
export const daemon = {
  session: null, live: null, at: 0, lost: false, ended: "", asking: "", recorded: false, stops: false,
};

const listeners = new Set();
export const listen = (each) => { listeners.add(each); return () => listeners.delete(each); };
export const changed = (news) => { Object.assign(daemon, news); listeners.forEach((each) => each()); };

// A control exists where the token of the session grants its scope. The cookie alone only reads.
export const may = (scope) => Boolean(daemon.session && daemon.session.scopes.includes(scope) && localStorage.getItem(CSRF));

// A session that ended by itself leaves the ways to stop trading on the page; they ask for a token.
export const mayStop = () => may("trade") || daemon.stops;

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && daemon.session && daemon.session.name) session().catch(() => {});
  if (!response.ok) throw new Error(body.detail || body.title || `status ${response.status}`);
  return body;
}

/**
 * The answer of a GET; its type is that of the route, with or without a query.
 * @template {string} P
 * @param {P} path
 * @param {number} [within] milliseconds; a read without an answer holds one of the browser's few connections, which a
 * halt needs too
 * @returns {Promise<Answer<P>>}
 */
export async function read(path, within = READ_MS) {
  return answerOf(await answered(fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(within) })));
}

// A browser's own words for a lost answer say nothing.
const answered = (asked) => asked.catch(() => { throw new Error("no answer of the daemon"); });

// A POST, for acts.js and the sign-in alone. The key makes a request that is sent twice, by a double click too, one
// act.
export async function post(path, body, key = "", signal = null) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": localStorage.getItem(CSRF) || "" };
  if (key) headers["Idempotency-Key"] = key;
  return answered(fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal }));
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
  return answered(fetch(origin + path, { method: "POST", headers, body: JSON.stringify(sent.body), signal, credentials: "omit" }));
}

export const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (x) => x.toString(36)).join("-");

export async function session() {
  const before = daemon.session && daemon.session.name;
  const found = await read("/api/v1/session");
  let { ended, stops } = daemon;
  if (found.name) [ended, stops] = ["", false];
  // without its CSRF token the session was ended by a sign-out, here or in another tab
  else if (before && localStorage.getItem(CSRF)) [ended, stops] = [before, may("trade")];
  if (!found.name) localStorage.removeItem(CSRF);
  changed({ session: found, ended, stops });
  if (found.reads) follow(); else stop(!ended);
}

export async function signIn(what) {
  const found = await answerOf(await post("/api/v1/sign-in", what));
  localStorage.setItem(CSRF, found.csrf);
  changed({ ended: "" });
  await session();
}

export async function signOut() {
  await answerOf(await post("/api/v1/sign-out", {}));
  localStorage.removeItem(CSRF);
  stop();
  changed({ session: { ...daemon.session, name: "", scopes: [] }, ended: "", stops: false });
  await session();
}

let stream = null;
let heard = 0;

// Without the right to read. A session that ended by itself leaves the last figures, with an open dialog and its input.
function stop(clear = true) {
  if (stream) stream.close();
  stream = null;
  changed(clear ? { live: null } : {});
}

function follow() {
  if (stream) return;
  stream = new EventSource("/api/v1/events");
  heard = Date.now();
  stream.addEventListener("overview", (event) => {
    const live = JSON.parse(event.data);
    if (daemon.live && daemon.live.overview.run !== live.overview.run) { location.reload(); return; }
    heard = Date.now();
    const back = daemon.lost;
    changed({ live, at: heard, lost: false });
    if (back) session().catch(() => {});
  });
  stream.onerror = () => {
    changed({ lost: true });
    if (stream && stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(() => session().catch(() => changed({ lost: true })), 2000);
    }
  };
}

// A quiet stream and a dead one look the same: ask whether the daemon still answers. It counts only while it does.
async function look() {
  if (!stream || Date.now() - heard < QUIET_MS) return;
  try {
    await fetch("/health", { signal: AbortSignal.timeout(4000) });
    if (stream && stream.readyState === EventSource.OPEN) {
      const back = daemon.lost;
      changed({ at: Date.now(), lost: false });
      if (back) await session();
    }
  } catch {
    changed({ lost: true });
  }
}

export async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", location.pathname);
    await signIn({ code }).catch((why) => changed({ asking: String(why.message) }));
  }
  setInterval(look, 2000);
  setInterval(() => session().catch(() => {}), SESSION_MS);
  window.addEventListener("storage", () => changed({}));
  while (!daemon.session) {
    await session().catch(() => changed({ lost: true }));
    if (!daemon.session) await new Promise((done) => setTimeout(done, 2000));
  }
  const found = await read("/api/v1/config").catch(() => ({ settings: [] }));
  changed({ recorded: found.settings.some((each) => each.key === "feed.kind" && each.value === "replay") });
}
