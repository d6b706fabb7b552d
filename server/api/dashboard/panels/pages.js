// Pages of a list that goes on at the daemon: from one source or from several, merged by their instants.
import { useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { useRead } from "./reads.js";

/**
 * @typedef {{ rows: any[], next: string, begun: boolean }} Source
 * @typedef {(cursor: string) => Promise<{ rows: any[], next: string }>} Fetch
 */

/**
 * The next page of so many rows: the newest rows of all sources, each of which keeps what it did not give.
 * @param {Fetch[]} fetches
 * @param {Source[]} before
 * @param {number} size
 */
async function nextPage(fetches, before, size) {
  const sources = before.map((each) => ({ ...each, rows: [...each.rows] }));
  const fill = (source, k) => (source.rows.length || (source.begun && !source.next) ? null : fetches[k](source.next).then((page) => Object.assign(source, { ...page, rows: [...page.rows], begun: true })));
  const rows = [];
  while (rows.length < size) {
    await Promise.all(sources.map(fill));
    const full = sources.filter((each) => each.rows.length);
    if (!full.length) break;
    rows.push(full.reduce((a, b) => (b.rows[0].ts > a.rows[0].ts ? b : a)).rows.shift());
  }
  return { rows, sources, older: sources.some((each) => each.rows.length || each.next) };
}

/**
 * The page that is shown. The newest page is read again when `when` changes; an older one stays as it is.
 * @param {Fetch[]} fetches
 * @param {number} size
 * @param {string} when
 * @param {string} question
 */
export function usePages(fetches, size, when, question) {
  const empty = fetches.map(() => ({ rows: [], next: "", begun: false }));
  const [{ turned, of, busy, fault }, put] = useState({ turned: /** @type {any[]} */ ([]), of: question, busy: false, fault: "" });
  const first = useRead(() => nextPage(fetches, empty, size), when, question);
  const now = useRef(question);
  now.current = question;
  useEffect(() => { if (of !== question) put({ turned: [], of: question, busy: false, fault: "" }); }, [question]);
  const pages = of === question ? turned : [];
  const shown = pages.at(-1) || first.data;
  const on = async () => {
    put((old) => ({ ...old, of: question, busy: true, fault: "" }));
    try {
      const page = await nextPage(fetches, shown.sources, size);
      if (now.current === question) put({ turned: [...pages, page], of: question, busy: false, fault: "" });
    } catch (why) {
      if (now.current === question) put((old) => ({ ...old, busy: false, fault: String(why.message || why) }));
    }
  };
  const back = () => put({ turned: pages.slice(0, -1), of: question, busy: false, fault: "" });
  return {
    rows: shown ? shown.rows : [], older: Boolean(shown && shown.older), before: pages.length * size, busy, on, back,
    asked: Boolean(shown) || first.asked, fault: fault || first.fault,
  };
}
