// Notes of one's own on the curve, each of one run and instant. This browser alone has them: the daemon knows of none.
import { html, useState } from "./htm-preact-standalone.mjs";
import { count, local } from "./figures.js";

const STORE = "quantd.curve.notes";
const MOST = 200;
const LONGEST = 200;

const fits = (value) => Array.isArray(value) && value.every((each) => each && typeof each.run === "string" && Number.isFinite(each.ts) && typeof each.text === "string");

// What this browser has stored, perhaps by another tab; null where it stores nothing.
function stored() {
  try {
    const value = JSON.parse(localStorage.getItem(STORE));
    return fits(value) ? value : null;
  } catch { return null; }
}

/**
 * The notes of a run, the oldest first, and what adds and removes one.
 * @param {string} run
 */
export function useNotes(run) {
  const [all, put] = useState(/** @type {{ run: string, ts: number, text: string }[]} */ (stored() || []));
  const keep = (edit) => {
    const next = edit(stored() || all);
    try { localStorage.setItem(STORE, JSON.stringify(next)); } catch { /* this tab alone */ }
    put(next);
  };
  return {
    own: all.filter((each) => each.run === run).sort((a, b) => a.ts - b.ts).map((each) => ({ ...each, kind: "own" })),
    full: all.length >= MOST,
    add: (ts, text) => keep((notes) => [...notes, { run, ts, text }]),
    remove: ({ ts, text }) => keep((notes) => notes.filter((each) => each.run !== run || each.ts !== ts || each.text !== text)),
  };
}

// The form for a note at the crosshair, and the list, in which a key or a click shows a note on the curve.
export function Notes({ notes, ts, zone, first, show }) {
  const [text, write] = useState("");
  const add = (event) => { event.preventDefault(); notes.add(ts, text.trim()); write(""); };
  return html`<form class="own" onSubmit=${add}><label for="own-note">Own note at ${local(ts, zone)}</label><input id="own-note" value=${text} maxlength=${LONGEST} onInput=${(event) => write(event.target.value)} autocomplete="off" />
      <button type="submit" disabled=${!text.trim() || notes.full}>Add</button>${notes.full && html` <span class="none">This browser has ${count(MOST)} notes: remove one first.</span>`}</form>
    ${notes.own.length > 0 && html`<details><summary>Own notes, in this browser alone: ${count(notes.own.length)}</summary><ul>${notes.own.map((note) => html`<li key=${`${note.ts}/${note.text}`}><button type="button" disabled=${note.ts < first} onFocus=${() => show(note.ts)} onClick=${() => show(note.ts)}>${local(note.ts, zone)}</button> ${note.text} <button type="button" aria-label=${`Remove the note: ${note.text}`} onClick=${() => notes.remove(note)}>Remove</button></li>`)}</ul></details>`}`;
}
