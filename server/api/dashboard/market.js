// Bars of one symbol with its fills, refused orders and levels; what is under the cursor says why.
import { html, useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { chosenNow } from "./address.js";
import { chartZone } from "./chart.js";
import { daemon, read } from "./daemon.js";
import { Export } from "./export.js";
import { count, local, money, plain, price } from "./figures.js";
import { overlayLines, OVERLAYS } from "./indicators.js";
import { refusalsOf } from "./orders.js";
import { Problem, Table } from "./parts.js";
import { periodKey, periodNow, periodWords, windowOf } from "./period.js";
import { useRead } from "./reads.js";
import { texts, useStored } from "./settings.js";
import { WhyButton } from "./why.js";

const COLOURS = ["--a0", "--a1", "--a2", "--a3", "--a4", "--a5"];
const MOST_NAMES = 60;
const MOST_MARKS = 200;
const MOST_KEYS = 12;
const MOST_BARS = 1000;
const NEWEST = 250;
const BEYOND = 3;  // bars that the chart is moved past its oldest one before older ones are read
const HALF_DAY_NS = 432e11;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const placesOf = (agents, names) => names.split("+").map((name) => agents.indexOf(name)).filter((place) => place >= 0);
const colourOf = (agents, names) => placesOf(agents, names).map((place) => COLOURS[place % COLOURS.length])[0] || "--dim";  // a limit of the house is no agent's
// An agent is told by its number too: six colours are few, and not for every eye. One agent needs none.
const numberOf = (agents, names) => (agents.length > 1 ? placesOf(agents, names).map((place) => place + 1).join("+") : "");

// A fill or a refused order on the chart.
export function markerOf(agents, mark, time) {
  const buy = mark.side === "buy";
  const whose = numberOf(agents, mark.agent);
  const at = { time, position: buy ? "belowBar" : "aboveBar", color: colour(colourOf(agents, mark.agent)) };
  return mark.refused ? { ...at, shape: "circle", size: 0, text: `○${whose}` } : { ...at, shape: buy ? "arrowUp" : "arrowDown", text: whose };
}

// The number of the bar that contains an event, else -1: older than the first bar, in a gap, or newer than the last
// one's end. A bar has its end and the length of all bars; an event at the end of one and the start of the next is of
// the first. A day's bar begins after the end of the day before, also where that day has no bar here.
export function barAt(bars, ts, length) {
  let [low, high] = [0, bars.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bars[middle].ts < ts) low = middle + 1; else high = middle;
  }
  if (low === bars.length) return -1;
  const begins = bars[low].ts - length;
  return (length < 864e11 ? ts >= begins : ts > begins) ? low : -1;
}

// The bars that are visible, halved or doubled around their middle; 0 shows all.
function zoomed(chart, by) {
  const scale = chart.timeScale();
  const range = by && scale.getVisibleLogicalRange();
  if (!range) { scale.fitContent(); return; }
  const [middle, half] = [(range.from + range.to) / 2, Math.max(2, ((range.to - range.from) / 2) * by)];
  scale.setVisibleLogicalRange({ from: middle - half, to: middle + half });
}

// The part of an instant, "2019-01-10 16:00", that a tick of this kind shows: year, month, day, or time.
const tickOf = (text, kind) => [text.slice(0, 4), text.slice(0, 7), text.slice(5, 10)][kind] || text.slice(11);

function Candles({ box, made: shared, bars, marks, levels, lines, agents, symbol, per, say, older }) {
  const parts = useRef(null);
  const theme = ["theme", "colours"].map((name) => document.documentElement.dataset[name] || "").join("/");
  const candles = bars.some((bar) => bar.open !== null);
  const shown = useRef(/** @type {any} */ ({}));
  shown.current = { bars, marks, say, older };
  const zone = daemon.live.overview.zone;
  useEffect(() => {
    let gone = false;
    import("./lightweight-charts.mjs").then((library) => {
      if (gone) return;
      const chart = library.createChart(box.current, {
        autoSize: true, height: 360,
        layout: { background: { color: "transparent" }, textColor: colour("--dim"), attributionLogo: false, fontFamily: "system-ui, sans-serif" },
        grid: { vertLines: { color: colour("--rule") }, horzLines: { color: colour("--rule") } },
        rightPriceScale: { borderColor: colour("--rule") }, timeScale: { borderColor: colour("--rule"), timeVisible: false, tickMarkFormatter: (time, kind) => tickOf(local(1e9 * time, zone), kind) },
        localization: { timeFormatter: (time) => local(1e9 * time, zone) },
        handleScroll: { vertTouchDrag: false },
      });
      const [up, down] = [colour("--good"), colour("--fall")];
      const series = candles
        ? chart.addSeries(library.CandlestickSeries, { upColor: colour("--card"), downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down })
        : chart.addSeries(library.LineSeries, { color: colour("--line"), lineWidth: 2 });
      chart.subscribeCrosshairMove((at) => {
        const now = shown.current;
        const index = at.time === undefined ? -1 : now.bars.findIndex((bar) => Math.floor(bar.ts / 1e9) === at.time);
        now.say(index);
      });
      chart.timeScale().subscribeVisibleLogicalRangeChange((range) => { if (range && range.from < -BEYOND) shown.current.older(); });
      parts.current = { chart, series, library, marks: library.createSeriesMarkers(series, []), lines: [], overlays: new Map(), fitted: false };
      shared.current = chart;
      shown.current.draw();
    });
    return () => { gone = true; if (parts.current) parts.current.chart.remove(); parts.current = shared.current = null; };
  }, [symbol, per, candles, theme, chartZone()]);
  const draw = () => {
    const made = parts.current;
    if (!made) return;
    made.series.setData(bars.map((bar) => {
      const time = Math.floor(bar.ts / 1e9);
      if (!candles) return { time, value: bar.close };
      return bar.open === null ? { time } : { time, open: bar.open, high: bar.high, low: bar.low, close: bar.close };
    }));
    made.chart.timeScale().applyOptions({ timeVisible: bars.length > 1 && bars[1].ts - bars[0].ts < HALF_DAY_NS });
    made.marks.setMarkers(marks.filter((mark) => mark.bar >= 0).map((mark) => markerOf(agents, mark, Math.floor(bars[mark.bar].ts / 1e9))));
    made.lines.forEach((line) => made.series.removePriceLine(line));
    made.lines = levels.flatMap((level) => ["stop", "target"].filter((kind) => level[kind] !== null).map((kind) => made.series.createPriceLine(
      { price: level[kind], title: `${kind} ${level.agent}`, color: colour(kind === "stop" ? "--bad" : "--good"), lineWidth: 1, lineStyle: 2, axisLabelVisible: true })));
    made.overlays.forEach((series, name) => { if (!lines.some((line) => line.name === name)) { made.chart.removeSeries(series); made.overlays.delete(name); } });
    lines.forEach((line) => {
      if (!made.overlays.has(line.name)) made.overlays.set(line.name, made.chart.addSeries(made.library.LineSeries, { color: colour(line.colour), lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false }));
      made.overlays.get(line.name).setData(line.values.flatMap((value, k) => (value === null ? [] : [{ time: Math.floor(bars[k].ts / 1e9), value }])));
    });
    if (!made.fitted && bars.length) { made.chart.timeScale().fitContent(); made.fitted = true; }
  };
  shown.current.draw = draw;
  useEffect(draw, [bars, marks, levels, lines.map((line) => line.name).join("|")]);
  return html`<div class="candles" ref=${box} role="img" aria-label=${`Prices of ${symbol}; the table below has its fills and refusals`}></div>`;
}

const wordsOf = (mark, zone) => `${local(mark.ts, zone)} ${mark.side} ${plain(mark.qty)} ${mark.refused ? `refused: ${mark.reason.replaceAll("_", " ")}` : `filled at ${price(mark.price)}`} (${mark.agent})`;

/** @type {Record<string, string>} */
const PERS = { bar: "bars of the feed", day: "days", week: "weeks", month: "months" };

export function Market() {
  const now = daemon.live.overview;
  const heaviest = now.positions.slice().sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)));
  const [symbol, choose] = useState(chosenNow() || (heaviest[0] && heaviest[0].symbol) || "");
  const [typed, type] = useState(symbol);
  const [per, join] = useStored("market.per", "bar", (value) => value in PERS);
  const [overlays, overlay] = useStored("market.overlays", ["", ""], (value) => texts(value) && value.length === 2 && value.every((name) => name in OVERLAYS));
  const [hover, over] = useState(-1);
  const [most, reach] = useState(NEWEST);
  const chart = useRef(/** @type {any} */ (null));
  const box = useRef(null);
  const found = useRead(async () => {
    const span = await windowOf();
    const asked = read(`/api/v1/bars?limit=${span === "since=0" && per === "bar" ? most : MOST_BARS}&per=${per}&${span}${symbol ? `&symbol=${encodeURIComponent(symbol)}` : ""}`);
    const of = encodeURIComponent(symbol || (await asked).symbol);  // without a position the daemon chooses the symbol
    const [market, fills, refused] = await Promise.all([
      asked, read(`/api/v1/fills?limit=${MOST_MARKS}&symbol=${of}&${span}`), read(`/api/v1/refusals?group=refused&limit=${MOST_MARKS}&symbol=${of}&${span}`),
    ]);
    const marks = [
      ...fills.fills.map((fill) => ({ ...fill, id: `${fill.order}/${fill.ts}/${fill.qty}`, why: fill.order, refused: false })),
      ...refusalsOf(refused).filter((each) => each.symbol === market.symbol).map((each) => ({ ...each, id: each.key, why: each.address, refused: true })),
    ].map((mark) => ({ ...mark, bar: barAt(market.bars, mark.ts, market.interval_ns) })).sort((a, b) => a.ts - b.ts);
    return { ...market, marks, cut: [fills.fills, refused.refusals].some((each) => each.length === MOST_MARKS) };
  }, `${now.run}/${now.slices}/${now.fills}/${most}`, `${symbol}/${per}/${periodKey()}`);
  const { data, fault } = found;
  const agents = now.agents.map((each) => each.name);
  const bar = data && data.bars[hover];
  const near = bar ? data.marks.filter((mark) => mark.bar === hover) : [];
  const drawn = data ? overlays.flatMap((name, k) => overlayLines(name, data.bars).map((line, n) => ({ ...line, name: `${name}/${n}`, colour: k ? "--a3" : "--a1" }))) : [];
  const older = data && periodNow().name === "all" && per === "bar" && data.bars.length === most && most < MOST_BARS ? () => reach(most + NEWEST) : null;
  const zoom = (by) => chart.current && zoomed(chart.current, by);
  const table = () => [
    ["end", "open", "high", "low", "close", ...drawn.map((line) => line.words)],
    data.bars.map((each, k) => [new Date(each.ts / 1e6).toISOString(), each.open, each.high, each.low, each.close, ...drawn.map((line) => line.values[k])]),
  ];
  const select = (id, title, value, options, put) => html`<p><label for=${id}>${title}</label><select id=${id} value=${value} onChange=${(event) => put(event.target.value)}>${Object.entries(options).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></p>`;
  return html`
    <section class="card wide"><h2>${data ? data.symbol : symbol || "Market"}</h2>
      <form class="fields" onSubmit=${(event) => { event.preventDefault(); reach(NEWEST); choose(typed.trim()); }}>
        <p><label for="symbol">Symbol</label><input id="symbol" list="names" value=${typed} onInput=${(event) => type(event.target.value)} autocomplete="off" spellcheck="false" /></p>
        <datalist id="names">${heaviest.slice(0, MOST_NAMES).map((p) => html`<option value=${p.symbol}></option>`)}</datalist>
        ${select("per", "Interval", per, PERS, join)}
        ${[0, 1].map((k) => select(`overlay-${k}`, k ? "Second indicator" : "Indicator", overlays[k], OVERLAYS, (name) => overlay(overlays.map((each, n) => (n === k ? name : each)))))}
        <p class="short"><button type="submit">Show</button></p>
      </form>
      ${fault && html`<${Problem} text=${fault} />`}
      ${!data && !fault && html`<p class="none">reading ${symbol} …</p>`}
      ${data && html`
        <div class="toggles" role="group" aria-label="Chart"><button type="button" onClick=${() => zoom(0.5)}>Zoom in</button><button type="button" onClick=${() => zoom(2)}>Zoom out</button><button type="button" onClick=${() => zoom(0)}>All bars</button>${older && html`<button type="button" onClick=${older}>Older bars</button>`}
          <${Export} what=${`prices of ${data.symbol}`} table=${table} chart=${() => box.current} /></div>
        <${Candles} box=${box} made=${chart} bars=${data.bars} marks=${data.marks} levels=${data.levels} lines=${drawn} agents=${agents} symbol=${data.symbol} per=${per} say=${over} older=${older || (() => {})} />
        <p class="hover">${bar ? html`${local(bar.ts, now.zone)}: ${bar.open === null ? "" : `open ${price(bar.open)}, high ${price(bar.high)}, low ${price(bar.low)}, `}close ${price(bar.close)}${drawn.map((line) => (line.values[hover] === null ? "" : `, ${line.words} ${price(line.values[hover].toFixed(4))}`))}${near.map((mark) => html`<br />${wordsOf(mark, now.zone)}`)}`
    : html`<span class="none">${older ? `The newest ${count(data.bars.length)} bars; move the chart further for older ones` : `${data.bars.length} ${per === "bar" ? "bars" : PERS[per]} ${periodWords()}`}. A hollow candle rose, a full one fell. Arrows are fills with the number of the agent in the key, ○ is a refused order, dashed lines are stops and targets. ${count(data.marks.filter((mark) => mark.bar >= 0).length)} of ${count(data.marks.length)} fills and refusals are in these bars${data.cut ? `; older ones than the newest ${MOST_MARKS} of each are not read` : ""}.</span>`}</p>
        <p>${agents.filter((name, k) => k < MOST_KEYS || data.marks.some((mark) => mark.agent.split("+").includes(name))).map((name) => html`<span class="key"><i style=${{ background: `var(${colourOf(agents, name)})` }} aria-hidden="true"></i>${numberOf(agents, name)} ${name} </span>`)}${drawn.map((line) => html`<span class="key"><i style=${{ background: `var(${line.colour})` }} aria-hidden="true"></i>${line.words} </span>`)}</p>`}
    </section>
    ${data && html`<section class="card wide"><h2>Fills and refusals of ${data.symbol} ${periodWords()}</h2>
      <${Table} name="Fills and refusals" rows=${data.marks.slice().reverse()} most=${12} first="newest" empty="none" words=${(m) => `${local(m.ts, now.zone)} ${m.side} ${m.agent} ${m.reason || ""} ${m.why}`} columns=${[
    { head: "time", cell: (m) => local(m.ts, now.zone) },
    { head: "order", cell: (m) => `${m.side} ${plain(m.qty)}` },
    { head: "became", cell: (m) => (m.refused ? html`<span class="HALT">refused: ${m.reason.replaceAll("_", " ")}</span>` : `filled at ${price(m.price)}`) },
    { head: "commission", num: true, cell: (m) => (m.refused ? "–" : money(m.fee)) },
    { head: "agents, or whose limit", cell: (m) => m.agent },
    { head: "explanation", cell: (m) => html`<${WhyButton} id=${m.why} label=${`Why ${m.side} ${m.qty}, ${m.why}`} />` },
  ]} /></section>`}`;
}
