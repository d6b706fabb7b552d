// Proposals of outside agents that wait for a person: what each would become now, and the decision.
import { html, useState } from "./htm-preact-standalone.mjs";
import { ask, Became, Reason, useAct } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { signed } from "./device.js";
import { local, money, percent, plain, price, things } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";

const exposure = (allocations) => allocations.reduce((sum, each) => sum + Math.abs(each.weight), 0);

// Why this browser does not sign an approval that needs a device; empty where it does.
function unsignable(waiting, found) {
  if (waiting.approval !== "device") return "";
  if (!daemon.device) return "this browser is not paired: quantd connect phone shows how";
  return Object.values(found.devices).includes(daemon.device) ? "" : "the key of this browser is not in force yet: a device in force confirms it, or it waits for its delay";
}

// The book once the orders are filled, and what they cost.
function After({ agent, shown }) {
  const { trades } = shown;
  const sum = trades ? trades.commission + trades.slippage : 0;
  return html`<p>Costs: about ${money(sum)}${trades ? ` for orders of ${money(trades.value)}` : ""}. Then ${agent} is ${percent(exposure(shown.allocations))} invested:</p>
    <${Table} name="The book after it" rows=${shown.allocations} most=${6} by=${(p) => p.symbol} words=${(p) => p.symbol} empty="no position" columns=${[
    { head: "symbol", cell: (p) => p.symbol },
    { head: "quantity", num: true, cell: (p) => plain(p.qty) },
    { head: "price", num: true, cell: (p) => price(p.price) },
    { head: "weight", num: true, cell: (p) => percent(p.weight) },
  ]} />`;
}

// The verdict of an approval now; the decision carries its plan, so that no other orders are sent. After a refusal,
// such as of a plan that differs by now, the verdict is asked for again.
function Review({ waiting, found, lapsed, close }) {
  const [reason, write] = useState("");
  const [state, go] = useAct(close);
  const [fault, tell] = useState("");
  const refused = state.act && state.act.state === "refused" ? state.act.key : "";
  const would = useRead(() => ask(`/api/v1/agents/${encodeURIComponent(waiting.agent)}/review/preview`, { id: waiting.id }), daemon.session.name, `${waiting.id}/${refused}`);
  const shown = would.data;
  const unable = unsignable(waiting, found);
  const decide = async (approve) => {
    tell("");
    const body = { id: waiting.id, approve, reason, plan: approve && shown ? shown.plan : "" };
    if (approve && waiting.approval === "device") {
      try {
        Object.assign(body, { signed: await signed(["proposal", waiting.agent, waiting.id, waiting.since, body.plan], found.now) });
      } catch (why) { tell(`NOT APPROVED: this browser did not sign: ${why.message}`); return; }
    }
    go(`/api/v1/agents/${encodeURIComponent(waiting.agent)}/review`, body, undefined, approve && shown && shown.trades ? shown.trades.orders.map((o) => o.symbol) : undefined);
  };
  return html`<form onSubmit=${(event) => { event.preventDefault(); decide(event.submitter.name === "approve"); }}>
    <p>${waiting.agent} proposes ${waiting.id}: ${waiting.reason} <span class="none">It lapses ${until(waiting)}.</span></p>
    ${lapsed && html`<${Problem} text="It waits no more: it was decided by another person, or has lapsed. No order was sent from here." />`}
    ${would.fault && html`<${Problem} text=${would.fault} />`}
    ${!shown && !would.fault && html`<p class="none">asking the gate …</p>`}
    ${shown && html`<p>${refused ? "At the prices of now: " : ""}${shown.verdict.outcome}: ${shown.verdict.text}</p>
      <${Table} name="Orders that would be sent" rows=${shown.trades ? shown.trades.orders : []} by=${(o) => o.symbol} words=${(o) => o.symbol} empty="no order" columns=${[
    { head: "order", cell: (o) => html`${o.side} ${plain(o.qty)} ${o.symbol}` },
    { head: "limit price", num: true, cell: (o) => (o.limit ? plain(o.limit) : "–") },
  ]} />
      <${After} agent=${waiting.agent} shown=${shown} />`}
    ${waiting.approval === "device" && html`<p>${waiting.agent} has approval = "device": ${unable ? `no token approves, and ${unable}. Or sign where a key is: quantd review ${waiting.agent} --id ${waiting.id} --approve --plan ${shown ? shown.plan : "PLAN"} --key FILE` : "this device signs the orders above, for ten minutes, once"}.</p>`}
    ${fault && html`<${Problem} text=${fault} />`}
    <${Reason} value=${reason} write=${write} first=${true} />
    <${Became} state=${state} />
    <p class="buttons"><button type="submit" name="approve" class="main" disabled=${state.busy || !shown || lapsed || Boolean(unable)}>${shown ? `Approve: ${things(shown.trades ? shown.trades.orders.length : 0, "order")}` : "Approve …"}</button>
      <button type="submit" name="decline" disabled=${state.busy}>Decline</button><button type="button" onClick=${close}>Not now</button></p>
  </form>`;
}

const until = (waiting) => (waiting.until ? `at ${waiting.until}` : "at the next sample");

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
  return html`<section class="card wide reviews"><h2>Waiting for a person</h2>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    ${waiting.map((each) => html`<h3>${each.agent}: ${each.id}</h3>
      <p>Since ${local(each.ts, now.zone)}, by ${each.who}: ${each.reason}. It lapses ${until(each)}.</p>
      <${Table} name=${`Targets of ${each.agent}`} rows=${rowsOf(each)} words=${(r) => r.id} columns=${[
    { head: "symbol", cell: (r) => r.id },
    { head: "weight now", num: true, cell: (r) => percent(r.now) },
    { head: Object.keys(each.weights).length ? "weight proposed" : "order proposed", num: true, cell: (r) => r.to },
  ]} />
      ${may("trade") && html`<p class="buttons"><button type="button" class="main" onClick=${() => choose(each)}>Review ${each.id} of ${each.agent} …</button></p>`}`)}
    ${chosen && html`<${Dialog} title="A proposal that waits" close=${() => choose(null)}><${Review} waiting=${chosen} found=${found.data} lapsed=${lapsed} close=${() => choose(null)} /></${Dialog}>`}
  </section>`;
}
