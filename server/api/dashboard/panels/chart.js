// Charts of lines over time.
import { html, useEffect, useRef } from "./htm-preact-standalone.mjs";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A uPlot chart. `series` are [label, colour variable]; `data` is [times in s, ...columns]; `words` say what it shows.
export function Chart({ data, series, height, words, format }) {
  const box = useRef(null);
  const chart = useRef(null);
  const shape = series.map(([label]) => label).join("|");
  useEffect(() => {
    const ink = colour("--dim");
    const axis = { stroke: ink, grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 } };
    const made = new uPlot({
      width: box.current.clientWidth, height, legend: { show: false }, cursor: { y: false },
      scales: { x: { time: true } },
      axes: [axis, { ...axis, size: (_, values) => 20 + 7 * Math.max(...(values || [""]).map((x) => x.length)), values: (_, ticks) => ticks.map(format) }],
      series: [{}, ...series.map(([label, name]) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: true }))],
    }, data, box.current);
    chart.current = made;
    const fit = new ResizeObserver(() => made.setSize({ width: box.current.clientWidth, height }));
    fit.observe(box.current);
    return () => { fit.disconnect(); made.destroy(); };
  }, [shape]);
  useEffect(() => { if (chart.current) chart.current.setData(data); }, [data]);
  return html`<figure>
    <div class="chart" ref=${box} role="img" aria-label=${words}></div>
    <figcaption>${series.length > 1 && series.map(([label, name]) => html`<span class="key"><i style=${{ background: `var(${name})` }} aria-hidden="true"></i>${label} </span>`)}${words}</figcaption>
  </figure>`;
}
