// What is seen as a file: a table as CSV, a chart as PNG, and the link of the page with its period.
import { html, useState } from "./htm-preact-standalone.mjs";
import { daemon } from "./daemon.js";
import { periodNow } from "./period.js";

const named = (what, kind) => {
  const { name, from, to } = periodNow();
  const period = name || `${from || "start"}-${to || "now"}`;
  return `quantd-${daemon.live.overview.name}-${what.replace(/\W+/g, "-").toLowerCase()}-${period}.${kind}`;
};

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// A cell that begins like a formula is text: a spreadsheet would run it.
const cell = (value) => {
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
export const csvOf = (heads, rows) => [heads, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
const saveCsv = (what, heads, rows) => save(new Blob([csvOf(heads, rows)], { type: "text/csv" }), named(what, "csv"));

// A chart on the colour of its card: a transparent picture is unreadable in half of the programs. Its canvases lie over
// each other.
function savePng(what, box) {
  const canvases = [...box.querySelectorAll("canvas")].filter((each) => each.width && each.height);
  if (!canvases.length) return;
  const frame = box.getBoundingClientRect();
  const scale = canvases[0].width / canvases[0].getBoundingClientRect().width;
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [frame.width * scale, frame.height * scale];
  const pen = sheet.getContext("2d");
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
  pen.fillRect(0, 0, sheet.width, sheet.height);
  for (const each of canvases) {
    const place = each.getBoundingClientRect();
    pen.drawImage(each, (place.left - frame.left) * scale, (place.top - frame.top) * scale, place.width * scale, place.height * scale);
  }
  sheet.toBlob((blob) => blob && save(blob, named(what, "png")));
}

// `table` gives [heads, rows] when it is asked; `chart` is the element of a chart.
export function Export({ what, table = null, chart = null }) {
  const [copied, tell] = useState("");
  const copy = () => navigator.clipboard.writeText(location.href).then(() => tell("copied"), () => tell(location.href));
  return html`<p class="export">
    ${table && html`<button type="button" class="plain" aria-label=${`Save ${what} as CSV`} onClick=${() => saveCsv(what, ...table())}>CSV</button>`}
    ${chart && html`<button type="button" class="plain" aria-label=${`Save ${what} as PNG`} onClick=${() => savePng(what, chart())}>PNG</button>`}
    <button type="button" class="plain" aria-label=${`Copy the link of ${what}`} onClick=${copy}>link</button>
    <span role="status">${copied}</span></p>`;
}
