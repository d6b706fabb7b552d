"""GET handlers of the API: the present from the running service, the past from the store, read in a thread."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from quantd.adapters.store.errors import StoreError, StoreFailing
from quantd.adapters.store.queries import Reader
from quantd.daemon.api.guard import HEADERS, Refused
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config, store_url
from quantd.daemon.monitoring.metrics import Metrics
from quantd.daemon.runtime.recent_history import allocation
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.version import VERSION
from quantd.daemon.views.agent_rows import helper_models
from quantd.daemon.views.overview import READY, SWITCH, Overview, overview
from quantd.daemon.views.report.contents import Standing
from quantd.daemon.views.report.figures import own_closes
from quantd.daemon.views.risk_measures import METRICS, Assessed, assessed, metrics_of
from quantd.daemon.views.rows import (
    LIMIT_ROWS,
    allocation_line,
    decided,
    decision_line,
    equity_line,
    newest_plans,
    order_line,
    risk_line,
    shadow_books,
    thinned,
)
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import MICRO

if TYPE_CHECKING:
    from quantd.adapters.bus.publisher import MqttBus
    from quantd.daemon.api.explanation_routes import Explaining

T = TypeVar("T")

STREAMS: Final = 32
"""Maximum of open event streams."""

STREAM_S: Final = 0.25
"""Shortest time between two events of one stream."""

KEEPALIVE_S: Final = 15.0

FOLDER: Final = Path(__file__).resolve().parent / "dashboard"


class SinkHealth(Struct, frozen=True):
    queued: int
    failing: bool


class Health(Struct, frozen=True):
    """`ready` is also the status code: 200 or 503. `store` is the reason why the store takes no writes, else empty.

    `sinks`: sink -> its queued alerts, and whether its last delivery failed. The reasons are in the status, which needs
    the token.
    """

    status: str
    ready: bool
    time: str
    switch: str
    store: str = ""
    sinks: dict[str, SinkHealth] = {}


class About(Struct, frozen=True):
    name: str
    product: str
    version: str
    mode: str
    run: str
    agents: dict[str, str]
    bus: str
    topic: str


def answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def dashboard(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of one file of the dashboard, which it reads at its first request."""
    body = b""

    async def page(request: web.Request) -> web.Response:
        nonlocal body
        body = body or (FOLDER / name).read_bytes()
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return page


def whole(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number in the query string. Raises Refused."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise Refused(422, "query", f"{name} = {text[:40]!r} is not a whole number from {low} to {high}")
    return int(text)


def since_of(request: web.Request) -> int:
    """The instant `since` in the query string, in ns; 0 without it."""
    return whole(request, "since", 0, 0, 2**63 - 1)


def last_of(request: web.Request, default: int = 100, name: str = "last") -> int:
    """The number of rows in the query string."""
    return whole(request, name, default, 1, LIMIT_ROWS)


class Readings:
    """Handlers of every GET."""

    def __init__(
        self, service: Service, parts: Parts, config: Config, folder: Path, bus: "MqttBus | None", bus_url: str
    ) -> None:
        self._service = service
        self._parts = parts
        self._config = config
        self._names = [a.name for a in config.agents]
        self._where: str | Path = store_url(config.store.url) or folder
        self._bus = bus
        self._bus_url = bus_url
        self._folder = folder
        self._reader: Reader | None = None
        self._slow: Explaining | None = None
        self._streams = 0
        self._closed = asyncio.Event()
        self._metrics = Metrics(config.quantd.name, [a.name for a in config.seats])
        self._plans: tuple[int, dict[str, str]] | None = None
        self._latest: tuple[int, Overview] | None = None
        self._assessed: tuple[tuple[int, int, int], Assessed] | None = None

    def close(self) -> None:
        """Ends the event streams, so that a stop does not wait for them, and the policy processes of plans."""
        self._closed.set()
        if self._slow is not None:
            self._slow.close()

    def now(self) -> Overview:
        """The overview, computed once per step however many requests there are."""
        progress = self._service.progress
        if self._latest is None or self._latest[0] != progress or self._latest[1].status != self._service.status:
            self._latest = progress, overview(self._service, self._parts, self._service.config)
        return self._latest[1]

    async def _read(self, function: Callable[[Reader], T]) -> T:
        """Queries the store in a thread: a slow disk must not block the loop."""

        def work() -> T:
            if self._reader is None:
                self._reader = Reader.open(self._where, self._service.run)
            return function(self._reader)

        try:
            return await asyncio.to_thread(work)
        except StoreFailing as why:
            raise Refused(404, "not_found", str(why)) from None
        except StoreError as why:
            raise Refused(503, "store", str(why)) from None

    # the present

    async def health(self, request: web.Request) -> web.Response:
        service = self._service
        ready = service.status in READY
        now = self.now()
        sinks = {kind: SinkHealth(counts.depth, bool(counts.error)) for kind, counts in service.sinks.items()}
        found = Health(service.status, ready, now.time, now.switch, service.store_error, sinks)
        return answer(found, 200 if ready else 503)

    async def about(self, request: web.Request) -> web.Response:
        config, service = self._config, self._service
        agents = {a.name: a.policy for a in config.agents}
        topic = f"{config.bus.prefix}/{config.quantd.name}"
        return answer(
            About(config.quantd.name, "quantd", VERSION, service.mode, service.run, agents, self._bus_url, topic)
        )

    async def status(self, request: web.Request) -> web.Response:
        return answer(self.now())

    async def positions(self, request: web.Request) -> web.Response:
        now = self.now()
        return self._rows(ts=now.ts, time=now.time, positions=now.positions)

    async def risk(self, request: web.Request) -> web.Response:
        return answer(await self._explaining().risk(request))

    async def plan(self, request: web.Request) -> web.Response:
        return answer(await self._explaining().plan())

    def _explaining(self) -> "Explaining":
        if self._slow is None:
            from quantd.daemon.api.explanation_routes import Explaining

            self._slow = Explaining(self._service, self._parts, self._where, self._folder)
        return self._slow

    def assessed(self) -> Assessed:
        """Every risk measure of every book, computed once per state of the account however many requests there are."""
        shell = self._service.shell
        key = (shell.ts, shell.tally.fills, len(shell.state.working))
        if self._assessed is None or self._assessed[0] != key:
            self._assessed = key, assessed(shell.state)
        return self._assessed[1]

    async def risk_metrics(self, request: web.Request) -> web.Response:
        found = self.assessed()
        agents = {name: metrics_of(each) for name, each in found.agents.items()}
        measures = {"metrics": metrics_of(found.house), "agents": agents, "house": found.house}
        return self._rows(ts=found.ts, time=instant_text(found.ts), **measures)

    async def standing(self, request: web.Request) -> web.Response:
        """The present part of `quantd report`: limits, and every risk measure of every book."""
        found = self.assessed()
        more = own_closes(self._service.shell.state)
        return answer(Standing(found.ts, self.now().limits, found.house, found.agents, more))

    async def metrics(self, request: web.Request) -> web.Response:
        """Updates and renders all metrics for a scrape by Prometheus."""
        now, metrics, state = self.now(), self._metrics, self._service.shell.state
        service, bus = self._service, self._bus
        trace, known = service.trace, metrics_of(self.assessed().house)
        metrics.total("slices", now.slices)
        for counter, totals in (
            ("gate_verdicts", trace.verdicts),
            ("orders", trace.orders),
            ("alerts", trace.alerts),
            ("bus_commands", service.bus_commands),
        ):
            for key, total in totals.items():
                metrics.total(counter, total, key or "passed")
        while service.deadline is not None and service.deadline.took:
            number, seconds = service.deadline.took.popleft()
            metrics.observe("decision_seconds", seconds, state.rules.names()[number])
        while service.took:
            job, seconds = service.took.popleft()
            metrics.observe("job_seconds", seconds, job)
        metrics.set("bar_lag_seconds", service.bar_lag_s)
        metrics.set("open_orders", now.open_orders)
        metrics.set("equity", state.equity_micro / MICRO)
        metrics.set("drawdown_ratio", now.drawdown)
        metrics.set("gross_exposure_ratio", now.gross or 0.0)
        metrics.replace("risk_ratio", {name: getattr(known, name) for name in METRICS})
        metrics.replace("limit_use_ratio", {limit.limit: limit.use for limit in now.limits})
        metrics.set("switch_state", state.switch.state, "house")
        for agent in now.agents:
            metrics.set("switch_state", SWITCH.index(agent.switch), agent.name)
            metrics.set("agent_equity", float(agent.equity), agent.name, "1" if agent.shadow else "0")
            metrics.set("agent_capital_ratio", agent.share, agent.name)
        metrics.set("agents_correlation_ratio", now.diversity)
        for name, model, each in helper_models(self._parts.policies, state):
            metrics.set("model_on", each.on, name, model)
            metrics.set("model_training_seconds", each.seconds, name, model)
            for figure, learned, plain in (
                ("model_r2", each.r2, each.plain_r2),
                ("model_mse", each.mse, each.plain_mse),
                ("model_running_mse", each.running_mse, each.running_plain_mse),
            ):
                metrics.set(figure, learned, name, model, "model")
                metrics.set(figure, plain, name, model, "plain")
        metrics.set("loop_lag_seconds", service.loop_lag_s)
        service.loop_lag_s = 0.0
        if bus is not None:
            metrics.set("bus_online", bus.online)
            metrics.set("bus_queue_depth", bus.queue_depth)
            metrics.total("bus_drops", bus.drops)
            metrics.total("bus_reconnects", bus.reconnects)
        for sink, counts in service.sinks.items():
            metrics.set("sink_queue_depth", counts.depth, sink)
            metrics.set("sink_failing", bool(counts.error), sink)
            metrics.total("sink_deliveries", counts.sent, sink)
            metrics.total("sink_failures", counts.failures, sink)
            metrics.total("sink_drops", service.store.dropped(sink), sink)
        body, kind = metrics.render()
        return web.Response(body=body, headers={"Content-Type": kind})

    # the past

    async def orders(self, request: web.Request) -> web.Response:
        last, since, symbol = last_of(request), since_of(request), request.query.get("symbol")
        rows = await self._read(lambda r: r.orders(last=last, since=since, symbol=symbol))
        return self._rows(orders=[order_line(row) for row in rows])

    async def fills(self, request: web.Request) -> web.Response:
        last, since, symbol = last_of(request), since_of(request), request.query.get("symbol")
        return self._rows(fills=await self._read(lambda r: r.fills(last=last, since=since, symbol=symbol)))

    async def equity(self, request: web.Request) -> web.Response:
        points, since = whole(request, "points", 1_000, 2, LIMIT_ROWS), since_of(request)
        rows, beside = await self._read(lambda r: (r.equity(since=since), self._beside(r, since)))
        return self._rows(equity=[equity_line(p, self._names, beside) for p in thinned(rows, points)])

    def _rows(self, **rows: object) -> web.Response:
        return answer({"run": self._service.run, **rows})

    def _beside(self, reader: Reader, since: int = 0) -> dict[int, dict[str, str]]:
        """Equity of each shadow's book by sample."""
        return shadow_books(reader, [agent.name for agent in self._config.shadows], since)

    async def house(self, request: web.Request) -> web.Response:
        """Allocation between agents: capital shares, transfers, promotion tests, correlation of returns."""
        since = since_of(request)
        now = self.now()
        moved, tried = await self._read(lambda r: (r.capital(since=since), r.promotions(since=since)))
        shown = ("name", "shadow", "challenges", "policy", "decided_by", "share", "target", "equity")
        agents = [{k: getattr(a, k) for k in shown} for a in now.agents]
        found = {"diversity": now.diversity, "agents": agents, "capital": moved, "promotions": tried}
        return self._rows(ts=now.ts, time=now.time, **found)

    async def decisions(self, request: web.Request) -> web.Response:
        last, since = last_of(request, 20), since_of(request)
        universe = self._parts.universe
        rows = await self._read(lambda r: r.decisions(last=last, since=since))
        return self._rows(decisions=[decision_line(d.plan, universe, d.agents, d.address) for d in rows])

    async def alerts(self, request: web.Request) -> web.Response:
        last, after = last_of(request), whole(request, "after", 0, 0, 2**63 - 1)
        return self._rows(alerts=await self._read(lambda r: r.alerts(last=last, after_seq=after)))

    async def risk_history(self, request: web.Request) -> web.Response:
        """The newest records of the house's limits; with `since`, from the store."""
        limit, since = last_of(request, name="limit"), since_of(request)
        points = self._service.histories.risk(limit)
        if since:
            points = (await self._read(lambda r: r.risk(since=since)))[:limit]
        return self._rows(history=[risk_line(point) for point in points])

    async def portfolio_history(self, request: web.Request) -> web.Response:
        """The newest states of the account at samples; with `since`, from the store."""
        limit, since = last_of(request, name="limit"), since_of(request)
        points = self._service.histories.portfolio(limit)
        if since:
            points = (await self._read(lambda r: r.equity(since=since)))[:limit]
        return self._rows(history=[equity_line(point, self._names) for point in points])

    async def allocations(self, request: web.Request) -> web.Response:
        """The agents' decisions in the newest rounds; with `since`, from the store."""
        limit, since = last_of(request, name="limit"), since_of(request)
        found = self._service.histories.allocations(limit)
        if since:
            found = [allocation(d.plan) for d in (await self._read(lambda r: r.decisions(since=since)))[:limit]]
        return self._rows(allocations=[allocation_line(each, self._parts.universe, self._names) for each in found])

    async def why(self, request: web.Request) -> web.Response:
        return answer(await self._explaining().why(self._read, request))

    # for people

    async def page(self, request: web.Request) -> web.Response:
        """The dashboard page with the present figures in it, so that it shows them before its first request."""
        rows = await self._read(lambda r: (r.equity(), r.orders(last=12), self._beside(r)))
        known = self._live(await self._said()) | {
            "equity": [equity_line(p, self._names, rows[2]) for p in thinned(rows[0], 800)],
            "orders": list(map(order_line, rows[1])),
            "use": self._use(),
        }
        # only "<" could end a script element: escaped, no text of a policy or a venue becomes markup
        data = msgspec.json.encode(known).decode().replace("<", "\\u003c")
        text = (FOLDER / "index.html").read_text(encoding="utf-8").replace("FIRST", data, 1)
        return web.Response(text=text, content_type="text/html")

    def _use(self) -> dict[str, object]:
        """Use of one limit over time: VaR when it is limited, else volatility or drawdown."""
        points = self._service.histories.risk(2_000)
        for key in ("var", "cvar", "max_volatility", "max_gross_exposure", "max_drawdown"):
            rows = [(p.ts, *p.measures[key]) for p in points if key in p.measures]
            used = [(ts, value / bound) for ts, value, bound in rows if value is not None and bound]
            if used:
                return {"limit": key, "points": used[:: max(1, len(used) // 400)]}
        return {"limit": "var", "points": []}

    # as it happens

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the overview after each commit, at most four in a second."""
        if self._streams >= STREAMS:
            text = f"{STREAMS} event streams are already open; close one, or try again in 5 s"
            raise Refused(503, "streams", text, {"Retry-After": "5"})
        self._streams += 1
        # it listens before it looks: a commit while it sends is not missed
        news = asyncio.Event()
        self._service.listeners.add(news)
        try:
            response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
            await response.prepare(request)
            while not self._closed.is_set():
                news.clear()
                data = msgspec.json.encode(self._live(await self._said()))
                await response.write(b"event: overview\ndata: " + data + b"\n\n")
                await asyncio.sleep(STREAM_S)
                while not await self._news(news):
                    await response.write(b": still here\n\n")
            return response
        finally:
            self._service.listeners.discard(news)
            self._streams -= 1

    async def _news(self, news: asyncio.Event) -> bool:
        """Wait for a commit or for the end; False when nothing came for a while."""
        waiting = [asyncio.ensure_future(news.wait()), asyncio.ensure_future(self._closed.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=KEEPALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for each in waiting:
                each.cancel()

    async def _said(self) -> dict[str, str]:
        """Agent -> its last decision; read once for each commit however many look."""
        progress = self._service.progress
        if self._plans is None or self._plans[0] != progress:
            plans = await asyncio.to_thread(newest_plans, self._service.store, self._service.run)
            self._plans = progress, decided(plans, self._parts)
        return self._plans[1]

    def _live(self, said: dict[str, str]) -> dict[str, object]:
        shown = ("ts", "level", "kind", "text", "symbol", "agent")
        alerts = [{k: getattr(a, k) for k in shown} for a in self._service.recent[-8:]]
        return {"overview": self.now(), "alerts": alerts, "decided": said}
