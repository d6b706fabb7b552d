// Bars of one symbol with its fills, refused orders and levels; what is under the cursor says why.
import { html, useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { chosenNow } from "./address.js";
import { daemon, read } from "./daemon.js";
import { count, local, money, plain, price } from "./figures.js";
import { refusalsOf } from "./orders.js";
import { Problem, Table } from "./parts.js";
import { useRead } from "./reads.js";
import { WhyButton } from "./why.js";

const COLOURS = ["--a0", "--a1", "--a2", "--a3", "--a4", "--a5"];
const MOST_NAMES = 60;
const MOST_MARKS = 200;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colourOf = (agents, name) => COLOURS[Math.max(0, agents.indexOf(name.split(",")[0].trim())) % COLOURS.length];

// The number of the bar that contains an event, else -1: older than the first bar, in a gap, or newer than the last
// one's end. A bar has its end and the length of all bars; an event at the end of one and the start of the next is of
// the first.
export function barAt(bars, ts, length) {
  let [low, high] = [0, bars.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bars[middle].ts < ts) low = middle + 1; else high = middle;
  }
  return low < bars.length && ts >= bars[low].ts - length ? low : -1;
}

function Candles({ bars, marks, levels, agents, symbol, say }) {
  const box = useRef(null);
  const parts = useRef(null);
  const candles = bars.some((bar) => bar.open !== null);
  const shown = useRef(/** @type {any} */ ({}));
  shown.current = { bars, marks, say };
  useEffect(() => {
    let gone = false;
    import("./lightweight-charts.mjs").then((library) => {
      if (gone) return;
      const chart = library.createChart(box.current, {
        autoSize: true, height: 360,
        layout: { background: { color: "transparent" }, textColor: colour("--dim"), attributionLogo: false, fontFamily: "system-ui, sans-serif" },
        grid: { vertLines: { color: colour("--rule") }, horzLines: { color: colour("--rule") } },
        rightPriceScale: { borderColor: colour("--rule") }, timeScale: { borderColor: colour("--rule"), timeVisible: false },
        handleScroll: { vertTouchDrag: false },
      });
      const [up, down] = [colour("--good"), colour("--fall")];
      const series = candles
        ? chart.addSeries(library.CandlestickSeries, { upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down })
        : chart.addSeries(library.LineSeries, { color: colour("--line"), lineWidth: 2 });
      chart.subscribeCrosshairMove((at) => {
        const now = shown.current;
        const index = at.time === undefined ? -1 : now.bars.findIndex((bar) => Math.floor(bar.ts / 1e9) === at.time);
        now.say(index);
      });
      parts.current = { chart, series, marks: library.createSeriesMarkers(series, []), lines: [], fitted: false };
      shown.current.draw();
    });
    return () => { gone = true; if (parts.current) parts.current.chart.remove(); parts.current = null; };
  }, [symbol, candles]);
  const draw = () => {
    const made = parts.current;
    if (!made) return;
    made.series.setData(bars.map((bar) => {
      const time = Math.floor(bar.ts / 1e9);
      if (!candles) return { time, value: bar.close };
      return bar.open === null ? { time } : { time, open: bar.open, high: bar.high, low: bar.low, close: bar.close };
    }));
    made.marks.setMarkers(marks.filter((mark) => mark.bar >= 0).map((mark) => {
      const buy = mark.side === "buy";
      const at = { time: Math.floor(bars[mark.bar].ts / 1e9), position: buy ? "belowBar" : "aboveBar", color: colour(colourOf(agents, mark.agent)) };
      return mark.refused ? { ...at, shape: "circle", size: 0, text: "○" } : { ...at, shape: buy ? "arrowUp" : "arrowDown" };
    }));
    made.lines.forEach((line) => made.series.removePriceLine(line));
    made.lines = levels.flatMap((level) => ["stop", "target"].filter((kind) => level[kind] !== null).map((kind) => made.series.createPriceLine(
      { price: level[kind], title: `${kind} ${level.agent}`, color: colour(kind === "stop" ? "--bad" : "--good"), lineWidth: 1, lineStyle: 2, axisLabelVisible: true })));
    if (!made.fitted && bars.length) { made.chart.timeScale().fitContent(); made.fitted = true; }
  };
  shown.current.draw = draw;
  useEffect(draw, [bars, marks, levels]);
  return html`<div class="candles" ref=${box} role="img" aria-label=${`Prices of ${symbol}; the table below has its fills and refusals`}></div>`;
}

const wordsOf = (mark, zone) => `${local(mark.ts, zone)} ${mark.side} ${plain(mark.qty)} ${mark.refused ? `refused: ${mark.reason.replaceAll("_", " ")}` : `filled at ${price(mark.price)}`} (${mark.agent})`;

export function Market() {
  const now = daemon.live.overview;
  const heaviest = now.positions.slice().sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)));
  const [symbol, choose] = useState(chosenNow() || (heaviest[0] && heaviest[0].symbol) || "");
  const [typed, type] = useState(symbol);
  const [hover, over] = useState(-1);
  const of = encodeURIComponent(symbol);
  const found = useRead(async () => {
    const [market, fills, refused] = await Promise.all([
      read(`/api/v1/bars?limit=250${symbol ? `&symbol=${of}` : ""}`), symbol ? read(`/api/v1/fills?limit=${MOST_MARKS}&symbol=${of}`) : { fills: [] }, read(`/api/v1/refusals?group=refused&limit=${MOST_MARKS}${symbol ? `&symbol=${of}` : ""}`),
    ]);
    const marks = [
      ...fills.fills.map((fill) => ({ ...fill, id: `${fill.order}/${fill.ts}/${fill.qty}`, why: fill.order, refused: false })),
      ...refusalsOf(refused).filter((each) => each.symbol === market.symbol).map((each) => ({ ...each, id: each.key, why: each.address, refused: true })),
    ].map((mark) => ({ ...mark, bar: barAt(market.bars, mark.ts, market.interval_ns) })).sort((a, b) => a.ts - b.ts);
    return { ...market, marks, cut: [fills.fills, refused.refusals].some((each) => each.length === MOST_MARKS) };
  }, `${now.run}/${now.slices}/${now.fills}`, symbol);
  const { data, fault } = found;
  const agents = now.agents.map((each) => each.name);
  const bar = data && data.bars[hover];
  const near = bar ? data.marks.filter((mark) => mark.bar === hover) : [];
  return html`
    <section class="card wide"><h2>${data ? data.symbol : symbol || "Market"}</h2>
      <form class="fields" onSubmit=${(event) => { event.preventDefault(); choose(typed.trim()); }}>
        <p><label for="symbol">Symbol</label><input id="symbol" list="names" value=${typed} onInput=${(event) => type(event.target.value)} autocomplete="off" spellcheck="false" /></p>
        <datalist id="names">${heaviest.slice(0, MOST_NAMES).map((p) => html`<option value=${p.symbol}></option>`)}</datalist>
        <p class="short"><button type="submit">Show</button></p>
      </form>
      ${fault && html`<${Problem} text=${fault} />`}
      ${!data && !fault && html`<p class="none">reading ${symbol} …</p>`}
      ${data && html`
        <${Candles} bars=${data.bars} marks=${data.marks} levels=${data.levels} agents=${agents} symbol=${data.symbol} say=${over} />
        <p class="hover">${bar ? html`${local(bar.ts, now.zone)}: ${bar.open === null ? "" : `open ${price(bar.open)}, high ${price(bar.high)}, low ${price(bar.low)}, `}close ${price(bar.close)}${near.map((mark) => html`<br />${wordsOf(mark, now.zone)}`)}`
    : html`<span class="none">${data.bars.length} bars. Arrows are fills, ○ is a refused order, dashed lines are stops and targets. ${count(data.marks.filter((mark) => mark.bar >= 0).length)} of ${count(data.marks.length)} fills and refusals are in these bars${data.cut ? `; older ones than the newest ${MOST_MARKS} of each are not read` : ""}.</span>`}</p>
        <p>${now.agents.slice(0, 12).map((each) => html`<span class="key"><i style=${{ background: `var(${colourOf(agents, each.name)})` }} aria-hidden="true"></i>${each.name} </span>`)}</p>`}
    </section>
    ${data && html`<section class="card wide"><h2>Fills and refusals of ${data.symbol}</h2>
      <${Table} name="Fills and refusals" rows=${data.marks.slice().reverse()} most=${12} first="newest" empty="none" words=${(m) => `${m.side} ${m.agent} ${m.reason || ""} ${m.why}`} columns=${[
    { head: "time", cell: (m) => local(m.ts, now.zone) },
    { head: "order", cell: (m) => `${m.side} ${plain(m.qty)}` },
    { head: "became", cell: (m) => (m.refused ? html`<span class="HALT">refused: ${m.reason.replaceAll("_", " ")}</span>` : `filled at ${price(m.price)}`) },
    { head: "commission", num: true, cell: (m) => (m.refused ? "–" : money(m.fee)) },
    { head: "agents, or whose limit", cell: (m) => m.agent },
    { head: "explanation", cell: (m) => html`<${WhyButton} id=${m.why} label=${`Why ${m.side} ${m.qty}, ${m.why}`} />` },
  ]} /></section>`}`;
}
