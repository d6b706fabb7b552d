// The link: one WebSocket of this tab, for the events of the daemon and for acts with their answers. A browser has six
// connections for a host, which the reads of a few tabs fill. It counts WebSockets apart, so that an act leaves at
// once.

const PATH = "/api/v1/link";
const CONNECT_MS = 10000;  // a daemon that is frozen accepts, and answers nothing

/** @type {WebSocket | null} */
let socket = null;
let number = 0;
/** @type {Map<number, { done: (answer: any) => void, lost: (why: Error) => void }>} */
const asked = new Map();

let decided = Promise.resolve();

// Settled once the newest attempt to open the link has ended, well or badly.
export const attempted = () => decided;
export const linked = () => Boolean(socket && socket.readyState === WebSocket.OPEN);

/**
 * Opens the link, in place of an older one. `heard` gets each event, and `ended` is called once at its end, with
 * whether it was ever open. The first message has the CSRF token of the session.
 * @param {string} csrf
 * @param {(live: any) => void} heard
 * @param {(was: boolean) => void} ended
 */
export function openLink(csrf, heard, ended) {
  closeLink();
  let was = false;
  let mine;
  try {
    mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${PATH}`);
  } catch { setTimeout(() => ended(false)); return; }
  socket = mine;
  decided = new Promise((done) => { mine.addEventListener("open", () => done()); mine.addEventListener("close", () => done()); });
  setTimeout(() => { if (mine.readyState === WebSocket.CONNECTING) mine.close(); }, CONNECT_MS);
  mine.onopen = () => { was = true; mine.send(JSON.stringify({ csrf })); };
  mine.onmessage = ({ data }) => {
    if (socket !== mine) return;
    const message = JSON.parse(data);
    if (message.live) { heard(message.live); return; }
    const one = asked.get(message.id);
    asked.delete(message.id);
    if (one) one.done({ status: message.status, ok: message.status < 300, json: async () => message.body });
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    forsake();
    ended(was);
  };
}

// Ends the link; what it has not answered is lost.
export function closeLink() {
  const old = socket;
  forsake();
  if (old) old.close();
}

function forsake() {
  socket = null;
  const open = [...asked.values()];
  asked.clear();
  open.forEach((one) => one.lost(new Error("the link ended")));
}

/**
 * The answer to a request by the link: the status and body that the same HTTP request would get.
 * @param {"GET" | "POST"} method
 * @param {string} path
 * @param {AbortSignal | null} signal
 * @param {{ key?: string, body?: object }} [more]
 * @returns {Promise<{ status: number, ok: boolean, json: () => Promise<any> }>}
 */
export function byLink(method, path, signal, more = {}) {
  return new Promise((done, lost) => {
    const id = number += 1;
    asked.set(id, { done, lost });
    if (signal) signal.addEventListener("abort", () => { asked.delete(id); lost(new Error("given up")); });
    try { socket.send(JSON.stringify({ id, method, path, ...more })); } catch (why) { asked.delete(id); lost(why); }
  });
}
