// Risk: limits over time, measures of loss, stress, correlations, the VaR back-test, and a loosening that waits.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Chart } from "./chart.js";
import { Deed } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { measured, percent, ratio, things, titleOf } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";
import { WhatIf } from "./what_if.js";

const METHODS = { historical: "historical", parametric: "parametric", ewma: "EWMA", cornish_fisher: "Cornish-Fisher", filtered: "filtered historical" };
/** @type {[string, string, boolean?][]} */
const RATIOS = [["volatility_annual", "volatility, a year", true], ["max_drawdown", "largest drawdown", true], ["sharpe", "Sharpe ratio"], ["sortino", "Sortino ratio"], ["calmar", "Calmar ratio"], ["beta", "beta to the benchmark"], ["effective_bets", "effective bets"], ["diversification_ratio", "diversification ratio"], ["gross", "invested", true], ["hhi", "concentration (HHI)"]];

// The window of a measure: equity for drawdown and ratios, the positions' own returns for others, none for weights.
const BY_EQUITY = ["max_drawdown", "sharpe", "sortino", "calmar"];
const BY_WEIGHT = ["gross", "hhi"];
const windowed = (name, words, equity, returns) => (BY_WEIGHT.includes(name) ? `${words}, now` : `${words}, ${things(BY_EQUITY.includes(name) ? equity : returns, "sample")}`);

function Over({ stamp }) {
  const [limit, choose] = useState("");
  const { data, fault } = useRead(() => read("/api/v1/risk/history?limit=500"), stamp);
  const rows = data ? data.history.slice().reverse() : [];
  const names = new Map();
  rows.forEach((row) => row.limits.forEach((each) => { if (each.use !== null) names.set(each.limit, each.words || each.limit.replaceAll("_", " ")); }));
  const last = (name) => { for (let k = rows.length - 1; k >= 0; k--) { const found = rows[k].limits.find((each) => each.limit === name); if (found) return found; } return null; };
  const most = [...names.keys()].sort((a, b) => (last(b).use ?? 0) - (last(a).use ?? 0));
  const shown = names.has(limit) ? limit : most[0];
  const now = daemon.live.overview;  // a resume moves a limit without a record
  const points = [...rows, now].map((row) => ({ ts: row.ts, found: row.limits.find((each) => each.limit === shown) })).filter(({ found }) => found && found.use !== null);
  const unique = points.filter(({ ts }, k) => k === points.length - 1 || ts < points[k + 1].ts);
  const newest = now.limits.find((each) => each.limit === shown) || (shown && last(shown));
  return html`<section class="card wide"><h2>Limits over time</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${names.size > 0 && html`<div class="fields"><p><label for="limit">Limit</label><select id="limit" value=${shown} onChange=${(event) => choose(event.target.value)}>${most.map((name) => html`<option value=${name}>${names.get(name)}</option>`)}</select></p></div>`}
    ${unique.length > 1 ? html`<${Chart} data=${[unique.map(({ ts }) => ts / 1e9), unique.map(({ found }) => found.use), unique.map(() => 1)]} series=${[["in use", "--line"], ["the limit", "--fall"]]} height=${180} format=${(x) => percent(x, 0)}
      words=${`Use of the limit on ${names.get(shown)} in the newest ${rows.length} records; now ${measured(newest.value, newest.unit)} of ${measured(newest.bound, newest.unit)}.`} />` : html`<p class="none">${data ? "no limit has two records yet" : ""}</p>`}
  </section>`;
}

function Rolling({ stamp }) {
  const { data, fault } = useRead(() => read("/api/v1/performance/rolling?window=63&points=600"), stamp);
  const newest = data && data.sharpe.at(-1);
  return html`<section class="card wide"><h2>Sharpe ratio over time</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${data && data.ts.length > 1 ? html`<${Chart} data=${[data.ts.map((ts) => ts / 1e9), data.sharpe]} series=${[["Sharpe ratio", "--a2"]]} height=${140} format=${(x) => x.toFixed(1).replace("-", "−")}
      words=${`Sharpe ratio of the last ${data.window} samples, annual${newest === null ? "" : `; now ${ratio(newest)}`}.`} />` : html`<p class="none">${data ? `It needs ${data.window + 2} samples.` : ""}</p>`}
  </section>`;
}

function Heat({ stamp }) {
  const { data, fault } = useRead(() => read("/api/v1/risk/correlations"), stamp);
  const cell = (x) => (x === null ? "–" : ratio(x));
  return html`<section class="card wide"><h2>Correlations of the largest positions</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${data && data.symbols.length > 1 ? html`<div class="scroll" tabindex="0" role="region" aria-label="Correlations"><table class="heat">
      <thead><tr><td></td>${data.symbols.map((symbol) => html`<th scope="col" class="n">${symbol}</th>`)}</tr></thead>
      <tbody>${data.symbols.map((symbol, i) => html`<tr><th scope="row">${symbol}</th>${data.symbols.map((_, j) => html`<td class="n" style=${{ "--heat": i === j ? 0 : Math.abs(data.rows[i][j] || 0), "--hue": (data.rows[i][j] || 0) < 0 ? "var(--line)" : "var(--fall)" }}>${i === j ? "" : cell(data.rows[i][j])}</td>`)}</tr>`)}</tbody>
    </table></div><p class="none">Red moves together, blue moves apart; the stronger the colour, the closer.</p>` : html`<p class="none">${data ? "two positions with enough returns are needed" : ""}</p>`}
  </section>`;
}

const REJECTED = 0.05;

function Var({ stamp }) {
  const { data, fault } = useRead(() => read("/api/v1/risk/var"), stamp);
  const r = data && data.result;
  const rejected = r && [r.p_coverage, r.p_independence, r.p_conditional].some((x) => x !== null && x < REJECTED);
  const p = (x) => (x === null ? "too few samples" : `p = ${x.toFixed(3)}${x < REJECTED ? ", rejected" : ""}`);
  return html`<section class="card"><h2>VaR back-test</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${r ? html`<p><strong class=${rejected ? "HALT" : { green: "RUN", yellow: "REDUCE", red: "HALT" }[r.zone] || ""}>${rejected ? `rejected${r.zone === "green" ? ", though" : ";"} its zone is ${r.zone || "not known yet"}` : r.zone || "no zone yet"}</strong>: in ${r.samples} samples the loss was larger than the VaR at ${percent(r.confidence, 0)} ${r.exceedances} times; ${r.expected.toFixed(1)} were expected.</p>
      <dl class="pairs"><dt>number (Kupiec)</dt><dd>${p(r.p_coverage)}</dd><dt>clusters (Christoffersen)</dt><dd>${p(r.p_independence)}</dd><dt>both</dt><dd>${p(r.p_conditional)}</dd></dl>`
    : html`<p class="none">${data ? data.missing : ""}</p>`}
  </section>`;
}

export function Risk() {
  const now = daemon.live.overview;
  const [asking, ask] = useState(false);
  const stamp = `${now.run}/${now.session}/${now.fills}`;
  const { data, fault } = useRead(() => read("/api/v1/risk/metrics"), stamp);
  const house = data && data.house;
  const none = (name) => html`<span class="none">${(house.missing && house.missing[name]) || "–"}</span>`;
  const methods = house ? Object.entries(METHODS).map(([name, words]) => ({ id: name, words, found: house[name] })) : [];
  const stress = house ? Object.entries(house.stress).map(([name, loss]) => ({ id: name, loss })).sort((a, b) => (b.loss ?? -1) - (a.loss ?? -1)) : [];
  const agents = data ? Object.entries(data.agents).map(([name, each]) => ({ ...each, window: data.windows[name] ?? 0, id: titleOf(now, name) })) : [];
  const returns = house ? things(house.samples, "sample") : "samples not read yet";
  const equity = !data ? "samples not read yet" : agents.every((a) => a.window === (data.windows[""] ?? 0)) ? things(data.windows[""] ?? 0, "sample") : "up to " + things(Math.max(...agents.map((a) => a.window)), "sample");
  return html`
    ${now.loosening && html`<section class="card wide"><h2>Looser limits wait</h2>
      <p class="REDUCE">${now.loosening}</p>
      <p>They come into force then, or at once when a second person approves them with a token that was made before.</p>
      ${may("trade") && html`<p class="buttons"><button type="button" onClick=${() => ask(true)}>Approve …</button></p>`}</section>`}
    <${Over} stamp=${stamp} />
    <${Rolling} stamp=${stamp} />
    ${fault && html`<${Problem} text=${fault} />`}
    <section class="card"><h2>Loss in ${house ? house.horizon : 1} day${house && house.horizon > 1 ? "s" : ""}${house ? `, at ${percent(house.confidence, 0)}, from ${things(house.samples, "sample")}` : ""}</h2>
      <${Table} name="Value at risk" rows=${methods} words=${(m) => m.words} empty="no measure yet" columns=${[
    { head: "method", cell: (m) => m.words },
    { head: "VaR", num: true, cell: (m) => (m.found ? percent(m.found.var, 2) : "–") },
    { head: "CVaR", num: true, cell: (m) => (m.found ? percent(m.found.cvar, 2) : "–") },
    ...(methods.some((m) => !m.found) ? [{ head: "why not", cell: (m) => (m.found ? "" : none(m.id)) }] : []),
  ]} /></section>
    <${Var} stamp=${stamp} />
    <section class="card"><h2>Measures of the house</h2>
      ${house && html`<dl class="pairs">${RATIOS.map(([name, words, share]) => html`<dt>${windowed(name, words, data.windows[""] ?? 0, house.samples)}</dt><dd>${house[name] === null ? none(name) : share ? percent(house[name]) : ratio(house[name])}</dd>`)}</dl>`}</section>
    <section class="card"><h2>Stress: loss of equity</h2>
      <${Table} name="Stress" rows=${stress} most=${12} words=${(s) => s.id} empty="no scenario is configured" columns=${[
    { head: "scenario", cell: (s) => s.id.replaceAll("_", " ") },
    { head: "loss", num: true, cell: (s) => (s.loss === null ? none(`stress.${s.id}`) : percent(s.loss)) },
  ]} /></section>
    <${WhatIf} />
    <${Heat} stamp=${stamp} />
    <section class="card wide"><h2>Measures of the agents</h2>
      <${Table} name="Measures of the agents" rows=${agents} words=${(a) => a.id} empty="no agents" columns=${[
    { head: "agent", cell: (a) => a.id },
    { head: `volatility, ${returns}`, num: true, cell: (a) => percent(a.volatility) },
    { head: `VaR, ${returns}`, num: true, cell: (a) => percent(a.var, 2) },
    { head: `CVaR, ${returns}`, num: true, cell: (a) => percent(a.cvar, 2) },
    { head: `largest drawdown, ${equity}`, num: true, cell: (a) => percent(a.max_drawdown) },
    { head: `Sharpe ratio, ${equity}`, num: true, cell: (a) => (a.sharpe === null ? "–" : ratio(a.sharpe)) },
    { head: `beta, ${returns}`, num: true, cell: (a) => measured(a.beta, "") },
  ]} /></section>
    ${asking && html`<${Dialog} title="Approve the looser limits" close=${() => ask(false)}>
      <${Deed} words=${now.loosening} path="/api/v1/limits/approve" title="Approve" close=${() => ask(false)} /></${Dialog}>`}`;
}
