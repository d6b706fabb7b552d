// Backtests and sweeps that are started beside the run: the form, their progress and results, and the stored backtests,
// of which one may be the reference of the run.
import { html, useEffect, useState } from "./htm-preact-standalone.mjs";
import { Became, Deed, Reason, useAct } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { city, local, zoneNow } from "./figures.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const EVERY_MS = 2000;
const OPEN = ["queued", "running"];

// The jobs, read again every two seconds: other sessions start, cancel and pin too.
export function useJobs() {
  const [tick, beat] = useState(0);
  useEffect(() => {
    const clock = setInterval(() => beat((n) => n + 1), EVERY_MS);
    return () => clearInterval(clock);
  }, []);
  const found = useRead(() => read("/api/v1/research/jobs"), `${daemon.live.overview.run}/${tick}`);
  return { ...found, again: () => beat((n) => n + 1) };
}

const lines = (text) => text.split("\n").map((each) => each.trim()).filter(Boolean);

// One backtest, or one sweep, of the configuration of the run with other values.
function Start({ close, again }) {
  const [kind, choose] = useState("backtest");
  const [asked, put] = useState({ sets: "", over: "", from: "", to: "" });
  const [reason, write] = useState("");
  const [state, go] = useAct(() => { again(); close(); });
  const edit = (name) => (event) => put({ ...asked, [name]: event.target.value });
  const send = (event) => {
    event.preventDefault();
    const body = { reason, sets: lines(asked.sets), ...asked.from ? { from: asked.from } : {}, ...asked.to ? { to: asked.to } : {} };
    if (kind === "sweep") go("/api/v1/research/sweeps", { ...body, over: lines(asked.over) });
    else go("/api/v1/research/backtests", body);
  };
  return html`<form onSubmit=${send}>
    <p>It is of the configuration of this run with the values below, and runs in a process of its own with low priority.</p>
    <div class="fields"><p><label for="kind">What</label><select id="kind" value=${kind} data-first onChange=${(event) => choose(event.target.value)}>
      <option value="backtest">a backtest</option><option value="sweep">a sweep</option></select></p>
      <p><label for="from">From</label><input id="from" type="date" value=${asked.from} onInput=${edit("from")} /></p>
      <p><label for="to">To</label><input id="to" type="date" value=${asked.to} onInput=${edit("to")} /></p></div>
    ${kind === "sweep" && html`<label for="over">Over, a KEY=VALUES in each line</label>
      <textarea id="over" rows="2" value=${asked.over} onInput=${edit("over")} required spellcheck="false" placeholder="agents.trend.params.lookback=21:126:21"></textarea>`}
    <label for="sets">Other values, a KEY=VALUE in each line</label>
    <textarea id="sets" rows="3" value=${asked.sets} onInput=${edit("sets")} spellcheck="false" placeholder="risk.max_drawdown=0.2"></textarea>
    <${Reason} value=${reason} write=${write} />
    <div class="lines-kept"><${Became} state=${state} /></div>
    <p class="buttons"><button type="submit" class="main" disabled=${state.busy}>Start the ${kind}</button><button type="button" onClick=${close}>Cancel</button></p>
  </form>`;
}

const progress = (job) => (job.state === "running" && job.share !== null ? `running, ${(100 * job.share).toFixed(0)} %` : job.state);

export function Jobs({ found }) {
  const [open, show] = useState(false);
  const [ending, end] = useState(/** @type {any} */ (null));
  const { data, fault, again } = found;
  const { zone } = daemon.live.overview;
  const jobs = data ? data.jobs : [];
  const cancel = may("trade") ? [{ head: "act", cell: (job) => OPEN.includes(job.state) && html`<button type="button" onClick=${() => end(job)}>Cancel …<span class="sr"> ${job.kind} ${job.id}</span></button>` }] : [];
  return html`<section class="card wide"><div class="head"><h2>Started here</h2>
      ${may("trade") && html`<button type="button" class="main" onClick=${() => show(true)}>Start a backtest or a sweep …</button>`}</div>
    ${fault && html`<${Problem} text=${fault} />`}
    <${Table} name="Started here" rows=${jobs} most=${8} first="newest" empty=${noneOf(found, "nothing was started on this page")} words=${(job) => `${job.kind} ${job.state} ${job.result} ${job.who} ${job.reason}`} columns=${[
    { head: "job", cell: (job) => `${job.kind} ${job.id}` },
    { head: "state", cell: (job) => html`${progress(job)}${job.state === "running" && job.share !== null && html` <span class="track bar" aria-hidden="true"><span style=${{ width: `${100 * job.share}%` }}></span></span>`}`, kind: (job) => (["failed", "interrupted"].includes(job.state) ? "HALT" : "") },
    { head: "what, and its result", cell: (job) => job.result },
    { head: `started, ${city(zoneNow(zone))}`, label: "started", cell: (job) => (job.started ? local(Date.parse(job.started) * 1e6, zone) : "–") },
    { head: "by", cell: (job) => `${job.who}: ${job.reason}` },
    ...cancel,
  ]} />
    ${open && html`<${Dialog} title="Start a backtest or a sweep" close=${() => show(false)}><${Start} close=${() => show(false)} again=${again} /></${Dialog}>`}
    ${ending && html`<${Dialog} title=${`Cancel ${ending.kind} ${ending.id}`} close=${() => end(null)}><${Deed} words=${`Its process is ended. ${ending.result}`} path=${`/api/v1/research/jobs/${ending.id}/cancel`} title="End it" keep="Leave it" done=${again} close=${() => end(null)} /></${Dialog}>`}
  </section>`;
}

// The stored backtests by their names: time, keys that differ from the run's, Sharpe ratio.
export function Stored({ stored, pinned, asked, again }) {
  const [pinning, pin] = useState(/** @type {string | null} */ (null));
  const { zone } = daemon.live.overview;
  const acts = may("trade") ? [{ head: "act", cell: (b) => (pinned && pinned.backtest === b.run ? html`<button type="button" onClick=${() => pin("")}>Unpin …<span class="sr"> ${b.run}</span></button>` : html`<button type="button" onClick=${() => pin(b.run)}>Pin …<span class="sr"> ${b.run}</span></button>`) }] : [];
  return html`<section class="card wide"><h2>Stored backtests</h2>
    <p>${pinned ? html`The reference of this run is <strong>${pinned.backtest}</strong>, pinned by ${pinned.who} on ${local(pinned.ts, zone)}: ${pinned.reason}` : "No backtest is pinned: the run is shown beside the newest one of its own configuration."}</p>
    <${Table} name="Stored backtests" rows=${stored.map((each) => ({ ...each, chosen: Boolean(pinned && pinned.backtest === each.run) }))} most=${10} asked=${asked} by=${(b) => b.run} first="newest" empty="no backtest is stored" words=${(b) => `${b.run} ${b.time} ${b.differs.join(" ")}`} columns=${[
    { head: `time, ${city(zoneNow(zone))}`, label: "time", cell: (b) => local(b.ts, zone) },
    { head: "keys that differ from the run's", cell: (b) => (b.differs.length ? b.differs.join("; ") : "as the run") },
    { head: "Sharpe ratio over all its samples", num: true, cell: (b) => (b.sharpe === null ? "–" : b.sharpe.toFixed(2)) },
    { head: "run", cell: (b) => `${b.run}${pinned && pinned.backtest === b.run ? ", the reference" : ""}` },
    ...acts,
  ]} />
    ${pinning !== null && html`<${Dialog} title=${pinning ? `Pin ${pinning}` : "Unpin the reference"} close=${() => pin(null)}><${Deed} words=${pinning ? "Every session then shows this run beside it. The gap has named causes only where nothing differs." : "The run is then shown beside the newest backtest of its own configuration."} path="/api/v1/research/reference" more=${{ backtest: pinning }} title=${pinning ? "Pin it" : "Unpin it"} done=${again} close=${() => pin(null)} /></${Dialog}>`}
  </section>`;
}
