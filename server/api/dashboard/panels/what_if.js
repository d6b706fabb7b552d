// What if: one limit of the account with another value, for the plan of now and over the past of the run. It only asks.
import { html, useRef, useState } from "./htm-preact-standalone.mjs";
import { usePlan } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { measured, money, orders, percent } from "./figures.js";
import { Problem, Table } from "./parts.js";

// A replay of the whole run may take two minutes at the daemon.
const PAST_MS = 130_000;

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
    { head: "after it with this limit", num: true, cell: (each) => measured(each.after, each.unit) },
    { head: "bound", num: true, cell: (each) => measured(each.bound, each.unit) },
  ]} />`;
}

export function WhatIf() {
  const names = daemon.live.overview.limits.filter((each) => each.limit.startsWith("max_") && each.bound !== null);
  const [limit, choose] = useState("");
  const [value, write] = useState("");
  const [past, put] = useState({ change: "", busy: false, found: null, fault: "" });
  const shown = names.find((each) => each.limit === limit) || names[0];
  const change = shown ? `risk.${shown.limit}=${value.trim()}` : "";
  const newest = useRef(change);
  newest.current = change;
  const { plan, busy, fault, preview, drop } = usePlan(change, { act: null });
  if (!shown) return html`<section class="card wide"><h2>What if</h2><p class="none">no limit with one number is set</p></section>`;
  const edit = (set) => (event) => { set(event.target.value); drop(); };
  const overPast = async () => {
    put({ change, busy: true, found: null, fault: "" });
    let answer = { found: null, fault: "" };
    try {
      answer = { ...answer, found: await read(`/api/v1/research/limit?limit=${encodeURIComponent(change)}`, PAST_MS) };
    } catch (why) { answer = { ...answer, fault: String(why.message || why) }; }
    if (newest.current === change) put({ change, busy: false, ...answer });
  };
  const mine = past.change === change ? past : { busy: false, found: null, fault: "" };
  return html`<section class="card wide"><h2>What if</h2>
    <form onSubmit=${(event) => { event.preventDefault(); preview("/api/v1/plan/what-if", () => ({ limits: [change] })); }}>
      <div class="fields">
        <p><label for="what-if">A limit of the account</label><select id="what-if" value=${shown.limit} onChange=${edit(choose)}>${names.map((each) => html`<option value=${each.limit}>${each.words || each.limit}</option>`)}</select></p>
        <p><label for="what-if-value">as in the configuration; now ${shown.bound}</label><input id="what-if-value" value=${value} onInput=${edit(write)} required inputmode="decimal" autocomplete="off" /></p>
      </div>
      <p class="buttons">${may("read") && html`<button type="submit" disabled=${busy || !value.trim()}>Plan now</button>`}
        <button type="button" disabled=${mine.busy || !value.trim()} onClick=${overPast}>Over the past</button></p>
    </form>
    <div role="status">${mine.busy && html`<p class="none">the run is taken again, from its first step …</p>`}
      ${plan && html`<${Under} plan=${plan} />`}
      ${mine.found && html`<p><strong>${mine.found.sentence}</strong></p>
        <p class="none">${mine.found.exact ? "Taken again under its own limits, the run gives its recorded equity." : "Taken again under its own limits, the run does NOT give its recorded equity: trust neither figure."} The same: ${mine.found.same} Not the same: ${mine.found.not_same}</p>`}</div>
    ${(fault || mine.fault) && html`<${Problem} text=${fault || mine.fault} />`}
    <p class="none">Nothing is changed here: the limit is that of the configuration file until it is written there.</p>
  </section>`;
}
