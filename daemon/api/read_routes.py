"""GET handlers of the API: the present from the running service, the past from the store, read in a thread."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import web

from quantd.adapters.store.errors import StoreError, StoreFailing
from quantd.adapters.store.queries import Reader
from quantd.daemon.api.documents import (
    About,
    Alerts,
    Allocations,
    Decisions,
    Equity,
    Fills,
    From,
    Health,
    History,
    HouseAgent,
    HouseNow,
    Live,
    Newest,
    NewestAlerts,
    NewestDecisions,
    OneBook,
    Orders,
    PortfolioHistory,
    Positions,
    Query,
    RiskHistory,
    RiskMetrics,
    ShownAlert,
    Thinned,
    Why,
)
from quantd.daemon.api.guard import HEADERS
from quantd.daemon.api.problems import Refused
from quantd.daemon.api.routes import Page, Read, Route, file_of
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config, store_url
from quantd.daemon.monitoring.metrics import Metrics
from quantd.daemon.runtime.recent_history import allocation
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.version import VERSION
from quantd.daemon.views.agent_rows import helper_models
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.overview import READY, SWITCH, Overview, overview
from quantd.daemon.views.preview import PlanNow
from quantd.daemon.views.report.contents import Standing
from quantd.daemon.views.report.figures import own_closes
from quantd.daemon.views.risk_measures import METRICS, Assessed, assessed, metrics_of
from quantd.daemon.views.rows import (
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

    def routes(self) -> tuple[Route, ...]:
        """All GETs."""
        v1 = "/api/v1"
        return (
            Page("/", self.page, "The dashboard.", "text/html"),
            Page(
                "/dashboard.js", file_of(FOLDER / "dashboard.js", "text/javascript"), "Its script.", "text/javascript"
            ),
            Page("/dashboard.css", file_of(FOLDER / "dashboard.css", "text/css"), "Its style.", "text/css"),
            Read("/health", self.health, Health, "Whether it is live and ready.", scope="open"),
            Page("/metrics", self.metrics, "Metrics for Prometheus.", "text/plain", scope="metrics"),
            Read(v1, self.about, About, "The daemon and its run."),
            Read(f"{v1}/status", self.status, Overview, "The run at a glance."),
            Read(f"{v1}/positions", self.positions, Positions, "Positions of the house and of each agent."),
            Read(f"{v1}/risk", self.risk, RiskNow, "Limits of a book, their headroom, largest orders.", OneBook),
            Read(f"{v1}/plan", self.plan, PlanNow, "The orders of a round now; nothing is sent."),
            Read(f"{v1}/risk/history", self.risk_history, RiskHistory, "Limits over time.", History),
            Read(f"{v1}/risk/metrics", self.risk_metrics, RiskMetrics, "Risk measures of each book."),
            Read(f"{v1}/risk/standing", self.standing, Standing, "The present part of the risk report."),
            Read(f"{v1}/portfolio/history", self.portfolio_history, PortfolioHistory, "Equity at samples.", History),
            Read(f"{v1}/house", self.house, HouseNow, "Capital of the agents, and tests of challengers.", From),
            Read(f"{v1}/allocations", self.allocations, Allocations, "Target weights of the agents.", History),
            Read(f"{v1}/orders", self.orders, Orders, "Orders.", Newest),
            Read(f"{v1}/fills", self.fills, Fills, "Fills.", Newest),
            Read(f"{v1}/equity", self.equity, Equity, "Equity for a chart.", Thinned),
            Read(f"{v1}/decisions", self.decisions, Decisions, "Rounds and their orders.", NewestDecisions),
            Read(f"{v1}/alerts", self.alerts, Alerts, "Alerts.", NewestAlerts),
            Read(f"{v1}/why/{{order}}", self.why, Explanation, "Why an order was made, or none.", Why),
            Page(f"{v1}/events", self.events, "Events of the type Live, as they happen.", "text/event-stream"),
        )

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

    async def health(self, request: web.Request, query: Query) -> Health:
        service = self._service
        ready = service.status in READY
        now = self.now()
        return Health(service.status, ready, now.time, now.switch, service.store_error)

    async def about(self, request: web.Request, query: Query) -> About:
        config, service = self._config, self._service
        agents = {a.name: a.policy for a in config.agents}
        topic = f"{config.bus.prefix}/{config.quantd.name}"
        return About(config.quantd.name, "quantd", VERSION, service.mode, service.run, agents, self._bus_url, topic)

    async def status(self, request: web.Request, query: Query) -> Overview:
        return self.now()

    async def positions(self, request: web.Request, query: Query) -> Positions:
        now = self.now()
        return Positions(self._service.run, now.ts, now.time, now.positions)

    async def risk(self, request: web.Request, query: OneBook) -> RiskNow:
        return await self._explaining().risk(query)

    async def plan(self, request: web.Request, query: Query) -> PlanNow:
        return await self._explaining().plan()

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

    async def risk_metrics(self, request: web.Request, query: Query) -> RiskMetrics:
        found = self.assessed()
        agents = {name: metrics_of(each) for name, each in found.agents.items()}
        house = metrics_of(found.house)
        return RiskMetrics(self._service.run, found.ts, instant_text(found.ts), house, agents, found.house)

    async def standing(self, request: web.Request, query: Query) -> Standing:
        """The present part of `quantd report`: limits, and every risk measure of every book."""
        found = self.assessed()
        more = own_closes(self._service.shell.state)
        return Standing(found.ts, self.now().limits, found.house, found.agents, more)

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
            metrics.total("sink_deliveries", counts.sent, sink)
            metrics.total("sink_failures", counts.failures, sink)
            metrics.total("sink_drops", service.store.dropped(sink), sink)
        body, kind = metrics.render()
        return web.Response(body=body, headers={"Content-Type": kind})

    # the past

    async def orders(self, request: web.Request, query: Newest) -> Orders:
        rows = await self._read(lambda r: r.orders(last=query.last, since=query.since, symbol=query.symbol))
        return Orders(self._service.run, [order_line(row) for row in rows])

    async def fills(self, request: web.Request, query: Newest) -> Fills:
        rows = await self._read(lambda r: r.fills(last=query.last, since=query.since, symbol=query.symbol))
        return Fills(self._service.run, rows)

    async def equity(self, request: web.Request, query: Thinned) -> Equity:
        since = query.since
        rows, beside = await self._read(lambda r: (r.equity(since=since), self._beside(r, since)))
        lines = [equity_line(p, self._names, beside) for p in thinned(rows, query.points)]
        return Equity(self._service.run, lines)

    def _beside(self, reader: Reader, since: int = 0) -> dict[int, dict[str, str]]:
        """Equity of each shadow's book by sample."""
        return shadow_books(reader, [agent.name for agent in self._config.shadows], since)

    async def house(self, request: web.Request, query: From) -> HouseNow:
        """Allocation between agents: capital shares, transfers, promotion tests, correlation of returns."""
        now, since = self.now(), query.since
        moved, tried = await self._read(lambda r: (r.capital(since=since), r.promotions(since=since)))
        agents = [HouseAgent(**{k: getattr(a, k) for k in HouseAgent.__struct_fields__}) for a in now.agents]
        return HouseNow(self._service.run, now.ts, now.time, now.diversity, agents, moved, tried)

    async def decisions(self, request: web.Request, query: NewestDecisions) -> Decisions:
        universe = self._parts.universe
        rows = await self._read(lambda r: r.decisions(last=query.last, since=query.since))
        return Decisions(self._service.run, [decision_line(d.plan, universe, d.agents, d.address) for d in rows])

    async def alerts(self, request: web.Request, query: NewestAlerts) -> Alerts:
        rows = await self._read(lambda r: r.alerts(last=query.last, after_seq=query.after))
        return Alerts(self._service.run, rows)

    async def risk_history(self, request: web.Request, query: History) -> RiskHistory:
        """The newest records of the house's limits; with `since`, from the store."""
        points = self._service.histories.risk(query.limit)
        if query.since:
            points = (await self._read(lambda r: r.risk(since=query.since)))[: query.limit]
        return RiskHistory(self._service.run, [risk_line(point) for point in points])

    async def portfolio_history(self, request: web.Request, query: History) -> PortfolioHistory:
        """The newest states of the account at samples; with `since`, from the store."""
        points = self._service.histories.portfolio(query.limit)
        if query.since:
            points = (await self._read(lambda r: r.equity(since=query.since)))[: query.limit]
        return PortfolioHistory(self._service.run, [equity_line(point, self._names) for point in points])

    async def allocations(self, request: web.Request, query: History) -> Allocations:
        """The agents' decisions in the newest rounds; with `since`, from the store."""
        found = self._service.histories.allocations(query.limit)
        if query.since:
            rows = await self._read(lambda r: r.decisions(since=query.since))
            found = [allocation(d.plan) for d in rows[: query.limit]]
        lines = [allocation_line(each, self._parts.universe, self._names) for each in found]
        return Allocations(self._service.run, lines)

    async def why(self, request: web.Request, query: Why) -> Explanation:
        return await self._explaining().why(self._read, request.match_info["order"], query)

    # for people

    async def page(self, request: web.Request) -> web.Response:
        """The dashboard page with the present figures in it, so that it shows them before its first request."""
        rows = await self._read(lambda r: (r.equity(), r.orders(last=12), self._beside(r)))
        known = msgspec.structs.asdict(self._live(await self._said())) | {
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

    def _live(self, said: dict[str, str]) -> Live:
        alerts = [
            ShownAlert(**{k: getattr(a, k) for k in ShownAlert.__struct_fields__}) for a in self._service.recent[-8:]
        ]
        return Live(self.now(), alerts, said)
