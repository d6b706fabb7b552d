// One halt for several daemons: one request to each, under a key of its own, and what each of them answered. Nothing is
// claimed beyond the answers. A request without one is asked for by its key until its daemon knows.
import { html, useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { absent, clock, Reason } from "./acts.js";
import { changed, daemon, elsewhere, newKey, post, question, session, signIn } from "./daemon.js";
import { daemons, listFault, lookAt, nameOf, needOf, senderOf, sessionAt, signInAt, tokenOf, useFleet } from "./fleet.js";
import { things } from "./figures.js";
import { Problem } from "./parts.js";

const SLOW_MS = 3000;
const GIVEN_UP_MS = 20000;
const LOOK_MS = 1000;
const ASK_MS = 4000;
const PATH = "/api/v1/commands";
const MAY_HAVE = "it may have happened";

/**
 * The halt of one daemon: `unsigned` was not sent, `sent` has no answer yet, `unknown` may have happened, `absent` did
 * nothing as its daemon says, and `done` and `refused` are answers.
 * @typedef {{
 *   origin: string, here: boolean, name: string, key: string, body: { command: string, reason: string, agent: string },
 *   sender: string, state: "unsigned" | "sent" | "unknown" | "absent" | "done" | "refused", text: string,
 *   flying: number, missed: number, scope: boolean,
 * }} Act
 */

/** @type {{ at: number, acts: Act[] } | null} */
let newest = null;
export const newestHalt = () => newest;

const WORDS = {
  unsigned: "NOT SENT", sent: "sent", unknown: "NO ANSWER", absent: "NOT DONE", done: "DONE", refused: "REFUSED",
};
const KIND = { unsigned: "HALT", sent: "", unknown: "HALT", absent: "HALT", done: "RUN", refused: "HALT" };

function settle(act, state, text) {
  Object.assign(act, { state, text });
  changed({});
  if (state === "done") lookAt(act.origin);
}
const rowOf = (act) => daemons().find((each) => each.origin === act.origin) || { ...act, now: null };

function judge(act, status, body) {
  const [code, text] = [body && body.code, (body && body.detail) || `status ${status}`];
  if (status < 300 && body && body.switch) {
    const also = body.unrecorded ? `; not in the journal yet: ${body.unrecorded}` : "";
    settle(act, "done", `${body.command} was carried out: the switch ${body.replayed ? "is now at" : "went to"} ${body.switch}${also}`);
  } else if (code === "carried_out") settle(act, "done", text);
  else if (status === 401 || code === "csrf") {
    settle(act, "unsigned", "its session has ended, and nothing was done");
    if (act.here) session().catch(() => {});
  } else if (status < 300 || status === 504 || (status === 409 && code === "idempotency") || (status >= 500 && !code)) {
    settle(act, "unknown", MAY_HAVE);
  } else {
    act.scope = status === 403 && code === "scope";
    settle(act, "refused", text);
  }
}

async function send(act) {
  const row = rowOf(act);
  if (!sessionAt(row)) { settle(act, "unsigned", "not signed in to this daemon, so nothing was sent"); return; }
  Object.assign(act, { sender: senderOf(row), missed: 0, scope: false, flying: act.flying + 1 });
  settle(act, "sent", "");
  const stop = new AbortController();
  const slow = setTimeout(() => act.state === "sent" && settle(act, "unknown", `no answer yet: ${MAY_HAVE}`), SLOW_MS);
  const end = setTimeout(() => stop.abort(), GIVEN_UP_MS);
  const sending = act.here ? post(PATH, act.body, act.key, stop.signal) : elsewhere(act.origin, PATH, tokenOf(act.origin), stop.signal, act);
  const response = await sending.catch(() => null);
  const answer = response && await response.json().catch(() => null);
  clearTimeout(slow);
  clearTimeout(end);
  act.flying -= 1;
  if (response) judge(act, response.status, answer);
  else if (act.state === "sent" || act.state === "unknown") settle(act, "unknown", MAY_HAVE);
}

// Asks a daemon what became of its halt.
async function look(act) {
  const ask = (path) => (act.here ? question(path, ASK_MS) : elsewhere(act.origin, path, tokenOf(act.origin), AbortSignal.timeout(ASK_MS)));
  const response = await ask(`/api/v1/acts/${encodeURIComponent(act.key)}`);
  const became = await response.json().catch(() => null);
  if (act.state !== "unknown" || !became) return;
  if (response.ok && became.state === "done") settle(act, "done", became.answer ? `found by its key: the switch went to ${became.answer.switch}` : became.text);
  else if (response.ok && became.state === "refused") settle(act, "refused", became.text);
  else if (response.status === 404 && became.code === "no_act" && senderOf(rowOf(act)) === act.sender) {
    act.missed = act.flying ? 0 : act.missed + 1;  // a request under way may still arrive
    if (act.missed < 2) return;
    const [state, text] = await absent(PATH, act.body, ask);
    settle(act, state === "done" ? "done" : "absent", text);
  }
}

const asking = new Set();
setInterval(() => {
  for (const act of newest ? newest.acts : []) {
    if (act.state !== "unknown" || asking.has(act)) continue;
    asking.add(act);
    look(act).catch(() => {}).finally(() => asking.delete(act));
  }
}, LOOK_MS);

export const unanswered = (halt) => halt.acts.some(open);
const open = (act) => ["unsigned", "unknown", "absent"].includes(act.state) || (act.scope && senderOf(rowOf(act)) !== act.sender);

// What the answers say of all daemons together, and no more.
export function summaryOf({ acts }) {
  const of = (...states) => acts.filter((each) => states.includes(each.state));
  const parts = [
    [of("done"), "answered that the halt was carried out"], [of("refused"), "refused"], [of("unknown"), `gave no answer: ${MAY_HAVE}`],
    [of("unsigned"), "not sent"], [of("absent"), "did nothing"], [of("sent"), "not answered yet"],
  ].filter(([found]) => found.length).map(([found, words]) => `${found.length} ${words}`);
  return `Of ${things(acts.length, "daemon")}: ${parts.join("; ")}.`;
}

// What each daemon answered.
export function Answers({ halt }) {
  return html`<ul class="lines answers">${halt.acts.map((act) => html`<li key=${act.origin}><strong>${act.name}</strong> <strong class=${KIND[act.state]}>${WORDS[act.state]}</strong>${act.text ? `: ${act.text}` : ""}</li>`)}</ul>`;
}

// The token of one daemon, for the session of this page there. `then` is called once it has begun.
export function SignInAt({ row, then = () => {} }) {
  const [fault, tell] = useState("");
  const field = useRef(null);
  const id = `token-${row.origin.replace(/\W+/g, "-")}`;
  const go = async (event) => {
    event.preventDefault();
    const token = field.current.value;
    if (!token) return;
    try {
      if (row.here) await signIn({ token }); else await signInAt(row.origin, token);
      if (field.current) field.current.value = "";
      tell("");
      then();
    } catch (why) { tell(`not signed in: ${why.message}`); }
  };
  return html`<div class="sign-in"><label for=${id}>Token of ${nameOf(row)}</label>
    <p class="fields"><input id=${id} ref=${field} type="password" autocomplete="off" spellcheck="false" onKeyDown=${(event) => event.key === "Enter" && go(event)} />
      <button type="button" onClick=${go}>Sign in<span class="sr"> to ${nameOf(row)}</span></button></p>
    ${fault && html`<${Problem} text=${fault} />`}</div>`;
}

function Signed({ row }) {
  const found = sessionAt(row);
  if (!found) return html`<${SignInAt} row=${row} />`;
  const may = found.scopes.includes("trade");
  return html`<span class=${may ? "none" : "HALT"}>signed in as ${found.name}${may ? "" : `, whose scope ${found.scope} may not halt`}</span>`;
}

// The dialog. A halt with a daemon that has not answered is shown again when it is opened again.
export function HaltAll({ close }) {
  useFleet();
  const [reason, write] = useState("");
  const [halt, begun] = useState(newest && unanswered(newest) ? newest : null);
  const status = useRef(null);
  const all = daemons();
  const start = (event) => {
    event.preventDefault();
    const at = Date.now();
    newest = { at, acts: all.map((row) => ({
      origin: row.origin, here: row.here, name: nameOf(row), key: newKey(), body: { command: "halt", reason, agent: "" },
      sender: "", state: "sent", text: "", flying: 0, missed: 0, scope: false,
    })) };
    begun(newest);
    newest.acts.forEach(send);
  };
  useEffect(() => { if (halt && status.current) status.current.focus(); }, [halt]);
  if (!halt) {
    const unsigned = all.filter((row) => !sessionAt(row)).length;
    return html`<form onSubmit=${start}>
      <${Reason} value=${reason} write=${write} first=${true} needed=${false} />
      <p>On each daemon no order passes, agents do not decide, and open orders are cancelled. Positions stay.</p>
      ${listFault() && html`<${Problem} text=${`the list of daemons is not known: ${listFault()}`} />`}
      <ul class="lines">${all.map((row) => html`<li key=${row.origin}><strong>${nameOf(row)}</strong>${row.here ? " (this one)" : ""}: ${row.now && !row.fault ? row.now.switch : needOf(row).words} <${Signed} row=${row} /></li>`)}</ul>
      ${unsigned > 0 && html`<p class="HALT">${things(unsigned, "daemon")} without a sign-in: nothing is sent there.</p>`}
      <p class="buttons"><button type="submit" class="halt">Halt ${things(all.length - unsigned, "daemon")}</button><button type="button" onClick=${close}>Cancel</button></p>
    </form>`;
  }
  const again = halt.acts.filter(open);
  const busy = halt.acts.some((each) => each.state === "sent");
  return html`<p role="status" ref=${status} tabindex="-1">Sent at ${clock(halt.at)}. <strong>${summaryOf(halt)}</strong></p>
    <${Answers} halt=${halt} />
    ${halt.acts.filter((act) => act.state === "unsigned" || act.scope).map((act) => html`<${SignInAt} key=${act.origin} row=${rowOf(act)} then=${() => send(act)} />`)}
    ${halt.acts.some((each) => each.state === "unknown") && html`<p>Other ways to halt a daemon, on its machine: quantd halt; a file named HALT in its state folder; kill -USR1 and its process id.</p>`}
    <p class="buttons">${again.length > 0 && html`<button type="button" class="halt" disabled=${busy} onClick=${() => again.forEach(send)}>Send again to ${things(again.length, "daemon")} without an answer</button>`}
      ${!busy && html`<button type="button" onClick=${() => begun(null)}>A new halt …</button>`}
      <button type="button" onClick=${close}>Close</button></p>`;
}
