// The page: what is on top, one screen below it, one dialog above it.
import { html, render, useEffect, useRef, useState } from "./htm-preact-standalone.mjs";
import { addressOf, screenNow } from "./address.js";
import { clock, saying } from "./acts.js";
import { begin, daemon, listen, mayStop, typed } from "./daemon.js";
import { HaltAll } from "./halts.js";
import { money } from "./figures.js";
import { Now } from "./now.js";
import { behind, Dialog } from "./parts.js";
import { Dates } from "./period.js";
import { applyLook, Settings } from "./settings.js";
import { Halt, Pair, Resume, SignIn, stale, Standing } from "./standing.js";
import { explain, WhyPanel, whyNow } from "./why.js";

const PRELOAD_MS = 1500;
/** @type {(() => Promise<void>)[]} */
const scripts = [];

// Name, title and component of each screen. All but the first one are read behind the first figures, or when opened.
/** @type {[string, string, any][]} */
const SCREENS = [
  ["now", "Now", Now],
  later("market", "Market", () => import("./market.js").then((found) => found.Market)),
  later("orders", "Orders", () => import("./orders.js").then((found) => found.Orders)),
  later("order", "Order", () => import("./order.js").then((found) => found.OrderByHand)),
  later("agents", "Agents", () => import("./agents.js").then((found) => found.Agents)),
  later("portfolios", "Portfolios", () => import("./portfolios.js").then((found) => found.Portfolios)),
  later("risk", "Risk", () => import("./risk.js").then((found) => found.Risk)),
  later("incidents", "Incidents", () => import("./incidents.js").then((found) => found.Incidents)),
  later("research", "Research", () => import("./research.js").then((found) => found.Research)),
  later("system", "System", () => import("./system.js").then((found) => found.System)),
  later("daemons", "Daemons", () => import("./daemons.js").then((found) => found.Daemons)),
];
const DIALOGS = { halt: ["Stop trading", Halt], "halt-now": ["Stop trading", (given) => html`<${Halt} ...${given} tapped=${true} />`], "halt-all": ["Halt several daemons", HaltAll], resume: ["Resume trading", Resume], "sign-in": ["Sign in", SignIn], pair: ["Pair this phone", Pair], keys: ["Keys", Keys], settings: ["View of this browser", Settings], period: ["Period", Dates] };
const PLACES = [..."1234567890d"];
const KEYS = [["h", "halt", "trade"], ["r", "resume", "trade"], ["H", "halt of several daemons", ""], ["p", "the dates of a period", ""], ["?", "list these keys", ""], ["1 … 9, 0", "the screen of that place; 0 is the tenth", ""], ["d", "other daemons", ""], ["Escape", "close the explanation beside the rows", ""]];

/**
 * A screen whose script is read when it is opened, or PRELOAD_MS after the first figures.
 * @param {string} name
 * @param {string} title
 * @param {() => Promise<any>} load
 * @returns {[string, string, any]}
 */
function later(name, title, load) {
  const [Content, begin] = behind(name, load);
  scripts.push(() => begin().catch(() => {}));
  return [name, title, Content];
}

function Keys({ close }) {
  return html`<dl class="keys">${KEYS.map(([key, words]) => html`<dt><kbd>${key}</kbd></dt><dd>${words}</dd>`)}</dl>
    <p class="buttons"><button type="button" onClick=${close} data-first>Close</button></p>`;
}

const typing = (element) => element && (element.matches("input, select, textarea") || element.closest("dialog"));
const named = screenNow;

function Dashboard() {
  const [, draw] = useState(0);
  const [screen, go] = useState(named());
  const [dialog, open] = useState("");
  useEffect(() => {
    const again = () => draw((n) => n + 1);
    const clock = setInterval(again, 1000);
    const moved = () => { if (named() !== "main") { go(named()); again(); } };
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (event.key === "h" && mayStop()) open("halt");
      else if (event.key === "r" && mayStop()) open("resume");
      else if (event.key === "H") open("halt-all");
      else if (event.key === "p" && daemon.live) open("period");
      else if (event.key === "?") open("keys");
      else if (event.key === "Escape" && whyNow() && !document.querySelector(":popover-open")) explain("");
      else if (PLACES.includes(event.key)) location.hash = addressOf(SCREENS[PLACES.indexOf(event.key)][0]);
      else return;
      event.preventDefault();
    };
    const off = listen(again);
    window.addEventListener("hashchange", moved);
    moved();  // a link may have been used since the first drawing
    document.addEventListener("keydown", pressed);
    begin();
    return () => { off(); clearInterval(clock); };
  }, []);
  const now = daemon.live && daemon.live.overview;
  useEffect(() => { document.title = now && stale() ? `link lost · quantd ${now.name}` : now ? `${now.switch} ${money(now.equity)} · quantd ${now.name}` : "quantd"; });
  useEffect(() => { if (now) setTimeout(() => scripts.forEach((read) => read()), PRELOAD_MS); }, [Boolean(now)]);
  const found = SCREENS.find(([name]) => name === screen) || SCREENS[0];
  const [title, Content] = DIALOGS[dialog] || [];
  const said = saying();
  const close = () => open("");
  const { asking, session, renewed } = daemon;
  useEffect(() => { if (renewed && !typed()) location.reload(); });  // the clock draws again each second
  const before = useRef(found[0]);
  useEffect(() => {
    if (before.current === found[0]) return;
    before.current = found[0];
    const title = document.querySelector("#main h2");
    if (!(title instanceof HTMLElement) || document.querySelector("dialog[open]")) return;
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [found[0]]);
  useEffect(() => { if (asking && session && session.reads && !session.name) open("sign-in"); }, [asking, Boolean(session)]);
  useEffect(() => { if (daemon.pairing) open("pair"); }, [daemon.pairing]);
  return html`
    <div class="top"><${Standing} open=${open} screens=${SCREENS} screen=${found[0]} /></div>
    <div class="beside"><main id="main" tabindex="-1" class=${stale() ? "lost" : ""}>
      <p role="status" class="said">${said && html`<time>${clock(said.at)}</time> ${said.text}`}</p>
      ${now && session && !session.reads && html`<section class="card narrow"><h2>Sign in</h2><p>The figures are the last known ones.</p><${SignIn} /></section>`}
      ${now ? html`<${found[2]} open=${open} />`
    : daemon.session && !daemon.session.reads ? html`<section class="card narrow"><h2>Sign in</h2><${SignIn} /></section>`
      : html`<p class="none">${daemon.lost ? "the daemon does not answer" : "waiting for the first figures"}</p>`}
    </main>${now && html`<${WhyPanel} />`}</div>
    <footer><a href="/docs">API</a> · <a href="/metrics">metrics</a> · <a href="/health">health</a> · <button type="button" class="plain" onClick=${() => open("keys")}>keys</button>
      <span> · charts by <a href="https://www.tradingview.com/" rel="noreferrer">TradingView</a></span>
      ${now && html`<span> · quantd ${now.version}, run ${now.run}</span>`}</footer>
    ${Content && html`<${Dialog} key=${dialog} title=${title} close=${close}><${Content} close=${close} /></${Dialog}>`}`;
}

applyLook();
render(html`<${Dashboard} />`, document.getElementById("page"));
