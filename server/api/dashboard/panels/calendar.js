// Profit by day, week and month in money, of the period of the page.
import { html, useState } from "./htm-preact-standalone.mjs";
import { daemon, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, money, signed, signedMoney, tone } from "./figures.js";
import { Problem, Table } from "./parts.js";
import { periodKey, periodWords, setDates, windowOf } from "./period.js";
import { noneOf, useRead } from "./reads.js";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const KINDS = { month: "days of a month", week: "weeks", months: "months" };
const DAY_MS = 86400000;

const titleOf = (month) => `${MONTHS[Number(month.slice(5, 7)) - 1]} ${month.slice(0, 4)}`;
const dayAt = (ms) => new Date(ms).toISOString().slice(0, 10);
const lastOf = (month) => dayAt(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5, 7)), 0));

// The weeks of a month from Monday, as dates of seven days.
function weeksOf(month) {
  const first = Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5, 7)) - 1, 1);
  const monday = first - ((new Date(first).getUTCDay() + 6) % 7) * DAY_MS;
  const weeks = [];
  for (let at = monday; dayAt(at).slice(0, 7) <= month; at += 7 * DAY_MS) weeks.push(WEEKDAYS.map((_, k) => dayAt(at + k * DAY_MS)));
  return weeks;
}

const headed = [
  { head: "from", cell: (row) => row.first },
  { head: "to", cell: (row) => row.last },
  { head: "opening", num: true, cell: (row) => money(row.opening) },
  { head: "deposits", term: "deposits", num: true, cell: (row) => signedMoney(row.deposits) },
  { head: "profit", num: true, cell: (row) => signedMoney(row.profit), kind: (row) => tone(Number(row.profit)) },
  { head: "closing", num: true, cell: (row) => money(row.closing) },
  { head: "return from first to last", num: true, cell: (row) => signed(row.total_return), kind: (row) => tone(row.total_return) },
];
const NAMES = ["first", "last", "opening", "deposits", "profit", "closing", "total_return"];

function Month({ month, days, weeks, total }) {
  const by = new Map(days.map((each) => [each.last, each]));
  const shown = weeksOf(month);
  const width = shown.some((week) => week.slice(5).some((day) => by.has(day))) ? 7 : 5;
  const most = Math.max(1e-9, ...days.map((each) => Math.abs(each.total_return)));
  const week = (dates) => weeks.find((each) => each.last >= dates[0] && each.last <= dates[6]);
  const cell = (day) => {
    const found = day.startsWith(month) && by.get(day);
    if (!found) return html`<td class="none">${day.startsWith(month) ? Number(day.slice(8)) : ""}</td>`;
    return html`<td class=${tone(Number(found.profit))} style=${{ "--heat": Math.abs(found.total_return) / most, "--hue": found.total_return < 0 ? "var(--fall)" : "var(--good)" }}>
      <button type="button" class="day" title=${`${day}: ${signed(found.total_return)}; show this day`} onClick=${() => setDates(day, day)}><small>${Number(day.slice(8))}</small> ${signedMoney(found.profit)}<span class="sr"> ${titleOf(month)}, ${signed(found.total_return)}; show this day</span></button></td>`;
  };
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`Profit by day, ${titleOf(month)}`}><table class="calendar heat">
    <caption>${titleOf(month)}: <strong class=${total ? tone(Number(total.profit)) : ""}>${total ? signedMoney(total.profit) : "–"}</strong>${total ? `, ${signed(total.total_return)} from first to last` : ""}</caption>
    <thead><tr>${WEEKDAYS.slice(0, width).map((each) => html`<th scope="col">${each}</th>`)}<th scope="col">week</th></tr></thead>
    <tbody>${shown.map((dates) => html`<tr>${dates.slice(0, width).map(cell)}<td><strong>${week(dates) ? signedMoney(week(dates).profit) : ""}</strong></td></tr>`)}</tbody>
  </table></div>`;
}

export function Calendar() {
  const now = daemon.live.overview;
  const [kind, choose] = useState("month");
  const [asked, turn] = useState("");
  const stamp = `${now.run}/${now.ts}/${now.fills}`;
  const months = useRead(async () => read(`/api/v1/profit/days?by=month&limit=2000&${await windowOf()}`), stamp, periodKey());
  const known = months.data ? months.data.days : [];
  const month = known.some((each) => each.last.slice(0, 7) === asked) ? asked : known.length ? known[0].last.slice(0, 7) : "";
  const at = known.findIndex((each) => each.last.slice(0, 7) === month);
  const listed = kind === "week";
  const found = useRead(async () => {
    if (listed) return { days: [], weeks: (await read(`/api/v1/profit/days?by=week&limit=2000&${await windowOf()}`)).days };
    if (!month) return { days: [], weeks: [] };
    const [whole, { since, until }] = [await windowOf(), await read(`/api/v1/period?from=${month}-01&to=${lastOf(month)}`)];
    const bounds = new URLSearchParams(whole);
    const [from, to] = [Math.max(since, Number(bounds.get("since"))), Math.min(until, Number(bounds.get("until") || until))];
    const [days, weeks] = await Promise.all(["day", "week"].map((by) => read(`/api/v1/profit/days?by=${by}&since=${from}&until=${to}`)));
    return { days: days.days, weeks: weeks.days };
  }, stamp, `${periodKey()}/${kind}/${month}`);
  const rows = kind === "months" ? known : found.data ? (listed ? found.data.weeks : found.data.days) : [];
  const fault = months.fault || found.fault;
  return html`<section class="card wide"><h2>Profit by ${kind === "month" ? "day" : kind === "week" ? "week" : "month"}, ${periodWords()}</h2>
    <div class="fields"><p><label for="calendar">Calendar</label><select id="calendar" value=${kind} onChange=${(event) => choose(event.target.value)}>${Object.entries(KINDS).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></p>
      ${kind === "month" && html`<p class="short buttons"><button type="button" disabled=${at < 0 || at >= known.length - 1} onClick=${() => turn(known[at + 1].last.slice(0, 7))}>Month before</button><button type="button" disabled=${at <= 0} onClick=${() => turn(known[at - 1].last.slice(0, 7))}>Month after</button></p>`}
      <${Export} what=${`profit by ${kind}`} table=${() => [NAMES, rows.map((row) => NAMES.map((name) => row[name]))]} /></div>
    ${fault && html`<${Problem} text=${fault} />`}
    ${kind === "month" ? (month && found.data ? html`<${Month} month=${month} days=${found.data.days} weeks=${found.data.weeks} total=${known[at]} />` : html`<p class="none">${noneOf(months, "no sample in this period")}</p>`)
    : html`<${Table} name=${kind === "week" ? "Profit by week" : "Profit by month"} rows=${rows} most=${24} first="newest" by=${(row) => row.last} words=${(row) => `${row.first} ${row.last}`} empty=${noneOf(kind === "week" ? found : months, "no sample in this period")} columns=${headed} />`}
    <p class="none">${count(known.length)} months. Days are sessions, UTC dates; deposits are no profit.</p>
  </section>`;
}
