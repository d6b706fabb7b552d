// Several daemons: this one and those of [api] cors, with their sums. The first row is the one that needs a person
// most.
import { html, useState } from "./htm-preact-standalone.mjs";
import { clock } from "./acts.js";
import { daemon } from "./daemon.js";
import { age, count, local, money, percent, signed, signedMoney, stateOf, things, tone } from "./figures.js";
import { daemons, listFault, nameOf, needOf, others, sessionAt, signOutAt, totalsOf, useFleet } from "./fleet.js";
import { Answers, newestHalt, SignInAt, summaryOf, unanswered } from "./halts.js";
import { Dialog, Figure, Problem, Table } from "./parts.js";

function Totals({ found }) {
  const { sums, missing, covers, all, worst, of } = found;
  const partOf = (some) => (some === all ? `all ${things(all, "daemon")}` : `${some} of ${things(all, "daemon")}`);
  const part = partOf(covers);
  return html`<section class="figures" aria-label="All daemons">
    ${sums.map((each) => html`
      <${Figure} key=${`equity ${each.key}`} name=${`Equity, ${each.key}`} value=${money(each.equity)} more=${`of ${things(each.members, "daemon")}`} />
      <${Figure} key=${`today ${each.key}`} name=${`Today, ${each.key}`} value=${signedMoney(each.profit)} kind=${tone(Number(each.profit))} more=${each.days ? `${signed(each.share)} of the opening with deposits; of ${things(each.days, "daemon")}, each in its newest session` : "not known"} />`)}
    <${Figure} name="Open incidents" value=${found.read ? count(found.incidents) : "–"} kind=${found.critical ? "down" : ""} more=${`${count(found.critical)} critical; of ${partOf(found.read)}`} />
    <${Figure} name="Waits for a person" value=${covers ? count(found.waits) : "–"} more=${`proposals, looser limits; of ${part}`} />
    <${Figure} name="Worst switch" value=${worst || "–"} kind=${worst === "RUN" ? "up" : worst ? "down" : ""} more=${`${of.length ? `${of.join(", ")}; ` : ""}of ${part}`} />
    ${missing.length > 0 && html`<p class="HALT missing">In no total: ${missing.join("; ")}.</p>`}
  </section>`;
}

const first = (row) => (row.incidents ? count(row.incidents.length) : "–");

export function Daemons({ open = (_) => {} }) {
  useFleet();
  const [asked, ask] = useState("");
  const rows = daemons().map((row) => ({ ...row, need: needOf(row) }))
    .sort((a, b) => a.need.rank - b.need.rank || (b.incidents || []).length - (a.incidents || []).length || nameOf(a).localeCompare(nameOf(b)));
  const fresh = (cell) => (row) => (row.now && !row.fault ? cell(row.now, row) : "–");
  const halt = newestHalt();
  const at = rows.find((row) => row.origin === asked);
  const session = (row) => {
    const found = sessionAt(row);
    if (row.here) return found ? found.name : "no";
    return found ? html`${found.name}, ${found.scope} <button type="button" onClick=${() => signOutAt(row.origin)}>Sign out<span class="sr"> of ${nameOf(row)}</span></button>`
      : html`<button type="button" onClick=${() => ask(row.origin)}>Sign in …<span class="sr"> to ${nameOf(row)}</span></button>`;
  };
  return html`<${Totals} found=${totalsOf(daemons())} />
    <section class="card wide"><div class="head"><h2>Daemons</h2><button type="button" class="halt" onClick=${() => open("halt-all")}>Halt daemons …</button></div>
    ${listFault() && html`<${Problem} text=${listFault()} />`}
    ${halt && html`<div class="last-halt"><p>Halt sent at ${clock(halt.at)}. ${summaryOf(halt)}</p><${Answers} halt=${halt} />${unanswered(halt) && html`<p><button type="button" onClick=${() => open("halt-all")}>Answers of the halt …</button></p>`}</div>`}
    <${Table} name="Daemons" rows=${rows} most=${25} first="worst" by=${(row) => row.origin} words=${(row) => `${row.origin} ${nameOf(row)} ${row.need.words} ${row.now ? `${row.now.mode} ${row.now.switch}` : ""}`} columns=${[
    { head: "daemon", cell: (row) => (row.here ? `${nameOf(row)} (this one)` : html`<a href=${row.origin} rel="noreferrer">${nameOf(row)}</a>`) },
    { head: "needs", cell: (row) => row.need.words, kind: (row) => row.need.kind },
    { head: "switch", cell: (row) => (row.now ? `${row.fault ? "last known: " : ""}${row.now.switch}` : "–"), kind: (row) => (row.now && !row.fault ? stateOf(row.now) : "none") },
    { head: "mode", cell: fresh((now) => `${now.mode.toUpperCase()} ${now.currency}`) },
    { head: "equity", num: true, cell: fresh((now) => money(now.equity)) },
    { head: "today", num: true, cell: fresh((_, row) => (row.day ? signedMoney(row.day.profit) : "–")), kind: (row) => (row.day && !row.fault ? tone(Number(row.day.profit)) : "") },
    { head: "today in %", num: true, cell: fresh((_, row) => (row.day ? signed(row.day.total_return) : "–")), kind: (row) => (row.day && !row.fault ? tone(row.day.total_return) : "") },
    { head: "from the peak", term: "drawdown", num: true, cell: fresh((now) => percent(now.drawdown)) },
    { head: "incidents", num: true, cell: fresh((_, row) => first(row)) },
    { head: "last bar", cell: fresh((now) => local(now.ts, now.zone)) },
    { head: "answered", cell: (row) => (row.at ? `${age(Date.now() - row.at)} ago` : "never") },
    { head: "signed in", cell: session },
  ]} />
    <p class="none">${others() ? "The others are those of [api] cors, and each of them lists this page there. A token given here stays in the memory of this page, and goes to its own daemon alone." : "Only this daemon is known: list the addresses of others in [api] cors here, and this address there."}</p></section>
    ${at && html`<${Dialog} key=${asked} title=${`Sign in to ${nameOf(at)}`} close=${() => ask("")}>
      <p>The token goes to ${asked} alone. This page forgets it when it is closed or read anew.</p>
      <${SignInAt} row=${at} then=${() => ask("")} />
      <p class="buttons"><button type="button" onClick=${() => ask("")}>Close</button></p></${Dialog}>`}`;
}
