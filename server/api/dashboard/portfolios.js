// Portfolios: open, rebalance after a dry run, close.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Became, Reason, useAct, usePlan } from "./acts.js";
import { daemon, may, newKey, read } from "./daemon.js";
import { count, local, money, orders, percent, plain, signed, tone } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const HOWS = { weights: "weights of symbols", policy: "symbols by a policy", agent: "as an agent" };

// "SPY 0.6, TLT 0.4" -> {SPY: 0.6, TLT: 0.4}. The daemon judges symbols and numbers.
function weightsOf(text) {
  const pairs = text.split(/[,;\n]+/).map((each) => each.trim()).filter(Boolean).map((each) => each.split(/[\s:=]+/));
  const wrong = pairs.find((each) => each.length !== 2 || !Number.isFinite(Number(each[1])));
  if (wrong) throw new Error(`${wrong.join(" ")}: write each as SYMBOL WEIGHT, for example SPY 0.6, TLT 0.4`);
  return Object.fromEntries(pairs.map(([symbol, weight]) => [symbol, Number(weight)]));
}

function targetsOf({ how, text, policy, agent }) {
  if (how === "weights") return { weights: weightsOf(text) };
  if (how === "policy") return { policy, symbols: text.split(/[\s,;]+/).filter(Boolean) };
  return { agent };
}

function Targets({ asked, put, edit, agents }) {
  return html`<div class="fields">
      <p><label for="how">Targets</label><select id="how" value=${asked.how} onChange=${edit("how")}>${Object.entries(HOWS).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></p>
      ${asked.how === "policy" && html`<p><label for="policy">Policy</label><input id="policy" value=${asked.policy} onInput=${edit("policy")} required autocomplete="off" spellcheck="false" /></p>`}
      ${asked.how === "agent" && html`<p><label for="agent">Agent</label><select id="agent" value=${asked.agent} onChange=${edit("agent")} required><option value=""></option>${agents.map((name) => html`<option value=${name}>${name}</option>`)}</select></p>`}
    </div>
    ${asked.how !== "agent" && html`<label for="targets">${asked.how === "weights" ? "Weights, such as SPY 0.6, TLT 0.4; the rest is cash" : "Symbols, such as SPY TLT"}</label>
      <input id="targets" value=${asked.text} onInput=${edit("text")} required autocomplete="off" spellcheck="false" />`}`;
}

function Trades({ found }) {
  const { trades } = found;
  return html`<div role="status"><h3>Dry run${found.plan ? ` ${found.plan.slice(0, 8)}` : ""}</h3>
      <p>${orders(trades.orders.length)} for ${money(trades.value)}, commission ${money(trades.commission)}, slippage ${money(trades.slippage)}${trades.cancels ? `; ${count(trades.cancels)} open orders are cancelled` : ""}${trades.waits ? "; they wait for stops at the venue" : ""}.</p></div>
    <${Table} name="Orders of the dry run" rows=${trades.orders} most=${6} by=${(o) => `${o.side}${o.symbol}`} words=${(o) => o.symbol} empty="no orders: the targets are held" columns=${[
    { head: "order", cell: (o) => `${o.side} ${plain(o.qty)} ${o.symbol}` }, { head: "value", num: true, cell: (o) => money(o.value) }, { head: "costs", num: true, cell: (o) => money(o.commission + o.slippage) },
  ]} />
    ${trades.cuts.length > 0 && html`<${Table} name="Cut by limits" rows=${trades.cuts} most=${4} by=${(c) => `${c.by}${c.side}${c.symbol}`} words=${(c) => c.symbol} columns=${[
    { head: "asked", cell: (c) => `${c.side} ${c.asked} ${c.symbol}` }, { head: "allowed", num: true, cell: (c) => c.allowed }, { head: "why", cell: (c) => c.text },
  ]} />`}`;
}

const EMPTY = { how: "weights", text: "", policy: "equal_weight", agent: "", name: "", capital: "" };

export function Rebalance({ name, agents, close, changed, text = "" }) {
  const [asked, put] = useState({ ...EMPTY, text });
  const [reason, write] = useState("");
  const [state, go] = useAct(() => { changed(); close(); });
  const { plan, busy, fault, preview, drop } = usePlan(asked, state);
  const path = `/api/v1/agents/${encodeURIComponent(name)}`;
  const edit = (field) => (event) => { put({ ...asked, [field]: event.target.value }); drop(); };
  const dry = (event) => { event.preventDefault(); preview(`${path}/preview`, () => targetsOf(asked)); };
  const send = () => go(`${path}/propose`, { ...targetsOf(asked), id: newKey(), reason, plan: plan.plan }, undefined, plan.trades.orders.map((order) => order.symbol));
  return html`<form onSubmit=${dry}>
    <${Reason} value=${reason} write=${write} first=${true} />
    <${Targets} asked=${asked} edit=${edit} agents=${agents} />
    ${fault && html`<${Problem} text=${fault} />`}
    <${Became} state=${state} />
    ${plan && html`<${Trades} found=${plan} />`}
    <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${busy || state.busy}>Dry run</button>
      ${plan && html`<button type="button" class="main" disabled=${state.busy} onClick=${send}>Send ${orders(plan.trades.orders.length)}</button>`}
      <button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

// The first orders of a preview are sent with its plan; an edit voids it.
function Open({ agents, close, changed }) {
  const [asked, put] = useState({ ...EMPTY, capital: "10000" });
  const [reason, write] = useState("");
  const [state, go] = useAct(() => { changed(); close(); });
  const { plan, busy, fault, preview, drop } = usePlan(asked, state);
  const edit = (field) => (event) => { put({ ...asked, [field]: event.target.value }); drop(); };
  const body = () => ({ name: asked.name, capital: asked.capital, ...targetsOf(asked), reason });
  const dry = (event) => { event.preventDefault(); preview("/api/v1/portfolios/open/preview", body); };
  const send = () => go("/api/v1/portfolios", { ...body(), as_planned: plan.plan });
  return html`<form onSubmit=${dry}>
    <p>The capital comes from the unallocated book, and the first orders are sent at once.</p>
    <div class="fields">
      <p><label for="name">Name</label><input id="name" value=${asked.name} onInput=${edit("name")} required pattern="[a-z0-9][a-z0-9_\\-]*" maxlength="32" autocomplete="off" spellcheck="false" data-first /></p>
      <p><label for="capital">Capital</label><input id="capital" value=${asked.capital} onInput=${edit("capital")} required inputmode="decimal" autocomplete="off" /></p>
    </div>
    <${Targets} asked=${asked} edit=${edit} agents=${agents} />
    <${Reason} value=${reason} write=${write} />
    ${fault && html`<${Problem} text=${fault} />`}
    <${Became} state=${state} />
    ${plan && html`<${Trades} found=${plan} />`}
    <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${busy || state.busy}>Dry run</button>
      ${plan && html`<button type="button" class="main" disabled=${state.busy} onClick=${send}>Open the portfolio: ${orders(plan.trades.orders.length)}</button>`}
      <button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

function Close({ name, agents, close, changed }) {
  const [asked, put] = useState({ how: "flatten", to: "" });
  const [reason, write] = useState("");
  const [state, go] = useAct(() => { changed(); close(); });
  const { plan, busy, fault, preview, drop } = usePlan(asked, state);
  const path = `/api/v1/portfolios/${encodeURIComponent(name)}/close`;
  const body = () => ({ how: asked.how, reason, ...asked.how === "flatten" ? {} : { to: asked.to } });
  const edit = (field) => (event) => { put({ ...asked, [field]: event.target.value }); drop(); };
  const dry = (event) => { event.preventDefault(); preview(`${path}/preview`, body); };
  return html`<form onSubmit=${dry}>
    <${Reason} value=${reason} write=${write} first=${true} />
    <div class="fields">
      <p><label for="close-how">Its positions</label><select id="close-how" value=${asked.how} onChange=${edit("how")}><option value="flatten">are sold; the cash returns</option><option value="hand_over">go to an agent</option></select></p>
      ${asked.how === "hand_over" && html`<p><label for="to">Agent</label><select id="to" value=${asked.to} onChange=${edit("to")} required><option value=""></option>${agents.map((each) => html`<option value=${each}>${each}</option>`)}</select></p>`}
    </div>
    ${fault && html`<${Problem} text=${fault} />`}
    <${Became} state=${state} />
    ${plan && html`<${Trades} found=${plan} />`}
    <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${busy || state.busy}>Dry run</button>
      ${plan && html`<button type="button" class="halt" disabled=${state.busy} onClick=${() => go(path, { ...body(), as_planned: plan.plan })}>Close ${name}: ${orders(plan.trades.orders.length)}</button>`}
      <button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

/** @type {Record<string, any[]>} */
const DOINGS = { open: ["Open a portfolio", "admin", Open], rebalance: ["Rebalance", "trade", Rebalance], close: ["Close a portfolio", "admin", Close] };

export function Portfolios() {
  const now = daemon.live.overview;
  const [chosen, choose] = useState("");
  const [doing, begin] = useState(/** @type {any} */ (null));
  const [acts, acted] = useState(0);
  const stamp = `${now.run}/${now.ts}/${now.fills}/${acts}`;
  const found = useRead(() => read("/api/v1/portfolios"), stamp);
  const lines = found.data ? found.data.portfolios : [];
  const line = lines.find((each) => each.name === chosen) || lines[0];
  const agents = now.agents.filter((each) => !each.shadow && !each.portfolio).map((each) => each.name);
  const may_ = Object.entries(DOINGS).filter(([kind, [, scope]]) => may(scope) && (kind === "open" ? found.data && found.data.vacant > 0 : line && (kind !== "rebalance" || line.state === "open")));
  const [title, , Content] = (doing && DOINGS[doing.kind]) || [];
  return html`<section class="card wide"><h2>Portfolios</h2>
      ${found.fault && html`<${Problem} text=${found.fault} />`}
      <${Table} name="Portfolios" rows=${lines.map((each) => ({ ...each, chosen: line && each.name === line.name }))} most=${15} by=${(p) => p.name} words=${(p) => `${p.name} ${p.basis} ${p.state}`} empty=${noneOf(found, "no portfolio is open")} columns=${[
    { head: "portfolio", cell: (p) => html`<button type="button" aria-pressed=${Boolean(p.chosen)} onClick=${() => choose(p.name)}>${p.name}</button>` },
    { head: "state", cell: (p) => p.state },
    { head: "weights by", cell: (p) => p.basis.replaceAll("_", " ") },
    { head: "capital", num: true, cell: (p) => money(p.capital) },
    { head: "equity", num: true, cell: (p) => money(p.equity) },
    { head: "return since the opening", num: true, cell: (p) => signed(Number(p.equity) / Number(p.capital) - 1), kind: (p) => tone(Number(p.equity) - Number(p.capital)) },
    { head: "opened", cell: (p) => local(p.created_ns, now.zone) },
  ]} />
      ${found.data && html`<p class="none">${found.data.places ? `${found.data.vacant} of ${found.data.places} places are vacant.` : "The configuration has no places for portfolios: [portfolios] places makes some."}</p>`}
      ${may_.length > 0 && html`<p class="buttons">${may_.map(([kind, [words]]) => html`<button type="button" onClick=${() => begin({ kind, name: kind === "open" || !line ? "" : line.name })}>${kind === "open" ? words : `${words.split(" ")[0]}: ${line.name}`} …</button>`)}</p>`}
    </section>
    ${line && html`<${Held} key=${line.name} name=${line.name} stamp=${stamp} />`}
    ${Content && html`<${Dialog} key=${doing.kind} title=${doing.name ? `${title}: ${doing.name}` : title} close=${() => begin(null)}>
      <${Content} name=${doing.name} agents=${agents} close=${() => begin(null)} changed=${() => acted((n) => n + 1)} /></${Dialog}>`}`;
}

function Held({ name, stamp }) {
  const holdings = useRead(() => read(`/api/v1/agents/${encodeURIComponent(name)}/standing`), stamp, name);
  const { data, fault } = holdings;
  const rows = data ? data.positions.slice().sort((a, b) => Math.max(Math.abs(b.weight), Math.abs(b.target)) - Math.max(Math.abs(a.weight), Math.abs(a.target))) : [];
  return html`<section class="card wide"><h2>Holdings of ${name}</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${data && html`<p class=${data.switch === "RUN" ? "none" : data.switch}>Switch ${data.switch}${data.switch_reason ? `: ${data.switch_reason}` : ""}. Cash ${money(data.cash)}. ${data.open_orders ? `${count(data.open_orders)} open orders. ` : ""}Newest targets ${data.portfolio.proposed || "none"}. Opened by ${data.portfolio.who}: ${data.portfolio.reason}</p>`}
    <${Table} name=${`Holdings of ${name}`} rows=${rows} by=${(h) => h.symbol} words=${(h) => h.symbol} empty=${noneOf(holdings, "all in cash")} columns=${[
    { head: "symbol", cell: (h) => h.symbol },
    { head: "target", num: true, cell: (h) => percent(h.target || 0) },
    { head: "weight", num: true, cell: (h) => percent(h.weight) },
    { head: "quantity", num: true, cell: (h) => plain(h.qty) },
    { head: "value", num: true, cell: (h) => money(h.value) },
  ]} /></section>`;
}
