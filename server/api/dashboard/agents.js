// Agents: switch, return, and of a chosen one the weights wanted, allowed and held; acts on its model.
import { html, useEffect, useState } from "./htm-preact-standalone.mjs";
import { Became, Reason, useAct, usePlan } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { count, local, money, orders, percent, plain, signed, tone } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";
import { Reviews } from "./reviews.js";

// Act -> title, scope, whether it names an artifact, for which agents, and what it does.
/** @type {Record<string, any[]>} */
const ACTS = {
  pause: ["Pause", "trade", false, (a) => !a.suspended, "It is asked no more and holds its positions. Only orders that reduce them pass."],
  resume: ["Resume", "trade", false, (a) => a.suspended, "It is asked again at its next sample."],
  load: ["Load a model", "admin", true, (a) => !a.shadow, "The artifact decides from its next sample on. A file that is not fit is refused, and nothing changes."],
  shadow: ["Load into its shadow", "admin", true, (a) => !a.shadow, "The artifact trades a simulated book beside this agent. The comparison begins anew."],
  promote: ["Promote", "admin", false, (a) => a.shadow && a.challenges, "Its policy decides for the agent that it challenges, without a further test."],
  demote: ["Take back", "admin", false, (a) => a.decided_by, "Each gets its own policy back."],
};

const EXCHANGES = ["promote", "demote"];

// An act is sent to its agent; the way back of a promotion to the shadow that was promoted.
const addressOf = (kind, agent) => (kind === "demote" ? agent.decided_by : agent.name);

function Act({ kind, agent, tests, close }) {
  const [title, , artifact, , words] = ACTS[kind];
  const [path, name] = useState("");
  const [reason, write] = useState("");
  const [state, go] = useAct(close);
  const held = agent.shadow ? [] : Object.keys(agent.weights);
  const last = tests.filter((each) => each.names && each.names.includes(agent.name)).at(-1);
  // a test that does not support a promotion, or no test: one word is too little for it
  const doubtful = kind === "promote" && (!last || last.p > last.alpha);
  const [typed, type] = useState("");
  const send = (event) => {
    event.preventDefault();
    if (doubtful && typed !== agent.name) return;
    go(`/api/v1/models/${encodeURIComponent(addressOf(kind, agent))}/${kind}`, artifact ? { path, reason } : { reason });
  };
  return html`<form onSubmit=${send}>
    <p>${agent.name} (${agent.policy}), ${money(agent.equity)} in ${held.length + (agent.more || 0)} positions. ${words}</p>
    ${kind === "promote" && html`<p>${last ? `Last test on ${local(last.ts, daemon.live.overview.zone)}: gain ${percent(last.gain)} a year in ${last.measure || "return"}, p = ${last.p.toFixed(3)} against ${last.alpha.toFixed(3)} after ${last.samples} samples${last.why ? `; ${last.why}` : ""}.` : "It was not tested yet: no p-value supports this."}</p>`}
    ${artifact && html`<label for="path">Folder of the artifact, as in <code>policy</code></label><input id="path" value=${path} onInput=${(event) => name(event.target.value)} required maxlength="200" data-first />`}
    ${kind === "promote" && html`<${Changes} challenger=${agent} />`}
    ${EXCHANGES.includes(kind) && html`<${DryRun} kind=${kind} agent=${agent} state=${state} />`}
    <${Reason} value=${reason} write=${write} first=${!artifact} />
    ${doubtful && html`<p class="HALT">${last ? `p = ${last.p.toFixed(3)} is above ${last.alpha.toFixed(3)}` : "No test was made"}: the data do not show that ${agent.name} is better.</p>
      <label for="typed">Type <strong>${agent.name}</strong> to promote it all the same</label><input id="typed" value=${typed} onInput=${(event) => type(event.target.value)} required autocomplete="off" spellcheck="false" />`}
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" class="main" disabled=${state.busy || (doubtful && typed !== agent.name)}>${title}</button><button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

// What a promotion would change: the weights of the champion's book beside those of the challenger in simulation.
function Changes({ challenger }) {
  const champion = daemon.live.overview.agents.find((each) => each.name === challenger.challenges);
  if (!champion) return "";
  const symbols = [...new Set([...Object.keys(champion.weights), ...Object.keys(challenger.weights)])];
  const rows = symbols.map((id) => ({ id, now: champion.weights[id] || 0, then: challenger.weights[id] || 0 })).sort((a, b) => Math.abs(b.then - b.now) - Math.abs(a.then - a.now));
  return html`<h3>What it would change for ${champion.name}</h3>
    <${Table} name="Weights of both" rows=${rows} most=${8} words=${(row) => row.id} empty="both hold cash" columns=${[
    { head: "symbol", cell: (row) => row.id },
    { head: `${champion.name} holds`, num: true, cell: (row) => percent(row.now) },
    { head: `${challenger.name} holds, simulated`, num: true, cell: (row) => percent(row.then) },
  ]} />
    `;
}

// The orders that an exchange of policies would bring, from a call of the agent on a copy of the state.
function DryRun({ kind, agent, state }) {
  const { plan: found, busy, fault, preview } = usePlan(kind, state);
  const path = `/api/v1/models/${encodeURIComponent(addressOf(kind, agent))}/${kind}/preview`;
  const run = () => preview(path, () => ({ reason: "dry run" }));
  useEffect(() => { run(); }, []);
  const plan = found && found.plan;
  const [name] = found ? [found.agent] : [""];
  return html`<h3>Dry run</h3>
    ${fault && html`<${Problem} text=${fault} />`}
    <p role="status">${busy ? "reading …" : !plan ? "" : plan.note || `If ${name} were asked right after it: ${orders(plan.orders.length)} for ${money(plan.value)}, commission ${money(plan.commission)}, slippage ${money(plan.slippage)}${plan.cancels ? `; ${count(plan.cancels)} open orders are cancelled` : ""}.`}</p>
    ${plan && !plan.note && html`<${Table} name="Orders of the dry run" rows=${plan.orders} most=${6} by=${(o) => `${o.side}${o.symbol}`} words=${(o) => o.symbol} empty="no orders: the targets are held" columns=${[
    { head: "order", cell: (o) => `${o.side} ${plain(o.qty)} ${o.symbol}` }, { head: "value", num: true, cell: (o) => money(o.value) }, { head: "costs", num: true, cell: (o) => money(o.commission + o.slippage) },
  ]} />`}
    ${plan && plan.refused.length > 0 && html`<${Table} name="Cut by limits" rows=${plan.refused} most=${4} by=${(c) => `${c.who}${c.side}${c.symbol}`} words=${(c) => c.symbol} columns=${[
    { head: "asked", cell: (c) => `${c.side} ${c.asked} ${c.symbol}` }, { head: "allowed", num: true, cell: (c) => c.allowed }, { head: "why", cell: (c) => c.text },
  ]} />`}
    <p class="none">Nothing is sent now: the orders come with its next decision, at the prices of then, and pass the limits of the agent and of the house.</p>
    <p class="buttons"><button type="button" disabled=${busy} onClick=${run}>Dry run again</button></p>`;
}

function weightsOf(agent, rounds) {
  const round = rounds.find((each) => each.agents.some((a) => a.agent === agent.name));
  const plan = round && round.agents.find((a) => a.agent === agent.name);
  const symbols = new Set([...Object.keys(agent.weights), ...(plan ? Object.keys(plan.weights) : [])]);
  const rows = [...symbols].map((symbol) => ({
    id: symbol, held: agent.weights[symbol] || 0, wanted: plan ? plan.weights[symbol] || 0 : null,
    asked: plan ? plan.asked[symbol] || "0" : "–", allowed: plan ? plan.allowed[symbol] || "0" : "–", reason: plan ? plan.reasons[symbol] || "" : "",
  }));
  return [round, plan, rows.sort((a, b) => Math.max(Math.abs(b.held), Math.abs(b.wanted || 0)) - Math.max(Math.abs(a.held), Math.abs(a.wanted || 0)))];
}

function Weights({ agent, zone }) {
  const now = daemon.live.overview;
  const found = useRead(async () => (agent.shadow ? null : read(`/api/v1/decisions?limit=1&agent=${encodeURIComponent(agent.name)}`)), now.ts, agent.name);
  const [round, plan, rows] = weightsOf(agent, (found.data && found.data.decisions) || []);
  return html`<section class="card wide"><h2>Weights of ${agent.name}</h2>
    <p class="none">${round ? `Its newest decision was ${local(round.ts, zone)}${plan.scale < 1 ? `; headroom scaled it by ${plan.scale.toFixed(3)}` : ""}.` : agent.shadow ? "The orders of a shadow are simulated." : noneOf(found, found.data && found.data.next ? "It has not decided in the newest 400 rounds." : "It has not decided yet.")}</p>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    <${Table} name=${`Weights of ${agent.name}`} rows=${rows} words=${(w) => `${w.id} ${w.reason}`} empty=${agent.shadow ? "flat" : noneOf(found, "flat")} columns=${[
    { head: "symbol", cell: (w) => w.id },
    { head: "wanted", num: true, cell: (w) => percent(w.wanted) },
    { head: "held", num: true, cell: (w) => percent(w.held) },
    { head: "order asked", num: true, cell: (w) => (w.asked === "–" ? w.asked : plain(w.asked)) },
    { head: "order allowed", num: true, cell: (w) => (w.allowed === "–" ? w.allowed : plain(w.allowed)) },
    { head: "cut by", cell: (w) => html`<span class=${w.reason ? "REDUCE" : ""}>${w.reason.replaceAll("_", " ") || "–"}</span>` },
  ]} /></section>`;
}

export function Agents() {
  const now = daemon.live.overview;
  const [chosen, choose] = useState("");
  const [doing, act_] = useState(null);
  const house = useRead(() => read("/api/v1/house"), `${now.run}/${now.session}`);
  const agent = now.agents.find((each) => each.name === chosen) || now.agents[0];
  const rows = now.agents.slice().sort((a, b) => Number(b.equity) - Number(a.equity)).map((each) => ({ ...each, chosen: agent && each.name === agent.name }));
  const acts = agent ? Object.entries(ACTS).filter(([, [, scope, , fits]]) => may(scope) && fits(agent)) : [];
  return html`
    <${Reviews} />
    <section class="card wide"><h2>Agents</h2>
      <${Table} name="Agents" rows=${rows} most=${15} by=${(a) => a.name} empty="no agents" words=${(a) => `${a.name} ${a.policy} ${a.switch}`} columns=${[
    { head: "agent", cell: (a) => html`<button type="button" aria-pressed=${Boolean(a.chosen)} onClick=${() => choose(a.name)}>${a.name}</button>${a.shadow ? " shadow" : ""}${a.challenges ? ` of ${a.challenges}` : ""}` },
    { head: "policy", cell: (a) => `${a.policy.split("/").pop()}${a.decided_by ? ` (of ${a.decided_by})` : ""}` },
    { head: "capital", num: true, cell: (a) => percent(a.share === null ? a.capital : a.share, a.share === null ? 0 : 1) },
    { head: "switch", cell: (a) => html`<span title=${a.cause ? `${a.cause.who} ${a.cause.text}` : a.reason}>${a.suspended ? "paused" : a.switch}</span>`, kind: (a) => (a.suspended ? "REDUCE" : a.switch) },
    { head: "equity", num: true, cell: (a) => money(a.equity) },
    { head: "return since the start", num: true, cell: (a) => signed(a.total), kind: (a) => tone(a.total) },
    { head: "today", num: true, cell: (a) => signed(a.today), kind: (a) => tone(a.today) },
  ]} />
      ${acts.length > 0 && html`<p class="buttons">${acts.map(([kind, [title]]) => html`<button type="button" onClick=${() => act_({ kind, agent })}>${title}: ${agent.name} …</button>`)}</p>`}
    </section>
    ${agent && html`<${Weights} key=${agent.name} agent=${agent} zone=${now.zone} />`}
    ${doing && html`<${Dialog} title=${ACTS[doing.kind][0]} close=${() => act_(null)}><${Act} kind=${doing.kind} agent=${doing.agent} tests=${house.data ? house.data.promotions : []} close=${() => act_(null)} /></${Dialog}>`}`;
}
