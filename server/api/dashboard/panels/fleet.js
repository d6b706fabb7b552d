// The daemons of this page: its own, and those of [api] cors. Each is read by its own session: the cookie here, and
// elsewhere a token that stays in the memory of this page, until it is closed or read anew. No daemon gets another's.
import { useEffect } from "./htm-preact-standalone.mjs";
import { changed, daemon, elsewhere, read } from "./daemon.js";
import { age, stateOf, things } from "./figures.js";
import { causeOf } from "./standing.js";

const EVERY_MS = 5000;
const STATUS_MS = 4000;
const READ_MS = 20000;
const OLD_MS = 4 * 86400000;  // a weekend with a holiday before and after it
const NEAR = 0.8;
const LOSSES = ["max_drawdown", "max_daily_loss", "max_weekly_loss"];  // the limits that move the switch

/**
 * One daemon. `now` are its newest figures, of the instant `at`, and `fault` is why there are no newer ones; it
 * `wants` a token where it refused to be read. `incidents` and `day` are null where they are not known.
 * @typedef {object} Row
 * @property {string} origin
 * @property {boolean} here
 * @property {api.Overview | null} now
 * @property {number} at
 * @property {string} fault
 * @property {boolean} wants
 * @property {boolean} recorded
 * @property {any[] | null} incidents
 * @property {{ profit: string, closing: string, total_return: number | null } | null} day
 * @property {string} [stamp]
 * @property {string} [configured]
 * @property {boolean} [busy]
 */

/** @type {Map<string, Row>} */
const rows = new Map();
/** @type {Map<string, { token: string, name: string, scope: string, scopes: string[], sender: string }>} */
const sessions = new Map();
const list = { run: "", origins: /** @type {string[]} */ ([]), fault: "" };

const blank = (origin) => ({
  origin, here: origin === location.origin, now: null, at: 0, fault: "", wants: false, recorded: false, incidents: null,
  day: null,
});

export const others = () => list.origins.length;
export const listFault = () => list.fault;

// This daemon first, then those that it lists, in the order of the list.
/** @returns {Row[]} */
export function daemons() {
  return [location.origin, ...list.origins].map((origin) => {
    if (!rows.has(origin)) rows.set(origin, blank(origin));
    return rows.get(origin);
  });
}

export const nameOf = (row) => (row.now ? row.now.name : row.here && daemon.live ? daemon.live.overview.name : row.origin);
export const tokenOf = (origin) => (sessions.get(origin) || { token: "" }).token;
export const senderOf = (row) => (row.here ? (daemon.session || { sender: "" }).sender : (sessions.get(row.origin) || { sender: "" }).sender);

// Who this page is at a daemon; null without a session there.
export function sessionAt(row) {
  if (!row.here) return sessions.get(row.origin) || null;
  const { session } = daemon;
  return session && session.name ? session : null;
}

class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(row, path, within = STATUS_MS) {
  const response = await elsewhere(row.origin, path, tokenOf(row.origin), AbortSignal.timeout(within));
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) throw new Refusal(response.status, (answer && answer.detail) || `status ${response.status}`);
  return answer;
}

const asked = (row, path, within = STATUS_MS) => (row.here ? read(path, within) : ask(row, path, within));

// Begins a session at another daemon. The token goes to that daemon alone. Raises Error with the words for a person.
export async function signInAt(origin, token) {
  const response = await elsewhere(origin, "/api/v1/session", token.trim(), AbortSignal.timeout(STATUS_MS));
  const found = await response.json().catch(() => ({}));
  if (!response.ok || !found.name) throw new Error(found.detail || `status ${response.status}`);
  const { name, scope, scopes, sender } = found;
  sessions.set(origin, { token: token.trim(), name, scope, scopes, sender });
  await look(rows.get(origin) || blank(origin));
}

export function signOutAt(origin) {
  sessions.delete(origin);
  changed({});
}

async function listed() {
  const run = daemon.live ? daemon.live.overview.run : "";
  if (list.run === run) return;
  try {
    const config = await read("/api/v1/config");
    const { value } = config.settings.find((each) => each.key === "api.cors") || { value: "" };
    const found = String(value).match(/https?:\/\/[^"',\]\s]+/g) || [];
    Object.assign(list, { run, origins: [...new Set(found)].filter((each) => each !== location.origin), fault: "" });
  } catch (why) {
    list.fault = String(why.message);
  }
}

// The newest figures of a daemon. What it did not answer keeps its last value, with its age.
async function look(row) {
  if (row.busy) return;
  row.busy = true;
  try {
    const now = await asked(row, "/api/v1/status");
    Object.assign(row, { now, at: Date.now(), fault: "", wants: false });
    changed({});
    await more(row, now);
  } catch (why) {
    const wants = row.here ? Boolean(daemon.session && !daemon.session.reads) : why.status === 401;
    const words = why.status ? `refused: ${why.message}` : row.here ? why.message : "no answer, or [api] cors there does not list this page";
    Object.assign(row, { fault: wants ? "it wants a sign-in" : words, wants });
  } finally {
    row.busy = false;
    changed({});
  }
}

async function more(row, now) {
  await asked(row, "/api/v1/alerts/active", READ_MS).then((found) => { row.incidents = found.incidents; }, () => { row.incidents = null; });
  if (row.configured !== now.run) {
    await asked(row, "/api/v1/config", READ_MS).then(({ settings }) => {
      row.recorded = settings.some((each) => each.key === "feed.kind" && each.value === "replay");
      row.configured = now.run;
    }, () => {});
  }
  const stamp = `${now.run}/${now.ts}/${now.fills}/${now.equity}`;
  if (row.stamp === stamp || !now.ts) return;
  try {
    const { since } = await asked(row, "/api/v1/period?period=1D", READ_MS);
    const found = await asked(row, `/api/v1/profit?limit=1&since=${since}`, READ_MS);
    Object.assign(row, { day: found.account, stamp });
  } catch {
    Object.assign(row, { day: null, stamp: "" });
  }
}

let users = 0;
let clock = null;
function lookAtAll() {
  listed().then(() => Promise.all(daemons().map(look)));
}

// Reads a daemon now: something was done there.
export const lookAt = (origin) => { if (rows.has(origin)) look(rows.get(origin)); };

// Reads all daemons while a part of the page shows them.
export function useFleet() {
  useEffect(() => {
    users += 1;
    if (users === 1) clock = setInterval(lookAtAll, EVERY_MS);
    lookAtAll();
    return () => {
      users -= 1;
      if (!users) clearInterval(clock);
    };
  }, []);
}

const unseen = (row) => (row.incidents || []).filter((each) => !each.acknowledged_by);
const namesOf = (incidents) => {
  const first = incidents.slice(0, 2).map((each) => [each.kind.replaceAll("_", " "), each.agent, each.symbol].filter(Boolean).join(" "));
  return `${first.join(", ")}${incidents.length > 2 ? `, ${incidents.length - 2} more` : ""}`;
};
const waitsAt = (now) => (now.reviews || 0) + (now.loosening ? 1 : 0);

// What a daemon needs of a person: the first that holds. The number orders the daemons, the smallest first; the table
// is that of docs/operate/look.md.
/** @type {[string, (row: Row) => string][]} */
const NEEDS = [
  ["HALT", ({ fault, now }) => (!fault && now.switch === "HALT" ? causeOf("HALT", now.cause, now.reason, now.zone) : "")],
  ["CRITICAL", (row) => {
    const found = unseen(row).filter((each) => each.level === "CRITICAL");
    if (!row.fault && row.now.store) return `the store takes no writes: ${row.now.store}`;
    return !row.fault && found.length ? `${things(found.length, "critical incident")}: ${namesOf(found)}` : "";
  }],
  ["HALT", ({ fault, wants, now, at }) => (fault && !wants ? `${fault}${now ? `; ${age(Date.now() - at)} ago: ${now.switch}` : ""}` : "")],
  ["HALT", ({ wants }) => (wants ? "its state is not known: sign in" : "")],
  ["REDUCE", ({ now }) => (now.switch === "REDUCE" ? causeOf("REDUCE", now.cause, now.reason, now.zone) : "")],
  ["REDUCE", ({ now }) => {
    const halted = now.agents.filter((each) => each.switch !== "RUN" && !each.shadow);
    return halted.length ? halted.map((each) => `${each.name} is at ${each.switch}`).join(", ") : "";
  }],
  ["WARNING", (row) => (unseen(row).length ? `${things(unseen(row).length, "open incident")}: ${namesOf(unseen(row))}` : "")],
  ["WARNING", ({ now, recorded }) => (now.ts && !recorded && Date.now() - now.ts / 1e6 > OLD_MS ? `stale data: no bar for ${age(Date.now() - now.ts / 1e6)}` : "")],
  ["WARNING", ({ now }) => [now.reviews ? `${things(now.reviews, "proposal")} to decide` : "", now.loosening ? "looser limits wait" : ""].filter(Boolean).join(", ")],
  ["WARNING", ({ now }) => {
    const near = now.limits.filter((each) => LOSSES.includes(each.limit) && each.use >= NEAR).sort((a, b) => b.use - a.use)[0];
    return near ? `${near.words || near.limit} at ${(100 * near.use).toFixed(0)} % of its limit` : "";
  }],
  ["", ({ now }) => (now.status === "running" ? "" : `not trading: ${now.status}`)],
];

/**
 * Which daemon needs a person, and why.
 * @param {Row} row
 * @returns {{ rank: number, kind: string, words: string }}
 */
export function needOf(row) {
  if (!row.now && !row.fault) return { rank: NEEDS.length + 1, kind: "", words: "reading …" };
  for (const [rank, [kind, of]] of NEEDS.entries()) {
    // without an answer the rest is not known
    const words = row.fault && rank > 3 ? "" : of(row);
    if (words) return { rank, kind, words };
  }
  return { rank: NEEDS.length, kind: "", words: "nothing" };
}

// Money as a count of millionths: sums of text have no rounding.
function micro(text) {
  const [, sign, whole, part = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  return (sign ? -1n : 1n) * BigInt(whole + part.padEnd(6, "0").slice(0, 6));
}
const textOf = (sum) => {
  const digits = (sum < 0n ? -sum : sum).toString().padStart(7, "0");
  return `${sum < 0n ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`;
};

/**
 * The sums over the daemons that answered: of each mode and currency apart, for paper money is none, and each run
 * once. `missing` are the daemons that are in no sum, with the reason.
 * @param {Row[]} all
 */
export function totalsOf(all) {
  const groups = new Map();
  const runs = new Set();
  const missing = [];
  const counted = [];
  for (const row of all) {
    const { now, fault } = row;
    if (fault || !now) missing.push(`${nameOf(row)} (${fault || "reading …"})`);
    else if (now.leader) missing.push(`${now.name} (read-only, of ${now.leader.url || "another daemon"})`);
    else if (runs.has(now.run)) missing.push(`${row.origin} (the run ${now.run} again)`);
    else {
      runs.add(now.run);
      counted.push(row);
      const key = `${now.mode.toUpperCase()} ${now.currency}`;
      groups.set(key, [...(groups.get(key) || []), row]);
    }
  }
  const sums = [...groups].map(([key, members]) => {
    const days = members.filter((each) => each.day);
    const [profit, closing] = ["profit", "closing"].map((name) => days.reduce((sum, each) => sum + micro(each.day[name]), 0n));
    const before = closing - profit;
    return {
      key, members: members.length, days: days.length, equity: textOf(members.reduce((sum, each) => sum + micro(each.now.equity), 0n)),
      profit: days.length ? textOf(profit) : null, share: days.length && before > 0n ? Number(profit) / Number(before) : null,
    };
  });
  const read = counted.filter((each) => each.incidents);
  const worst = ["HALT", "REDUCE", "RUN"].find((state) => counted.some((each) => stateOf(each.now) === state)) || "";
  const names = (state) => counted.filter((each) => stateOf(each.now) === state).map((each) => each.now.name);
  return {
    sums, missing, covers: counted.length, all: all.length, worst, of: worst === "RUN" ? [] : names(worst),
    incidents: read.reduce((sum, each) => sum + each.incidents.length, 0), read: read.length,
    critical: read.reduce((sum, each) => sum + each.incidents.filter((one) => one.level === "CRITICAL").length, 0),
    waits: counted.reduce((sum, each) => sum + waitsAt(each.now), 0),
  };
}
