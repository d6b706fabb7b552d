// An order by hand: form, preview, and a confirmation that carries the plan of the preview. Never an order without one.
import { html, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { Became, heldUp, holding, useAct, usePlan } from "./acts.js";
import { daemon, may, mayStop, read } from "./daemon.js";
import { local, percent, plain } from "./figures.js";
import { Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const MOST_NAMES = 60;
const BY_HAND = "manual";
const EMPTY = { side: "buy", qty: "", symbol: "", agent: "", stop: "", target: "", reason: "" };

// The headroom of one symbol in a book, and in the house, whose limits apply after those of the book.
async function roomsOf(symbol, book) {
  const of = encodeURIComponent(symbol);
  const both = await Promise.all([read(`/api/v1/risk?symbol=${of}&agent=${encodeURIComponent(book)}`), read(`/api/v1/risk?symbol=${of}`)]);
  return both.map((each) => ({ ...each.room[0], book: each.book }));
}

// The side of the book or of the house that is met first; a quantity of null has no limit.
function tightest(rooms, side) {
  const size = (room) => (room[side].qty === null ? Infinity : Number(room[side].qty));
  const least = rooms.reduce((a, b) => (size(b) < size(a) ? b : a));
  return { ...least[side], text: `${least.book}: ${least[side].text}` };
}

function Verdict({ would, held }) {
  const cut = would.allowed !== would.asked;
  const after = Number(held) + (would.side === "buy" ? 1 : -1) * Number(would.allowed);
  const short = after < 0 && would.side === "sell" ? `: a short sale of this book, also where other books hold ${would.symbol}` : "";
  return html`<dl class="pairs">
    <dt>would pass</dt><dd><strong class=${cut ? "REDUCE" : "RUN"}>${would.side} ${would.allowed} of ${would.asked} ${would.symbol}</strong>, book ${would.agent}</dd>
    ${held !== null && html`<dt>after it</dt><dd>${would.agent} holds ${plain(String(after))} ${would.symbol}${short && html`<strong class="REDUCE">${short}</strong>`}</dd>`}
    ${would.limit && html`<dt>worst price</dt><dd>${plain(would.limit)}</dd>`}
    ${would.text && (cut || would.reason) && html`<dt>cut by</dt><dd>${would.cut_by ? `${would.cut_by}: ` : ""}${would.text}</dd>`}
    ${would.stop && html`<dt>stop</dt><dd>${plain(would.stop)}</dd>`}
    ${would.target && html`<dt>target</dt><dd>${plain(would.target)}</dd>`}
    ${would.waits && html`<dt>waits</dt><dd>until a working stop order at the venue is cancelled</dd>`}
  </dl>`;
}

export function OrderByHand() {
  const now = daemon.live.overview;
  const [order, put] = useState(EMPTY);
  const asked = useRef(order);
  asked.current = order;
  const sent = useRef(null);
  const [state, go] = useAct(() => { if (asked.current === sent.current) put(EMPTY); drop(); });
  const { plan, busy, fault, preview, drop } = usePlan(order, state);
  const confirm = useRef(null);
  const symbol = order.symbol.trim();
  const book = order.agent || BY_HAND;
  const rooms = useRead(() => (symbol ? roomsOf(symbol, book).catch(() => null) : null), `${now.ts}/${now.fills}/${now.open_orders}`, `${symbol}/${book}`);
  useLayoutEffect(() => { if (plan) confirm.current.focus(); }, [plan]);
  if (!mayStop()) return html`<section class="card"><h2>Order by hand</h2><p>An order needs a session with a token of scope trade. Sign in with one.</p></section><${Newest} />`;
  const edit = (name) => (event) => { put({ ...order, [name]: event.target.value }); drop(); };
  const question = (event) => { event.preventDefault(); preview("/api/v1/orders/preview", () => order); };
  const place = () => { sent.current = order; go("/api/v1/orders", { ...order, as_planned: plan.plan }); };
  const blocking = symbol ? holding("/api/v1/orders", order, null, state.act ? state.act.key : "") : null;
  const most = (side) => { const least = tightest(rooms.data, side); return least.qty === null ? "any size" : `${plain(least.qty)}; the next lot: ${least.text}`; };
  const field = (name, title, more = {}) => html`<p><label for=${`order-${name}`}>${title}</label><input id=${`order-${name}`} value=${order[name]} onInput=${edit(name)} autocomplete="off" spellcheck="false" ...${more} /></p>`;
  return html`<section class="card"><h2>Order by hand</h2>
    <form onSubmit=${question}>
      <div class="fields">
        <p><label for="order-side">Side</label><select id="order-side" value=${order.side} onChange=${edit("side")}><option value="buy">buy</option><option value="sell">sell</option></select></p>
        ${field("qty", "Quantity", { required: true, inputmode: "decimal" })}
        ${field("symbol", "Symbol", { required: true, list: "symbols" })}
        <datalist id="symbols">${now.positions.slice(0, MOST_NAMES).map((p) => html`<option value=${p.symbol}></option>`)}</datalist>
        <p><label for="order-agent">Book</label><select id="order-agent" value=${order.agent} onChange=${edit("agent")}><option value="">${BY_HAND}</option>${now.agents.filter((a) => !a.shadow && !a.portfolio && a.name !== BY_HAND).map((a) => html`<option value=${a.name}>${a.name}</option>`)}</select></p>
        ${field("stop", "Stop (may be empty)", { inputmode: "decimal" })}
        ${field("target", "Target (may be empty)", { inputmode: "decimal" })}
      </div>
      ${field("reason", "Reason, for the journal", { required: true, maxlength: 500, pattern: ".*\\S.*" })}
      ${rooms.data && html`<p class="none">${book} holds ${plain(rooms.data[0].held)} (${percent(rooms.data[0].weight)}). Largest order that would pass now: buy ${most("buy")}. Sell ${most("sell")}.</p>`}
      <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${busy || state.busy}>Preview</button></p>
    </form>
    <div role="status">${plan && html`<h3>Preview ${plan.plan.slice(0, 8)}</h3><${Verdict} would=${plan.would} held=${rooms.data ? rooms.data[0].held : null} />`}</div>
    ${plan && html`<p class="buttons"><button type="button" ref=${confirm} class="main" disabled=${state.busy || Boolean(blocking) || (plan.would.allowed === "0" && !plan.would.waits)} onClick=${place}>Send ${plan.would.side} ${plan.would.allowed} ${plan.would.symbol}</button>
      <button type="button" onClick=${drop}>Discard</button></p>`}
    ${fault && html`<${Problem} text=${fault} />`}
    ${blocking && html`<${Problem} text=${heldUp(blocking)} />`}
    <${Became} state=${state} />
  </section><${Newest} />`;
}

// What was sent last, beside the form: an order by hand is seen there once it is journalled.
function Newest() {
  const now = daemon.live.overview;
  const found = useRead(() => read("/api/v1/orders?limit=10"), `${now.run}/${now.orders}/${now.fills}/${now.open_orders}`);
  return html`<section class="card"><h2>Newest orders</h2>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    <${Table} name="Newest orders" rows=${found.data ? found.data.orders : []} most=${10} by=${(o) => o.id} words=${(o) => o.symbol} empty=${noneOf(found, "no orders")} columns=${[
    { head: "order", cell: (o) => html`${o.side} ${plain(o.qty)} ${o.symbol}` },
    { head: "state", cell: (o) => o.state },
    { head: "book", cell: (o) => o.agent.replaceAll("+", ", ") },
    { head: "time", cell: (o) => local(o.ts, now.zone) },
  ]} /></section>`;
}
