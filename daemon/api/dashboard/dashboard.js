// The dashboard: draws the API's figures and follows its event stream. No library, no external resource.
"use strict";

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const MOST_POINTS = 2400;

const percent = (x, digits = 1) => (x === null || x === undefined ? "–" : (100 * x).toFixed(digits) + " %");
const signed = (x) => (x === null || x === undefined ? "–" : (x >= 0 ? "+" : "−") + Math.abs(100 * x).toFixed(2) + " %");
const money = (text) => Number(text).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const plain = (text) => Number(text).toLocaleString("en-US", { maximumFractionDigits: 6 });
const price = (text) => Number(text).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 6 });
// A measured value in its unit; the units are those of daemon/views/limit_rows.py.
function measured(x, unit) {
  if (x === null || x === undefined) return unit === "none" ? "" : "–";
  if (unit === "share") return percent(x);
  if (unit === "money") return money(x);
  if (unit === "hours") return `${x.toFixed(1)} h`;
  return Number(x.toPrecision(3)).toLocaleString("en-US");
}
const local = (ts, zone) => new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" }).format(new Date(ts / 1e6));

let zone = "UTC";
let points = [];       // [time in ms, equity, drawdown]
let books = [];        // { day in ms, worth: equity by agent's name }
let used = { limit: "var", points: [] };   // [time in ns, share of the limit]
let ordersSeen = "";
let ordersAt = 0;
let run = "";

function put(id, text, kind) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
  if (kind !== undefined && element.className !== kind) element.className = kind;
}

// Text only: text of a venue, a file or a policy is never parsed as HTML.
function cell(text, kind) {
  const td = document.createElement("td");
  td.textContent = text;
  if (kind) td.className = kind;
  return td;
}

function rows(id, lines, empty) {
  const body = byId(id).tBodies[0];
  body.replaceChildren(...lines);
  if (!lines.length) {
    const row = document.createElement("tr");
    const td = cell(empty, "none");
    td.colSpan = 20;
    row.append(td);
    body.append(row);
  }
}

function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells);
  return tr;
}

const tone = (x) => (x === null || x === undefined || x === 0 ? "n" : x > 0 ? "n up" : "n down");

function show(now, decided, given) {
  if (run && run !== now.run) { location.reload(); return; }
  run = now.run;
  zone = now.zone;
  document.title = `${now.switch} ${money(now.equity)} · quantd ${now.name}`;
  put("name", `quantd ${now.name}`);
  put("run", `${now.mode}, run ${now.run}`);
  put("when", now.ts ? `${local(now.ts, zone)} ${zone.split("/").pop().replace("_", " ")}` : "before the first bar");
  put("switch", now.status === "running" ? now.switch : `${now.switch} · ${now.status}`, `pill ${now.switch}`);
  byId("switch").title = now.reason;
  put("equity", money(now.equity));
  put("total", `${signed(now.total)} since the start, ${now.currency}`);
  put("today", signed(now.today), `figure ${tone(now.today)}`.replace(" n", ""));
  const gone = now.leader && !now.leader.alive;
  byId("leader").hidden = !now.leader;
  if (now.leader) put("leader", gone ? now.leader.text : `read-only; the trading daemon is at ${now.leader.url}`, gone ? "note gone" : "note");
  put("session", now.session ? `session of ${now.session}` : "");
  put("drawdown", percent(now.drawdown));
  const most = now.limits.find((limit) => limit.limit === "max_drawdown");
  put("drawdown-of", most ? `of ${percent(most.bound, 0)} allowed` : "from the highest equity");
  put("cash", money(now.cash));
  put("gross", now.gross === null ? "" : `${percent(now.gross)} invested`);
  put("orders-count", now.orders.toLocaleString("en-US"));
  put("orders-more", `${now.open_orders} open, ${now.fills.toLocaleString("en-US")} fills`);
  put("alerts-count", now.alerts.toLocaleString("en-US"));
  put("trips", now.trips < 2 ? ["the switch has not tripped", "the switch tripped once"][now.trips] : `the switch tripped ${now.trips} times`);
  put("version", `quantd ${now.version}, up ${Math.round(now.uptime_s / 60)} min`);
  agents(now, decided);
  alike(now);
  positions(now);
  limits(now);
  extend(now);
  const seen = `${now.orders}/${now.fills}/${now.open_orders}`;
  if (given) {
    ordersSeen = seen;
    orderRows(given);
  } else if (seen !== ordersSeen && Date.now() - ordersAt > 1000) {
    ordersSeen = seen;
    ordersAt = Date.now();
    orders();
  }
}

function agents(now, decided) {
  rows("agents", now.agents.map((agent) => {
    const weights = Object.entries(agent.weights).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const further = agent.more ? `  and ${agent.more} more` : "";
    const text = weights.map(([symbol, weight]) => `${symbol} ${(100 * weight).toFixed(1)}`).join("  ") + further || "flat";
    const state = agent.suspended ? "suspended" : agent.switch;
    const mode = cell(state, agent.suspended ? "REDUCE" : agent.switch);
    mode.title = agent.reason;
    const name = agent.shadow ? `${agent.name} (shadow)` : agent.name;
    const policy = agent.policy.split("/").pop() + (agent.decided_by ? ` (of ${agent.decided_by})` : "");
    const capital = cell(percent(agent.share === null ? agent.capital : agent.share, agent.share === null ? 0 : 1), "n");
    if (agent.target !== null) capital.title = `target: ${percent(agent.target)} of the agents' capital`;
    const label = cell(name, agent.shadow ? "none" : "");
    if (agent.challenges) label.title = `challenges ${agent.challenges}`;
    return row(label, cell(policy), capital, mode,
      cell(money(agent.equity), "n"), cell(signed(agent.total), tone(agent.total)), cell(signed(agent.today), tone(agent.today)),
      cell(text, "long"), cell(decided[agent.name] || ""));
  }), "no agents");
}

// One line per agent's book, rebased to 100; dashed for a shadow.
function alike(now) {
  put("alike", now.diversity === null ? "" : `mean absolute correlation of returns ${now.diversity.toFixed(2)}`);
  if (!now.ts || !now.session) return;
  const day = Date.parse(now.session);
  const last = books[books.length - 1];
  const point = { day, worth: Object.fromEntries(now.agents.map((agent) => [agent.name, Number(agent.equity)])) };
  if (last && last.day >= day) books[books.length - 1] = { day: last.day, worth: point.worth };
  else books.push(point);
  if (books.length > MOST_POINTS) books = books.filter((_, k) => k % 2 === 0 || k === books.length - 1);
  lines("agents-chart", now.agents, 180);
}

function lines(id, agents, height) {
  if (books.length < 2) return;
  const width = 1000;
  const series = agents.map((agent) => {
    const worth = books.map((book) => book.worth[agent.name]);
    const begin = worth.find((value) => value > 0);
    return { agent, values: worth.map((value) => (value > 0 && begin ? (100 * value) / begin : null)) };
  });
  const all = series.flatMap((each) => each.values).filter((value) => value !== null);
  if (!all.length) return;
  const low = Math.min(...all);
  const span = Math.max(...all) - low || 1;
  const names = [];
  const paths = series.map(({ agent, values }, k) => {
    const path = document.createElementNS(SVG, "path");
    let begun = false;
    const d = values.map((value, at) => {
      if (value === null) { begun = false; return ""; }
      const mark = begun ? "L" : "M";
      begun = true;
      return `${mark}${((at * width) / (values.length - 1)).toFixed(1)} ${(4 + ((low + span - value) / span) * (height - 8)).toFixed(1)}`;
    }).join("");
    path.setAttribute("d", d);
    path.setAttribute("class", agent.shadow ? `book b${k % 6} shadow` : `book b${k % 6}`);
    const name = document.createElement("span");
    const now = values[values.length - 1];
    name.textContent = `${agent.name}${agent.shadow ? " (shadow)" : ""} ${now === null ? "" : now.toFixed(1)}`;
    name.className = `b${k % 6}`;
    names.push(name);
    return path;
  });
  const chart = byId(id);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...paths);
  byId("agents-names").replaceChildren(...names);
}

function positions(now) {
  rows("positions", now.positions.map((p) => {
    const line = row(cell(p.symbol), cell(plain(p.qty), "n"), cell(price(p.price), "n"), cell(money(p.value), "n"), cell(percent(p.weight), "n"));
    const shadows = Object.entries(p.shadows).map(([name, qty]) => `${name} ${qty} (shadow)`);
    line.title = [...Object.entries(p.agents).map(([name, qty]) => `${name} ${qty}`), ...shadows].join(", ");
    return line;
  }), "no positions");
  if (now.more.positions) {
    const last = cell(`and ${now.more.positions} smaller positions; /api/v1/positions?search= finds each`, "none");
    last.colSpan = 20;
    byId("positions").tBodies[0].append(row(last));
  }
}

function limits(now) {
  rows("limits", now.limits.map((limit) => {
    const value = (x) => measured(x, limit.unit);
    const bar = cell("", "bar");
    if (limit.use !== null) {
      const track = document.createElement("div");
      const used = document.createElement("i");
      used.style.width = `${Math.min(100, Math.max(0, 100 * limit.use))}%`;
      used.className = limit.use >= 1 ? "full" : limit.use >= 0.8 ? "near" : "";
      track.append(used);
      bar.append(track);
      bar.title = `${percent(limit.use, 0)} in use`;
    }
    const bound = `${limit.floor ? "at least" : "of"} ${value(limit.bound)}`;
    return row(cell(limit.words), cell(value(limit.value), "n"), cell(bound, "none"), bar);
  }), "no limit has a value yet");
  use(now);
}

// One point per session; the horizontal line is the limit.
function use(now) {
  const limit = now.limits.find((each) => each.limit === used.limit);
  if (limit && limit.use !== null && now.ts) {
    const last = used.points[used.points.length - 1];
    if (last && now.ts - last[0] < 864e11) used.points[used.points.length - 1] = [last[0], limit.use];
    else used.points.push([now.ts, limit.use]);
    if (used.points.length > MOST_POINTS) used.points = used.points.filter((_, k) => k % 2 === 0);
  }
  const values = used.points.map((p) => p[1]);
  if (values.length < 2) return;
  put("use-of", `${used.limit.replaceAll("_", " ")}, now ${percent(values[values.length - 1], 0)}, highest ${percent(Math.max(...values), 0)} of the limit`);
  curve("use-chart", values, 90, false, 1);
}

function alertLines(alerts) {
  const list = alerts.slice(-8).reverse().map((alert) => {
    const li = document.createElement("li");
    const time = document.createElement("span");
    time.textContent = alert.ts ? local(alert.ts, zone) : "";
    time.className = "none";
    const level = document.createElement("span");
    level.textContent = alert.level;
    level.className = alert.level;
    const text = document.createElement("span");
    const about = [alert.symbol, alert.agent].filter(Boolean).join(" ");
    text.textContent = `${alert.kind}: ${alert.text}${about ? ` (${about})` : ""}`;
    li.append(time, level, text);
    return li;
  });
  if (!list.length) {
    const li = document.createElement("li");
    li.textContent = "no alerts yet";
    li.className = "none";
    list.push(li);
  }
  byId("alerts").replaceChildren(...list);
}

function extend(now) {
  if (!now.ts || !now.session) return;
  const day = Date.parse(now.session);
  const point = [day, Number(now.equity), now.drawdown];
  const last = points[points.length - 1];
  if (last && last[0] >= day) points[points.length - 1] = [last[0], point[1], point[2]];
  else points.push(point);
  if (points.length > MOST_POINTS) points = points.filter((_, k) => k % 2 === 0 || k === points.length - 1);
  draw();
}

function draw() {
  if (points.length < 2) return;
  curve("equity-chart", points.map((p) => p[1]), 240, false);
  curve("drawdown-chart", points.map((p) => -p[2]), 90, true);
  const day = (p) => new Date(p[0]).toISOString().slice(0, 10);
  put("first-day", day(points[0]));
  put("last-day", day(points[points.length - 1]));
  const equities = points.map((p) => p[1]);
  put("reading", `lowest ${money(Math.min(...equities))}, highest ${money(Math.max(...equities))}`);
}

function curve(id, values, height, fromTop, rule) {
  const width = 1000;
  const low = fromTop ? Math.min(...values, -0.001) : rule === undefined ? Math.min(...values) : 0;
  const high = fromTop ? 0 : Math.max(...values, rule === undefined ? -Infinity : rule);
  const span = high - low || 1;
  const x = (k) => (k * width) / (values.length - 1);
  const y = (v) => 4 + ((high - v) / span) * (height - 8);
  const path = values.map((v, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  const edge = fromTop ? y(0) : height;
  const chart = byId(id);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const part = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const start = fromTop ? 0 : rule === undefined ? values[0] : rule;
  chart.replaceChildren(
    part("line", { class: "rule", x1: 0, x2: width, y1: y(start).toFixed(1), y2: y(start).toFixed(1) }),
    part("path", { class: "area", d: `${path}L${width} ${edge}L0 ${edge}Z` }),
    part("path", { class: "line", d: path }),
  );
}

async function get(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || response.statusText);
  return body;
}

async function orders() {
  try {
    orderRows((await get("/api/v1/orders?limit=12")).orders);
  } catch (problem) {
    ordersSeen = "";
  }
}

function orderRows(found) {
  rows("orders", found.map((o) => {
    const state = o.state !== "filled" && o.filled !== "0" ? `${o.state} ${o.filled}` : o.state;
    const line = row(cell(local(o.ts, zone)), cell(o.side), cell(plain(o.qty), "n"), cell(o.symbol), cell(price(o.limit), "n"),
      cell(state), cell(o.reason.replaceAll("_", " ")), cell(o.agent.replaceAll("+", ", ")), cell(o.id, "id"));
    line.tabIndex = 0;
    line.addEventListener("click", () => why(o.id));
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") why(o.id); });
    return line;
  }), "no orders yet");
}

// One book's limits: value before and after, bound, headroom in the limit's unit and in the symbol, and the cut.
function grid(book, limits, symbol, largest, asked, allowed) {
  const table = document.createElement("table");
  const head = row(...["limit", "before", "after", "bound", "headroom", `headroom in ${symbol}`, "in use", ""].map((text, k) => cell(k ? text : `${text} (${book})`, k ? "n none" : "none")));
  table.append(head);
  for (const limit of limits) {
    const value = (x) => cell(measured(x, limit.unit), "n");
    const cut = limit.cut ? `cut ${asked.replace("-", "")} to ${allowed.replace("-", "")}` : "";
    table.append(row(cell(limit.words), value(limit.before), value(limit.after), value(limit.bound), value(limit.headroom),
      cell(limit.more === null ? "" : `+${limit.more}`, "n"), cell(limit.use === null ? "" : percent(limit.use, 0), "n"), cell(cut, limit.cut ? "REDUCE" : "")));
  }
  if (largest) {
    const most = largest.qty === null ? "any size" : `${largest.side} ${largest.qty}; the next lot: ${largest.text}`;
    const last = cell(`largest order that would have passed on its own: ${most}`);
    last.colSpan = 8;
    table.append(row(last));
  }
  return table;
}

// What a learned policy depended on: the ten largest changes of its weight, and its action values.
function learnedTables(agent, p, symbol) {
  const note = document.createElement("p");
  const rules = p.wrapped ? ", before the rules around it" : "";
  note.textContent = `learned policy ${p.artifact} of ${agent}${p.part ? ` as ${p.part}` : ""}: ${p.weight === null ? "no figures" : `${percent(p.weight)} of ${symbol}${rules}`}`
    + (p.missing ? `; its inputs were not measured: ${p.missing}` : "");
  const number = (x, digits) => cell(x === null ? "–" : x.toFixed(digits), "n");
  const parts = [note];
  const table = (head, lines) => {
    const made = document.createElement("table");
    made.append(row(...head.map((text, k) => cell(text, k ? "n none" : "none"))), ...lines);
    parts.push(made);
  };
  const moved = p.features.filter((x) => x.change_pp !== null && Math.abs(x.change_pp) >= 0.005).slice(0, 10);
  if (moved.length) {
    table(["input", `change of ${symbol} at its training mean, points`, `${symbol} now`, "mean"],
      moved.map((x) => row(cell(x.name), number(x.change_pp, 2), number(x.value, 3), number(x.mean, 3))));
  }
  if (p.actions.length) {
    table(["allocation", p.scores === "values" ? "action value" : "probability", ""],
      p.actions.slice(0, 10).map((x) => row(cell(x.allocation), number(x.score, 4), cell(x.chosen ? "chosen" : ""))));
  }
  return parts;
}

async function why(id) {
  const box = byId("why");
  box.hidden = false;
  const line = (text) => { const p = document.createElement("p"); p.textContent = text; return p; };
  box.replaceChildren(line("replaying the journal up to that decision …"));
  try {
    const e = await get(`/api/v1/why/${encodeURIComponent(id)}`);
    const parts = [line(`${e.side.toUpperCase()} ${e.qty} ${e.symbol}, decided ${local(e.decided, zone)} at price ${plain(e.price)}, limit ${plain(e.limit)}: ${e.state}`)];
    for (const a of e.agents) {
      const had = a.had === null ? a.held : `${percent(a.had)}, ${a.held}`;
      const cut = a.asked === a.allowed ? "" : `; its own limits cut this to ${a.allowed}: ${a.text}`;
      parts.push(line(`${a.agent}${a.policy ? ` (policy of ${a.policy})` : ""}: target ${percent(a.wanted)}, held ${had}, requested ${a.asked}${cut}`));
    }
    const crossed = e.crossed === "0" ? "" : `${e.crossed} crossed between agents; `;
    parts.push(line(`${crossed}net ${e.net}; ${e.net === e.allowed ? "all of it passed the house limits" : `the house limits passed ${e.allowed}: ${e.text}`}`));
    parts.push(grid("house", e.limits, e.symbol, e.largest, e.net, e.allowed));
    for (const a of e.agents) if (a.reason) parts.push(grid(`agent ${a.agent}`, a.limits, e.symbol, a.largest, a.asked, a.allowed));
    for (const a of e.agents) for (const p of a.learned) parts.push(...learnedTables(a.agent, p, e.symbol));
    if (!e.recomputed) parts.push(line(`headroom in ${e.symbol} is unknown: ${e.unavailable}`));
    for (const t of e.twins) parts.push(line(`in the same round, ${t.side} ${t.asked} ${t.symbol} was cut to ${t.allowed}: ${t.text}`));
    for (const f of e.fills) parts.push(line(`filled ${f.qty} at ${plain(f.price)}, ${local(f.ts, zone)}: ${f.shortfall_bp.toFixed(1)} bp shortfall against the decision price, commission ${f.fee}`));
    box.replaceChildren(...parts);
  } catch (problem) {
    box.replaceChildren(line(String(problem.message || problem)));
  }
}

function follow() {
  const stream = new EventSource("/api/v1/events");
  stream.addEventListener("overview", (event) => {
    put("link", "live", "link live");
    const news = JSON.parse(event.data);
    show(news.overview, news.decided);
    alertLines(news.alerts);
  });
  stream.onerror = () => put("link", "no connection to the daemon; retrying", "link lost");
}

// The page first shows the figures that the server wrote into it; updates come by the event stream.
const first = JSON.parse(byId("first").textContent);
points = first.equity.map((p) => [Math.floor(p.ts / 864e11) * 864e5, Number(p.equity), p.drawdown]);
books = first.equity.map((p) => ({
  day: Math.floor(p.ts / 864e11) * 864e5,
  worth: Object.fromEntries(Object.entries({ ...p.books, ...p.shadows }).map(([name, text]) => [name, Number(text)])),
}));
used = first.use;
show(first.overview, first.decided, first.orders);
alertLines(first.alerts);
follow();
