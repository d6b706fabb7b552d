// Orders, with refused trades as rows, of the period of the page; each with why.
import { html, useRef, useState } from "./htm-preact-standalone.mjs";
import { ask, Deed } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, local, plain } from "./figures.js";
import { usePages } from "./pages.js";
import { Dialog, Problem, Table } from "./parts.js";
import { periodKey, periodWords, searchOf } from "./period.js";
import { noneOf, useRead } from "./reads.js";
import { WhyButton, whyNow } from "./why.js";

const PAGE = 25;

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
  const [cancelled, cancel] = useState("");
  const chosen = whyNow();
  const stamp = `${now.run}/${now.orders}/${now.fills}/${now.open_orders}/${now.slices}`;
  const totals = useRead(async () => {
    const asked = `limit=1&totals=yes&${await searchOf(text)}`;
    const [orders, refused] = await Promise.all([read(`/api/v1/orders?${asked}`), read(`/api/v1/refusals?group=refused&${asked}`)]);
    const [placed, never] = [orders.totals.all || 0, refused.totals.refused || 0];
    return { ...orders.totals, all: placed + never, refused: never };
  }, stamp, `${periodKey()}/${text}`);
  const searched = async (cursor) => `limit=${PAGE}&cursor=${cursor}&${await searchOf(text)}`;
  const placed = async (cursor) => {
    const page = await read(`/api/v1/orders?group=${group}&${await searched(cursor)}`);
    return { rows: page.orders, next: page.next };
  };
  const never = async (cursor) => {
    const page = await read(`/api/v1/refusals?group=refused&${await searched(cursor)}`);
    return { rows: refusalsOf(page), next: page.next };
  };
  const sources = group === "all" ? [placed, never] : [group === "refused" ? never : placed];
  const found = usePages(sources, PAGE, stamp, `${group}/${text}/${periodKey()}`);
  const newest = useRef(/** @type {Record<string, number>} */ ({}));
  if (totals.data) newest.current = totals.data;
  const words = (name) => `${GROUPS[name]}${name in newest.current ? ` (${count(newest.current[name])})` : ""}`;
  const rows = found.rows.map((each) => (each.id === chosen ? { ...each, chosen: true } : each));
  const fault = found.fault || totals.fault;
  const names = ["id", "time", "side", "qty", "symbol", "state", "reason", "limit", "filled", "price", "fee", "agent"];
  return html`
    <section class="card wide"><h2>Orders ${periodWords()}</h2><${Export} what="orders" table=${() => [names, rows.map((row) => names.map((name) => row[name]))]} />
      <div class="fields"><p><label for="state">State</label>
        <select id="state" value=${group} onChange=${(event) => choose(event.target.value)}>${Object.keys(GROUPS).map((name) => html`<option value=${name}>${words(name)}</option>`)}</select></p>
        <p class="none">${count(now.orders)} orders since the start, ${count(now.open_orders)} open. The search looks at symbols, ids, agents, sides, states and limits of all orders and refused trades of the period; a day, such as ${now.session || "2019-12-16"}, finds those of that day.</p></div>
      ${fault && html`<${Problem} text=${fault} />`}
      <${Table} name="Orders" find=${find} asked=${found.asked && totals.asked} total=${totals.data ? totals.data[group] || 0 : 0} rows=${rows} turn=${found} most=${PAGE} first="newest" by=${(o) => o.key || o.id} empty=${noneOf(found, "no orders")} words=${(o) => `${o.symbol} ${o.side} ${o.state} ${o.reason} ${o.agent} ${o.id}`} columns=${[
    { head: "order", cell: (o) => html`${o.side} ${plain(o.qty)} ${o.symbol}` },
    { head: "state", cell: (o) => html`<span class=${o.state === "refused" ? "HALT" : ""}>${o.state}</span>${o.state !== "filled" && Number(o.filled) ? ` (${plain(o.filled)} filled)` : ""}` },
    { head: "cut by", cell: (o) => html`<span class=${o.reason ? "REDUCE" : ""}>${o.reason.replaceAll("_", " ")}</span>` },
    { head: "time", cell: (o) => local(o.ts, now.zone) },
    { head: "limit price", num: true, cell: (o) => (o.limit ? plain(o.limit) : "–") },
    { head: "fill price", num: true, cell: (o) => (o.price ? plain(o.price) : "–") },
    { head: "fee", num: true, cell: (o) => (o.fee ? plain(o.fee) : "–") },
    { head: "agents, or whose limit", cell: (o) => o.agent },
    ...(may("trade") && rows.some((o) => OPEN.has(o.state)) ? [{ head: "cancel", cell: (o) => (OPEN.has(o.state) ? html`<button type="button" aria-label=${`Cancel ${o.side} ${o.qty} ${o.symbol}, ${o.id}`} onClick=${() => cancel(o.id)}>cancel …</button>` : "") }] : []),
    { head: "explanation", cell: (o) => html`<${WhyButton} id=${o.id} label=${`Why ${o.side} ${o.qty} ${o.symbol}, ${o.id}`} />` },
  ]} />
    </section>
    ${cancelled && html`<${Dialog} title="Cancel one order" close=${() => cancel("")}><${CancelOrder} id=${cancelled} close=${() => cancel("")} /></${Dialog}>`}`;
}
