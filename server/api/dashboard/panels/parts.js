// Parts that every screen uses. All text goes through preact's text nodes: none of it is ever parsed as HTML.
import { html, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { daemon } from "./daemon.js";
import { byText, count } from "./figures.js";
import { useRead } from "./reads.js";
import { Term } from "./terms.js";

const narrow = matchMedia("(max-width: 32rem)");

// On a phone what is not first is folded, and read once it is opened; elsewhere it is there.
export function Fold({ words, id, children }) {
  const [opened, open] = useState(false);
  if (!narrow.matches) return children;
  return html`<details class="card wide fold" id=${id} onToggle=${(event) => open(event.currentTarget.open)}><summary>${words}</summary>${opened && children}</details>`;
}

// A list that stays short: the first `most` rows, how many more there are, and a search. Of `total` rows the daemon
// sent some only: then `find` takes the text of the search, and `rows` and `total` are what the daemon found; until the
// daemon has answered (`asked`), the rows that are here already are searched. `turn` is that of usePages: then `rows`
// are one page. `foot` are rows of sums. On a phone each row is a card, whose cells have the name of their column.
export function Table({ name, columns, rows, most = 10, by = (row) => row.id, words, empty = "none", first = "largest", total = rows.length, find = null, asked = true, foot = [], turn = null }) {
  const [query, search] = useState("");
  const fits = byText(query);
  const found = query && (!find || !asked) ? rows.filter((row) => fits(find ? by(row) : words(row))) : rows;
  const all = (find || !query) && asked ? Math.max(total, rows.length) : found.length;
  const of = total > rows.length ? `the newest ${count(rows.length)}` : count(rows.length);  // a search of a page finds no older one
  const shown = found.slice(0, most);
  const id = `search-${name.replace(/\W+/g, "-").toLowerCase()}`;
  const before = turn ? turn.before : 0;
  const more = all - before - shown.length;
  const ask = (text) => { search(text); if (find) find(text.trim()); };
  const state = () => {
    if (!asked) return "asking …";
    if (before) return `${count(before + 1)} to ${count(before + shown.length)} of ${count(all)}`;
    if (more > 0) return `${shown.length} ${first} of ${count(all)}; ${count(more)} more${query && !find && total > rows.length ? `, in ${of}` : ""}`;
    return find ? count(all) : query ? `${count(all)} of ${of}` : count(all);
  };
  const label = (each) => each.label || each.head;
  const cells = (row) => columns.map((each) => html`<td role="cell" data-head=${label(each)} class=${`${each.num ? "n" : ""} ${each.kind ? each.kind(row) : ""}`}><span class="cell">${each.cell(row)}</span></td>`);
  return html`
    ${(all > most || rows.length > most || query || before > 0) && html`<p class="find">
      <label for=${id}>Search ${name.toLowerCase()}</label>
      <input id=${id} type="search" value=${query} onInput=${(event) => ask(event.target.value)} autocomplete="off" spellcheck="false" />
      <span role="status">${state()}</span>
      ${turn && (before > 0 || turn.older) && html`<button type="button" disabled=${!before || turn.busy} aria-label=${`Newer ${name.toLowerCase()}`} onClick=${turn.back}>Newer</button>
        <button type="button" disabled=${!turn.older || turn.busy} aria-label=${`Older ${name.toLowerCase()}`} onClick=${turn.on}>Older</button>`}
    </p>`}
    <div class="scroll" tabindex="0" role="region" aria-label=${name}>
      <table role="table" class=${columns.length > 7 ? "many much" : columns.length > 2 ? "many" : ""}>
        <thead role="rowgroup"><tr role="row">${columns.map((each) => html`<th role="columnheader" scope="col" class=${each.num ? "n" : ""}>${each.head}${each.term && html`<${Term} of=${each.term} place=${id} />`}</th>`)}</tr></thead>
        <tbody role="rowgroup">
          ${shown.map((row) => html`<tr role="row" key=${by(row)} class=${row.chosen ? "chosen" : ""}>${cells(row)}</tr>`)}
          ${!shown.length && html`<tr role="row"><td role="cell" class="none" colspan=${columns.length}>${!asked ? "asking …" : query ? "nothing matches" : empty}</td></tr>`}
        </tbody>
        ${foot.length > 0 && html`<tfoot role="rowgroup">${foot.map((row) => html`<tr role="row">${cells(row)}</tr>`)}</tfoot>`}
      </table>
    </div>`;
}

const WHOLE = /(\S+ %|\d{4}-\d\d-\d\d)/;  // a share or a date, which no line breaks

export function Figure({ name, value, kind = "", more, term = "" }) {
  return html`<div class="figure"><h2>${name}${term && html`<${Term} of=${term} place="figure" />`}</h2><p class=${`value ${kind}`}>${value}</p><p>${String(more).split(WHOLE).map((text, k) => (k % 2 ? html`<span class="whole">${text}</span>` : text))}</p></div>`;
}

// A modal dialog: the browser keeps the focus in it, Escape closes it, and the focus goes back to where it was.
// It opens within the task of the key or click, not at the next frame: the next key is typed into it. It closes within
// the task of Escape too: the browser's own close event comes later, and would close the next dialog.
export function Dialog({ title, close, children }) {
  const box = useRef(null);
  const gone = useRef(false);
  const escape = (event) => {
    event.preventDefault();
    gone.current = true;
    box.current.close();
    close();
  };
  useLayoutEffect(() => {
    box.current.showModal();
    const first = box.current.querySelector("[data-first]");
    if (first) first.focus();
  }, []);
  return html`<dialog ref=${box} aria-label=${title} onCancel=${escape} onClose=${() => gone.current || close()}>
    <h2>${title}</h2>
    ${daemon.renewed && html`<${Problem} text="Another run has begun. The figures here are of the run before; what you typed stays." />`}
    ${children}
  </dialog>`;
}

export const Problem = ({ text }) => html`<p role="alert" class="problem">${text}</p>`;

// A bar of a limit, with its use in words beside it.
export function Use({ use }) {
  if (use === null || use === undefined) return html`<span class="none">–</span>`;
  const kind = use >= 1 ? "full" : use >= 0.8 ? "near" : "";
  const word = use >= 1 ? "at the limit" : use >= 0.8 ? "near" : "";
  return html`<span class="use"><span class="track" aria-hidden="true"><span class=${kind} style=${{ width: `${Math.min(100, Math.max(0, 100 * use))}%` }}></span></span>
    <span>${(100 * use).toFixed(0)} % ${word}</span></span>`;
}

/**
 * A component whose script is read when it is first shown, and the function that reads it before. `name` is the
 * question.
 * @param {string} name
 * @param {() => Promise<any>} load
 * @returns {[any, () => Promise<any>]}
 */
export function behind(name, load) {
  let content = null;
  const begin = async () => { content = content || await load(); return content; };
  const Content = (given) => {
    const { fault } = useRead(begin, content ? 0 : daemon.at, name);
    return content ? html`<${content} ...${given} />` : html`<p class="none" role="status">${fault ? "the script of this part was not read; it is tried again" : "reading …"}</p>`;
  };
  return [Content, begin];
}
