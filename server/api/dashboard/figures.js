// Figures as text.

const number = (digits, least = digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: digits });
const cents = number(2);
const whole = number(0);
const upToSix = number(6, 0);
const priced = number(6, 2);

const absent = (x) => x === null || x === undefined;
export const percent = (x, digits = 1) => (absent(x) ? "–" : `${(100 * x).toFixed(digits)} %`);
export const signed = (x) => (absent(x) ? "–" : `${x < 0 ? "−" : "+"}${Math.abs(100 * x).toFixed(2)} %`);
export const money = (text) => (absent(text) ? "–" : cents.format(Number(text)));
export const signedMoney = (text) => (absent(text) ? "–" : `${Number(text) < 0 ? "−" : Number(text) > 0 ? "+" : ""}${cents.format(Math.abs(Number(text)))}`);
export const count = (x) => whole.format(x);
export const things = (x, one) => `${count(x)} ${one}${x === 1 ? "" : "s"}`;
export const orders = (x) => things(x, "order");
export const plain = (text) => upToSix.format(Number(text));
export const price = (text) => priced.format(Number(text));
export const ratio = (x) => x.toFixed(2).replace("-", "−");
export const tone = (x) => (!x ? "" : x > 0 ? "up" : "down");

// Agents that trade less than the switch of the house says, in words; and the colour of a daemon with them.
export function restrained(now) {
  const mine = now.agents.filter((each) => !each.shadow);
  const less = mine.filter((each) => each.suspended || each.switch !== "RUN");
  return now.switch === "RUN" && less.length ? `${count(less.length)} of ${things(mine.length, "agent")} not at RUN` : "";
}
export const stateOf = (now) => (restrained(now) ? "REDUCE" : now.switch);

// The name of an agent, or of the portfolio that it holds.
export const titleOf = (now, name) => (now.agents.find((each) => each.name === name) || {}).portfolio || name;

// A measured value in its unit; the units are those of daemon/views/limit_rows.py.
export function measured(x, unit) {
  if (absent(x)) return unit === "none" ? "" : "–";
  if (unit === "share") return percent(x);
  if (unit === "money") return money(x);
  if (unit === "hours") return `${x.toFixed(1)} h`;
  return Number(x.toPrecision(3)).toLocaleString("en-US").replace("-", "−");
}

const clocks = new Map();
let chosenZone = "";  // the one that a person chose for this browser
export const setZone = (zone) => { chosenZone = zone; };
export const zoneNow = (zone) => chosenZone || zone;
export function local(ts, ofRun) {
  if (!ts) return "–";
  const zone = zoneNow(ofRun);
  if (!clocks.has(zone)) clocks.set(zone, new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" }));
  return clocks.get(zone).format(new Date(ts / 1e6));
}
// A text of the daemon, with its instants in the zone of the page.
export const localised = (text, ofRun) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (instant) => local(1e6 * Date.parse(instant), ofRun));
export const city = (zone) => zone.split("/").pop().replaceAll("_", " ");

export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export const byText = (query) => {
  const words = query.trim().toLowerCase();
  return (text) => !words || String(text).toLowerCase().includes(words);
};
