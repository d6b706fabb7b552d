// Why a trade was made or refused, beside the rows: a panel with a link of its own, and a way through the day.
import { html, useLayoutEffect, useRef } from "./htm-preact-standalone.mjs";
import { chosenNow, keep, kept, screenNow } from "./address.js";
import { daemon, read } from "./daemon.js";
import { count, local, localised, measured, money, percent, plain, signed, things } from "./figures.js";
import { Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const DAY_MS = 86400000;
const MOST = 500;

// What the panel explains: of a link `#orders/ID`, or of `why=ID` on any screen.
export const whyNow = () => kept("why") || (screenNow() === "orders" ? chosenNow() : "");

// Open or close the panel. An order's own link has no `why`.
export function explain(id) {
  if (screenNow() === "orders") location.hash = `#orders${id ? `/${encodeURIComponent(id)}` : ""}${location.hash.includes("?") ? `?${location.hash.split("?")[1].replace(/&?why=[^&]*/, "")}` : ""}`;
  else keep({ why: id });
}

export function WhyButton({ id, words = "why", label = "" }) {
  const open = whyNow() === id;
  return html`<button type="button" class="why-of" aria-label=${label || `Why ${words}`} aria-pressed=${open} onClick=${() => explain(open ? "" : id)}>${words}</button>`;
}

/**
 * The trades of the day of a decision, the oldest first: orders, and what limits refused.
 * @param {number} ts
 * @returns {Promise<{ id: string, words: string, ts: number }[]>}
 */
async function dayOf(ts) {
  const first = Math.floor((ts / 1e6 - 1) / DAY_MS) * DAY_MS;
  const span = `since=${first}000000&until=${first + DAY_MS}000000&limit=${MOST}`;
  const [placed, refused] = await Promise.all([read(`/api/v1/orders?${span}`), read(`/api/v1/refusals?${span}&group=refused`)]);
  const never = new Map(refused.refusals.map((each) => [each.address, { id: each.address, ts: each.ts, words: `${each.side} ${plain(each.asked)} ${each.symbol}, refused` }]));
  const orders = placed.orders.map((each) => ({ id: each.id, ts: each.ts, words: `${each.side} ${plain(each.qty)} ${each.symbol}` }));
  return [...orders, ...never.values()].sort((a, b) => a.ts - b.ts || a.words.localeCompare(b.words));
}

// Earlier and later trades of the same day.
function Steps({ id, e }) {
  const found = useRead(() => dayOf(e.decided), "", `${e.decided}`);
  const rows = found.data || [];
  const at = rows.findIndex((each) => [id, e.order, e.address].includes(each.id));
  const step = (by, words) => html`<button type="button" disabled=${!rows[at + by] || at < 0} aria-label=${`${words} trade of the day${rows[at + by] && at >= 0 ? `: ${rows[at + by].words}` : ""}`} onClick=${() => explain(rows[at + by].id)}>${words}</button>`;
  return html`<p class="buttons steps">${step(-1, "Earlier")}${step(1, "Later")} <span class="none">${at < 0 ? noneOf(found, `${things(rows.length, "trade")} of the day`) : `trade ${count(at + 1)} of ${count(rows.length)} of the day`}</span></p>`;
}

export function WhyPanel() {
  const id = whyNow();
  const { zone } = daemon.live.overview;
  const { data, fault } = useRead(() => (id ? read(`/api/v1/why/${encodeURIComponent(id)}`) : Promise.resolve(null)), "", id);
  const title = useRef(null);
  useLayoutEffect(() => { if (title.current) title.current.focus(); }, [id]);
  if (!id) return "";
  return html`<aside class="card why-order" aria-label="Why"><div class="head"><h2 ref=${title} tabindex="-1">Why ${id}</h2><button type="button" onClick=${() => explain("")}>Close</button></div>
    ${fault && html`<${Problem} text=${fault} />`}
    ${!data && !fault && html`<p class="none" role="status">replaying the journal up to that decision …</p>`}
    ${data && html`<${Steps} id=${id} e=${data} /><${Explained} e=${data} zone=${zone} />`}
  </aside>`;
}

// What refused or cut a trade: of each book its verdict, with the rows of the limits that decided it.
function causesOf(e) {
  const books = [...e.agents.map((a) => ({ ...a, book: `agent ${a.agent}` })), { ...e, book: "the house", asked: e.net }];
  return books.filter((each) => each.reason && each.asked !== each.allowed);
}

function Cause({ cause, symbol }) {
  const cut = cause.limits.filter((l) => l.cut);
  return html`<p><strong class="REDUCE">${cause.allowed === "0" ? "Refused" : `Cut to ${cause.allowed}`} by the limits of ${cause.book}</strong>, ${cause.asked} requested: ${cause.text}</p>
    ${cut.length > 0 && html`<${Limits} name=${`What decided for ${cause.book}`} limits=${cut} symbol=${symbol} />`}`;
}

function Explained({ e, zone }) {
  const causes = causesOf(e);
  const size = e.qty === "0" ? "" : `${e.qty} `;
  return html`
    <p>${e.side.toUpperCase()} ${size}${e.symbol}, decided ${local(e.decided, zone)} at ${plain(e.price)}${e.limit ? `, limit ${plain(e.limit)}` : ""}: ${e.state}${e.note ? `, ${e.note}` : ""}</p>
    ${causes.map((cause) => html`<${Cause} cause=${cause} symbol=${e.symbol} />`)}
    ${causes.length ? html`<details><summary>Targets, all limits and the rest</summary><${Rest} e=${e} zone=${zone} /></details>` : html`<${Rest} e=${e} zone=${zone} />`}`;
}

function Rest({ e, zone }) {
  const agents = e.agents.filter((a) => a.reason);
  const nothing = e.net === "0" && "no quantity is left for the limits of the house";
  return html`
    <ul>${e.agents.map((a) => html`<li>${a.agent}${a.policy ? ` (policy of ${a.policy})` : ""}: target ${percent(a.wanted)}, held ${a.had === null ? "" : `${percent(a.had)}, `}${a.held}, requested ${a.asked}${a.asked === a.allowed ? "" : `; its own limits cut this to ${a.allowed}: ${a.text}`}</li>`)}</ul>
    <p>${e.crossed === "0" ? "" : `${e.crossed} crossed between agents; `}net ${e.net}; ${nothing || (e.net === e.allowed ? "all of it passed the limits of the house" : `the limits of the house passed ${e.allowed}: ${e.text}`)}</p>
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
    <${Limits} name=${`Limits of ${book}`} limits=${limits} symbol=${symbol} />
    ${most && html`<p>Largest order that would have passed alone: ${most}</p>`}`;
}

function Limits({ name, limits, symbol }) {
  return html`<${Table} name=${name} rows=${limits} most=${40} by=${(l) => l.words} words=${(l) => l.words} columns=${[
    { head: "limit", cell: (l) => localised(l.words, daemon.live.overview.zone) },
    { head: "before", num: true, cell: (l) => measured(l.before, l.unit) },
    { head: "after", num: true, cell: (l) => measured(l.after, l.unit) },
    { head: "bound", num: true, cell: (l) => measured(l.bound, l.unit) },
    { head: "headroom", num: true, cell: (l) => measured(l.headroom, l.unit) },
    { head: `headroom in ${symbol}`, num: true, cell: (l) => (l.more === null ? "–" : l.more) },
    { head: "in use", num: true, cell: (l) => percent(l.use, 0) },
    { head: "cut", cell: (l) => (l.cut ? html`<strong class="REDUCE">here</strong>` : "") },
  ]} />`;
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
