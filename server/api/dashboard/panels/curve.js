// The account over the period of the page: beside the benchmark, equal weights and each agent, with what happened.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { chartZone, drawable, overTime, timeAxis } from "./chart.js";
import { daemon, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, local, money, percent, signed, titleOf } from "./figures.js";
import { Notes, useNotes } from "./notes.js";
import { Problem } from "./parts.js";
import { periodKey, periodWords, setDates, windowOf } from "./period.js";
import { noneOf, useRead } from "./reads.js";
import { texts, useStored } from "./settings.js";
import { Term } from "./terms.js";

const COLOURS = ["--a1", "--a2", "--a3", "--a4", "--a5", "--a0"];
const LETTERS = { start: "S", halt: "H", resume: "R", deposit: "D", promotion: "P", model: "M", portfolio: "O", own: "N" };
const NAMES = { start: "start", halt: "halt", resume: "resume", deposit: "deposit or withdrawal", promotion: "promotion", model: "model loaded", portfolio: "portfolio", own: "own note" };
const LEAST_DRAG = 8;
const MOST_NEAR = 3;
const SHARED = "quantd-time";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dateOf = (seconds) => new Date(1000 * seconds - 1).toISOString().slice(0, 10);

/**
 * The lines that the chart can have: key, label, colour, values.
 * @param {api.CurveNow} found
 * @returns {[string, string, string, number[]][]}
 */
function linesOf({ curve, benchmark }) {
  const agents = Object.entries(curve.agents).filter(([name]) => name !== "unallocated");
  return [
    ["worth", "account", "--line", curve.worth],
    ...(benchmark ? [/** @type {[string, string, string, number[]]} */ (["benchmark", benchmark, "--dim", curve.benchmark])] : []),
    ["equal", "equal weight", "--fall", curve.equal],
    ...agents.map(([name, values], k) => /** @type {[string, string, string, number[]]} */ ([`of ${name}`, titleOf(daemon.live.overview, name), COLOURS[k % COLOURS.length], values])),
  ];
}

// A chart of lines with a crosshair that all charts of the page share. `at` is the sample under it; `notes` are drawn
// as lines with a letter. `data` is the answer whose lines they are.
function Lines({ box, data, times, lines, height, format, notes, at, point, drag, words }) {
  const chart = useRef(null);
  const now = useRef(/** @type {any} */ ({}));
  now.current = { notes, point, drag };
  const shape = lines.map(([key]) => key).join("|");
  const theme = document.documentElement.dataset.theme || "";
  const zone = chartZone();
  const ready = drawable();
  useLayoutEffect(() => {
    if (!ready) return () => {};
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 } };
    const made = new uPlot({
      width: box.current.clientWidth, height, legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, sync: { key: SHARED } },
      ...overTime(zone),
      axes: [timeAxis(axis), { ...axis, size: 72, values: (_, ticks) => ticks.map(format) }],
      series: [{}, ...lines.map(([, label, name]) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: true }))],
      hooks: {
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width < LEAST_DRAG) return;
          const [first, last] = [plot.posToIdx(left), plot.posToIdx(left + width)];
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          now.current.drag(plot.data[0][first], plot.data[0][last]);
        }],
        draw: [(plot) => marked(plot, now.current.notes)],
      },
    }, [times, ...lines.map(([, , , values]) => values)], box.current);
    chart.current = made;
    // of the pointer alone: a cursor that follows another one would move that one again, without an end
    made.over.addEventListener("mousemove", () => now.current.point(made.cursor.idx ?? -1));
    const fit = new ResizeObserver(() => made.setSize({ width: box.current.clientWidth, height }));
    fit.observe(box.current);
    return () => { fit.disconnect(); made.destroy(); chart.current = null; };
  }, [shape, theme, zone, ready]);
  useEffect(() => { if (chart.current) chart.current.setData([times, ...lines.map(([, , , values]) => values)]); }, [data, shape]);
  useEffect(() => { if (chart.current) chart.current.redraw(false); }, [notes.map((note) => note.ts).join()]);
  useEffect(() => {
    const made = chart.current;
    if (!made || at < 0 || at >= times.length || made.cursor.idx === at) return;
    made.setCursor({ left: made.valToPos(times[at], "x"), top: 10 });
  }, [at]);
  return html`<div class="chart" style=${{ minHeight: `${height}px` }} ref=${box} role="img" aria-label=${words}></div>`;
}

function marked(plot, notes) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * scale}px system-ui`;
  ctx.textAlign = "center";
  for (const note of notes) {
    const x = plot.valToPos(note.ts / 1e9, "x", true);
    if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(note.kind === "halt" ? "--bad" : note.kind === "resume" ? "--good" : "--dim");
    ctx.lineWidth = scale;
    ctx.setLineDash([3 * scale, 3 * scale]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + 12 * scale);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(LETTERS[note.kind] || "·", x, bbox.top + 10 * scale);
  }
  ctx.restore();
}

export function AccountCurve() {
  const now = daemon.live.overview;
  const [chosen, choose] = useStored("curve.lines", ["worth", "benchmark"], texts);
  const [inMoney, asMoney] = useStored("curve.money", false, (value) => typeof value === "boolean");
  const [at, point] = useState(-1);
  const [above, below] = [useRef(null), useRef(null)];
  const noted = useNotes(now.run);
  const found = useRead(async () => read(`/api/v1/profit/curve?points=600&${await windowOf()}`), `${now.run}/${now.ts}/${now.fills}/${now.switch}`, periodKey());
  const { data, fault } = found;
  if (!data || data.curve.ts.length < 2) {
    return html`<section class="card wide"><h2>Equity, ${periodWords()}</h2>${fault && html`<${Problem} text=${fault} />`}<p class="none">${noneOf(found, "no two samples in this period")}</p></section>`;
  }
  const { curve, notes } = data;
  const times = curve.ts.map((ts) => ts / 1e9);
  const all = linesOf(data);
  const shown = all.filter(([key]) => chosen.includes(key));
  /** @type {[string, string, string, number[]][]} */
  const lines = inMoney ? [["equity", "equity", "--line", curve.equity.map(Number)]] : shown.map(([key, label, name, values]) => [key, label, name, values.map((each) => each - 1)]);
  /** @type {[string, string, string, number[]][]} */
  const fall = [["drawdown", "drawdown", "--fall", curve.drawdown.map((each) => -each)]];
  const drawn = [...notes, ...noted.own].filter((note) => note.ts >= curve.ts[0]).sort((a, b) => a.ts - b.ts);
  const k = at >= 0 && at < times.length ? at : times.length - 1;
  const near = drawn.filter((note) => note.ts <= curve.ts[k] && (k === 0 || note.ts > curve.ts[k - 1]));
  const toggle = (key) => choose(chosen.includes(key) ? chosen.filter((each) => each !== key) : [...chosen, key]);
  const drag = (first, last) => { if (last > first) setDates(dateOf(first), dateOf(last)); };
  const [first, last] = [dateOf(times[0]), dateOf(times.at(-1))];
  const words = `${inMoney ? "Equity" : `Return of ${shown.map(([, label]) => label).join(", ")}`} from ${first} to ${last}, ${count(data.samples)} samples. At the end ${money(curve.equity.at(-1))} ${data.currency}${inMoney ? "" : `; ${shown.map(([, label, , values]) => `${label} ${signed(values.at(-1) - 1)}`).join(", ")}`}.`;
  const table = () => [
    ["instant", "equity", "drawdown", ...all.map(([, label]) => label)],
    curve.ts.map((ts, row) => [new Date(ts / 1e6).toISOString(), curve.equity[row], curve.drawdown[row], ...all.map(([, , , values]) => values[row])]),
  ];
  return html`<section class="card wide curve"><h2>Equity, ${periodWords()}</h2>
    <div class="toggles" role="group" aria-label="Lines of the chart">
      ${all.map(([key, label, name]) => html`<button type="button" aria-pressed=${!inMoney && chosen.includes(key)} disabled=${inMoney} onClick=${() => toggle(key)}><i style=${{ background: `var(${name})` }} aria-hidden="true"></i>${label}</button>`)}<${Term} of="equal weight" />
      <button type="button" aria-pressed=${inMoney} onClick=${() => asMoney(!inMoney)}>in money</button>
      <${Export} what="equity" table=${table} chart=${() => above.current} />
    </div>
    ${data.missing && html`<p class="none">The benchmark has no line: ${data.missing}.</p>`}
    <${Lines} box=${above} data=${data} times=${times} lines=${lines} height=${208} notes=${drawn} at=${at} point=${point} drag=${drag} words=${words} format=${inMoney ? (x) => count(x) : (x) => percent(x, 1)} />
    <${Lines} box=${below} data=${data} times=${times} lines=${fall} height=${108} notes=${[]} at=${at} point=${point} drag=${drag} words=${`Drawdown from the peak since the start of the run; the deepest of the period was ${percent(Math.max(...curve.drawdown))}.`} format=${(x) => percent(x, 0)} />
    <div class="readout"><label for="instant">Crosshair</label><input id="instant" type="range" min="0" max=${times.length - 1} value=${k} aria-valuetext=${local(curve.ts[k], now.zone)} onInput=${(event) => point(Number(event.target.value))} />
      <p>${local(curve.ts[k], now.zone)}: <strong>${money(curve.equity[k])}</strong>, ${all.filter(([key]) => chosen.includes(key)).map(([, label, , values]) => `${label} ${signed(values[k] - 1)}`).join(", ")}; drawdown ${percent(curve.drawdown[k])}${near.slice(-MOST_NEAR).map((note) => html`<br />${local(note.ts, now.zone)} ${NAMES[note.kind]}: ${note.text}`)}${near.length > MOST_NEAR ? ` and ${count(near.length - MOST_NEAR)} more` : ""}</p></div>
    <${Notes} notes=${noted} ts=${curve.ts[k]} zone=${now.zone} first=${curve.ts[0]} show=${(ts) => point(curve.ts.findIndex((each) => each >= ts))} />
    <p class="none">${words} Drag over the chart to choose a period.${drawn.length ? ` ${Object.entries(LETTERS).filter(([kind]) => drawn.some((note) => note.kind === kind)).map(([kind, letter]) => `${letter} ${NAMES[kind]}`).join(", ")}` : ""}</p>
    ${notes.length > 0 && html`<details><summary>What happened: ${count(data.count)}</summary><ul>${notes.slice().reverse().map((note) => html`<li>${local(note.ts, now.zone)} ${NAMES[note.kind]}${note.who ? ` of ${note.who}` : ""}: ${note.text}</li>`)}</ul></details>`}
  </section>`;
}
