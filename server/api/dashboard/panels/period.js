// One period for the whole page, in the address: a name, or two dates that were typed or dragged over a chart.
import { html, useState } from "./htm-preact-standalone.mjs";
import { daemon, read } from "./daemon.js";
import { keep, kept } from "./address.js";

/** @type {Record<string, [string, string]>} */
const PERIODS = {
  "1D": ["1 day", "today"], "1W": ["1 week", "in 1 week"], "1M": ["1 month", "in 1 month"],
  MTD: ["this month", "this month"], "3M": ["3 months", "in 3 months"], YTD: ["this year", "this year"], "1Y": ["1 year", "in 1 year"],
  all: ["all", "since the start"],
};
const DAY = /^\d{4}-\d{2}-\d{2}$/;

// The period of the address: its name, or its dates.
export function periodNow() {
  const [from, to] = [kept("from"), kept("to")].map((text) => (DAY.test(text) ? text : ""));
  return { name: from || to ? "" : kept("period") in PERIODS ? kept("period") : "all", from, to };
}

// Its words, which every figure of it has, and the text by which a read knows that it is another one.
export function periodWords() {
  const { name, from, to } = periodNow();
  if (name) return PERIODS[name][1];
  return from && to ? `${from} to ${to}` : from ? `since ${from}` : `up to ${to}`;
}
export const periodKey = () => Object.values(periodNow()).join("/");

/** @type {Map<string, Promise<string>>} */
const answers = new Map();
const MOST = 50;

/**
 * "since=..&until=.." of a period, in the time of the market; of the present one without a name and a day.
 * @param {string} [name]
 * @param {string} [day]
 * @returns {Promise<string>}
 */
export async function windowOf(name, day = "") {
  const now = daemon.live.overview;
  const period = name || day ? { name, from: day, to: day } : periodNow();
  if (period.name === "all") return "since=0";
  const key = `${now.run}/${now.ts}/${Object.values(period).join("/")}`;
  if (!answers.has(key)) {
    const asked = period.name === "MTD" ? `from=${now.session.slice(0, 8)}01` : period.name ? `period=${period.name}` : ["from", "to"].filter((end) => period[end]).map((end) => `${end}=${period[end]}`).join("&");
    const found = read(`/api/v1/period?${asked}`);
    answers.set(key, found.then(({ since, until }) => (until === null ? `since=${since}` : `since=${since}&until=${until}`)));
    answers.get(key).catch(() => answers.delete(key));
    if (answers.size > MOST) answers.delete(answers.keys().next().value);
  }
  return answers.get(key);
}

/**
 * "search=..&since=..&until=.." of a text that is searched in the present period. A day, such as 2019-12-16, finds all
 * of that day, also outside the period.
 * @param {string} text
 * @returns {Promise<string>}
 */
export async function searchOf(text) {
  return DAY.test(text) ? `search=&${await windowOf("", text)}` : `search=${encodeURIComponent(text)}&${await windowOf()}`;
}

export const setPeriod = (name) => keep({ period: name === "all" ? "" : name, from: "", to: "" });
export const setDates = (from, to) => keep({ period: "", from, to });

// Always on top: the period of all screens.
export function Periods({ open }) {
  const { name, from, to } = periodNow();
  return html`<div class="periods" role="group" aria-label="Period">
    ${Object.entries(PERIODS).map(([each, [words]]) => html`<button type="button" aria-pressed=${each === name} aria-label=${`${each === "all" ? "All" : each}: ${words}`} onClick=${() => setPeriod(each)}>${each === "all" ? "All" : each}</button>`)}
    <button type="button" class="dates" aria-pressed=${!name} aria-keyshortcuts="p" onClick=${() => open("period")}>${name ? "Dates …" : `${from || "start"} to ${to || "now"}`}</button>
  </div>`;
}

// Two dates by keyboard or touch; one that is empty is open.
export function Dates({ close }) {
  const now = periodNow();
  const [dates, put] = useState({ from: now.from, to: now.to });
  const wrong = dates.from && dates.to && dates.from > dates.to ? "The first day is after the last day." : "";
  const choose = (event) => { event.preventDefault(); if (!wrong) { setDates(dates.from, dates.to); close(); } };
  const field = (name, title, more = {}) => html`<p><label for=${`period-${name}`}>${title}</label><input id=${`period-${name}`} type="date" value=${dates[name]} onInput=${(event) => put({ ...dates, [name]: event.target.value })} ...${more} /></p>`;
  return html`<form onSubmit=${choose}>
    <div class="fields">${field("from", "First day", { "data-first": true })}${field("to", "Last day")}</div>
    <p class="none">In the time of the market. An empty first day is the start, an empty last day is now.</p>
    ${wrong && html`<p role="alert" class="problem">${wrong}</p>`}
    <p class="buttons"><button type="submit" class="main">Show</button><button type="button" onClick=${close}>Close</button></p>
  </form>`;
}
