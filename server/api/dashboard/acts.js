// Acts: every request of the page that changes something. An act is sent, done, refused or unknown. It has one key, by
// which the daemon is asked what became of it, until that is known. An unknown order lets no other order of its symbols
// pass.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { JOBS, changed, daemon, may, newKey, post, question, session, signIn } from "./daemon.js";
import { orders } from "./figures.js";

const SLOW_MS = 3000;  // after which the page says that there is no answer yet, and asks for it
const GIVEN_UP_MS = 20000;  // the daemon answers each request within 10 s
const LOOK_MS = 1000;
const ASK_MS = 4000;
const SAID_MS = 15000;
const STORE = "quantd.acts";
const MOST = 50;
const NO_ANSWER = "It may have happened.";
const ASKED = `No answer. ${NO_ANSWER} The daemon is asked what became of it.`;
const OTHER_HALTS = "Other ways to halt, on its machine: quantd halt; a file named HALT in the state folder "
  + "(touch HALT); kill -USR1 and the process id.";

const all = () => ["*"];
const none = () => [];
const sent = (done) => `${orders(done.trades ? done.trades.orders.length : 0)} sent`;
const last = (path, k = 1) => decodeURIComponent(path.split("/").at(-k));

// Route -> what it does in words, what to say where it did not, what became of it, and the symbols of its orders.
// `stops` marks what lowers risk: it is never held up by another act.
/**
 * @typedef {object} Route
 * @property {(body: any, path: string) => string} what
 * @property {(body: any) => string} not
 * @property {(answer: any, body: any, path: string) => string} done
 * @property {(body: any) => string[]} symbols
 * @property {(body: any) => boolean} [stops]
 */
/** @type {Record<string, Route>} */
export const ROUTES = {
  "/api/v1/commands": {
    what: (b) => `${b.command} ${b.agent || "the house"}`,
    not: (b) => ({ halt: "NOT HALTED", reduce: "NOT REDUCED", flatten: "NOT FLATTENED" })[b.command] || "NOT RESUMED",
    done: (a) => `${a.command} of ${a.agent || "the house"} was carried out: the switch `
      + `${a.replayed ? "is now at" : "went to"} ${a.switch}`
      + `${a.unrecorded ? `; not in the journal yet: ${a.unrecorded}` : ""}`,
    symbols: none, stops: (b) => b.command !== "resume",
  },
  "/api/v1/orders": {
    what: (b) => `${b.side} ${b.qty} ${b.symbol.trim()}`, not: () => "NOT SENT", symbols: (b) => [b.symbol.trim()],
    done: (a) => `${a.side} ${a.allowed} of ${a.asked} ${a.symbol} sent${a.order ? ` as ${a.order}` : ""}`
      + `${a.text && a.allowed !== a.asked ? `: ${a.text}` : ""}`,
  },
  "/api/v1/orders/cancel": {
    what: (b) => `cancel ${b.order}`, not: () => "NOT CANCELLED", symbols: none, stops: () => true,
    done: (a) => `${a.state}: ${a.side} ${a.left} of ${a.qty} ${a.symbol}`,
  },
  "/api/v1/alerts/*/acknowledge": {
    what: () => "acknowledge an incident", not: () => "NOT ACKNOWLEDGED", symbols: none,
    done: (a) => `acknowledged: ${a.kind.replaceAll("_", " ")}`,
  },
  "/api/v1/models/*/*": {
    what: (_, path) => `${last(path)} ${last(path, 2)}`, not: () => "NOT DONE", symbols: none,
    done: (a, _, path) => `${last(path)} of ${last(path, 2)} was carried out`,
  },
  "/api/v1/agents/*/review": {
    what: (b) => `${b.approve ? "approve" : "decline"} ${b.id}`,
    not: (b) => (b.approve ? "NOT APPROVED" : "NOT DECLINED"), symbols: (b) => (b.approve ? all() : none()),
    done: (a) => `${a.verdict.id} of ${a.agent}: ${a.verdict.outcome}, ${a.verdict.text}`,
  },
  "/api/v1/portfolios": {
    what: (b) => `open ${b.name}`, not: () => "NOT OPENED", symbols: all,
    done: (a) => `${a.agent} was opened: ${sent(a)}`,
  },
  "/api/v1/agents/*/propose": {
    what: (_, path) => `rebalance ${last(path, 2)}`, not: () => "NOT SENT", symbols: all,
    done: (a) => `${a.agent}: ${sent(a)}`,
  },
  "/api/v1/portfolios/*/close": {
    what: (_, path) => `close ${last(path, 2)}`, not: () => "NOT CLOSED", symbols: all,
    done: (a, _, path) => `${last(path, 2)}: ${a.state}`,
  },
  "/api/v1/schedules/*/run": {
    what: (_, path) => `run ${last(path, 2)}`, not: () => "NOT RUN", symbols: none,
    done: (a) => `${a.job.replaceAll("_", " ")}: ${a.state}`,
  },
  "/api/v1/research/backtests": {
    what: (b) => `backtest ${b.sets.join(", ") || "as the run"}`, not: () => "NOT STARTED", symbols: none,
    done: (a) => `backtest ${a.id}: ${a.state}`,
  },
  "/api/v1/research/sweeps": {
    what: (b) => `sweep over ${b.over.join(", ")}`, not: () => "NOT STARTED", symbols: none,
    done: (a) => `sweep ${a.id}: ${a.state}`,
  },
  "/api/v1/research/jobs/*/cancel": {
    what: (_, path) => `cancel the job ${last(path, 2)}`, not: () => "NOT CANCELLED", symbols: none,
    done: (a) => `${a.kind} ${a.id} was cancelled`,
  },
  "/api/v1/research/reference": {
    what: (b) => (b.backtest ? `pin ${b.backtest}` : "unpin"), not: (b) => (b.backtest ? "NOT PINNED" : "NOT UNPINNED"),
    symbols: none,
    done: (a) => (a.pinned ? `${a.pinned.backtest} is pinned as the reference of this run` : "no backtest is pinned"),
  },
  "/api/v1/settings": {
    what: (b) => `${b.setting} = ${b.value}`, not: () => "NOT CHANGED", symbols: none,
    done: (a) => `${a.key} = ${a.after} is in the file, in force ${{ now: "now", restart: "after a restart" }[a.takes] || `from ${a.due}`}`,
  },
  "/api/v1/limits/approve": {
    what: () => "approve the looser limits", not: () => "NOT APPROVED", symbols: none,
    done: (a) => `came into force: ${a.looser.join(", ")}`,
  },
};

const fitting = Object.entries(ROUTES).map(
  ([route, record]) => /** @type {[RegExp, any]} */ ([new RegExp(`^${route.replaceAll("*", "[^/]+")}$`), record]),
);
const recordOf = (path) => {
  const route = fitting.find(([form]) => form.test(path));
  if (!route) throw new Error(`${path} is no act of this page`);
  return route[1];
};

export const clock = (at) => new Date(at).toTimeString().slice(0, 8);

// This tab, also after a reload, which ends its requests.
const TAB = (() => {
  try {
    const old = sessionStorage.getItem("quantd.tab") || newKey();
    sessionStorage.setItem("quantd.tab", old);
    return old;
  } catch { return newKey(); }
})();

// The newest message; it ends after SAID_MS, or at the next act. It has its time, and says what happened, not what is.
export const message = { text: "", at: 0 };
export function say(text) {
  Object.assign(message, { text, at: Date.now() });
  changed({});
}
export const saying = () => (message.text && Date.now() - message.at < SAID_MS ? message : null);

// Acts whose result is not known, of all tabs and of before a reload; of this tab alone where the browser stores
// nothing.
let unstored = [];
export function waiting() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) || "[]");
    return [...(Array.isArray(stored) ? stored.filter(readable) : []), ...unstored];
  } catch { return unstored; }
}
// An entry may be of another version of this page, whose acts are others.
function readable(act) {
  try {
    return typeof whatOf(act) === "string" && typeof act.key === "string"
      && act.symbols.every((symbol) => typeof symbol === "string");
  } catch { return false; }
}
function store(change) {
  const acts = change(waiting()).slice(-MOST);
  try { localStorage.setItem(STORE, JSON.stringify(acts)); unstored = []; } catch { unstored = acts; }
}
const keep = ({ key, path, body, symbols, at, sender, run, tab }, lost = "") => store((acts) => [
  ...acts.filter((act) => act.key !== key), { key, path, body, symbols, at, sender, run, tab, lost },
]);
const forget = (key) => store((acts) => acts.filter((act) => act.key !== key));

const mine = new Map();  // the acts of this tab that are not known, by key
const meets = (one, other) => one.some(
  (symbol) => symbol === "*" ? other.length > 0 : other.includes(symbol) || other.includes("*"),
);
export const whatOf = (act) => recordOf(act.path).what(act.body, act.path);

// The act that holds up another one: of the same path, or with an order of the same symbol.
export function holding(path, body, symbols = null, key = "") {
  const record = recordOf(path);
  if (record.stops && record.stops(body)) return null;
  const ordered = symbols || record.symbols(body);
  return waiting().find(
    (act) => act.key !== key && ((act.path === path && !ordered.length) || meets(ordered, act.symbols)),
  ) || null;
}
export const heldUp = (act) => `${whatOf(act)}, sent at ${clock(act.at)}, is not known yet: `
  + `no other such request until it is${act.lost ? ", or until you have looked" : ""}`;

// What to say of an act that was not carried out. A switch that is where the act would have moved it is not denied.
function notOf(act) {
  const { body, path } = act;
  const now = daemon.live && !daemon.renewed && daemon.live.overview;
  const aim = path === "/api/v1/commands"
    && { halt: "HALT", flatten: "HALT", reduce: "REDUCE", resume: "RUN" }[body.command];
  const book = aim && now && (body.agent ? now.agents.find((agent) => agent.name === body.agent) : now);
  return book && book.switch === aim ? `NOT DONE, and the switch is at ${aim}` : recordOf(path).not(body);
}

function settle(act, state, text, answer = null) {
  if (act.state === "done" || act.state === "refused") return;
  Object.assign(act, { state, text, answer, ended: false });
  mine.delete(act.key);
  forget(act.key);
  const record = recordOf(act.path);
  if (state === "done") say(answer === null ? `${whatOf(act)}: ${text}` : record.done(answer, act.body, act.path));
  else if (!act.shown) say(`${notOf(act)}, ${whatOf(act)}: ${text}`);
  changed({});
  if (state === "done" && act.then) act.then(answer);
}

function judge(act, status, body) {
  const [code, text] = [body && body.code, (body && body.detail) || `status ${status}`];
  if (status < 300 && body) settle(act, "done", "", body);
  else if (code === "carried_out") settle(act, "done", text);
  else if (status === 401 || code === "csrf") {
    settle(act, "refused", "the session has ended");
    act.ended = true;
    session().catch(() => {});
  } else if (status < 300 || status === 504 || (status === 409 && code === "idempotency") || (status >= 500 && !code)) {
    unknown(act);
  }
  else settle(act, "refused", text);
}

function unknown(act) {
  if (act.state === "done" || act.state === "refused" || act.lost) return;
  const text = act.flying ? `No answer yet. ${NO_ANSWER} The daemon is asked for it.` : ASKED;
  Object.assign(act, { state: "unknown", text });
  changed({});
}

async function send(act) {
  Object.assign(act, {
    state: "sent", text: "", tab: TAB, at: Date.now(), flying: (act.flying || 0) + 1,
    ended: false, absent: 0, sender: daemon.session ? daemon.session.sender : "",
    run: daemon.run,
  });
  Object.assign(message, { text: "" });
  mine.set(act.key, act);
  keep(act);
  changed({});
  const stop = new AbortController();
  const slow = setTimeout(() => unknown(act), SLOW_MS);
  const end = setTimeout(() => stop.abort(), GIVEN_UP_MS);
  const response = await post(act.path, act.body, act.key, stop.signal).catch(() => null);
  const answer = response && await response.json().catch(() => null);
  clearTimeout(slow);
  clearTimeout(end);
  act.flying -= 1;
  if (response) judge(act, response.status, answer); else unknown(act);
}

// Ask the daemon what became of an act; whether a further question makes sense.
async function look(act) {
  const { session: signedIn, run } = daemon;
  if (!signedIn || !signedIn.name) { act.needs = "sign in, so that the daemon can be asked"; return; }
  if (act.sender && signedIn.sender !== act.sender) {
    act.needs = `it was sent by ${act.sender}: sign in with that token, so that the daemon can be asked`;
    return;
  }
  if (run && act.run && run !== act.run) {
    lose(act, `it was sent to the run ${act.run}, and this is the run ${run}`);
    return;
  }
  act.needs = "";
  const response = await question(`/api/v1/acts/${encodeURIComponent(act.key)}`, ASK_MS);
  /** @type {Answer<"/api/v1/acts/key"> & { code?: string }} */
  const became = await response.json().catch(() => null);
  if (response.ok && became) {
    if (became.state === "done") settle(act, "done", became.text, became.answer);
    else if (became.state === "refused") settle(act, "refused", became.text);
  } else if (response.status === 404 && became && became.code === "no_act") {
    // while the request is under way it may still arrive; of another tab that cannot be seen
    const under = mine.has(act.key) ? act.flying > 0 : act.tab !== TAB && Date.now() - act.at < 2 * GIVEN_UP_MS;
    act.absent = under ? 0 : (act.absent || 0) + 1;
    if (act.absent >= 2) settle(act, ...(await absent(act.path, act.body, (path) => question(path, ASK_MS))));
  } else if (response.status === 401) await session();
}

// The state and the words of an act that the journal does not have. A halt is obeyed on a full disk too, so that the
// switch itself answers for it; the log of jobs, not the journal, has runs of jobs.
export async function absent(path, { command, agent }, read) {
  const none = "the daemon has no record of it";
  if (JOBS.test(path)) return ["refused", `${none}. If it was started again since, see the list of jobs`];
  if (command !== "halt" && command !== "reduce") return ["refused", `${none}, so nothing was done`];
  const { switches } = await (await read("/api/v1/switches")).json();
  const { switch: at, cause } = switches.find((each) => each.agent === (agent || ""));
  if (at !== "HALT" && (command === "halt" || at !== "REDUCE")) return ["refused", none];
  return ["done", `${none}, and the switch is at ${at}${cause ? `, moved by ${cause.who || "the daemon"}: ${cause.text}` : ""}`];
}

const lostText = (why) => `Not known: ${why}. Look at the orders and the switch.`;

function lose(act, why) {
  Object.assign(act, { lost: why, state: "unknown", text: lostText(why) });
  keep(act, why);
  changed({});
}

// A person has looked: the result stays unknown, and holds up nothing.
export function release(act) {
  mine.delete(act.key);
  forget(act.key);
  Object.assign(act, { state: "released", text: "" });
  changed({});
}

const asking = new Set();
const others = new Map();  // acts of other tabs and of before a reload, by key
export function lookForAll() {
  const stored = waiting();
  [...others.keys()].filter((key) => !stored.some((entry) => entry.key === key)).forEach((key) => others.delete(key));
  // another tab that got the answer has taken the entry away: an act of this tab is asked for until it is known here
  const unlisted = [...mine.values()].filter(({ key }) => !stored.some((entry) => entry.key === key));
  for (const entry of [...stored, ...unlisted]) {
    const { key, lost } = entry;
    const act = mine.get(key) || others.get(key) || { ...entry, state: "unknown", text: lost ? lostText(lost) : ASKED };
    if (!mine.has(key)) others.set(key, act);
    const fresh = Date.now() - act.at < SLOW_MS && (act.state === "sent" || !mine.has(key));
    if (act.lost || asking.has(key) || fresh) continue;
    asking.add(key);
    look(act).catch(() => {}).finally(() => { asking.delete(key); changed({}); });
  }
}
setInterval(lookForAll, LOOK_MS);

/**
 * An act of a form: its button is dead while the act is under way, and a request is never sent under a new key while
 * the former one is not known.
 * @param {(answer: any) => void} [done]
 * @returns {[
 *   { act: any, busy: boolean, fault: string, again: () => any },
 *   (path: string, body: object, then?: (answer: any) => void, symbols?: string[]) => Promise<void>,
 * ]}
 */
export function useAct(done = () => {}) {
  const [act, put] = useState(/** @type {any} */ (null));
  const [fault, wrong] = useState("");
  const now = useRef(/** @type {any} */ (null));
  useEffect(() => () => { if (now.current) Object.assign(now.current, { shown: false, then: null }); }, []);
  const go = async (path, body, then = done, symbols = null) => {
    const record = recordOf(path);
    const former = now.current;
    const same = former && former.path === path && JSON.stringify(former.body) === JSON.stringify(body);
    const open = former && (former.state === "sent" || former.state === "unknown");
    const stops = record.stops && record.stops(body);
    if (open && (!stops || (same && former.state === "sent"))) return;
    wrong("");
    const place = document.querySelector("dialog[open]") || document;
    const field = /** @type {HTMLInputElement} */ (place.querySelector("#act-token"));
    try {
      if (field && field.value) await signIn({ token: field.value });
    } catch (why) {
      wrong(`${record.not(body)}: ${why.message}`);
      return;
    }
    const held = holding(path, body, symbols, same ? former.key : "");
    if (held) { wrong(`${record.not(body)}: ${heldUp(held)}`); return; }
    // nothing was done under the key of an act that the end of its session refused
    const next = same && ((open && !former.lost) || former.ended)
      ? former : { key: newKey(), path, body, symbols: symbols || record.symbols(body) };
    Object.assign(next, { then, shown: true });
    if (former && former !== next) former.shown = false;
    now.current = next;
    put(next);
    await send(next);
  };
  // a halt may be pressed once more
  const again = act && recordOf(act.path).stops && recordOf(act.path).stops(act.body);
  const busy = Boolean(act && (act.state === "sent" || (act.state === "unknown" && !again)));
  return [{ act, busy, fault, again: () => act && act.ended && go(act.path, act.body, act.then, act.symbols) }, go];
}

// What became of the act of a form, where it is not done: refused, not known, or without a session.
export function Became({ state }) {
  const { act, fault } = state;
  const record = act && recordOf(act.path);
  const stops = act && record.stops && record.stops(act.body) && act.path === "/api/v1/commands";
  return html`
    ${fault && html`<p role="alert" class="problem">${fault}</p>`}
    ${act && act.state === "refused" && html`<p role="alert" class="problem">${notOf(act)}: ${act.text}</p>`}
    ${act && act.state === "unknown" && html`<div role="alert" class="problem">
      <p>${clock(act.at)} ${whatOf(act)}. ${act.text}${act.needs ? ` ${act.needs}.` : ""}</p>
      ${stops && html`<p>${OTHER_HALTS}</p>`}
      ${act.lost && html`<p><button type="button" onClick=${() => release(act)}>I have looked</button></p>`}</div>`}
    <${SignInHere} ended=${Boolean(act && act.ended)} again=${state.again} />`;
}

// The field of the token inside a form whose session has ended. The form keeps its input, and an act that the end of
// the session refused is sent once more, under its key.
function SignInHere({ ended, again }) {
  const [fault, tell] = useState("");
  const field = useRef(null);
  const { session: signedIn } = daemon;
  if (!signedIn || (signedIn.name && may("read") && !ended)) return "";
  const go = async (event) => {
    event.preventDefault();
    try {
      await signIn({ token: field.current.value });
      tell("");
      again();
    } catch (why) { tell(String(why.message)); }
  };
  const over = daemon.ended ? `The session of ${daemon.ended} has ended.` : "The session has ended.";
  return html`<p>${over} Paste a token${ended ? "; the request is then sent once more" : ""}.</p>
    <label for="act-token">Token</label>
    <input id="act-token" ref=${field} type="password" autocomplete="off" spellcheck="false"
      onKeyDown=${(event) => event.key === "Enter" && go(event)} />
    ${fault && html`<p role="alert" class="problem">${fault}</p>`}
    <p class="buttons">
      <button type="button" onClick=${go}>${ended ? "Sign in and send it once more" : "Sign in"}</button></p>`;
}

// Acts that are not known, over every screen, with those of before a reload and of other tabs.
export function Waiting() {
  const late = waiting().map(({ key }) => mine.get(key) || others.get(key))
    .filter((act) => act && act.state === "unknown");
  return late.map((act) => html`<div key=${act.key} role="status" class="why REDUCE waits">
    ${`${clock(act.at)} ${whatOf(act)}: ${act.text}${act.needs ? ` ${act.needs}.` : ""}`}
    ${act.lost && html` <button type="button" onClick=${() => release(act)}>I have looked</button>`}</div>`);
}

/**
 * The answer of a POST that only asks, such as a preview. It changes nothing, so it has no key, and a fault did
 * nothing.
 * @template {string} P
 * @param {P} path
 * @param {object} body
 * @returns {Promise<Acted<P>>}
 */
export async function ask(path, body) {
  let response;
  try {
    response = await post(path, body, "", AbortSignal.timeout(GIVEN_UP_MS));
  } catch {
    throw new Error("No answer. Nothing was sent: this was a question only.");
  }
  const answer = await response.json().catch(() => null);
  if (response.status === 401 || (answer && answer.code === "csrf")) {
    session().catch(() => {});
    throw new Error("the session has ended");
  }
  if (!response.ok || !answer) {
    throw new Error((answer && (answer.detail || answer.title)) || `status ${response.status}`);
  }
  return answer;
}

/**
 * A preview of what a form asks for, to which its act is bound. An edit of `asked`, and a refusal of the act, end it.
 * @param {any} asked
 * @param {{ act: any }} state
 * @returns {{
 *   plan: any, busy: boolean, fault: string, preview: (path: string, body: () => object) => Promise<void>,
 *   drop: () => void,
 * }}
 */
export function usePlan(asked, { act }) {
  const [plan, put] = useState(/** @type {any} */ (null));
  const [{ busy, fault }, set] = useState({ busy: false, fault: "" });
  const newest = useRef(asked);
  newest.current = asked;
  const became = act && !act.ended ? act.state : "";
  useLayoutEffect(() => { if (became === "refused") put(null); }, [became]);  // the next act needs a preview of its own
  const drop = () => { put(null); set((old) => ({ ...old, fault: "" })); };
  const preview = async (path, body) => {
    put(null);
    set({ busy: true, fault: "" });
    try {
      const answer = await ask(path, body());
      if (newest.current === asked) put(answer);  // an edit meanwhile asks for another one
      set({ busy: false, fault: "" });
    } catch (why) { set({ busy: false, fault: String(why.message) }); }
  };
  return { plan, busy, fault, preview, drop };
}

export function Reason({ value, write, first = false, needed = true }) {
  return html`<label for="reason">Reason, for the journal</label>
    <input id="reason" value=${value} onInput=${(event) => write(event.target.value)}
      ...${needed ? { required: true, pattern: ".*\\S.*" } : {}} maxlength="500" autocomplete="off"
      ...${first ? { "data-first": true } : {}} />`;
}

// What a dialog asks for when an act needs a reason only.
export function Deed({
  words, path, title, done = (_) => {}, close, children, more = {}, keep = "Cancel", ready = true,
}) {
  const [reason, write] = useState("");
  const [state, go] = useAct((answer) => { done(answer); close(); });
  return html`<form onSubmit=${(event) => { event.preventDefault(); go(path, { ...more, reason }); }}>
    <p>${words}</p>
    ${children}
    <${Reason} value=${reason} write=${write} first=${true} />
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" class="main" disabled=${state.busy || !ready}>${title}</button>
      <button type="button" onClick=${close}>${keep}</button></p>
  </form>`;
}
