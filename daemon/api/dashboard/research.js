// Research: the ledger of looks, and the run beside a stored backtest.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Chart } from "./chart.js";
import { daemon, read } from "./daemon.js";
import { count, percent, signed } from "./figures.js";
import { Problem, Table, useRead } from "./parts.js";

function Beside({ stamp }) {
  const [chosen, choose] = useState("");
  const { data, fault } = useRead(() => read(`/api/v1/research/beside?backtest=${encodeURIComponent(chosen)}`), `${stamp}/${chosen}`);
  return html`<section class="card wide"><h2>The run beside its backtest</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${data && data.backtests.length > 0 && html`<div class="fields"><p><label for="backtest">Backtest</label>
      <select id="backtest" value=${data.backtest} onChange=${(event) => choose(event.target.value)}>${data.backtests.map((each) => html`<option value=${each}>${each}</option>`)}</select></p></div>`}
    ${data && data.missing && html`<p class="none">${data.missing}.</p>`}
    ${data && data.ts.length > 1 && html`
      <${Chart} data=${[data.ts.map((ts) => ts / 1e9), data.own, data.tested]} series=${[["run", "--line"], ["backtest", "--a1"]]} height=${220} format=${(x) => x.toFixed(2)}
        words=${`Both worth 1 at the first sample that they share; at the newest the run has ${data.own.at(-1).toFixed(4)} and the backtest ${data.tested.at(-1).toFixed(4)}.`} />
      <dl class="pairs"><dt>gap</dt><dd class="n">${signed(data.gap)}</dd><dt>by commissions</dt><dd class="n">${signed(data.commissions)}</dd><dt>by prices, sizes and times of fills</dt><dd class="n">${signed(data.rest)}</dd></dl>`}
  </section>`;
}

export function Research() {
  const now = daemon.live.overview;
  const [best, sort] = useState(false);
  const stamp = `${now.run}/${now.session}`;
  const { data, fault } = useRead(() => read("/api/v1/research/looks"), stamp);
  const looks = data ? data.looks.map((each, k) => ({ ...each, id: `${k}/${each.digest}` })) : [];
  const rows = best ? looks.slice().sort((a, b) => b.sharpe - a.sharpe) : looks;
  return html`<${Beside} stamp=${stamp} />
    <section class="card wide"><h2>Looks: backtests, sweeps and studies</h2>
      ${fault && html`<${Problem} text=${fault} />`}
      ${data && html`<p>${data.count ? `${count(data.count)} configurations were evaluated. ` : ""}${data.text} The best of many is good by chance: <code>quantd backtest</code> deflates its verdict by this number.</p>`}
      <div class="fields"><p class="short"><button type="button" aria-pressed=${best} onClick=${() => sort(!best)}>Best first</button></p></div>
      <${Table} name="Looks" rows=${rows} most=${20} first=${best ? "best" : "newest"} empty="nothing was evaluated in this state folder" words=${(l) => `${l.kind} ${l.name} ${l.market} ${l.family} ${Object.entries(l.values).flat().join(" ")}`} columns=${[
    { head: "values", cell: (l) => Object.entries(l.values).map(([key, value]) => `${key} = ${value}`).join(", ") || "–" },
    { head: "Sharpe", num: true, cell: (l) => l.sharpe.toFixed(2) },
    { head: "kind", cell: (l) => l.kind },
    { head: "name", cell: (l) => l.name },
    { head: "from", cell: (l) => l.first.slice(0, 10) },
    { head: "to", cell: (l) => l.last.slice(0, 10) },
    { head: "market", cell: (l) => l.market || "–" },
  ]} />
    </section>`;
}
