// An order by hand: form, preview, and a confirmation that carries the plan of the preview. Never an order without one.
import { html, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { ask, Became, heldUp, holding, useAct } from "./acts.js";
import { daemon, may, mayStop, read } from "./daemon.js";
import { percent, plain } from "./figures.js";
import { Problem } from "./parts.js";
import { useRead } from "./reads.js";

const MOST_NAMES = 60;
const EMPTY = { side: "buy", qty: "", symbol: "", agent: "", stop: "", target: "", reason: "" };

function Verdict({ would }) {
  const cut = would.allowed !== would.asked;
  return html`<dl class="pairs">
    <dt>would pass</dt><dd><strong class=${cut ? "REDUCE" : "RUN"}>${would.side} ${would.allowed} of ${would.asked} ${would.symbol}</strong>, book ${would.agent}</dd>
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
  const [plan, planned] = useState(null);
  const [asking, set] = useState({ busy: false, fault: "" });
  const asked = useRef(order);
  asked.current = order;
  const sent = useRef(null);
  const [state, go] = useAct(() => { if (asked.current === sent.current) put(EMPTY); planned(null); });
  const confirm = useRef(null);
  const symbol = order.symbol.trim();
  const held = useRead(() => (symbol ? read(`/api/v1/positions?search=${encodeURIComponent(symbol)}`).catch(() => null) : null), `${now.ts}/${now.fills}`, symbol);
  const known = (held.data ? held.data.positions : now.positions).find((each) => each.symbol === symbol);
  const room = useRead(() => (symbol ? read(`/api/v1/risk?symbol=${encodeURIComponent(symbol)}`).catch(() => null) : null), now.ts, symbol);
  useLayoutEffect(() => { if (plan) confirm.current.focus(); }, [plan]);
  const became = state.act && !state.act.ended ? state.act.state : "";
  useLayoutEffect(() => { if (became === "refused") planned(null); }, [became]);  // the next order needs a preview of its own
  if (!mayStop()) return html`<section class="card"><h2>Order by hand</h2><p>An order needs a session with a token of scope trade. Sign in with one.</p></section>`;
  const edit = (name) => (event) => { put({ ...order, [name]: event.target.value }); planned(null); };
  const preview = async (event) => {
    event.preventDefault();
    planned(null);
    set({ busy: true, fault: "" });
    try {
      const found = await ask("/api/v1/orders/preview", order);
      if (asked.current === order) planned(found);  // an edit meanwhile asks for another one
      set({ busy: false, fault: "" });
    } catch (why) { set({ busy: false, fault: String(why.message) }); }
  };
  const place = () => { sent.current = order; go("/api/v1/orders", { ...order, as_planned: plan.plan }); };
  const held_ = symbol ? holding("/api/v1/orders", order, null, state.act ? state.act.key : "") : null;
  const found = room.data && room.data.room.find((each) => each.symbol === symbol);
  const most = (side) => (side.qty === null ? "any size" : `${plain(side.qty)}; the next lot: ${side.text}`);
  const field = (name, title, more = {}) => html`<p><label for=${`order-${name}`}>${title}</label><input id=${`order-${name}`} value=${order[name]} onInput=${edit(name)} autocomplete="off" spellcheck="false" ...${more} /></p>`;
  return html`<section class="card"><h2>Order by hand</h2>
    <form onSubmit=${preview}>
      <div class="fields">
        <p><label for="order-side">Side</label><select id="order-side" value=${order.side} onChange=${edit("side")}><option value="buy">buy</option><option value="sell">sell</option></select></p>
        ${field("qty", "Quantity", { required: true, inputmode: "decimal" })}
        ${field("symbol", "Symbol", { required: true, list: "symbols" })}
        <datalist id="symbols">${now.positions.slice(0, MOST_NAMES).map((p) => html`<option value=${p.symbol}></option>`)}</datalist>
        <p><label for="order-agent">Book</label><select id="order-agent" value=${order.agent} onChange=${edit("agent")}><option value="">manual</option>${now.agents.filter((a) => !a.shadow && !a.portfolio).map((a) => html`<option value=${a.name}>${a.name}</option>`)}</select></p>
        ${field("stop", "Stop (may be empty)", { inputmode: "decimal" })}
        ${field("target", "Target (may be empty)", { inputmode: "decimal" })}
      </div>
      ${field("reason", "Reason, for the journal", { required: true, maxlength: 500, pattern: ".*\\S.*" })}
      ${found && html`<p class="none">${known ? `Held: ${plain(known.qty)} (${percent(known.weight)}). ` : ""}Largest order that would pass now: buy ${most(found.buy)}. Sell ${most(found.sell)}.</p>`}
      <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${asking.busy || state.busy}>Preview</button></p>
    </form>
    <div role="status">${plan && html`<h3>Preview ${plan.plan.slice(0, 8)}</h3><${Verdict} would=${plan.would} />`}</div>
    ${plan && html`<p class="buttons"><button type="button" ref=${confirm} class="main" disabled=${state.busy || Boolean(held_) || (plan.would.allowed === "0" && !plan.would.waits)} onClick=${place}>Send ${plan.would.side} ${plan.would.allowed} ${plan.would.symbol}</button>
      <button type="button" onClick=${() => planned(null)}>Discard</button></p>`}
    ${asking.fault && html`<${Problem} text=${asking.fault} />`}
    ${held_ && html`<${Problem} text=${heldUp(held_)} />`}
    <${Became} state=${state} />
  </section>`;
}
