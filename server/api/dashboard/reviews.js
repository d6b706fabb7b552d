// Proposals of outside agents that wait for a person: what each would become now, and the decision.
import { html, useState } from "./htm-preact-standalone.mjs";
import { ask, Became, Reason, useAct } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { local, percent, plain } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";

// The verdict of an approval now; the decision carries its plan, so that no other orders are sent.
function Review({ waiting, lapsed, close }) {
  const would = useRead(() => ask(`/api/v1/agents/${encodeURIComponent(waiting.agent)}/review/preview`, { id: waiting.id }), daemon.session.name, waiting.id);
  const [reason, write] = useState("");
  const [state, go] = useAct(close);
  const shown = would.data;
  const decide = (approve) => go(`/api/v1/agents/${encodeURIComponent(waiting.agent)}/review`, { id: waiting.id, approve, reason, plan: approve && shown ? shown.plan : "" }, undefined, approve && shown && shown.trades ? shown.trades.orders.map((o) => o.symbol) : undefined);
  return html`<form onSubmit=${(event) => { event.preventDefault(); decide(event.submitter.name === "approve"); }}>
    <p>${waiting.agent} proposes ${waiting.id}: ${waiting.reason}</p>
    ${lapsed && html`<${Problem} text="It waits no more: it was decided by another person, or has lapsed." />`}
    ${would.fault && html`<${Problem} text=${would.fault} />`}
    ${!shown && !would.fault && html`<p class="none">asking the gate …</p>`}
    ${shown && html`<p>${shown.verdict.outcome}: ${shown.verdict.text}</p>
      <${Table} name="Orders that would be sent" rows=${shown.trades ? shown.trades.orders : []} by=${(o) => o.symbol} words=${(o) => o.symbol} empty="no order" columns=${[
    { head: "order", cell: (o) => html`${o.side} ${plain(o.qty)} ${o.symbol}` },
    { head: "limit price", num: true, cell: (o) => plain(o.limit) },
  ]} />`}
    ${waiting.approval === "device" && html`<p>No token and no page approves for ${waiting.agent}: it has approval = "device". Sign on the machine of the key: quantd review ${waiting.agent} --id ${waiting.id} --approve --plan ${shown ? shown.plan : "PLAN"} --key FILE</p>`}
    <${Reason} value=${reason} write=${write} first=${true} />
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" name="approve" class="main" disabled=${state.busy || !shown || waiting.approval === "device"}>${shown ? `Approve: ${shown.trades ? shown.trades.orders.length : 0} orders` : "Approve …"}</button>
      <button type="submit" name="decline" disabled=${state.busy}>Decline</button><button type="button" onClick=${close}>Not now</button></p>
  </form>`;
}

const rowsOf = (waiting) => {
  const wanted = Object.keys(waiting.weights).length ? waiting.weights : null;
  const symbols = new Set([...Object.keys(waiting.weights), ...Object.keys(waiting.orders), ...(wanted ? Object.keys(waiting.now) : [])]);
  const row = (id) => ({ id, now: waiting.now[id] || 0, to: wanted ? percent(wanted[id] || 0) : plain(waiting.orders[id]), size: wanted ? Math.abs((wanted[id] || 0) - (waiting.now[id] || 0)) : 0 });
  return [...symbols].map(row).sort((a, b) => b.size - a.size);
};

export function Reviews() {
  const now = daemon.live.overview;
  const [chosen, choose] = useState(null);
  const found = useRead(() => (now.reviews ? read("/api/v1/reviews") : Promise.resolve({ waiting: [] })), `${now.reviews}/${now.ts}/${now.orders}`);
  const waiting = (found.data && found.data.waiting) || [];
  if (!waiting.length && !found.fault && !chosen) return "";
  const lapsed = Boolean(chosen && found.asked && !found.fault && !waiting.some((each) => each.id === chosen.id && each.agent === chosen.agent));
  return html`<section class="card wide"><h2>Waiting for a person</h2>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    ${waiting.map((each) => html`<h3>${each.agent}: ${each.id}</h3>
      <p>Since ${local(each.ts, now.zone)}, by ${each.who}: ${each.reason}. It lapses ${each.until ? `at ${each.until}` : "at the next sample"}.</p>
      <${Table} name=${`Targets of ${each.agent}`} rows=${rowsOf(each)} words=${(r) => r.id} columns=${[
    { head: "symbol", cell: (r) => r.id },
    { head: "weight now", num: true, cell: (r) => percent(r.now) },
    { head: Object.keys(each.weights).length ? "weight proposed" : "order proposed", num: true, cell: (r) => r.to },
  ]} />
      ${may("trade") && html`<p class="buttons"><button type="button" class="main" onClick=${() => choose(each)}>Review ${each.id} of ${each.agent} …</button></p>`}`)}
    ${chosen && html`<${Dialog} title="A proposal that waits" close=${() => choose(null)}><${Review} waiting=${chosen} lapsed=${lapsed} close=${() => choose(null)} /></${Dialog}>`}
  </section>`;
}
