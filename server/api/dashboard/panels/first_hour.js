// The five questions of a first run: a form over `quantd init`, its output, the file that it wrote, and the start.
import { html, render, useEffect, useState } from "./htm-preact-standalone.mjs";

const LOOK_MS = 400;

/** @returns {Promise<any>} */
async function asked(path, body = undefined) {
  const more = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(`/first/${path}`, { cache: "no-store", ...more }).catch(() => { throw new Error("`quantd` does not answer: look into its terminal"); });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

// The code of the one-time link counts once; the cookie that it gives lasts, so that the page may be loaded again.
async function entered() {
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/");
  if (code) await asked("enter", { code });
  return asked("progress");
}

const Fault = ({ text, id = "" }) => (text ? html`<p role="alert" class="problem" id=${id || null}>${text}</p>` : "");

function Field({ name, words, value, put, now, hint = "", kind = "text", after = "", more = {} }) {
  const wrong = now.field === name ? now.fault : "";
  const notes = [hint && `${name}-hint`, wrong && `${name}-fault`].filter(Boolean).join(" ");
  return html`<p><label for=${name}>${words}</label>
    <input id=${name} type=${kind} value=${value} onInput=${(event) => put(name, event.target.value)} aria-describedby=${notes || null} aria-invalid=${wrong ? "true" : null} autocomplete="off" spellcheck="false" ...${more} />${after}
    ${hint && html`<span class="none" id=${`${name}-hint`}> ${hint}</span>`}</p>
    <${Fault} text=${wrong} id=${`${name}-fault`} />`;
}

const number = { inputmode: "decimal", size: 6, placeholder: "fitted" };

function Form({ now, answers, put, send }) {
  const field = (name, words, given = {}) => html`<${Field} name=${name} words=${words} value=${answers[name]} put=${put} now=${now} ...${given} />`;
  return html`<form class="card wide" onSubmit=${(event) => { event.preventDefault(); send(); }}>
    <h2>Five questions</h2>
    <fieldset><legend>1. What should the account hold?</legend>
      ${field("holds", "Symbols and weights in per cent", { hint: "What is left is cash. Symbols without weights are held in equal parts.", more: { placeholder: "SPY=60, TLT=40", autofocus: true } })}
      ${field("data", "File or folder of their bars", { hint: "A path on this machine: CSV, Parquet and others. Empty: from Yahoo.", more: { placeholder: "prices/" } })}</fieldset>
    <fieldset><legend>2. With how much money?</legend>${field("cash", "Capital", { more: { inputmode: "decimal", placeholder: "100000" } })}</fieldset>
    <fieldset><legend>3. What stops it?</legend>
      ${field("max_drawdown", "All trading stops after a fall from the highest value of", { after: " %", more: number })}
      ${field("max_daily_loss", "It stops after a loss in one day of", { after: " %", more: number })}
      ${field("max_position_weight", "One symbol is never more of the account than", { after: " %", more: number })}
      <p class="none">An empty limit is fitted: above what these weights lost in the bars.</p></fieldset>
    <fieldset><legend>4. Messages to a phone?</legend>
      ${field("topic", "Topic of the app ntfy", { hint: "Empty: none. Whoever knows the name can read it." })}
      <p><button type="button" onClick=${() => put("topic", now.topic)}>A name that nobody guesses</button></p></fieldset>
    <fieldset><legend>5. Where does it trade?</legend>
      <p><label for="venue">Venue</label><select id="venue" value=${answers.venue} onChange=${(event) => put("venue", event.target.value)}><option value="">simulated on this machine, over the bars</option><option value="alpaca">Alpaca, paper account, live prices</option></select></p>
      ${answers.venue && field("key", "Key of the paper account")}${answers.venue && field("secret", "Secret of that key", { kind: "password" })}
      ${now.field === "venue" && html`<${Fault} text=${now.fault} />`}</fieldset>
    ${now.fault && !now.field && html`<${Fault} text=${now.fault} />`}
    <p class="buttons"><button type="submit" class="main">Write and backtest</button></p>
  </form>`;
}

function Result({ now, start, change, fault, starting }) {
  return html`<section class="card wide"><h2>${now.phase === "passed" ? "Your first run" : "At work"}</h2>
    <p role="status">${now.phase === "passed" ? "Written, checked and backtested. The files move into this folder at the start." : "The bars are read, and the configuration is written, checked and backtested …"}</p>
    <p>The same from a shell: <code>${now.command}</code></p>
    <${Fault} text=${fault} />
    ${now.phase === "passed" && html`<p class="buttons"><button type="button" class="main" disabled=${starting} onClick=${start}>${starting ? "Starting …" : "Start on paper"}</button><button type="button" disabled=${starting} onClick=${change}>Change an answer</button></p>`}
    <${Output} lines=${now.lines} />
    ${now.toml && html`<h3>config.toml</h3><pre tabindex="0" role="region" aria-label="config.toml">${now.toml}</pre>`}</section>`;
}

const Output = ({ lines }) => (lines.length > 0 ? html`<pre tabindex="0" role="region" aria-label="Output of quantd init">${lines.join("\n")}</pre>` : "");

function FirstHour() {
  const [now, see] = useState(/** @type {any} */ (null));
  const [answers, write] = useState(/** @type {any} */ ({ holds: "", data: "", cash: "", max_drawdown: "", max_daily_loss: "", max_position_weight: "", topic: "", venue: "", key: "", secret: "" }));
  const [fault, tell] = useState("");
  const [changes, change] = useState(false);
  const [starting, begin] = useState(false);
  const trusted = (asking) => asking.then((answer) => { tell(""); return answer; }, (why) => { tell(why.message); begin(false); return null; });
  const put = (name, value) => write((before) => ({ ...before, [name]: value }));
  const looked = async () => { const next = await trusted(asked("progress")); if (next) see(next); };
  const send = async () => { change(false); const next = await trusted(asked("try", answers)); if (next) see(next); };
  const start = async () => { begin(true); const handed = await trusted(asked("start", {})); if (handed) location.replace(handed.link); };
  useEffect(() => { trusted(entered()).then((first) => { if (first) { see(first); write((before) => ({ ...before, ...first.answers })); } }); }, []);
  useEffect(() => {
    if (!now || now.phase !== "tried") return () => {};
    const clock = setTimeout(looked, LOOK_MS);
    return () => clearTimeout(clock);
  }, [now]);
  useEffect(() => { const wrong = document.querySelector("[aria-invalid]"); if (wrong instanceof HTMLElement) wrong.focus(); }, [now && now.phase]);
  if (!now) return html`<section class="card wide"><h2>${fault ? "Not open" : "Opening …"}</h2><${Fault} text=${fault} /></section>`;
  const form = now.phase === "asked" || changes;
  return form ? html`<${Form} now=${now} answers=${answers} put=${put} send=${send} /><${Fault} text=${fault} /><${Output} lines=${now.lines} />`
    : html`<${Result} now=${now} start=${start} change=${() => change(true)} fault=${fault} starting=${starting} />`;
}

render(html`<${FirstHour} />`, document.getElementById("main"));
