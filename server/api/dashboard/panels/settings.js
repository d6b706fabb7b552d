// What a browser keeps about the look of the page: theme, time zone, colours of gain and loss.
import { html, useState } from "./htm-preact-standalone.mjs";
import { changed, daemon } from "./daemon.js";
import { city, setZone } from "./figures.js";

const STORE = "quantd.look";
/** @type {Record<string, [string, Record<string, string>]>} */
const CHOICES = {
  theme: ["Theme", { "": "as the system", light: "light", dark: "dark" }],
  zone: ["Times", { "": "of the exchange", UTC: "UTC", here: "of this browser" }],
  colours: ["Gain and loss", { "": "green and red", safe: "blue and orange, for colour-blind eyes" }],
};
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

// Of each choice the present one; what the store holds may be of another version of this page.
export function look() {
  let stored = {};
  try { stored = JSON.parse(localStorage.getItem(STORE)) || {}; } catch { stored = {}; }
  return Object.fromEntries(Object.entries(CHOICES).map(([name, [, options]]) => [name, stored[name] in options ? stored[name] : ""]));
}

/**
 * A state that this browser keeps under a name, or this tab alone where it stores nothing. `fits` says whether what was
 * stored, perhaps by another version of this page, is a value of it.
 * @template T
 * @param {string} name
 * @param {T} first
 * @param {(value: any) => boolean} fits
 * @returns {[T, (value: T) => void]}
 */
export function useStored(name, first, fits) {
  const [value, put] = useState(() => {
    try {
      const stored = JSON.parse(localStorage.getItem(`quantd.${name}`));
      return stored !== null && fits(stored) ? stored : first;
    } catch { return first; }
  });
  const set = (next) => {
    try { localStorage.setItem(`quantd.${name}`, JSON.stringify(next)); } catch { /* this tab alone */ }
    put(next);
  };
  return [value, set];
}

export const texts = (value) => Array.isArray(value) && value.every((each) => typeof each === "string");

export function applyLook() {
  const { theme, zone, colours } = look();
  const { dataset } = document.documentElement;
  [dataset.theme, dataset.colours] = [theme, colours];
  setZone(zone === "here" ? HERE : zone);
}

export function Settings({ close }) {
  const [now, put] = useState(look());
  const zone = daemon.live ? daemon.live.overview.zone : "UTC";
  const set = (name) => (event) => {
    const next = { ...now, [name]: event.target.value };
    try { localStorage.setItem(STORE, JSON.stringify(next)); } catch { /* this tab alone */ }
    put(next);
    applyLook();
    changed({});
  };
  const words = (name, value, text) => (name !== "zone" ? text : value === "here" ? `${text} (${city(HERE)})` : value ? text : `${text} (${city(zone)})`);
  return html`${Object.entries(CHOICES).map(([name, [title, options]], k) => html`<p><label for=${`look-${name}`}>${title}</label>
      <select id=${`look-${name}`} value=${now[name]} onChange=${set(name)} ...${k ? {} : { "data-first": true }}>${Object.entries(options).map(([value, text]) => html`<option value=${value}>${words(name, value, text)}</option>`)}</select></p>`)}
    <p class="buttons"><button type="button" onClick=${close}>Close</button></p>`;
}
