// Limits, shares, schedules and receivers: their values with the lines of the file, and their change after a preview.
import { html, useState } from "./htm-preact-standalone.mjs";
import { Became, Reason, useAct, usePlan } from "./acts.js";
import { daemon, may, read } from "./daemon.js";
import { signed } from "./device.js";
import { Dialog, Problem, Table } from "./parts.js";
import { noneOf, useRead } from "./reads.js";

const PATH = "/api/v1/settings";
const TAKES = { now: "at once", restart: "with a restart of the daemon" };

// Why this browser does not make a change; empty where it does.
const unable = ({ needs }) => {
  if (needs === "admin" && !may("admin")) return "what is no tighter limit needs a token of scope admin";
  return needs === "device" && !daemon.device ? "it needs a signature, and this browser is not paired: quantd connect phone shows how" : "";
};

/** @param {{ setting: { key: string, label: string, value: string }, value?: string, close: () => void, changed?: () => void }} given */
export function Change({ setting, value = setting.value, close, changed = () => {} }) {
  const [text, write] = useState(value);
  const [reason, because] = useState("");
  const [lost, tell] = useState("");
  const [state, go] = useAct(() => { changed(); close(); });
  const { plan, busy, fault, preview, drop } = usePlan(text, state);
  const why = plan ? unable(plan) : "";
  const send = async () => {
    tell("");
    const body = { setting: setting.key, value: text, reason, plan: plan.plan };
    try {
      go(PATH, plan.needs === "device" ? { ...body, signed: await signed(["setting", plan.plan], plan.now) } : body);
    } catch (fault) { tell(`NOT CHANGED: this browser did not sign: ${fault.message}`); }
  };
  return html`<${Dialog} title=${setting.label} close=${close}>
    <form onSubmit=${(event) => { event.preventDefault(); preview(`${PATH}/preview`, () => ({ setting: setting.key, value: text })); }}>
      <label for="setting">New value, as in the configuration; now ${setting.value || "none"}</label>
      <input id="setting" value=${text} onInput=${(event) => { write(event.target.value); drop(); }} required autocomplete="off" spellcheck="false" data-first />
      <${Reason} value=${reason} write=${because} />
      <${Became} state=${state} />
      <div role="status">${plan && html`<dl class="pairs"><dt>from</dt><dd>${plan.before || "none"}</dd><dt>to</dt><dd>${plan.after}, ${plan.source}</dd>
        <dt>in force</dt><dd class=${plan.takes === "now" && plan.kind === "limit" ? "" : "REDUCE"}>${TAKES[plan.takes] || `from ${plan.due}`}${plan.note && `: ${plan.note}`}</dd>
        ${plan.looser.length > 0 && html`<dt>looser</dt><dd class="REDUCE">${plan.looser.join(", ")}</dd>`}</dl>`}</div>
      ${(fault || lost || why) && html`<${Problem} text=${fault || lost || why} />`}
      <p class="buttons"><button type="submit" class=${plan ? "" : "main"} disabled=${busy || state.busy}>Look</button>
        ${plan && !why && html`<button type="button" class="main" disabled=${state.busy || !reason.trim()} onClick=${send}>${plan.needs === "device" ? "Sign and write it" : "Write it into the file"}</button>`}
        <button type="button" onClick=${close}>Cancel</button></p>
    </form></${Dialog}>`;
}

/** The settings that may change. */
export function useSettings() {
  const [acts, acted] = useState(0);
  const now = daemon.live.overview;
  const found = useRead(() => read(PATH), `${now.run}/${now.loosening}/${now.differs.length}/${acts}`);
  return { found, settings: found.data ? found.data.settings : [], changed: () => acted((n) => n + 1) };
}

export function Changes() {
  const [chosen, choose] = useState(null);
  const { found, settings, changed } = useSettings();
  const words = (each) => `${each.kind} ${each.label} ${each.value} ${each.source}`;
  return html`<section class="card wide"><h2>Limits, shares, schedules, receivers</h2>
    ${found.fault && html`<${Problem} text=${found.fault} />`}
    <${Table} name="Settings that may change" rows=${settings} most=${12} first="first" by=${(each) => each.key} words=${words} empty=${noneOf(found, "none may change")} columns=${[
    { head: "kind", cell: (each) => each.kind },
    { head: "setting", cell: (each) => each.label },
    ...(may("trade") ? [{ head: "act", cell: (each) => html`<button type="button" aria-label=${`Change ${each.label}`} onClick=${() => choose(each)}>Change …</button>` }] : []),
    { head: "value", cell: (each) => each.value || "–" },
    { head: "source", cell: (each) => each.source },
  ]} />
    <p class="none">A tighter limit is in force at once; a looser one waits for its delay, or for the approval of a second person. The file keeps its comments.</p>
    ${chosen && html`<${Change} key=${chosen.key} setting=${chosen} close=${() => choose(null)} changed=${changed} />`}
  </section>`;
}
