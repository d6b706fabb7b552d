// The account now: equity and drawdown, positions with their share of the risk, each limit with its headroom.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Chart } from "./chart.js";
import { daemon, read } from "./daemon.js";
import { count, local, measured, money, percent, plain, price, signed, tone } from "./figures.js";
import { Figure, Table, Use } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const LIMIT_WORDS = (limit) => `${limit.words} ${limit.limit}`;

export function Now() {
  const now = daemon.live.overview;
  const stamp = `${now.run}/${now.ts}/${now.fills}`;
  const [symbol, find] = useState("");
  const [ordered, findOrdered] = useState("");
  const held = useRead(() => read(`/api/v1/positions?search=${encodeURIComponent(symbol)}`), stamp, symbol);
  const risk = useRead(() => read(`/api/v1/risk?search=${encodeURIComponent(ordered)}`), stamp, ordered);
  const past = useRead(() => read("/api/v1/equity?points=600"), `${now.run}/${now.session}`);
  const rolled = useRead(() => read("/api/v1/performance/rolling?window=63&points=600"), `${now.run}/${now.session}`);
  const positions = (held.data ? held.data.positions : now.positions).slice().sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)));
  const limits = now.limits.slice().sort((a, b) => (b.use ?? -1) - (a.use ?? -1));
  const peak = now.drawdown < 1 ? Number(now.equity) / (1 - now.drawdown) : null;
  const points = past.data ? past.data.equity : [];
  const top = points.reduce((best, p) => (Number(p.equity) > (best ? Number(best.equity) : 0) ? p : best), null);
  const times = points.map((p) => p.ts / 1e9);
  const largest = risk.data ? risk.data.room.slice().sort((a, b) => Math.abs(b.weight || 0) - Math.abs(a.weight || 0)) : [];
  return html`
    ${now.reviews > 0 && html`<section class="card wide"><h2>Waiting for a person</h2><p><a href="#agents">${count(now.reviews)} proposal${now.reviews > 1 ? "s wait" : " waits"} for a person</a> until the next sample.</p></section>`}
    <section class="figures" aria-label="Account">
      <${Figure} name="Equity" value=${money(now.equity)} more=${`${signed(now.total)} since the start, ${now.currency}`} />
      <${Figure} name="Today" value=${signed(now.today)} kind=${tone(now.today)} more=${now.session && `session of ${now.session}`} />
      <${Figure} name="Drawdown" value=${percent(now.drawdown)} more=${`from the peak of ${money(peak)}${top && peak && Math.abs(Number(top.equity) / peak - 1) < 1e-4 ? ` on ${top.time.slice(0, 10)}` : ""}`} />
      <${Figure} name="Cash" value=${money(now.cash)} more=${now.gross === null ? "" : `${percent(now.gross)} invested`} />
      <${Figure} name="Orders" value=${count(now.orders)} more=${`${count(now.open_orders)} open, ${count(now.fills)} fills`} />
      <${Figure} name="Regime" value=${now.regime ? now.regime.split(" ")[0] : "–"} more=${now.regime || "[risk.regime] is not set"} />
    </section>
    <section class="card wide"><h2>Equity</h2>
      ${points.length > 1 ? html`
        <${Chart} data=${[times, points.map((p) => Number(p.equity))]} series=${[["equity", "--line"]]} height=${220} format=${(x) => count(x)}
          words=${`Equity from ${money(points[0].equity)} on ${points[0].time.slice(0, 10)} to ${money(points.at(-1).equity)} on ${points.at(-1).time.slice(0, 10)}.`} />
        <${Chart} data=${[times, points.map((p) => -p.drawdown)]} series=${[["drawdown", "--fall"]]} height=${110} format=${(x) => percent(x, 1)}
          words=${`Drawdown; the deepest of the ${count(points.length)} samples drawn since ${points[0].time.slice(0, 10)} was ${percent(Math.max(...points.map((p) => p.drawdown)))}.`} />
        <${Rolling} found=${rolled} />`
    : html`<p class="none">${past.fault || noneOf(past, "no samples yet")}</p>`}
    </section>
    <section class="card"><h2>Positions</h2>
      <${Table} name="Positions" find=${find} total=${held.data ? held.data.count : 0} asked=${held.asked} rows=${positions} by=${(p) => p.symbol} empty="no positions" words=${(p) => `${p.symbol} ${Object.keys(p.agents).join(" ")}`} columns=${[
    { head: "symbol", cell: (p) => html`${p.symbol}${(p.halted || p.jumped) && html` <strong class="REDUCE" title=${p.halted || p.jumped}>held</strong>`}` },
    { head: "quantity", num: true, cell: (p) => plain(p.qty) },
    { head: "price", num: true, cell: (p) => price(p.price) },
    { head: "value", num: true, cell: (p) => money(p.value) },
    { head: "weight", num: true, cell: (p) => percent(p.weight) },
    { head: "share of risk", num: true, cell: (p) => percent(p.risk_share) },
    { head: "unrealised", num: true, cell: (p) => (p.unrealised ? money(p.unrealised) : "–"), kind: (p) => tone(Number(p.unrealised)) },
  ]} />
    </section>
    <section class="card"><h2>Limits of the house</h2>
      <${Table} name="Limits" rows=${limits} most=${12} first="most used" by=${LIMIT_WORDS} words=${LIMIT_WORDS} empty="no limit has a value yet" columns=${[
    { head: "limit", cell: (l) => l.words },
    { head: "value", num: true, cell: (l) => measured(l.value, l.unit) },
    { head: "bound", num: true, cell: (l) => `${l.floor ? "at least " : ""}${measured(l.bound, l.unit)}` },
    { head: "headroom", num: true, cell: (l) => measured(l.headroom, l.unit) },
    { head: "in use", cell: (l) => html`<${Use} use=${l.use} />` },
  ]} />
    </section>
    <section class="card wide"><h2>Largest order that would pass now</h2>
      <p class="none">By the limits of the house. Those of the book that orders may allow less: the form of an order by hand shows that.</p>
      <${Largest} rows=${largest} fault=${risk.fault} asked=${risk.asked} find=${findOrdered} total=${risk.data ? risk.data.count : 0} />
    </section>`;
}

function Rolling({ found }) {
  const { data, fault } = found;
  const newest = data && data.sharpe.at(-1);
  if (!data || data.ts.length < 2) return html`<p class="none">${fault || (data ? `The rolling Sharpe ratio needs ${data.window + 2} samples.` : "")}</p>`;
  return html`<${Chart} data=${[data.ts.map((ts) => ts / 1e9), data.sharpe]} series=${[["Sharpe ratio", "--a2"]]} height=${110} format=${(x) => x.toFixed(1)}
    words=${`Sharpe ratio of the last ${data.window} samples, annual${newest === null ? "" : `; now ${newest.toFixed(2)}`}.`} />`;
}

function Largest({ rows, fault, asked, find, total }) {
  const order = (each) => (each.qty === null ? "any size" : plain(each.qty));
  const stop = (each) => each.text || "–";
  if (fault && !total) return html`<p class="none">${fault}</p>`;
  return html`<${Table} name="Largest orders" find=${find} asked=${asked} total=${total} rows=${rows} by=${(s) => s.symbol} words=${(s) => s.symbol} empty="no prices yet" columns=${[
    { head: "symbol", cell: (s) => s.symbol },
    { head: "held", num: true, cell: (s) => plain(s.held) },
    { head: "buy", num: true, cell: (s) => order(s.buy) },
    { head: "the next lot to buy", cell: (s) => stop(s.buy) },
    { head: "sell", num: true, cell: (s) => order(s.sell) },
    { head: "the next lot to sell", cell: (s) => stop(s.sell) },
  ]} />`;
}
