// Reads beside the stream. The newest question wins: the answer to an older one is dropped, and never shown under the
// new one.
import { useEffect, useLayoutEffect, useRef, useState } from "./htm-preact-standalone.mjs";

const EVERY_MS = 1000;  // of one question, whose figures change with the stream
const TYPING_MS = 150;  // between two questions: a person types
const STUCK_MS = 20000;  // a read without an answer holds up no later one

// While a request of a screen runs, the main part is busy for assistive technology.
let reading = 0;
function busier(by) {
  reading += by;
  const main = document.getElementById("main");
  if (main) main.ariaBusy = String(reading > 0);
}

/**
 * What a screen reads: again when `when` changes, at most once a second, and at once when the `question` changes.
 * `data` is null until the present question has an answer; `asked` is true once it has one, a fault too.
 * @template T
 * @param {() => Promise<T>} fetcher
 * @param {any} when
 * @param {string} [question]
 * @returns {{ data: T, fault: string, asked: boolean }}
 */
export function useRead(fetcher, when, question = "") {
  const [shown, put] = useState({ question, data: null, fault: "", asked: false });
  const state = useRef({ number: 0, running: 0, again: false, begun: 0, question: null, timer: null });
  const newest = useRef(fetcher);
  newest.current = fetcher;
  useEffect(() => () => {
    const now = state.current;
    clearTimeout(now.timer);
    if (now.running) busier(-1);
    [now.number, now.running] = [now.number + 1, 0];
  }, []);
  useLayoutEffect(() => {
    const now = state.current;
    const begin = async () => {
      const number = now.number;
      now.begun = Date.now();
      now.again = false;
      let answer;
      try {
        answer = { data: await newest.current(), fault: "" };
      } catch (why) {
        answer = { data: null, fault: String(why.message || why) };
      }
      if (number !== now.number) return;  // a newer question was asked
      now.running = 0;
      busier(-1);
      put((old) => ({ question, asked: true, fault: answer.fault, data: answer.fault && old.question === question ? old.data : answer.data }));
      if (now.again) start(EVERY_MS);
    };
    const start = (pause) => {
      if (!now.running) busier(1);
      now.running = 1;
      now.number += 1;
      clearTimeout(now.timer);
      const wait = now.begun + pause - Date.now();
      if (wait > 0) now.timer = setTimeout(begin, wait); else begin();
    };
    const other = now.question !== question;
    now.question = question;
    if (other) start(TYPING_MS);
    else if (now.running && Date.now() - now.begun < STUCK_MS) now.again = true;
    else start(EVERY_MS);
  }, [when, question]);
  return shown.question === question ? shown : { data: null, fault: "", asked: false };
}

// The words of an empty list, which are a claim: they need an answer.
export const noneOf = (found, words) => (found.asked && !found.fault ? words : found.fault ? "not known: the read failed" : "reading …");
