// The daemon itself: schedules and jobs, versions and figures, runs, configuration.
import { html, useRef, useState } from "./htm-preact-standalone.mjs";
import { Deed } from "./acts.js";
import { Changes } from "./changes.js";
import { daemon, may, read } from "./daemon.js";
import { Export } from "./export.js";
import { age, count, local } from "./figures.js";
import { usePages } from "./pages.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const WATCHED = ["backup", "parity", "statement", "health_check"];
const BAD = new Set(["failed", "interrupted"]);
// The instant of a text of the daemon, which is UTC where it names no zone.
const parsed = (text) => Date.parse(text.replace(" ", "T").replace(/([^Z])$/, "$1Z").replace(/(\+\d\d:\d\d)Z$/, "$1"));
const at = (text) => (text ? local(1e6 * parsed(text), daemon.live.overview.zone) : "");
const outcome = (run) => (run ? html`<span class=${BAD.has(run.state) ? "HALT" : run.state === "succeeded" ? "RUN" : ""}>${run.state}</span>${run.ended ? ` ${at(run.ended)}` : ""}${run.result ? `: ${run.result}` : ""}` : html`<span class="none">never ran</span>`);
const size = (bytes) => (bytes === null ? "–" : bytes < 1e7 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e6).toFixed(0)} MB`);
const MOST_ITEMS = 8;
const PAGE = 25;
const LEVELS = { DEBUG: "all", INFO: "INFO and worse", WARNING: "WARNING and worse", ERROR: "ERROR and worse" };
const valueOf = (value) => (Array.isArray(value) ? value.join(", ") : value !== null && typeof value === "object" ? JSON.stringify(value) : String(value)) || "–";

// A long value, such as the names of 500 symbols, is its beginning until it is opened.
function Value({ value }) {
  const text = valueOf(value);
  const items = Array.isArray(value) ? value : null;
  if (items ? items.length <= MOST_ITEMS : text.length < 200) return text;
  const head = items ? `${items.slice(0, MOST_ITEMS).map((each) => (typeof each === "object" ? JSON.stringify(each) : each)).join(", ")} and ${count(items.length - MOST_ITEMS)} more` : `${text.slice(0, 120)} …`;
  return html`<details><summary>${head}</summary>${text}</details>`;
}

// The lines of the daemon's own log; a token of scope trade reads them.
function LogLines() {
  const now = daemon.live.overview;
  const [text, find] = useState("");
  const [level, least] = useState("INFO");
  const asked = `level=${level}&search=${encodeURIComponent(text)}`;
  const stamp = `${now.run}/${Math.floor(Date.now() / 5000)}`;
  const number = useRead(async () => (await read(`/api/v1/log?limit=1&${asked}`)).total, stamp, asked);
  const found = usePages([async (cursor) => {
    const page = await read(`/api/v1/log?limit=${PAGE}&cursor=${cursor}&${asked}`);
    return { rows: page.lines, next: page.next };
  }], PAGE, stamp, asked);
  const names = ["number", "ts", "level", "logger", "text"];
  return html`<section class="card wide"><h2>Log of the process</h2><${Export} what="log" table=${() => [names, found.rows.map((row) => names.map((name) => row[name]))]} />
    <div class="fields"><p><label for="level">Level</label><select id="level" value=${level} onChange=${(event) => least(event.target.value)}>${Object.entries(LEVELS).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></p></div>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    <${Table} name="Log" find=${find} asked=${found.asked && number.asked} total=${number.data || 0} rows=${found.rows} turn=${found} most=${PAGE} first="newest" by=${(line) => line.number} words=${(line) => line.text} empty=${noneOf(found, "no line since the start")} columns=${[
    { head: "time", cell: (line) => local(line.ts, now.zone) },
    { head: "level", cell: (line) => line.level, kind: (line) => ({ ERROR: "CRITICAL" })[line.level] || line.level },
    { head: "logger", cell: (line) => line.logger },
    { head: "line", cell: (line) => html`<${Value} value=${line.text} />` },
  ]} /></section>`;
}

function since(run) {
  const ended = run && run.ended && parsed(run.ended);
  return Number.isFinite(ended) ? `${age(Date.now() - ended)} ago` : "";
}

export function System() {
  const now = daemon.live.overview;
  const [chosen, choose] = useState(null);
  const [acts, acted] = useState(0);
  const stamp = `${now.run}/${now.session}/${acts}`;
  const schedules = useRead(() => read("/api/v1/schedules"), stamp);
  const [text, find] = useState("");
  const jobs = useRead(() => read(`/api/v1/jobs?limit=50&search=${encodeURIComponent(text)}`), stamp, text);
  const ofAll = useRef(/** @type {any[]} */ ([]));  // the jobs do not change with the search
  if (jobs.data) ofAll.current = jobs.data.jobs;
  const stats = useRead(() => read("/api/v1/stats"), `${stamp}/${Math.floor(Date.now() / 10000)}`);
  const versions = useRead(() => read("/api/v1/version"), now.run);
  const runs = useRead(() => read("/api/v1/runs"), now.run);
  const config = useRead(() => read("/api/v1/config"), now.run);
  const watched = WATCHED.map((name) => ofAll.current.find((each) => each.name === name)).filter(Boolean);
  const s = stats.data;
  const v = versions.data;
  return html`
    <div class="stack"><section class="card"><h2>Upkeep</h2>
      ${watched.length ? html`<dl class="pairs">${watched.map((each) => html`<dt>${each.name.replaceAll("_", " ")}</dt><dd>${outcome(each.last)} ${since(each.last)}${each.schedules.length ? "" : html` <span class="none">(no schedule)</span>`}</dd>`)}</dl>` : html`<p class="none">${noneOf(jobs, "no jobs here")}</p>`}</section>
    <section class="card"><h2>Runs of the store</h2>
      <${Table} name="Runs of the store" rows=${runs.data ? runs.data.runs.slice().reverse() : []} most=${6} first="newest" by=${(run) => run.run} words=${(run) => `${run.run} ${run.mode} ${run.ended}`} columns=${[
    { head: "run", cell: (run) => html`${run.run}${run.run === now.run ? " (this one)" : ""}` },
    { head: "mode", cell: (run) => run.mode },
    { head: "began", cell: (run) => local(run.ts, now.zone) },
    { head: "agents", num: true, cell: (run) => count(run.agents.length) },
    { head: "ended", cell: (run) => run.ended || "–" },
  ]} /></section></div>
    <section class="card"><h2>Process</h2>
      ${s && html`<dl class="pairs"><dt>up for</dt><dd>${age(1000 * s.uptime_s)}</dd><dt>memory</dt><dd>${size(s.memory_bytes)}</dd><dt>store</dt><dd>${size(s.store_bytes)}, ${count(s.steps)} steps journalled</dd>
        <dt>delay of the loop</dt><dd>${(1000 * s.loop_lag_s).toFixed(1)} ms at most since the last scrape</dd><dt>open streams</dt><dd>${count(s.streams)}</dd><dt>answers</dt><dd>${Object.entries(s.answers).map(([kind, number]) => `${kind}: ${count(number)}`).join(", ")}</dd></dl>`}
      ${v && html`<dl class="pairs"><dt>quantd</dt><dd>${v.version}${v.commit ? `, commit ${v.commit.slice(0, 10)}` : ""}</dd><dt>Python</dt><dd>${v.python}</dd><dt>system</dt><dd>${v.platform}</dd></dl>`}</section>
    <section class="card wide"><h2>Schedules</h2>
      ${schedules.fault && html`<${Problem} text=${schedules.fault} />`}
      <${Table} name="Schedules" rows=${schedules.data ? schedules.data.schedules : []} most=${20} by=${(each) => each.name} words=${(each) => `${each.name} ${each.do}`} empty=${noneOf(schedules, "no schedule is on")} columns=${[
    { head: "schedule", cell: (each) => each.name },
    ...(may("trade") ? [{ head: "act", cell: (each) => html`<button type="button" aria-label=${`Run now: ${each.name}`} onClick=${() => choose(each)}>Run now …</button>` }] : []),
    { head: "does", cell: (each) => `${each.do.replaceAll("_", " ")}${each.agents.length ? ` of ${each.agents.slice(0, 3).join(", ")}${each.agents.length > 3 ? ` and ${each.agents.length - 3} more` : ""}` : ""}` },
    { head: "when", cell: (each) => each.when },
    { head: "next", cell: (each) => (each.next_ts ? local(each.next_ts, now.zone) : "–") },
    { head: "last run", cell: (each) => outcome(each.last_run) },
  ]} /></section>
    <section class="card wide"><h2>Runs of jobs</h2>
      ${jobs.fault && html`<${Problem} text=${jobs.fault} />`}
      <${Table} name="Runs of jobs" find=${find} asked=${jobs.asked} total=${jobs.data ? jobs.data.total : 0} rows=${jobs.data ? jobs.data.runs : []} most=${10} first="newest" words=${(run) => `${run.job} ${run.state} ${run.result} ${run.who}`} empty=${noneOf(jobs, "no job ran yet")} columns=${[
    { head: "job", cell: (run) => run.job.replaceAll("_", " ") },
    { head: "due", cell: (run) => at(run.due) },
    { head: "became", cell: (run) => outcome(run) },
    { head: "seconds", num: true, cell: (run) => (run.seconds === null ? "–" : run.seconds.toFixed(1)) },
    { head: "by", cell: (run) => (run.who ? `${run.who}: ${run.reason}` : "schedule") },
  ]} /></section>
    <${Changes} />
    <section class="card wide"><h2>Configuration</h2>
      ${config.fault && html`<${Problem} text=${config.fault} />`}
      <${Table} name="Configuration" rows=${config.data ? config.data.settings : []} most=${12} first="first" by=${(each) => each.key} words=${(each) => `${each.key} ${valueOf(each.value)} ${each.source}`} columns=${[
    { head: "key", cell: (each) => each.key },
    { head: "value", cell: (each) => html`<${Value} value=${each.value} />` },
    { head: "source", cell: (each) => each.source },
  ]} /></section>
    ${may("trade") && html`<${LogLines} />`}
    ${chosen && html`<${Dialog} title=${`Run ${chosen.name} now`} close=${() => choose(null)}>
      <${Deed} words=${`It does ${chosen.do.replaceAll("_", " ")} once, beside its schedule (${chosen.when}).`} path=${`/api/v1/schedules/${encodeURIComponent(chosen.name)}/run`} title="Run now" close=${() => choose(null)}
        done=${() => { acted((n) => n + 1); setTimeout(() => acted((n) => n + 1), 3000); }} /></${Dialog}>`}`;
}
