// Always on top: mode, switch, link and age of the figures, open incidents; sign-in, halt and resume.
import { html, useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { Became, Reason, say, useAct, Waiting } from "./acts.js";
import { changed, daemon, may, mayStop, offer, read, signIn, signInByDevice, signOut, up } from "./daemon.js";
import { grouped, makeKey } from "./device.js";
import { age, city, count, local, money, percent, restrained, stateOf, things, zoneNow } from "./figures.js";
import { addressOf } from "./address.js";
import { Problem, Table } from "./parts.js";
import { Periods } from "./period.js";
import { useRead } from "./reads.js";

const PAIR_MS = 2000;
const TAPPED = "one tap on a paired device";
const MODES = { paper: "PAPER", shadow: "SHADOW", live: "LIVE" };

function lastBar(now) {
  if (!now.ts) return "before the first bar";
  const when = `last bar ${local(now.ts, now.zone)} ${city(zoneNow(now.zone))}`;
  return daemon.recorded ? `${when}, recorded` : `${when}, ${age(Date.now() - now.ts / 1e6)} old`;
}

// Who or what moved a switch, and when: "HALT since 2020-03-09 16:00 by api:owner: "reason"".
export function causeOf(state, cause, reason, zone) {
  if (!cause) return `${state}: ${reason || "no reason given"}`;
  const since = cause.since_ts ? ` since ${local(cause.since_ts, zone)}` : "";
  return cause.who ? `${state}${since} by ${cause.who}: ${cause.text ? `"${cause.text}"` : "no reason given"}` : `${state}${since}: ${cause.text}`;
}

// The number of open incidents: a claim, which needs an answer of the daemon that still answers.
function Incidents({ found, stale }) {
  if (stale || found.fault || !found.data) return html`<a href="#incidents">incidents not known</a>`;
  const raised = found.data.incidents;
  const worst = raised.some((each) => each.level === "CRITICAL") ? "CRITICAL" : "WARNING";
  return html`<a class=${raised.length ? worst : ""} href="#incidents">${raised.length ? things(raised.length, "open incident") : "no open incident"}</a>`;
}

// Figures are the last known ones while the daemon does not answer, or answers no more without a sign-in.
export const stale = () => (daemon.at > 0 && !up()) || daemon.lost || Boolean(daemon.session && !daemon.session.reads);

function linkWords(session, now) {
  if (session && !session.reads) return "signed out";
  if (daemon.lost || (now && !up())) return `link lost${daemon.at ? `, figures ${age(Math.abs(Date.now() - daemon.at))} old` : ""}`;
  if (!now) return "connecting";
  return daemon.polls ? "no link: the page asks every 2 s, as its WebSocket was refused" : "link up";
}

// On a phone the header is folded: one line of facts and one of notices, each cut at its end. A button and a tap on a
// text show all of it, with resume, sign-in and sign-out. Elsewhere all of it is there.
export function Standing({ open, screens, screen }) {
  const [whole, unfold] = useState(false);
  const now = daemon.live && daemon.live.overview;
  const incidents = useRead(() => (now ? read("/api/v1/alerts/active") : null), now && `${now.alerts}/${now.run}/${daemon.acknowledged || 0}`);
  const old = stale();
  const tapped = (event) => { if (!event.target.closest("a, button")) unfold(!whole); };
  return html`<header class=${whole ? "unfolded" : ""} onClick=${tapped}>
    <a class="skip" href="#main">Skip to the figures</a>
    <div class="first">
      <h1><span class=${now ? "brand" : ""}>quantd </span>${now && now.name}</h1>
      ${now && html`<span class=${`mode ${now.mode}`}>${MODES[now.mode] || now.mode.toUpperCase()}</span>
        <span class=${`switch ${old ? "stale" : stateOf(now)}`} title=${now.reason}><span class="sr">switch </span>${old ? "last known: " : ""}${now.switch}${restrained(now) ? ` · ${restrained(now)}` : ""}${now.status === "running" ? "" : ` · ${now.status}`}</span>`}
    </div>
    <div class="facts">
      ${now && html`<span class="last">${lastBar(now)}</span>
        <${Incidents} found=${incidents} stale=${old} />
        ${now.differs.length > 0 && html`<a class="WARNING differs" href="#now" title=${now.differs.join("\n")}>${things(now.differs.length, "key")} of the file not in force</a>`}`}
      <span class=${`link ${daemon.lost || (now && !up()) ? "lost" : ""}`} role="status">${linkWords(daemon.session, now)}</span>
    </div>
    <button type="button" class="unfold" aria-expanded=${whole} onClick=${() => unfold(!whole)}>${whole ? "Less" : "More"}</button>
    <${Acts} open=${open} now=${now} />
    <${Notices} now=${now} old=${old} />
  </header>
  ${now && html`<nav aria-label="Screens and period" onfocusout=${(event) => { if (!event.currentTarget.contains(event.relatedTarget)) event.currentTarget.scrollLeft = 0; }}><div class="screens">${screens.map(([name, title]) => html`<a href=${addressOf(name)} aria-current=${screen === name ? "page" : false}>${title}</a>`)}</div>
    <${Periods} open=${open} /><button type="button" onClick=${() => open("settings")}>View …</button></nav>`}`;
}

function Acts({ open, now }) {
  const { session } = daemon;
  const paired = Boolean(daemon.device) && may("trade");  // one tap halts, and the dialog says what became of it
  return html`<div class="acts">
    ${mayStop() && html`
      ${now && (now.switch !== "RUN" || now.agents.some((each) => each.switch !== "RUN")) && html`<button type="button" class="resume" onClick=${() => open("resume")}>Resume …</button>`}
      <button type="button" class="halt" onClick=${() => open(paired ? "halt-now" : "halt")} aria-keyshortcuts="h">${paired ? "Halt" : "Halt …"}</button>`}
    <span class="person">${paired && html`<button type="button" onClick=${() => open("halt")}>Reduce, flatten …</button>`}${session && session.name ? html`<span class="who">${session.name}, ${may(session.scope) ? session.scope : "read only"}</span><button type="button" onClick=${() => signOut().catch((why) => say(`NOT SIGNED OUT: ${why.message}`))}>Sign out</button>`
    : session && html`<span class=${daemon.ended ? "who HALT" : "who"}>${daemon.ended ? `the session of ${daemon.ended} has ended` : "read only"}</span>${!(now && now.leader) && html`<button type="button" onClick=${() => open("sign-in")}>Sign in …</button>`}`}</span>
  </div>`;
}

// What a person must know of the switch, of acts without an answer and of the store.
function Notices({ now, old }) {
  return html`<div class="notices">
    ${daemon.renewed && html`<p class="why REDUCE">another run has begun; these are the figures of the run before, and what is typed stays <button type="button" onClick=${() => location.reload()}>Show the other run</button></p>`}
    ${now && now.store && html`<p class="why HALT">the store takes no writes: ${now.store}</p>`}
    <${Waiting} />
    ${now && now.switch !== "RUN" && html`<p class=${`why ${old ? "stale" : now.switch}`}>${old ? "last known: " : ""}${causeOf(now.switch, now.cause, now.reason, now.zone)}</p>`}
    ${now && now.leader && html`<p id="leader" class=${`why ${now.leader.alive ? "REDUCE" : "HALT"}`} role="status">${now.leader.alive ? `read-only; the trading daemon is at ${now.leader.url}` : now.leader.text}</p>`}
  </div>`;
}

export function SignIn({ close }) {
  const [fault, tell] = useState("");
  const field = useRef(null);
  const go = async (event) => {
    event.preventDefault();
    try {
      await signIn({ token: field.current.value });
      changed({ asking: "" });
      if (close) close();
    } catch (why) { tell(String(why.message)); }
  };
  const byKey = () => signInByDevice().then(() => { changed({ asking: "" }); if (close) close(); }, (why) => tell(String(why.message)));
  return html`<form onSubmit=${go}>
    <p>${daemon.ended ? `The session of ${daemon.ended} has ended. ` : ""}Paste a token. Its scope decides what this page can do.</p>
    <label for="token">Token</label>
    <input id="token" ref=${field} type="password" autocomplete="off" spellcheck="false" required data-first />
    <p class="none">The owner's token is the file <code>token</code> in the state folder. <code>quantd token create NAME --scope trade</code> makes another.</p>
    ${(fault || daemon.asking) && html`<${Problem} text=${fault || daemon.asking} />`}
    <p class="buttons"><button type="submit" class="main">Sign in</button>${daemon.device && html`<button type="button" onClick=${byKey}>Sign in with the key of this device</button>`}${close && html`<button type="button" onClick=${close}>Close</button>`}</p>
  </form>`;
}

// The link of `quantd connect phone`: this browser makes a key, and waits until a person has compared it with what the
// terminal shows.
export function Pair({ close }) {
  const [fault, tell] = useState("");
  const [key, show] = useState("");
  const go = async () => {
    tell("");
    try {
      const made = await makeKey();
      show(made);
      while (!await offer(daemon.pairing, made)) await new Promise((done) => setTimeout(done, PAIR_MS));
      changed({ device: made, pairing: "" });
      await signInByDevice();
      close();
    } catch (why) { tell(`NOT PAIRED: ${why.message}`); }
  };
  return html`<p>This browser makes a key of its own, which never leaves it. It signs in here, halts in one tap, and signs approvals. Whoever unlocks this phone can do the same: it needs a lock.</p>
    ${key && html`<p role="status">Its key begins with <strong class="whole">${grouped(key)}</strong>. Compare it with what the terminal shows, and answer there.</p>`}
    ${fault && html`<${Problem} text=${fault} />`}
    <p class="buttons"><button type="button" class="main" disabled=${Boolean(key) && !fault} onClick=${go} data-first>Pair this phone</button><button type="button" onClick=${() => { changed({ pairing: "" }); close(); }}>Not now</button></p>`;
}

const COMMANDS = {
  halt: ["Halt", "No order passes, agents do not decide, and open orders are cancelled. Positions stay."],
  reduce: ["Reduce", "Only orders that make a position smaller pass. Orders that add risk are cancelled."],
  flatten: ["Flatten", "Every position is sold at the next prices. Then trading stays halted."],
};

// With `tapped` the halt is sent at once; the dialog closes when it is done, and says so where it is not.
export function Halt({ close, tapped = false }) {
  const now = daemon.live && daemon.live.overview;
  const [command, choose] = useState("halt");
  const [agent, only] = useState("");
  const [reason, write] = useState(tapped ? TAPPED : "");
  const [state, go] = useAct(close);
  useEffect(() => { if (tapped) go("/api/v1/commands", { command: "halt", reason: TAPPED, agent: "" }); }, []);
  const of = command === "flatten" ? "" : agent;
  const send = (event) => { event.preventDefault(); go("/api/v1/commands", { command, reason, agent: of }); };
  const held = now ? now.positions : [];
  const more = (now && now.more && now.more.positions) || 0;
  return html`<form onSubmit=${send}>
    <${Reason} value=${reason} write=${write} first=${true} needed=${false} />
    <div class="fields">
      <p><label for="command">Command</label>
        <select id="command" value=${command} onChange=${(event) => choose(event.target.value)}>${Object.entries(COMMANDS).map(([name, [title]]) => html`<option value=${name}>${title}</option>`)}</select></p>
      ${command !== "flatten" && html`<p><label for="of">Of</label>
        <select id="of" value=${agent} onChange=${(event) => only(event.target.value)}><option value="">the whole house</option>${now && now.agents.map((each) => html`<option value=${each.name}>${each.name}</option>`)}</select></p>`}
    </div>
    <p>${of && command === "halt" ? "No order of this agent passes, and it does not decide. Its open orders are not cancelled." : COMMANDS[command][1]}
      ${now && !of ? ` ${stale() ? "Last known" : "Now"}: ${things(now.open_orders, "open order")}, ${things(held.length + more, "position")}.` : ""}</p>
    ${command === "flatten" && html`<${Table} name="Positions to sell" rows=${[...held].sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)))} most=${5} words=${(p) => p.symbol} by=${(p) => p.symbol}
      columns=${[{ head: "symbol", cell: (p) => p.symbol }, { head: "quantity", num: true, cell: (p) => p.qty }, { head: "value", num: true, cell: (p) => money(p.value) }]} />`}
    ${command === "flatten" && more > 0 && html`<p>And ${count(more)} smaller positions.</p>`}
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" class="halt" disabled=${state.busy}>${COMMANDS[command][0]} ${of || "all trading"}</button><button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

export function Resume({ close }) {
  const now = daemon.live && daemon.live.overview;
  const halted = now ? now.agents.filter((each) => each.switch !== "RUN") : [];
  const [agent, only] = useState(now && now.switch === "RUN" && halted.length ? halted[0].name : "");
  const [reason, write] = useState("");
  const switches = useRead(() => read("/api/v1/switches"), now && now.ts);
  const [state, go] = useAct(close);
  const send = (event) => { event.preventDefault(); go("/api/v1/commands", { command: "resume", reason, agent }); };
  if (!now) return html`<p>No figures of the daemon yet.</p>`;
  const own = switches.data && switches.data.switches.find((each) => each.agent === agent);
  const lost = (mark) => (own && Number(mark) > 0 ? percent(Math.max(0, 1 - Number(own.equity) / Number(mark)), 2) : "–");
  const marks = own ? [["high-water mark", own.high_water], ["opening of the day", own.day_open], ["opening of the week", own.week_open]] : [];
  return html`<form onSubmit=${send}>
    <${Reason} value=${reason} write=${write} first=${true} />
    ${halted.length > 0 && html`<p><label for="of">Of</label>
      <select id="of" value=${agent} onChange=${(event) => only(event.target.value)}><option value="">the house</option>${halted.map((each) => html`<option value=${each.name}>${each.name}: ${each.switch}</option>`)}</select></p>`}
    ${own && html`<p>${stale() ? "Last known: " : ""}${causeOf(own.switch, (agent ? now.agents.find((each) => each.name === agent) || {} : now).cause, own.reason, now.zone)}. Orders ${agent ? `of ${agent} ` : ""}pass again, and these marks become the present equity, so that the same loss does not trip the switch at once:</p>
      <${Table} name="Marks that are reset" rows=${marks} by=${([name]) => name} words=${([name]) => name} columns=${[
    { head: "mark", cell: ([name]) => name },
    { head: "now", num: true, cell: ([, mark]) => money(mark) },
    { head: "then", num: true, cell: () => money(own.equity) },
    { head: "loss forgotten", num: true, cell: ([, mark]) => lost(mark) },
  ]} />`}
    ${switches.fault && html`<${Problem} text=${switches.fault} />`}
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" class="main" disabled=${state.busy}>Resume ${agent || "all trading"}</button><button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}
