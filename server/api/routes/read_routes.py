"""GET handlers of the API. The present is read from the running service, the past from the store, in a thread."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from aiohttp import web
from msgspec.structs import replace

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Alert, Decision, Page
from quantd.daemon.engine.agents.portfolios import place_of
from quantd.daemon.policies.seats import as_loaded
from quantd.daemon.runtime.recent_history import Allocation, Dated, Ring, allocations
from quantd.daemon.runtime.version import VERSION
from quantd.daemon.views.agent_rows import evaluations, models_ready
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.limit_rows import reasons_with
from quantd.daemon.views.overview import READY, SHOWN, SWITCH, Overview, positions, with_risk
from quantd.daemon.views.preview import PlanNow, WhatIf
from quantd.daemon.views.report.contents import Standing
from quantd.daemon.views.risk_measures import largest_correlations, metrics_of
from quantd.daemon.views.rows import (
    DecisionLine,
    allocation_line,
    decision_line,
    equity_line,
    order_line,
    risk_line,
    thinned,
)
from quantd.daemon.views.struct_fields import struct_of
from quantd.server.api.access.guard import TOKEN
from quantd.server.api.documents import (
    About,
    Alerts,
    Allocations,
    BySize,
    Correlations,
    Decisions,
    Equity,
    Fills,
    From,
    Health,
    HouseAgent,
    HouseNow,
    OneBook,
    Orders,
    PortfolioHistory,
    Positions,
    Query,
    RiskHistory,
    RiskMetrics,
    SinkHealth,
    Thinned,
    WhatIfAsked,
    Why,
)
from quantd.server.api.paging import (
    Paged,
    PagedAlerts,
    PagedBySymbol,
    PagedDecisions,
    PagedOrders,
    Searched,
    before,
    following,
)
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader
from quantd.server.requests.control import check_agent
from quantd.trading.display_text import instant_text
from quantd.trading.orders import Order

if TYPE_CHECKING:
    from quantd.server.api.routes.explanation_routes import Explaining


Row = TypeVar("Row", bound=Dated)

PAGE_WEIGHTS: Final = 100_000
"""Most weights in a page of rounds: ten rounds of 20 agents with 500 symbols, 5 MB. A larger one holds up the loop."""

SCANNED: Final = 400
"""Most rounds that are searched, in one request, for the decisions of one agent."""

SCANNED_ROWS: Final = 8
"""Rounds that are read at a time: few, since a round of a large house has 250 kB."""


class Stored(Protocol[Row]):
    """A query of the store for one page."""

    def __call__(self, reader: Reader, limit: int, key: Sequence[int], /, *, since: int) -> Page[Row]: ...


class Readings:
    """Handlers of the GET routes that return JSON; `bus_url` is the address for subscribers of the bus."""

    def __init__(self, run: RunReader, bus_url: str, explaining: "Callable[[], Explaining]") -> None:
        self._run = run
        self._bus_url = bus_url
        self._explaining = explaining
        self._health: Health | None = None

    # the present

    async def health(self, request: web.Request, query: Query) -> Health:
        """The health, computed without the overview: a probe must be cheap even while the state changes constantly."""
        service, shell = self._run.service, self._run.service.shell
        readiness = models_ready(shell.seats.all(), shell.state)
        # without `places`, the agents kept for portfolios: they trade by proposals and have no model
        models = {name: ready for name, ready in readiness.items() if name not in service.config.places}
        sinks = {kind: SinkHealth(counts.depth, bool(counts.error)) for kind, counts in service.sinks.items()}
        health = Health(
            service.status, service.status in READY and all(models.values()), instant_text(shell.ts),
            SWITCH[shell.state.switch.state], service.store_error, models, sinks,
            service.leader.text if service.leader is not None else "",
        )  # fmt: skip
        if health != self._health:  # an equal object is not replaced: its encoding is reused
            self._health = health
        return self._health

    async def about(self, request: web.Request, query: Query) -> About:
        """The daemon and its run, with the policy of each agent and the Sharpe ratio of each evaluated model."""
        config, service = self._run.config, self._run.service
        seats = as_loaded(config.agents, service.shell.state.loaded)
        agents = {agent.name: agent.policy for agent in seats if agent.name not in config.places}
        topic = f"{config.bus.prefix}/{config.quantd.name}"
        models = {
            evaluation.model: evaluation.sharpe
            for evaluation in evaluations(service.shell.seats.all(), service.shell.state)
        }
        return About(
            config.quantd.name, "quantd", VERSION, service.mode, service.run, agents, self._bus_url, topic,
            service.status, models,
        )  # fmt: skip

    async def status(self, request: web.Request, query: Query) -> Overview:
        return self._run.now()

    async def positions(self, request: web.Request, query: BySize) -> Positions:
        risk = await self._run.house_assessed()
        now = self._run.now()  # before `positions`: it values the books at the present prices
        rows, count = positions(self._run.service.shell.state, search=query.search, most=query.limit)
        return Positions(self._run.service.run, now.ts, now.time, with_risk(rows, risk), count)

    async def risk(self, request: web.Request, query: OneBook) -> RiskNow:
        return await self._explaining().risk(query)

    async def plan(self, request: web.Request, query: Query) -> PlanNow:
        return await self._explaining().plan()

    async def what_if(self, asked: WhatIfAsked, sender: str) -> WhatIf:
        return await self._explaining().what_if(asked)

    async def risk_metrics(self, request: web.Request, query: Query) -> RiskMetrics:
        risk = await self._run.assessed()
        agents = {name: metrics_of(agent_risk) for name, agent_risk in risk.agents.items()}
        house = metrics_of(risk.house)
        return RiskMetrics(
            self._run.service.run, risk.ts, instant_text(risk.ts), house, agents, risk.house, risk.windows
        )

    async def correlations(self, request: web.Request, query: Query) -> Correlations:
        state = self._run.service.shell.state
        return Correlations(self._run.service.run, self._run.service.shell.ts, *largest_correlations(state, SHOWN))

    async def standing(self, request: web.Request, query: Query) -> Standing:
        """The present part of `quantd report`: limits, and every risk measure of every book."""
        risk = await self._run.assessed()
        return Standing(risk.ts, self._run.now().limits, risk.house, risk.agents)

    # the past

    async def orders(self, request: web.Request, query: PagedOrders) -> Orders:
        """A page of orders, and with `totals` the number of all matching orders by group.

        The text `search` selects orders by symbol, id, agents, side or state, or by a limit that cut them.
        """
        run, limit, since, until = self._run.service.run, query.limit, query.since, query.until
        symbol, search = query.symbol, query.search
        self._run.check_symbol(symbol)
        key, matching_limits = before(query, "orders", run), reasons_with(search)

        def work(reader: Reader) -> tuple[Page[Order], dict[str, int]]:
            """Return (page of matching orders, number of orders by group; empty where the query asks for no totals)."""
            page = reader.order_page(
                limit,
                key,
                since=since,
                until=until,
                symbol=symbol,
                group=query.group,
                search=search,
                limits=matching_limits,
            )
            if query.totals == "no":
                return page, {}
            return page, reader.order_totals(
                since=since, until=until, symbol=symbol, search=search, limits=matching_limits
            )

        page, totals = await self._run.read(work)
        return Orders(run, list(map(order_line, page.rows)), following(page, "orders", run), totals)

    async def fills(self, request: web.Request, query: PagedBySymbol) -> Fills:
        run, limit, since, until = self._run.service.run, query.limit, query.since, query.until
        self._run.check_symbol(query.symbol)
        key = before(query, "fills", run)
        page = await self._run.read(lambda r: r.fill_page(limit, key, since=since, until=until, symbol=query.symbol))
        return Fills(run, page.rows, following(page, "fills", run))

    async def equity(self, request: web.Request, query: Thinned) -> Equity:
        since = query.since
        rows, beside = await self._run.read(lambda r: (r.equity(since=since), self._run.beside(r, since)))
        lines = [equity_line(p, self._run.names, beside) for p in thinned(rows, query.points)]
        return Equity(self._run.service.run, lines)

    async def house(self, request: web.Request, query: From) -> HouseNow:
        """The agents' capital shares, transfers between them, promotion tests, and correlation of returns."""
        now, since = self._run.now(), query.since
        moved, tried = await self._run.read(lambda r: (r.capital(since=since), r.promotions(since=since)))
        agents = [struct_of(HouseAgent, agent) for agent in now.agents]
        return HouseNow(self._run.service.run, now.ts, now.time, now.diversity, agents, moved, tried)

    async def decisions(self, request: web.Request, query: PagedDecisions) -> Decisions:
        """A page of rounds, of all agents or of one.

        A portfolio has the name it was opened with. A round is the decision of all agents at one sample. With 500
        symbols and 20 agents it has half a megabyte, and one agent's decision in it 40 kB.
        """
        universe, run, state = self._run.parts.universe, self._run.service.run, self._run.service.shell.state
        key, agent, since = before(query, "decisions", run), query.agent, query.since
        if agent and (place := place_of(state, agent)) is not None:
            # its place may have had another portfolio before
            agent, since = state.rules.agents[place].name, max(since, state.portfolios[place].opened)
        check_agent(self._run.service, agent)
        limit = self._rounds(query.limit, 1 if agent else 0)

        def work(reader: Reader) -> Page[DecisionLine]:
            if not agent:
                page = reader.decision_page(limit, key, since=since)
            else:
                page = _rounds_of(reader, agent, limit, key, since)
            lines = [
                decision_line(decision.plan, universe, decision.agents, decision.address) for decision in page.rows
            ]
            return Page(lines, page.keys, page.more)

        page = await self._run.read(work)
        return Decisions(run, page.rows, following(page, "decisions", run))

    async def alerts(self, request: web.Request, query: PagedAlerts) -> Alerts:
        """A page of alerts, and with `totals` the number of all matching alerts."""
        run, since, until, search = self._run.service.run, query.since, query.until, query.search
        cursor_key = before(query, "alerts", run)

        def work(reader: Reader) -> tuple[Page[Alert], int | None]:
            page = reader.alert_page(query.limit, cursor_key, since=since, until=until, search=search)
            if query.totals == "no":
                return page, None
            return page, reader.alert_total(since=since, until=until, search=search)

        page, total = await self._run.read(work)
        return Alerts(run, page.rows, following(page, "alerts", run), total)

    async def risk_history(self, request: web.Request, query: Paged) -> RiskHistory:
        """Records of the house's limits; of an older plan the store has those in use only."""
        page, follow = await self._recent(query, "risk", self._run.service.histories.risk, Reader.risk_page)
        return RiskHistory(self._run.service.run, list(map(risk_line, page)), follow)

    async def portfolio_history(self, request: web.Request, query: Paged) -> PortfolioHistory:
        """A page of the account's states at samples."""
        ring = self._run.service.histories.portfolio
        page, follow = await self._recent(query, "portfolio", ring, Reader.equity_page)
        return PortfolioHistory(self._run.service.run, [equity_line(p, self._run.names) for p in page], follow)

    async def allocations(self, request: web.Request, query: Paged) -> Allocations:
        """A page of the agents' decisions in rounds."""

        def stored(reader: Reader, limit: int, key: Sequence[int], *, since: int = 0) -> Page[Allocation]:
            return allocations(reader.decision_page(limit, key, since=since))

        query = replace(query, limit=self._rounds(query.limit))
        page, follow = await self._recent(query, "allocations", self._run.service.histories.allocations, stored)
        universe, names = self._run.parts.universe, self._run.names
        lines = await asyncio.to_thread(lambda: [allocation_line(row, universe, names) for row in page])
        return Allocations(self._run.service.run, lines, follow)

    def _rounds(self, limit: int, agents: int = 0) -> int:
        """At most `limit` rounds, with the weights of so many agents (0: all), for a page within PAGE_WEIGHTS."""
        state = self._run.service.shell.state
        weights = state.universe.size * (agents or len(state.rules.agents))
        return max(1, min(limit, PAGE_WEIGHTS // max(1, weights)))

    async def _recent(self, query: Paged, of: str, ring: Ring[Row], stored: Stored[Row]) -> tuple[list[Row], str]:
        """Return (rows of a page, cursor of the next page). Rows come from the ring buffer in memory, then from the
        store.

        `of` is the name of the list, and `stored` queries the store for the list.
        """
        run, since = self._run.service.run, query.since
        key = before(query, of, run)
        page = ring.page(query.limit, key, since)
        if not page.more:
            missing_rows = query.limit - len(page.rows)
            key = page.keys[-1] if page.keys else key
            # one row even if none is missing: it tells whether a further page exists
            older_page = await self._run.read(lambda reader: stored(reader, max(missing_rows, 1), key, since=since))
            if missing_rows:
                page = Page(page.rows + older_page.rows, page.keys + older_page.keys, older_page.more)
            else:
                page = Page(page.rows, page.keys, bool(older_page.rows))
        return page.rows, following(page, of, run)

    async def why(self, request: web.Request, query: Why) -> Explanation:
        token = request.get(TOKEN)
        own = token.agent if token is not None else ""
        return await self._explaining().why(self._run.read, request.match_info["order"], query, own)


def _rounds_of(reader: Reader, agent: str, limit: int, key: tuple[int, ...], since: int) -> Page[Decision]:
    """A page of rounds (decisions of all agents at one sample), each cut to the decision of one agent.

    `key` is the row key of the cursor; the page has older rows. After SCANNED searched rounds the page ends, perhaps
    without rows; its cursor continues the search.
    """
    rows: list[Decision] = []
    keys: list[tuple[int, ...]] = []
    for _ in range(SCANNED // SCANNED_ROWS):
        page = reader.decision_page(SCANNED_ROWS, key, since=since)
        for decision, key in zip(page.rows, page.keys, strict=True):
            names = dict(enumerate(decision.agents))
            agent_plans = [agent_plan for agent_plan in decision.plan.agents if names.get(agent_plan.agent) == agent]
            if not agent_plans:
                continue
            # the vectors of the house belong to all agents
            plan = replace(decision.plan, agents=agent_plans, crossed=b"", net=b"", allowed=b"", reason=b"")
            rows.append(replace(decision, plan=plan))
            keys.append(key)
            if len(rows) == limit:
                return Page(rows, keys, True)  # True: there may be further rows
        if not page.more:
            return Page(rows, keys, False)
    return Page(rows, [*keys, key], True)  # the key of the last searched round, which may be of another agent


ROUTES: Final = RouteGroup(
    "readings",
    60,
    lambda context: Readings(context.run, context.bus_url, context.explaining),
    routes=(
        Read("/health", Readings.health, "Whether it is live and ready.", scope="open", shared=True),
        Read("/api/v1", Readings.about, "The daemon and its run.", call="about"),
        Read("/api/v1/status", Readings.status, "The run at a glance.", shared=True, call="status"),
        Read("/api/v1/positions", Readings.positions, "Positions of the house and of each agent.", call="positions"),
        Read("/api/v1/risk", Readings.risk, "Limits of a book, their headroom, largest orders.", call="risk"),
        Read("/api/v1/plan", Readings.plan, "The orders of a round now; nothing is sent.", call="plan"),
        Post(
            "/api/v1/plan/what-if", Readings.what_if,
            "The orders of a round now, and with other limits, weights or shares; nothing is sent.",
            '{"limits": ["risk.max_drawdown=0.15"]}', "read", call="what_if", form={"question": True},
        ),
        Read("/api/v1/risk/history", Readings.risk_history, "Limits over time.", call="risk_history"),
        Read("/api/v1/risk/metrics", Readings.risk_metrics, "Risk measures of each book.", call="risk_metrics"),
        Read(
            "/api/v1/risk/correlations", Readings.correlations, "Correlations of the largest positions.",
            call="risk_correlations",
        ),
        Read("/api/v1/risk/standing", Readings.standing, "The present part of the risk report.", call="standing"),
        Read("/api/v1/portfolio/history", Readings.portfolio_history, "Equity at samples.", call="portfolio_history"),
        Read("/api/v1/house", Readings.house, "Capital of the agents, and tests of challengers.", call="house"),
        Read("/api/v1/allocations", Readings.allocations, "Target weights of the agents.", call="allocations"),
        Read(
            "/api/v1/orders", Readings.orders, "Orders.", call="orders",
            form={"about": "Orders of a group; with `totals`, the number of all that the search finds, by group.",
                  "spread": ("of", Searched)},
        ),
        Read("/api/v1/fills", Readings.fills, "Fills.", call="fills"),
        Read("/api/v1/equity", Readings.equity, "Equity for a chart.", call="equity"),
        Read("/api/v1/decisions", Readings.decisions, "Rounds and their orders.", call="decisions"),
        Read(
            "/api/v1/alerts", Readings.alerts, "Alerts.", call="alerts",
            form={"about": "Alerts that contain a text; with `totals`, the number of all of them."},
        ),
        Read(
            "/api/v1/why/{order}", Readings.why, "Why an order was made, or none.", call="why",
            form={"about": "Why an order, a decision's symbol, or the newest decision of a symbol is as it is.",
                  "renamed": {"order": "what"}, "flags": ("recorded",)},
        ),
    ),
)  # fmt: skip
