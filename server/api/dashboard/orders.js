// Orders, with refused trades as rows; a chosen one with why, and every limit before and after.
import { html, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { ask, Deed } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { count, local, measured, money, percent, plain, signed } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const PAGE = 200;

// A refused order never was at the venue: its row has the shape of an order.
export const refusalsOf = (found) => found.refusals.map((each) => ({ ...each, id: each.address, key: `${each.address}@${each.who}`, qty: each.asked, limit: "", state: "refused", filled: "0", agent: each.who }));

const OPEN = new Set(["sent", "working", "partial", "cancelling", "unknown"]);
// Group -> words. Refused trades were never orders: they are rows of another list, with counts of their own.
const GROUPS = { all: "all", open: "open", cut: "cut by a limit", refused: "refused", filled: "filled" };

// A dry run shows what ends; the same dialog then cancels it.
function CancelOrder({ id, close }) {
  const would = useRead(() => ask("/api/v1/orders/cancel/preview", { order: id }), daemon.session.name, id);
  const { side, left, qty, symbol, filled, text } = would.data || { side: "", left: "0", qty: "0", symbol: "", filled: "0", text: "" };
  const words = would.data ? `${side} ${plain(left)} of ${plain(qty)} ${symbol} ends; ${plain(filled)} filled and stay. ${text}.` : would.fault ? "" : "asking what it would end …";
  return html`<${Deed} path="/api/v1/orders/cancel" more=${{ order: id }} title=${would.data ? `Cancel ${side} ${plain(left)} ${symbol}` : "Cancel it"} ready=${Boolean(would.data)}
    keep="Keep the order" close=${close} words=${words}>${would.fault && html`<${Problem} text=${would.fault} />`}</${Deed}>`;
}

export function Orders() {
  const now = daemon.live.overview;
  const [group, choose] = useState("all");
  const [text, find] = useState("");
  const [chosen, explain] = useState(decodeURIComponent(location.hash.split("/")[1] || ""));
  const [cancelled, cancel] = useState("");
  const stamp = `${now.run}/${now.orders}/${now.fills}/${now.open_orders}/${now.slices}`;
  const found = useRead(async () => {
    const withText = `totals=yes&search=${encodeURIComponent(text)}`;
    const [own, refusals] = [group === "refused" ? "all" : group, ["all", "refused"].includes(group) ? PAGE : 1];
    const [orders, refused] = await Promise.all([
      read(`/api/v1/orders?limit=${group === "refused" ? 1 : PAGE}&group=${own}&${withText}`),
      read(`/api/v1/refusals?limit=${refusals}&group=refused&${withText}`),
    ]);
    const [placed, never] = [orders.totals.all || 0, refused.totals.refused || 0];
    const totals = { ...orders.totals, all: placed + never, refused: never };
    // of two lists that go on, only the rows down to the later end of both follow each other
    const [ends, rows] = [[], []];
    for (const [shown, list, next] of [[group !== "refused", orders.orders, orders.next], [refusals > 1, refusalsOf(refused), refused.next]]) {
      if (shown) rows.push(...list);
      if (shown && next) ends.push(list.at(-1).ts);
    }
    const oldest = Math.max(0, ...ends);
    return { totals, total: totals[group], rows: rows.filter((each) => each.ts >= oldest).sort((a, b) => b.ts - a.ts) };
  }, stamp, `${group}/${text}`);
  const totals = useRef(/** @type {Record<string, number>} */ ({}));
  if (found.data) totals.current = found.data.totals;
  const words = (name) => `${GROUPS[name]}${name in totals.current ? ` (${count(totals.current[name])})` : ""}`;
  const rows = (found.data ? found.data.rows : []).map((each) => (each.id === chosen ? { ...each, chosen: true } : each));
  return html`
    <section class="card wide"><h2>Orders</h2>
      <div class="fields"><p><label for="state">State</label>
        <select id="state" value=${group} onChange=${(event) => choose(event.target.value)}>${Object.keys(GROUPS).map((name) => html`<option value=${name}>${words(name)}</option>`)}</select></p>
        <p class="none">${count(now.orders)} orders since the start, ${count(now.open_orders)} open. The search looks at symbols, ids, agents, sides, states and limits of all orders and refused trades.</p></div>
      ${found.fault && html`<${Problem} text=${found.fault} />`}
      <${Table} name="Orders" find=${find} asked=${found.asked} total=${found.data ? found.data.total : 0} rows=${rows} most=${25} first="newest" by=${(o) => o.key || o.id} empty=${noneOf(found, "no orders")} words=${(o) => `${o.symbol} ${o.side} ${o.state} ${o.reason} ${o.agent} ${o.id}`} columns=${[
    { head: "order", cell: (o) => html`${o.side} ${plain(o.qty)} ${o.symbol}` },
    { head: "state", cell: (o) => html`<span class=${o.state === "refused" ? "HALT" : ""}>${o.state}</span>${o.state !== "filled" && Number(o.filled) ? ` (${plain(o.filled)} filled)` : ""}` },
    { head: "cut by", cell: (o) => html`<span class=${o.reason ? "REDUCE" : ""}>${o.reason.replaceAll("_", " ")}</span>` },
    { head: "time", cell: (o) => local(o.ts, now.zone) },
    { head: "limit price", num: true, cell: (o) => (o.limit ? plain(o.limit) : "–") },
    { head: "agents, or whose limit", cell: (o) => o.agent },
    ...(may("trade") && rows.some((o) => OPEN.has(o.state)) ? [{ head: "cancel", cell: (o) => (OPEN.has(o.state) ? html`<button type="button" aria-label=${`Cancel ${o.side} ${o.qty} ${o.symbol}, ${o.id}`} onClick=${() => cancel(o.id)}>cancel …</button>` : "") }] : []),
    { head: "explanation", cell: (o) => html`<button type="button" aria-label=${`Why ${o.side} ${o.qty} ${o.symbol}, ${o.id}`} aria-pressed=${o.id === chosen} onClick=${() => explain(o.id === chosen ? "" : o.id)}>why</button>` },
  ]} />
    </section>
    ${chosen && html`<${Why} key=${chosen} id=${chosen} zone=${now.zone} close=${() => explain("")} />`}
    ${cancelled && html`<${Dialog} title="Cancel one order" close=${() => cancel("")}><${CancelOrder} id=${cancelled} close=${() => cancel("")} /></${Dialog}>`}`;
}

function Why({ id, zone, close }) {
  const { data, fault } = useRead(() => read(`/api/v1/why/${encodeURIComponent(id)}`), "", id);
  const title = useRef(null);
  useLayoutEffect(() => title.current.focus(), [id]);
  return html`<section class="card wide why-order"><h2 ref=${title} tabindex="-1">Why ${id} <button type="button" onClick=${close}>Close</button></h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${!data && !fault && html`<p class="none">replaying the journal up to that decision …</p>`}
    ${data && html`<${Explained} e=${data} zone=${zone} />`}
  </section>`;
}

function Explained({ e, zone }) {
  const agents = e.agents.filter((a) => a.reason);
  return html`
    <p>${e.side.toUpperCase()} ${e.qty} ${e.symbol}, decided ${local(e.decided, zone)} at ${plain(e.price)}${e.limit ? `, limit ${plain(e.limit)}` : ""}: ${e.state}${e.note ? `, ${e.note}` : ""}</p>
    <ul>${e.agents.map((a) => html`<li>${a.agent}${a.policy ? ` (policy of ${a.policy})` : ""}: target ${percent(a.wanted)}, held ${a.had === null ? "" : `${percent(a.had)}, `}${a.held}, requested ${a.asked}${a.asked === a.allowed ? "" : `; its own limits cut this to ${a.allowed}: ${a.text}`}</li>`)}</ul>
    <p>${e.crossed === "0" ? "" : `${e.crossed} crossed between agents; `}net ${e.net}; ${e.net === e.allowed ? "all of it passed the limits of the house" : `the limits of the house passed ${e.allowed}: ${e.text}`}</p>
    <${Before} book="the house" limits=${e.limits} symbol=${e.symbol} largest=${e.largest} />
    ${agents.map((a) => html`<${Before} book=${`agent ${a.agent}`} limits=${a.limits} symbol=${e.symbol} largest=${a.largest} />`)}
    ${!e.recomputed && html`<p class="none">headroom in ${e.symbol} is unknown: ${e.unavailable}</p>`}
    ${e.twins.map((t) => html`<p>In the same round, ${t.side} ${t.asked} ${t.symbol} was cut to ${t.allowed}: ${t.text}</p>`)}
    ${e.fills.map((f) => html`<p>Filled ${f.qty} at ${plain(f.price)}, ${local(f.ts, zone)}: ${f.shortfall_bp.toFixed(1)} bp from the decision price, commission ${money(f.fee)}</p>`)}
    ${e.agents.flatMap((a) => a.learned.map((p) => html`<${Learned} agent=${a.agent} policy=${p} symbol=${e.symbol} />`))}`;
}

function Before({ book, limits, symbol, largest }) {
  const most = largest && (largest.qty === null ? "any size" : `${largest.side} ${largest.qty}; the next lot: ${largest.text}`);
  return html`<h3>Limits of ${book}</h3>
    <${Table} name=${`Limits of ${book}`} rows=${limits} most=${40} by=${(l) => l.words} words=${(l) => l.words} columns=${[
    { head: "limit", cell: (l) => l.words },
    { head: "before", num: true, cell: (l) => measured(l.before, l.unit) },
    { head: "after", num: true, cell: (l) => measured(l.after, l.unit) },
    { head: "bound", num: true, cell: (l) => measured(l.bound, l.unit) },
    { head: "headroom", num: true, cell: (l) => measured(l.headroom, l.unit) },
    { head: `headroom in ${symbol}`, num: true, cell: (l) => (l.more === null ? "–" : l.more) },
    { head: "in use", num: true, cell: (l) => percent(l.use, 0) },
    { head: "cut", cell: (l) => (l.cut ? html`<strong class="REDUCE">here</strong>` : "") },
  ]} />
    ${most && html`<p>Largest order that would have passed alone: ${most}</p>`}`;
}

function Learned({ agent, policy: p, symbol }) {
  const moved = p.features.filter((x) => x.change_pp !== null && Math.abs(x.change_pp) >= 0.005);
  return html`<h3>Learned policy ${p.artifact} of ${agent}${p.part ? ` as ${p.part}` : ""}</h3>
    <p>${p.weight === null ? "no figures" : `${percent(p.weight)} of ${symbol}${p.wrapped ? ", before the rules around it" : ""}`}${p.missing ? `; its inputs were not measured: ${p.missing}` : ""}</p>
    ${moved.length > 0 && html`<${Table} name=${`Inputs of ${agent}`} rows=${moved} by=${(x) => x.name} words=${(x) => x.name} columns=${[
    { head: "input", cell: (x) => x.name },
    { head: `change of ${symbol} at its training mean`, num: true, cell: (x) => signed(x.change_pp / 100) },
    { head: "now", num: true, cell: (x) => measured(x.value, "") },
    { head: "mean", num: true, cell: (x) => measured(x.mean, "") },
  ]} />`}
    ${p.actions.length > 0 && html`<${Table} name=${`Choices of ${agent}`} rows=${p.actions} by=${(x) => x.allocation} words=${(x) => x.allocation} first="best" columns=${[
    { head: "allocation", cell: (x) => x.allocation },
    { head: p.scores === "values" ? "action value" : "probability", num: true, cell: (x) => (x.score === null ? "–" : x.score.toFixed(4)) },
    { head: "choice", cell: (x) => (x.chosen ? "chosen" : "") },
  ]} />`}`;
}
