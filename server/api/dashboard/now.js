// The account now: what is held, what it earned, the limits most in use, what waits for a person, and the curve.
import { html, useEffect, useState } from "./htm-preact-standalone.mjs";
import { addressOf } from "./address.js";
import { daemon, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, local, measured, money, percent, plain, price, signed, signedMoney, things, titleOf, tone } from "./figures.js";
import { behind, Figure, Fold, Problem, Table, Use } from "./parts.js";
import { periodKey, periodNow, periodWords, windowOf } from "./period.js";
import { noneOf, useRead } from "./reads.js";
import { texts, useStored } from "./settings.js";
import { WhyButton } from "./why.js";

const LIMIT_WORDS = (limit) => `${limit.words} ${limit.limit}`;
const MOST_USED = 3;
const YEAR = 252;  // sessions
const LEAST = 20;  // sessions that are too few to call one unusual
const MOST_WAITING = 4;
const WORSE = { CRITICAL: 0, WARNING: 1, INFO: 2 };

// Behind the first figures: over a slow line their scripts would hold these up.
const [Calendar] = behind("calendar", () => import("./calendar.js").then((found) => found.Calendar));
const [Reviews] = behind("reviews", () => import("./reviews.js").then((found) => found.Reviews));
const [AccountCurve] = behind("curve", () => import("./curve.js").then((found) => found.AccountCurve));

const bySymbol = (found) => new Map(found.data ? found.data.symbols.map((each) => [each.symbol, each]) : []);

/** @type {Record<string, string>} */
const PANELS = { curve: "Equity", calendar: "Profit by day, week and month", limits: "All limits of the house", largest: "Largest orders" };

export function Now() {
  const now = daemon.live.overview;
  const stamp = `${now.run}/${now.ts}/${now.fills}`;
  const [symbol, find] = useState("");
  const [drawn, draw] = useState(false);  // once drawn, the curve stays while a later question waits for its answer
  const of = encodeURIComponent(symbol);
  const held = useRead(() => read(`/api/v1/positions?search=${of}`), stamp, symbol);
  const earned = useRead(async () => read(`/api/v1/profit?search=${of}&${await windowOf()}`), stamp, `${periodKey()}/${symbol}`);
  const today = useRead(async () => read(`/api/v1/profit?search=${of}&${await windowOf("1D")}`), stamp, symbol);
  useEffect(() => { if (earned.asked) draw(true); }, [earned.asked]);
  const [order, put] = useStored("now.panels", Object.keys(PANELS), (value) => texts(value) && value.every((name) => name in PANELS) && new Set(value).size === value.length);
  const panels = {
    curve: () => drawn && html`<${AccountCurve} key="curve" />`,
    calendar: () => html`<${Fold} key="calendar" id="fold-calendar" words=${PANELS.calendar}><${Calendar} /></${Fold}>`,
    limits: () => html`<${Fold} key="limits" id="fold-limits" words=${`All ${count(now.limits.length)} limits of the house`}><${AllLimits} /></${Fold}>`,
    largest: () => html`<${Fold} key="largest" id="fold-largest" words="Largest orders that would pass now"><${Largest} stamp=${stamp} /></${Fold}>`,
  };
  return html`
    ${daemon.device && html`<${Reviews} />`}
    ${now.differs.map((text) => html`<${Problem} text=${`The file differs from the run: ${text}`} />`)}
    <${Figures} earned=${earned} today=${today} stamp=${stamp} />
    <div class="cockpit">
      <div><${Positions} held=${held} earned=${earned} today=${today} find=${find} /><${Contributions} earned=${earned} /></div>
      <div><${Waits} /><${Limits} /></div>
    </div>
    ${order.map((name) => panels[name]())}
    <${Arrange} order=${order} put=${put} />`;
}

// The panels below the first figures, in an order of this browser's own; `order` has those that are shown.
function Arrange({ order, put }) {
  const moved = (name) => { const at = order.indexOf(name); return order.toSpliced(at, 1).toSpliced(at - 1, 0, name); };
  const all = [...order, ...Object.keys(PANELS).filter((name) => !order.includes(name))];
  return html`<details class="card wide"><summary>Arrange this screen</summary>
    <p class="none">For this browser alone.</p>
    <div class="lines" role="list">${all.map((name) => html`<div role="listitem" key=${name}><label><input type="checkbox" checked=${order.includes(name)} onChange=${() => put(order.includes(name) ? order.filter((each) => each !== name) : [...order, name])} /> ${PANELS[name]}</label>
      ${order.indexOf(name) > 0 && html` <button type="button" aria-label=${`Move ${PANELS[name]} up`} onClick=${() => put(moved(name))}>Up</button>`}</div>`)}</div></details>`;
}

// How unusual the newest session is: among the sessions of the year before it, how many moved less.
function usual(found, session) {
  const [day, ...before] = found ? found.days : [];
  if (!day || day.last !== session || before.length < LEAST) return "";
  const less = before.filter((each) => Math.abs(each.total_return) < Math.abs(day.total_return)).length;
  return `; moved more than on ${count(less)} of ${count(before.length)} days`;
}

function Figures({ earned, today, stamp }) {
  const now = daemon.live.overview;
  const curve = useRead(async () => read(`/api/v1/profit/curve?points=2&${await windowOf()}`), stamp, periodKey());
  const days = useRead(() => read(`/api/v1/profit/days?by=day&limit=${YEAR + 1}`), stamp);
  const peak = now.drawdown < 1 ? Number(now.equity) / (1 - now.drawdown) : null;
  const since = now.resumed_ts && Math.abs(now.drawdown - now.limit_drawdown) >= 0.0005 ? `; ${percent(now.limit_drawdown)} since the resume of ${local(now.resumed_ts, now.zone).slice(0, 10)}, which counts for the limit` : "";
  const [own, day] = [earned, today].map(({ data }) => data && data.account);
  const beside = curve.data && curve.data.benchmark ? `, ${curve.data.benchmark} ${signed(curve.data.curve.benchmark.at(-1) - 1)}` : "";
  const amount = (row) => (row ? signedMoney(row.profit) : "–");
  return html`<section class="figures" aria-label="Account">
    <${Figure} name="Equity" value=${money(now.equity)} more=${`${now.currency}${now.gross === null ? "" : `, ${percent(now.gross)} invested`}`} />
    <${Figure} name=${`Profit ${periodWords()}`} term="profit" value=${amount(own)} kind=${tone(own && Number(own.profit))} more=${own ? `${signed(own.total_return)}${beside}` : earned.fault} />
    <${Figure} name="Today" value=${amount(day)} kind=${tone(day && Number(day.profit))} more=${day ? `${signed(day.total_return)} on ${now.session}${usual(days.data, now.session)}` : today.fault} />
    <${Figure} name="Drawdown" term="drawdown" value=${percent(now.drawdown)} more=${`from the peak of ${money(peak)}${now.peak_ts ? ` on ${local(now.peak_ts, now.zone).slice(0, 10)}` : ", at the start"}${since}`} />
    <${Figure} name="Cash" value=${money(now.cash)} more=${`${count(now.orders)} orders, ${count(now.open_orders)} open${now.regime ? `; regime ${now.regime}` : ""}`} />
  </section>`;
}

function Positions({ held, earned, today, find }) {
  const now = daemon.live.overview;
  const { name } = periodNow();
  const [own, day] = [bySymbol(earned), bySymbol(today)];
  const positions = (held.data ? held.data.positions : now.positions).slice().sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)));
  const rows = positions.map((each) => ({ ...each, own: own.get(each.symbol) || {}, today: day.get(each.symbol) || {} }));
  const more = ["all", "1D"].includes(name) ? [] : [{ head: `profit ${periodWords()}`, num: true, cell: (p) => signedMoney(p.own.profit), kind: (p) => tone(Number(p.own.profit)) }];
  const columns = [
    { head: "symbol", cell: (p) => html`<${WhyButton} id=${p.symbol} words=${p.symbol} />${(p.halted || p.jumped) && html` <strong class="REDUCE" title=${p.halted || p.jumped}>held</strong>`}` },
    { head: "quantity", num: true, cell: (p) => plain(p.qty) },
    { head: "price", num: true, cell: (p) => price(p.price) },
    { head: "value", num: true, cell: (p) => money(p.value) },
    { head: "weight", num: true, cell: (p) => percent(p.weight) },
    { head: "share of risk", term: "share of risk", num: true, cell: (p) => html`<${Part} share=${p.risk_share} />` },
    { head: "unrealised", term: "unrealised", num: true, cell: (p) => (p.unrealised ? signedMoney(p.unrealised) : "–"), kind: (p) => tone(Number(p.unrealised)) },
    { head: "realised", term: "realised", num: true, cell: (p) => signedMoney(p.own.realised), kind: (p) => tone(Number(p.own.realised)) },
    { head: "today", num: true, cell: (p) => signedMoney(p.today.profit), kind: (p) => tone(Number(p.today.profit)) },
    ...more,
  ];
  const table = () => [
    ["symbol", "quantity", "price", "value", "weight", "share of risk", "unrealised", "realised since the start", "profit today", `profit ${periodWords()}`],
    rows.map((p) => [p.symbol, p.qty, p.price, p.value, p.weight, p.risk_share, p.unrealised, p.own.realised, p.today.profit, p.own.profit]),
  ];
  return html`<section class="card"><h2>Positions</h2><${Export} what="positions" table=${table} />
    ${held.fault && html`<${Problem} text=${held.fault} />`}
    <${Table} name="Positions" find=${find} most=${6} total=${held.data ? held.data.count : 0} asked=${held.asked} rows=${rows} by=${(p) => p.symbol} empty="no positions" words=${(p) => `${p.symbol} ${Object.keys(p.agents).join(" ")}`} columns=${columns} />
  </section>`;
}

// A share with a tiny bar; that of a hedge is negative and has none.
const Part = ({ share }) => html`<span class="part"><span class="track" aria-hidden="true"><span style=${{ width: `${Math.min(100, Math.max(0, 100 * (share || 0)))}%` }}></span></span>${percent(share)}</span>`;

function Contributions({ earned }) {
  const now = daemon.live.overview;
  const { data, fault } = earned;
  const [rows, foot] = data ? [data.books, [data.account]] : [[], []];
  const amount = (name) => ({ num: true, cell: (b) => signedMoney(b[name]) });
  const columns = [
    { head: "agent", cell: (b) => html`<span class="name">${titleOf(now, b.name)}</span>` },
    { head: "opening", num: true, cell: (b) => money(b.opening) },
    { head: "deposits", term: "deposits", ...amount("deposits") },
    { head: "moved", term: "moved", ...amount("moved") },
    { head: "profit", term: "profit", num: true, cell: (b) => html`<strong>${signedMoney(b.profit)}</strong>`, kind: (b) => tone(Number(b.profit)) },
    { head: "closing", num: true, cell: (b) => money(b.closing) },
    { head: "fees", num: true, cell: (b) => money(b.fees) },
    { head: "crosses", term: "cross", ...amount("crossed") },
    { head: "return", num: true, cell: (b) => signed(b.total_return), kind: (b) => tone(b.total_return) },
  ];
  const names = ["name", "opening", "deposits", "moved", "profit", "closing", "fees", "crossed", "total_return"];
  return html`<section class="card"><h2>What each agent contributed, ${periodWords()}</h2>
    <${Export} what="contributions" table=${() => [names, [...rows, ...foot].map((row) => names.map((name) => row[name]))]} />
    ${fault && html`<${Problem} text=${fault} />`}
    <${Table} name="Contributions" most=${8} rows=${rows} foot=${foot} by=${(b) => b.name} words=${(b) => titleOf(now, b.name)} empty=${noneOf(earned, "no book had money in this period")} columns=${columns} />
    ${data && html`<p class="none">${data.first ? data.first.slice(0, 10) : "From the start"} to ${data.last.slice(0, 10)}, ${data.currency}: opening + deposits + moved + profit = closing. Fees are inside the profit.</p>`}
  </section>`;
}

// Proposals that wait for a person, and the worst open incidents.
function Waits() {
  const now = daemon.live.overview;
  const found = useRead(() => read("/api/v1/alerts/active"), `${now.run}/${now.alerts}/${daemon.acknowledged || 0}`);
  const open = (found.data ? found.data.incidents : []).filter((each) => !each.acknowledged_by).sort((a, b) => WORSE[a.level] - WORSE[b.level] || b.since_ts - a.since_ts);
  const rest = open.length - MOST_WAITING;
  return html`<section class="card"><h2>Waits for a person</h2>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    ${now.reviews > 0 && html`<p><a href="#agents">${count(now.reviews)} proposal${now.reviews > 1 ? "s wait" : " waits"} for a person</a>.</p>`}
    ${now.loosening && html`<p><a href="#risk">Looser limits wait</a>: ${now.loosening}</p>`}
    <ul class="lines">${open.slice(0, MOST_WAITING).map((each) => html`<li><strong class=${each.level}>${each.level}</strong> <a href="#incidents">${[each.kind.replaceAll("_", " "), each.agent, each.symbol].filter(Boolean).join(" ")}</a> since ${local(each.since_ts, now.zone)}: ${each.text}</li>`)}</ul>
    ${rest > 0 && html`<p><a href="#incidents">${things(rest, "more incident")}</a></p>`}
    ${!open.length && !now.reviews && !now.loosening && html`<p class="none">${noneOf(found, "nothing waits, and no incident is open")}</p>`}
  </section>`;
}

const byUse = (limits) => limits.slice().sort((a, b) => (b.use ?? -1) - (a.use ?? -1));

function toLimits(event) {
  event.preventDefault();
  const fold = /** @type {HTMLDetailsElement} */ (document.getElementById("fold-limits"));
  if (fold) fold.open = true;
  setTimeout(() => {
    const head = document.getElementById("limits");
    if (head) { head.scrollIntoView(); head.focus(); } else location.hash = addressOf("risk");  // taken off this screen
  }, fold ? 100 : 0);
}

function Limits() {
  const now = daemon.live.overview;
  const most = byUse(now.limits).slice(0, MOST_USED);
  return html`<section class="card"><h2>Limits most in use</h2>
    ${most.length ? html`<ul class="bars">${most.map((l) => html`<li><strong>${l.words}</strong> <${Use} use=${l.use} /> <span class="none">${measured(l.value, l.unit)} of ${l.floor ? "at least " : ""}${measured(l.bound, l.unit)}</span></li>`)}</ul>` : html`<p class="none">no limit has a value yet</p>`}
    <p class="none"><a href="#now" onClick=${toLimits}>all ${count(now.limits.length)} limits</a></p>
  </section>`;
}

function AllLimits() {
  const limits = byUse(daemon.live.overview.limits);
  return html`<section class="card wide"><h2 id="limits" tabindex="-1">Limits of the house</h2>
      <${Table} name="Limits" rows=${limits} most=${12} first="most used" by=${LIMIT_WORDS} words=${LIMIT_WORDS} empty="no limit has a value yet" columns=${[
    { head: "limit", cell: (l) => l.words },
    { head: "value", num: true, cell: (l) => measured(l.value, l.unit) },
    { head: "bound", num: true, cell: (l) => `${l.floor ? "at least " : ""}${measured(l.bound, l.unit)}` },
    { head: "headroom", term: "headroom", num: true, cell: (l) => measured(l.headroom, l.unit) },
    { head: "in use", term: "in use", cell: (l) => html`<${Use} use=${l.use} />` },
  ]} />
    </section>`;
}

function Largest({ stamp }) {
  const [ordered, find] = useState("");
  const { data, fault, asked } = useRead(() => read(`/api/v1/risk?search=${encodeURIComponent(ordered)}`), stamp, ordered);
  const rows = data ? data.room.slice().sort((a, b) => Math.abs(b.weight || 0) - Math.abs(a.weight || 0)) : [];
  const order = (each) => (each.qty === null ? "any size" : plain(each.qty));
  const stop = (each) => each.text || "–";
  return html`<section class="card wide"><h2>Largest order that would pass now</h2>
    <p class="none">By the limits of the house. Those of the book that orders may allow less: the form of an order by hand shows that.</p>
    ${fault && !data ? html`<p class="none">${fault}</p>` : html`<${Table} name="Largest orders" find=${find} asked=${asked} total=${data ? data.count : 0} rows=${rows} by=${(s) => s.symbol} words=${(s) => s.symbol} empty="no prices yet" columns=${[
    { head: "symbol", cell: (s) => s.symbol },
    { head: "held", num: true, cell: (s) => plain(s.held) },
    { head: "buy", num: true, cell: (s) => order(s.buy) },
    { head: "the next lot to buy", cell: (s) => stop(s.buy) },
    { head: "sell", num: true, cell: (s) => order(s.sell) },
    { head: "the next lot to sell", cell: (s) => stop(s.sell) },
  ]} />`}
  </section>`;
}
