// Research: the ledger of looks, and the run beside a stored backtest.
import { html, useEffect, useState } from "./htm-preact-standalone.mjs";
import { Chart } from "./chart.js";
import { daemon, read } from "./daemon.js";
import { count, local, percent, signed } from "./figures.js";
import { Jobs, Stored, useJobs } from "./lab.js";
import { Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";

const REPLAY_MS = 130000;  // the daemon ends a comparison after 120 s

// A stored backtest by the time it was made, its Sharpe ratio, and what differs from the run.
const few = (texts, most) => (texts.length > most ? [...texts.slice(0, most), `${texts.length - most} more`] : texts).join("; ");
const named = (b) => `${local(b.ts, daemon.live.overview.zone)} · Sharpe ${b.sharpe === null ? "–" : b.sharpe.toFixed(2)} over all its samples · ${b.differs.length ? few(b.differs, 2) : "as the run"} · ${b.run}`;
const unlike = ({ differs, unrepeated }) => {
  const keys = differs.filter((text) => !unrepeated.includes(text));
  return [...(keys.length ? [`another configuration: ${few(keys, 12)}`] : ["another past"]), ...unrepeated].join("; ");
};
const options = (stored) => stored.map((b) => html`<option value=${b.run}>${named(b)}</option>`);

function Beside({ stamp, pinned }) {
  const [chosen, choose] = useState("");
  useEffect(() => choose(""), [pinned]);  // a new reference is shown
  const { data, fault } = useRead(() => read(`/api/v1/research/beside?backtest=${encodeURIComponent(chosen)}`), `${stamp}/${chosen}`);
  return html`<section class="card wide"><h2>The run beside its ${data && data.backtest && data.backtest === data.pinned ? "pinned reference" : "backtest"}</h2>
    ${fault && html`<${Problem} text=${fault} />`}
    ${data && data.lost && html`<p class="HALT">${data.lost}.</p>`}
    ${data && data.stored.length > 0 && html`<div class="fields"><p><label for="backtest">Backtest</label>
      <select id="backtest" value=${data.backtest} onChange=${(event) => choose(event.target.value)}>${options(data.stored)}</select></p></div>`}
    ${data && data.differs.length > 0 && html`<p class="HALT">The backtest has ${unlike(data)}. The gap has other causes than fills, so none is named.</p>`}
    ${data && data.missing && html`<p class="none">${data.missing}.</p>`}
    ${data && data.ts.length > 1 && html`
      <${Chart} data=${[data.ts.map((ts) => ts / 1e9), data.own, data.tested]} series=${[["run", "--line"], ["backtest", "--a1"]]} height=${220} format=${(x) => x.toFixed(2)}
        words=${`Both worth 1 at the first sample that they share; at the newest the run has ${data.own.at(-1).toFixed(4)} and the backtest ${data.tested.at(-1).toFixed(4)}.`} />
      ${data.gap !== null && html`<dl class="pairs"><dt>gap</dt><dd class="n">${signed(data.gap)}</dd><dt>by commissions</dt><dd class="n">${signed(data.commissions)}</dd><dt>by prices, sizes and times of fills</dt><dd class="n">${signed(data.rest)}</dd></dl>`}`}
  </section>`;
}

// Two stored backtests: replayed by a process of the daemon, so only on request.
function Compared({ stored }) {
  const [one, first] = useState(stored[1].run);
  const [other, second] = useState(stored[0].run);
  const [asked, ask] = useState("");
  const { data, fault } = useRead(async () => {
    const [a, b] = asked.split("/");
    return asked ? { pair: asked, ...await read(`/api/v1/research/compare?one=${encodeURIComponent(a)}&other=${encodeURIComponent(b)}`, REPLAY_MS) } : null;
  }, asked);
  const select = (id, title, value, put) => html`<p><label for=${id}>${title}</label><select id=${id} value=${value} onChange=${(event) => put(event.target.value)}>${options(stored)}</select></p>`;
  const shown = data && data.pair === asked ? data : null;
  const [own, theirs] = shown ? [shown.own, shown.beside] : [[], []];
  const worth = (curve) => (curve.at(-1) === null ? "nothing" : curve.at(-1).toFixed(4));
  return html`<section class="card wide"><h2>Two stored backtests</h2>
    <form class="fields" onSubmit=${(event) => { event.preventDefault(); ask(`${one}/${other}`); }}>
      ${select("one", "Backtest", one, first)}${select("other", "Beside", other, second)}
      <p class="short"><button type="submit" disabled=${one === other}>Compare</button></p></form>
    <div role="status">${asked && !shown && !fault && html`<p class="none">replaying both runs …</p>`}</div>
    ${asked && fault && html`<${Problem} text=${fault} />`}
    ${shown && shown.missing && html`<p class="none">${shown.missing}.</p>`}
    ${shown && !shown.missing && html`${shown.doubts.slice(0, 1).map((each) => html`<p class="HALT">In doubt: ${each.text}.</p>`)}<p><strong>${shown.sentence}</strong> ${shown.settings}</p>
      <p>${shown.differs.length ? `Keys that affect trading, ${shown.one} and ${shown.other}: ${few(shown.differs, 12)}.` : "Both have the same configuration."}</p>
      ${shown.failures.map((each) => html`<p class="HALT">${each}</p>`)}
      <${Chart} data=${[shown.ts.map((ts) => ts / 1e9), own, theirs]} series=${[[shown.one, "--line"], [shown.other, "--a1"]]} height=${220} format=${(x) => x.toFixed(2)}
        words=${`Both worth 1 on ${shown.first.slice(0, 10)}; on ${shown.last.slice(0, 10)} ${shown.one} has ${worth(own)} and ${shown.other} ${worth(theirs)}.`} />
      <p class="none">The figures are of ${count(shown.samples)} samples, ${shown.first.slice(0, 10)} to ${shown.last.slice(0, 10)}.</p>
      <${Table} name="Figures of both" rows=${shown.rows} most=${30} by=${(r) => r.figure} words=${(r) => r.figure} columns=${[
    { head: "figure", cell: (r) => r.figure },
    { head: shown.one, num: true, cell: (r) => r.one },
    { head: shown.other, num: true, cell: (r) => r.other },
    { head: "difference", num: true, cell: (r) => r.difference },
  ]} />
      ${shown.doubts.slice(1).map((each) => html`<p class="none">In doubt, too: ${each.text}.</p>`)}
      ${shown.tests.map((each) => html`<p class="none">${each}</p>`)}`}
  </section>`;
}

// What a look varied, or the keys in which its configuration differs from the run's.
function varied(look) {
  const values = Object.entries(look.values).map(([key, value]) => `${key} = ${value}`);
  if (values.length) return values.join(", ");
  if (look.differs === null) return "not recorded";
  return look.differs.length ? few(look.differs, 12) : "as the run";
}

export function Research() {
  const now = daemon.live.overview;
  const [best, sort] = useState(false);
  const jobs = useJobs();
  const pinned = jobs.data && jobs.data.pinned ? jobs.data.pinned.backtest : "";
  const made = jobs.data ? jobs.data.jobs.filter((each) => each.ended).length : 0;
  const stamp = `${now.run}/${now.session}/${made}/${pinned}`;
  const [text, find] = useState("");
  const first = best ? "best" : "newest";
  const { data, fault, asked } = useRead(() => read(`/api/v1/research/looks?first=${first}&search=${encodeURIComponent(text)}`), stamp, `${first}/${text}`);
  const looks = data ? data.looks.map((each, k) => ({ ...each, id: `${k}/${each.digest}` })) : [];
  const beside = useRead(() => read("/api/v1/research/beside?points=2"), stamp);
  const stored = beside.data ? beside.data.stored : [];
  return html`<${Beside} stamp=${stamp} pinned=${pinned} />
    <${Jobs} found=${jobs} />
    <${Stored} stored=${stored} pinned=${jobs.data && jobs.data.pinned} asked=${beside.asked} again=${jobs.again} />
    ${stored.length > 1 && html`<${Compared} key=${stored[0].run} stored=${stored} />`}
    <section class="card wide"><h2>Looks: backtests, sweeps and studies</h2>
      ${fault && html`<${Problem} text=${fault} />`}
      ${data && html`<p>${data.count ? `${count(data.count)} configurations were evaluated. ` : ""}${data.text} The best of many is good by chance: <code>quantd backtest</code> deflates its verdict by this number.</p>`}
      <div class="fields"><p class="short"><button type="button" aria-pressed=${best} onClick=${() => sort(!best)}>Best first</button></p></div>
      <${Table} name="Looks" find=${find} asked=${asked} total=${data ? data.total : 0} rows=${looks} most=${20} first=${first} empty="nothing was evaluated in this state folder" words=${(l) => `${l.kind} ${l.name} ${l.market} ${l.family} ${varied(l)}`} columns=${[
    { head: "values, or keys that differ from the run's", cell: varied },
    { head: "Sharpe ratio, from first to last", num: true, cell: (l) => l.sharpe.toFixed(2) },
    ...(looks.some((l) => l.withdrawn) ? [{ head: "withdrawn", cell: (l) => l.withdrawn || "–" }] : []),
    { head: "kind", cell: (l) => l.kind },
    { head: "name", cell: (l) => l.name },
    { head: "from", cell: (l) => l.first.slice(0, 10) },
    { head: "to", cell: (l) => l.last.slice(0, 10) },
    { head: "market", cell: (l) => l.market || "–" },
  ]} />
    </section>`;
}
