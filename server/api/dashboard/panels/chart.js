// Charts of lines over time.
import { html, useEffect, useRef } from "./htm-preact-standalone.mjs";
import { daemon } from "./daemon.js";
import { zoneNow } from "./figures.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// For each length of a step in s: the label, and the second line where the year, the month, the day, the hour, or the
// minute is another one. The first label has it always.
const DATE = "\n{YYYY}-{MM}-{DD}";
const TIMES = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DATE, null, DATE, null, null, null, 1],
  [1, ":{ss}", `${DATE} {HH}:{mm}`, null, `${DATE} {HH}:{mm}`, null, "\n{HH}:{mm}", null, 1],
];

// The zone of times on the page, which the axis of a chart shares.
export const chartZone = () => zoneNow(daemon.live.overview.zone);

// What a uPlot chart over time has in common: the axis in that zone, with date and year below it.
export const overTime = (zone) => ({ tzDate: (ts) => uPlot.tzDate(new Date(1000 * ts), zone), scales: { x: { time: true } } });
export const timeAxis = (axis) => ({ ...axis, size: 48, values: TIMES });

// The library makes the global uPlot. Where it does not come, the page has no charts.
await new Promise((over) => {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("./uPlot.min.css", import.meta.url).href;
  document.head.prepend(style);  // the styles of the page come after it, and win
  const script = document.createElement("script");
  script.src = new URL("./uPlot.iife.min.js", import.meta.url).href;
  script.onload = script.onerror = over;
  document.head.append(script);
});

// Whether the chart library has come.
export const drawable = () => typeof uPlot !== "undefined";

// A uPlot chart. `series` are [label, colour variable]; `data` is [times in s, ...columns]; `words` say what it shows.
export function Chart({ data, series, height, words, format }) {
  const box = useRef(null);
  const chart = useRef(null);
  const shape = series.map(([label]) => label).join("|");
  const zone = chartZone();
  const ready = drawable();
  useEffect(() => {
    if (!ready) return () => {};
    const ink = colour("--dim");
    const axis = { stroke: ink, grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 } };
    const made = new uPlot({
      width: box.current.clientWidth, height, legend: { show: false }, cursor: { y: false },
      ...overTime(zone),
      axes: [timeAxis(axis), { ...axis, size: (_, values) => 20 + 7 * Math.max(...(values || [""]).map((x) => x.length)), values: (_, ticks) => ticks.map(format) }],
      series: [{}, ...series.map(([label, name]) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: true }))],
    }, data, box.current);
    chart.current = made;
    const fit = new ResizeObserver(() => made.setSize({ width: box.current.clientWidth, height }));
    fit.observe(box.current);
    return () => { fit.disconnect(); made.destroy(); };
  }, [shape, zone, ready]);
  useEffect(() => { if (chart.current) chart.current.setData(data); }, [data]);
  return html`<figure>
    <div class="chart" ref=${box} role="img" aria-label=${words}></div>
    <figcaption>${series.length > 1 && series.map(([label, name]) => html`<span class="key"><i style=${{ background: `var(${name})` }} aria-hidden="true"></i>${label} </span>`)}${words}</figcaption>
  </figure>`;
}
