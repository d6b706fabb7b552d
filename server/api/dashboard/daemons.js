// Several daemons: this one and those of [api] cors, the worst first. Each answers its own status; none is asked for a
// secret.
import { html, useEffect, useState } from "./htm-preact-standalone.mjs";
import { daemon, read } from "./daemon.js";
import { age, local, money, percent, signed, tone } from "./figures.js";
import { Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";

const RANK = { HALT: 0, REDUCE: 1, RUN: 2 };
const EVERY_MS = 5000;

async function statusOf(origin) {
  try {
    const response = await fetch(`${origin}/api/v1/status`, { signal: AbortSignal.timeout(4000), credentials: "omit" });
    if (response.status === 401) return { origin, fault: "it wants a token: open it there" };
    if (!response.ok) return { origin, fault: `status ${response.status}` };
    return { origin, now: await response.json() };
  } catch {
    return { origin, fault: "no answer, or [api] cors there does not list this page" };
  }
}

const worst = (a, b) => (a.now ? 1 : 0) - (b.now ? 1 : 0) || (a.now ? RANK[a.now.switch] - RANK[b.now.switch] || b.now.alerts - a.now.alerts : 0);

export function Daemons() {
  const now = daemon.live.overview;
  const [tick, beat] = useState(0);
  useEffect(() => { const clock = setInterval(() => beat((n) => n + 1), EVERY_MS); return () => clearInterval(clock); }, []);
  const config = useRead(() => read("/api/v1/config"), now.run);
  const listed = config.data ? String((config.data.settings.find((each) => each.key === "api.cors") || {}).value || "").match(/https?:\/\/[^"',\]\s]+/g) || [] : [];
  const others = useRead(() => Promise.all(listed.filter((each) => each !== location.origin).map(statusOf)), tick, listed.join(" "));
  const rows = [daemon.lost ? { origin: location.origin, name: now.name, fault: `no answer; last known: ${now.switch}`, here: true } : { origin: location.origin, name: now.name, now, here: true }, ...(others.data || [])].sort(worst);
  const of = (cell) => (row) => (row.now ? cell(row.now) : "–");
  return html`<section class="card wide"><h2>Daemons</h2>
    ${config.fault && html`<${Problem} text=${config.fault} />`}
    <${Table} name="Daemons" rows=${rows} most=${25} first="worst" by=${(row) => row.origin} words=${(row) => `${row.origin} ${row.name || ""} ${row.now ? `${row.now.name} ${row.now.mode} ${row.now.switch}` : row.fault}`} columns=${[
    { head: "daemon", cell: (row) => (row.here ? `${row.name} (this one)` : html`<a href=${row.origin} rel="noreferrer">${row.now ? row.now.name : row.origin}</a>`) },
    { head: "switch", cell: (row) => (row.now ? html`<strong>${row.now.switch}</strong>${row.now.reason ? `: ${row.now.reason}` : ""}` : row.fault), kind: (row) => (row.now ? row.now.switch : "HALT") },
    { head: "mode", cell: of((each) => `${each.mode.toUpperCase()}${each.status === "running" ? "" : `, ${each.status}`}`) },
    { head: "equity", num: true, cell: of((each) => money(each.equity)) },
    { head: "today", num: true, cell: of((each) => signed(each.today)), kind: (row) => (row.now ? tone(row.now.today) : "") },
    { head: "drawdown from the peak", num: true, cell: of((each) => percent(each.drawdown)) },
    { head: "alerts", num: true, cell: of((each) => each.alerts) },
    { head: "last bar", cell: of((each) => local(each.ts, each.zone)) },
    { head: "up for", num: true, cell: of((each) => age(1000 * each.uptime_s)) },
  ]} />
    <p class="none">${listed.length ? "The others are those of [api] cors. Each of them lists this page there too." : "Only this daemon is known: list the addresses of others in [api] cors here, and this address there."}</p></section>`;
}
