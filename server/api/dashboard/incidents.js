// Incidents that hold, with an acknowledgement; and the newest alerts.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Deed } from "./acts.js";
import { changed, daemon, may, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, local, measured, things } from "./figures.js";
import { usePages } from "./pages.js";
import { Dialog, Problem, Table } from "./parts.js";
import { periodKey, periodWords, searchOf } from "./period.js";
import { noneOf, useRead } from "./reads.js";

const about = (each) => [each.agent, each.symbol].filter(Boolean).join(" ");
const PAGE = 20;
const WORSE = { CRITICAL: 0, WARNING: 1, INFO: 2 };

function Acknowledge({ incident, close }) {
  const path = `/api/v1/alerts/${encodeURIComponent(incident.id)}/acknowledge`;
  const what = [incident.kind.replaceAll("_", " "), about(incident)].filter(Boolean).join(" ");
  return html`<${Deed} path=${path} title="Acknowledge" close=${close} done=${() => changed({ acknowledged: (daemon.acknowledged || 0) + 1 })}
    words=${html`<strong class=${incident.level}>${incident.level}</strong> ${what}: ${incident.text}`}>
    <p>It is not repeated while it is acknowledged, and stays open until its cause is gone. The switch does not change.</p></${Deed}>`;
}

export function Incidents() {
  const now = daemon.live.overview;
  const [chosen, choose] = useState(null);
  const stamp = `${now.run}/${now.alerts}/${daemon.acknowledged || 0}`;
  const active = useRead(() => read("/api/v1/alerts/active"), stamp);
  const [text, find] = useState("");
  const question = `${text}/${periodKey()}`;
  const searched = () => searchOf(text);
  const number = useRead(async () => (await read(`/api/v1/alerts?limit=1&totals=yes&${await searched()}`)).total, stamp, question);
  const past = usePages([async (cursor) => {
    const page = await read(`/api/v1/alerts?limit=${PAGE}&cursor=${cursor}&${await searched()}`);
    return { rows: page.alerts, next: page.next };
  }], PAGE, stamp, question);
  const rows = (active.data ? active.data.incidents : []).slice().sort((a, b) => WORSE[a.level] - WORSE[b.level] || b.since_ts - a.since_ts);
  const names = ["time", "level", "kind", "agent", "symbol", "text", "value", "bound"];
  const sinks = Object.entries(now.sinks).map(([name, each]) => ({ id: name, ...each }));
  return html`
    <section class="card wide"><h2>Open incidents</h2>
      ${active.fault && html`<${Problem} text=${active.fault} />`}
      <${Table} name="Open incidents" rows=${rows} most=${15} first="worst" empty=${noneOf(active, "no open incident")} words=${(i) => `${i.level} ${i.kind} ${i.text} ${about(i)} ${i.state}`} columns=${[
    { head: "level", cell: (i) => i.level, kind: (i) => i.level },
    { head: "since", cell: (i) => local(i.since_ts, now.zone) },
    { head: "what", cell: (i) => `${[i.kind.replaceAll("_", " "), about(i)].filter(Boolean).join(" ")}: ${i.text}` },
    { head: "now", num: true, cell: (i) => measured(i.now, "") },
    { head: "raised", num: true, cell: (i) => things(i.raised, "time") },
    { head: "state", cell: (i) => (i.acknowledged_by ? `acknowledged by ${i.acknowledged_by}: ${i.reason}` : i.state) },
    ...(may("trade") ? [{ head: "act", cell: (i) => (i.acknowledged_by ? "–" : html`<button type="button" aria-label=${`Acknowledge ${i.kind} ${i.id}`} onClick=${() => choose(i)}>acknowledge …</button>`) }] : []),
  ]} />
    </section>
    <section class="card wide"><h2>Alerts ${periodWords()}</h2><${Export} what="alerts" table=${() => [names, past.rows.map((row) => names.map((name) => row[name]))]} />
      ${past.fault && html`<${Problem} text=${past.fault} />`}
      <${Table} name="Alerts" find=${find} asked=${past.asked && number.asked} total=${number.data || 0} rows=${past.rows} turn=${past} most=${PAGE} first="newest" by=${(a) => a.id || `${a.ts}/${a.kind}/${a.text}`} empty=${noneOf(past, "no alerts")} words=${(a) => `${a.level} ${a.kind} ${a.text} ${about(a)}`} columns=${[
    { head: "time", cell: (a) => local(a.ts, now.zone) },
    { head: "level", cell: (a) => a.level, kind: (a) => a.level },
    { head: "what", cell: (a) => `${[a.kind.replaceAll("_", " "), about(a)].filter(Boolean).join(" ")}: ${a.text}` },
  ]} />
    </section>
    <section class="card wide"><h2>Sinks of alerts</h2>
      <${Table} name="Sinks of alerts" rows=${sinks} words=${(s) => s.id} empty="no sink is configured" columns=${[
    { head: "sink", cell: (s) => s.id },
    { head: "queued", num: true, cell: (s) => count(s.queued) },
    { head: "delivered", num: true, cell: (s) => count(s.delivered) },
    { head: "failed", num: true, cell: (s) => count(s.failures) },
    { head: "last failure", cell: (s) => s.error || "–" },
  ]} />
    </section>
    ${chosen && html`<${Dialog} title="Acknowledge an incident" close=${() => choose(null)}><${Acknowledge} incident=${chosen} close=${() => choose(null)} /></${Dialog}>`}`;
}
