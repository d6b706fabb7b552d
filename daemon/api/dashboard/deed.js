// A form that sends one act: a reason for the journal, one request under one key, and the fault in words.
import { html, useRef, useState } from "./htm-preact-standalone.mjs";
import { act, newKey } from "./daemon.js";
import { Problem } from "./parts.js";

/**
 * The request runs once: its button is dead meanwhile, and a repetition after a fault is a new one.
 * @param {(answer: any) => void} done
 * @returns {[{ busy: boolean, fault: string }, (path: string, body: object, then?: (answer: any) => void) => Promise<void>]}
 */
export function useDeed(done) {
  const [state, put] = useState({ busy: false, fault: "" });
  const key = useRef(newKey());
  const go = async (path, body, then = done) => {
    if (state.busy) return;
    put({ busy: true, fault: "" });
    try {
      const answer = await act(path, body, key.current);
      key.current = newKey();
      put({ busy: false, fault: "" });
      then(answer);
    } catch (why) {
      key.current = newKey();
      put({ busy: false, fault: String(why.message) });
    }
  };
  return [state, go];
}

export function Reason({ value, write, first = false }) {
  return html`<label for="reason">Reason, for the journal</label>
    <input id="reason" value=${value} onInput=${(event) => write(event.target.value)} required pattern=".*\\S.*" maxlength="500" autocomplete="off" ...${first ? { "data-first": true } : {}} />`;
}

// What a dialog asks for when an act needs a reason only.
export function Deed({ words, path, title, done, close, children, more = {}, keep = "Cancel", ready = true }) {
  const [reason, write] = useState("");
  const [state, go] = useDeed((answer) => { done(answer); close(); });
  return html`<form onSubmit=${(event) => { event.preventDefault(); go(path, { ...more, reason }); }}>
    <p>${words}</p>
    ${children}
    <${Reason} value=${reason} write=${write} first=${true} />
    ${state.fault && html`<${Problem} text=${state.fault} />`}
    <p class="buttons"><button type="submit" class="main" disabled=${state.busy || !ready}>${title}</button><button type="button" onClick=${close}>${keep}</button></p>
  </form>`;
}
