// What if: a limit of the account, the weights or the share of an agent, for the plan of now; of a limit also over the
// past of the run. It only asks; a change and a proposal are dialogs of their own.
import { html, useRef, useState } from "./htm-preact-standalone.mjs";
import { usePlan } from "./acts.js";
import { Change, useSettings } from "./changes.js";
import { daemon, may, read } from "./daemon.js";
import { measured, money, orders, percent, things } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { Rebalance } from "./portfolios.js";

// A replay of the whole run may take two minutes at the daemon.
const PAST_MS = 130_000;
const WHATS = { limit: "a limit of the account", weights: "weights of an agent", share: "the share of an agent" };

const ofPlan = (plan) => (plan.note ? plan.note : `${orders(plan.orders.length)} of ${money(plan.value)}, which cost about ${money(plan.commission + plan.slippage)}; VaR ${percent(plan.var)}, after them ${percent(plan.var_after)}`);

function Under({ plan }) {
  const before = new Map(plan.now.limits.map((each) => [each.limit, each]));
  const rows = plan.then.limits.map((each) => ({ ...each, now: before.get(each.limit) }));
  return html`<dl class="pairs"><dt>as it is</dt><dd>${ofPlan(plan.now)}</dd><dt>with it</dt><dd>${ofPlan(plan.then)}</dd>
      ${plan.then.refused.length > 0 && html`<dt>cut or refused</dt><dd>${plan.then.refused.map((each) => each.symbol).join(", ")}</dd>`}
      ${plan.looser.length > 0 && html`<dt>looser</dt><dd class="REDUCE">${plan.looser.join(", ")}: in force after its delay, and a second person</dd>`}</dl>
    <${Table} name="Limits under it" rows=${rows} by=${(each) => each.limit} words=${(each) => each.words} empty="no limit is known" columns=${[
    { head: "limit", cell: (each) => each.words || each.limit },
    { head: "now", num: true, cell: (each) => measured(each.before, each.unit) },
    { head: "after the plan as it is", num: true, cell: (each) => (each.now ? measured(each.now.after, each.unit) : "–") },
    { head: "after it with this", num: true, cell: (each) => measured(each.after, each.unit) },
    { head: "bound", num: true, cell: (each) => measured(each.bound, each.unit) },
  ]} />`;
}

// Of each symbol a slider, the largest weights first, and a field for another symbol; the daemon judges its name.
function Sliders({ weights, more, set }) {
  const [symbol, write] = useState("");
  const add = () => { if (symbol.trim()) { set(symbol.trim(), weights[symbol.trim()] || 0); write(""); } };
  const sum = Object.values(weights).reduce((all, each) => all + each, 0);
  return html`<div class="sliders">${Object.keys(weights).map((symbol) => html`<p key=${symbol}><label for=${`weight-${symbol}`}>${symbol} ${percent(weights[symbol])}</label>
      <input id=${`weight-${symbol}`} type="range" min=${Math.min(0, weights[symbol])} max="1" step="0.01" value=${weights[symbol]} onInput=${(event) => set(symbol, Number(event.target.value))} /></p>`)}</div>
    <p><label for="what-symbol">Another symbol</label><input id="what-symbol" value=${symbol} onInput=${(event) => write(event.target.value)} onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); add(); } }} autocomplete="off" spellcheck="false" /> <button type="button" disabled=${!symbol.trim()} onClick=${add}>Add</button></p>
    <p class=${sum > 1 ? "REDUCE" : "none"}>Together ${percent(sum)}; the rest is cash.${more > 0 ? ` ${things(more, "smaller holding")} not listed: weight 0 here.` : ""}</p>`;
}

// The key of an agent's share among the settings.
const shareOf = (settings, agent) => settings.find((each) => each.kind === "share" && each.label === `[[agents]] "${agent}" capital`);

export function WhatIf() {
  const now = daemon.live.overview;
  const names = now.limits.filter((each) => each.limit.startsWith("max_") && each.bound !== null);
  const agents = now.agents.filter((each) => !each.shadow);
  const { settings, changed } = useSettings();
  const [asked, put] = useState({ what: "limit", limit: "", value: "", agent: "", weights: /** @type {any} */ (null) });
  const [past, recall] = useState({ change: "", busy: false, found: null, fault: "" });
  const [acting, act] = useState("");
  const limit = names.find((each) => each.limit === asked.limit) || names[0];
  const agent = agents.find((each) => each.name === asked.agent) || agents[0];
  const held = agent ? Object.entries(agent.weights).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a)) : [];
  const weights = asked.weights || Object.fromEntries(held);
  const change = limit ? `risk.${limit.limit}=${asked.value.trim()}` : "";
  const newest = useRef(change);
  newest.current = change;
  const { plan, busy, fault, preview, drop } = usePlan(asked, { act: null });
  const set = (more) => { put({ ...asked, ...more }); drop(); };
  const field = (name, more = {}) => (event) => set({ [name]: event.target.value, ...more });
  const body = { limit: { limits: [change] }, weights: { agent: agent && agent.name, weights }, share: { shares: agent && { [agent.name]: Number(asked.value) } } }[asked.what];
  const overPast = async () => {
    recall({ change, busy: true, found: null, fault: "" });
    let answer = { found: null, fault: "" };
    try {
      answer = { ...answer, found: await read(`/api/v1/research/limit?limit=${encodeURIComponent(change)}`, PAST_MS) };
    } catch (why) { answer = { ...answer, fault: String(why.message || why) }; }
    if (newest.current === change) recall({ change, busy: false, ...answer });
  };
  const mine = asked.what === "limit" && past.change === change ? past : { busy: false, found: null, fault: "" };
  const setting = asked.what === "share" ? shareOf(settings, agent && agent.name) : settings.find((each) => limit && each.key === `risk.${limit.limit}`);
  const ready = asked.what === "weights" ? Object.keys(weights).length : asked.what === "share" ? agent && asked.value.trim() : limit && asked.value.trim();
  return html`<section class="card wide"><h2>What if</h2>
    <form onSubmit=${(event) => { event.preventDefault(); preview("/api/v1/plan/what-if", () => body); }}>
      <div class="fields">
        <p><label for="what-of">What if there were another</label><select id="what-of" value=${asked.what} onChange=${field("what", { value: "", weights: null })}>${Object.entries(WHATS).map(([what, words]) => html`<option value=${what}>${words}</option>`)}</select></p>
        ${asked.what === "limit" && limit && html`<p><label for="what-if">A limit of the account</label><select id="what-if" value=${limit.limit} onChange=${field("limit")}>${names.map((each) => html`<option value=${each.limit}>${each.words || each.limit}</option>`)}</select></p>`}
        ${asked.what !== "limit" && html`<p><label for="what-agent">Agent</label><select id="what-agent" value=${agent && agent.name} onChange=${field("agent", { weights: null })}>${agents.map((each) => html`<option value=${each.name}>${each.portfolio || each.name}</option>`)}</select></p>`}
        ${asked.what !== "weights" && html`<p><label for="what-if-value">${asked.what === "share" ? `fraction of the account; now ${agent ? (Number(agent.equity) / Number(now.equity)).toFixed(4) : "–"}` : `as in the configuration; now ${limit ? limit.bound : "–"}`}</label><input id="what-if-value" value=${asked.value} onInput=${field("value")} required inputmode="decimal" autocomplete="off" /></p>`}
      </div>
      ${asked.what === "weights" && html`<${Sliders} weights=${weights} more=${agent ? agent.more || 0 : 0} set=${(symbol, weight) => set({ weights: { ...weights, [symbol]: weight } })} />`}
      <p class="buttons">${may("read") && html`<button type="submit" disabled=${busy || !ready}>Plan now</button>`}
        ${asked.what === "limit" && html`<button type="button" disabled=${mine.busy || !ready} onClick=${overPast}>Over the past</button>`}
        ${plan && asked.what !== "weights" && setting && may("trade") && html`<button type="button" onClick=${() => act("change")}>Apply …</button>`}
        ${plan && asked.what === "weights" && (agent.portfolio || agent.policy === "external") && may("trade") && html`<button type="button" onClick=${() => act("propose")}>Send as a plan …</button>`}</p>
    </form>
    <div role="status">${mine.busy && html`<p class="none">the run is taken again, from its first step …</p>`}
      ${plan && html`<${Under} plan=${plan} />`}
      ${mine.found && html`<p><strong>${mine.found.sentence}</strong></p>
        <p class="none">${mine.found.exact ? "Taken again under its own limits, the run gives its recorded equity." : "Taken again under its own limits, the run does NOT give its recorded equity: trust neither figure."} The same: ${mine.found.same} Not the same: ${mine.found.not_same}</p>`}</div>
    ${(fault || mine.fault) && html`<${Problem} text=${fault || mine.fault} />`}
    <p class="none">A plan and a look at the past change nothing.</p>
    ${acting === "change" && html`<${Change} setting=${setting} value=${asked.value.trim()} close=${() => act("")} changed=${changed} />`}
    ${acting === "propose" && html`<${Dialog} title=${`Rebalance: ${agent.portfolio || agent.name}`} close=${() => act("")}><${Rebalance} name=${agent.portfolio || agent.name} agents=${agents.map((each) => each.name)} close=${() => act("")} changed=${changed}
      text=${Object.entries(weights).map(([symbol, weight]) => `${symbol} ${weight}`).join(", ")} /></${Dialog}>`}
  </section>`;
}
