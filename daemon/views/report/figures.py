"""The figures of a risk report, from the store's read models over a span of time and from the present account.

This module only reads and is not part of the engine. Ratios are fractions, not percent; money is exact text.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from math import isfinite, sqrt
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision, RiskPoint
from quantd.daemon.assembly.parts import rate_of
from quantd.daemon.config import Agent, Config, digest
from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.engine.state import State
from quantd.daemon.recovery.replay import loads_of, policies_between
from quantd.daemon.recovery.state_at import PlanValues, Unavailable
from quantd.daemon.runtime.version import code_version
from quantd.daemon.views.limit_rows import reason_name
from quantd.daemon.views.overview import LimitNow, limit_now, limits_now
from quantd.daemon.views.report.contents import (
    AgentPart,
    CapitalMove,
    Header,
    House,
    LimitLine,
    Report,
    Standing,
    Trial,
)
from quantd.daemon.views.report.curves import (
    DAY_NS,
    FLOWS,
    SAMPLES,
    Curves,
    counted,
    span_of,
    span_start,
    spans_of,
    thin,
    transfers_of,
)
from quantd.daemon.views.risk_measures import assessed, metrics_of
from quantd.daemon.views.shortfall import Costed, Shortfalls, Slices, by_symbol, span_shortfalls
from quantd.daemon.views.struct_fields import struct_of
from quantd.risk.assessment import Assessment
from quantd.risk.measures.var_backtest import VarBacktest, backtest
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Planned, Transferred
from quantd.trading.instruments import MICRO, last_prices_note
from quantd.trading.market import Floats
from quantd.trading.model_events import ModelLoaded
from quantd.trading.orders import money_text
from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    SHARPE_DEFINITION,
    RiskFree,
    book_returns,
    mean_correlation,
    sharpe_definition,
)

LAST_ALERTS: Final = 50
"""Maximum number of alerts that a report lists."""

Plan = tuple[int, int]
"""(step, ordinal of the plan among the plans of the step)."""

Measured = Callable[[int, Mapping[Plan, Set[int]]], Mapping[Plan, PlanValues]]
"""(first step, plan -> agents) -> limit values of the house in all plans from the step on, and of these agents.

Raises Unavailable.
"""


def standing_of(state: State) -> Standing:
    """Return the present account for a report; call it between two steps of the engine."""
    assessment = assessed(state)
    return Standing(assessment.ts, limits_now(state), assessment.house, assessment.agents)


def report(
    reader: Reader,
    config: Config,
    *,
    kind: str,
    feed: str,
    standing: Standing | None,
    since: int = 0,
    until: int = 0,
    slices: Slices | None = None,
    measured: Measured | None = None,
) -> Report:
    """The report of (since, until], in ns UTC; `until` 0 means no end. `feed` is the digest of the market data.

    `standing` is the present state of a running daemon, None for a stored run; `slices` are the bars that value
    instruments at their own closes. `measured` computes the plans of orders again, from a given step on, to obtain
    limit values that the journal lacks. Raises ValueError when the run has no sample in that span.
    """
    return _Figures(reader, config, standing, since, until or 2**63 - 1, measured, slices).report(kind, feed)


class _Figures:
    """The records of one span of a run, and the sections of its report.

    Raises ValueError for a span without a sample.
    """

    def __init__(
        self,
        reader: Reader,
        config: Config,
        standing: Standing | None,
        since: int,
        until: int,
        measured: Measured | None,
        slices: Slices | None,
    ) -> None:
        """Read what the report of (since, until] needs. Raises ValueError when the run has no sample in it.

        `standing` is the present account, None where the run's state is not available.
        """
        self.reader, self.config, self.since, self.until = reader, config, since, until
        self.every = [point for point in reader.equity() if point.ts <= until]
        self.points = [point for point in self.every if point.ts > since]
        if not self.points:
            raise ValueError("the run has no sample in this span")
        self.last_ts = self.points[-1].ts
        self.unknown: dict[str, str] = {}
        """Name of a missing part -> its reason."""
        self.present = standing if standing is not None and self.last_ts <= standing.ts <= until else None
        if standing is None:
            self.unknown["assessment"] = "the run's state is unavailable"
        elif self.present is None:
            until_text = instant_text(self.last_ts)[:10]
            self.unknown["assessment"] = f"the span ends on {until_text}, before the run's last sample"
        self.alerts = [alert for alert in reader.alerts(since=since + 1) if alert.ts <= until]
        self.moves = [move for move in reader.switches() if since < move.ts <= until]
        self.names = [agent.name for agent in config.agents]
        loads: list[ModelLoaded] = []
        self.transfers: list[tuple[int, Transferred]] = []
        self.costs = self._costs(slices, loads)
        self.policies = policies_between(loads, config.seats, since, until)
        self.bookings = reader.bookings()
        entries = reader.sampled()[: len(self.every)]
        self.curves = Curves(self.every, entries, self.names, self.bookings, reader.capital(), self.transfers)
        self.begin = span_start(self.curves.ts, since)
        decisions = self._measured([decision for decision in reader.decisions() if decision.plan.ts <= until], measured)
        self.plans = [decision.plan for decision in decisions if decision.plan.ts > since]
        self.records = with_values([record for record in reader.risk() if record.ts <= until], decisions)
        self.risk_free, self.sharpe_definition = self._risk_free(self.curves.ts)

    def _measured(self, decisions: list[Decision], measured: Measured | None) -> list[Decision]:
        """The decisions, with the values of all limits in those that the report or its test of the VaR reads.

        `measured` replays the journal from a step on. The decisions have only the recorded values where it is None or
        fails: then the field `unknown` of the report has the reason.
        """
        begin = min(self.since, int(self.curves.ts[self.begin]))
        first = max([k for k, decision in enumerate(decisions) if decision.plan.ts <= begin], default=0)
        # version 1 of the journal recorded the values of all limits: then each plan has a value for cash
        if all("cash" in decision.plan.values for decision in decisions[first:]):
            return decisions
        try:
            if measured is None:
                raise Unavailable("the journal is not replayed")
            values_by_plan = measured(decisions[first].seq, last_agents(decisions[first:]))
        except Unavailable as why:
            self.unknown["limits"] = (
                "only the values that plans recorded are known (limits that cut, or were at 60 % of their bound): "
                f"{why}"
            )
            return decisions
        return [
            replaced(decision, values_by_plan[decision.seq, decision.ordinal])
            if (decision.seq, decision.ordinal) in values_by_plan
            else decision
            for decision in decisions
        ]

    def _costs(self, slices: Slices | None, loads: list[ModelLoaded]) -> Shortfalls | None:
        """The shortfalls of the span; None without a journal. Appends the artifacts that the run loaded to `loads`, and
        what portfolios moved to `transfers`."""
        reader = self.reader
        if reader.records is None:
            return None

        def noting_loads(entries: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
            for seq, entry_bytes in entries:
                loads.extend(loads_of(entry_bytes))
                self.transfers.extend((seq, transfer) for transfer in transfers_of(entry_bytes))
                yield seq, entry_bytes

        entries = noting_loads(reader.records.entries(reader.run.run, 1))
        return span_shortfalls(reader, entries, self.since, self.until, slices)

    def report(self, kind: str, feed: str) -> Report:
        """Compute all parts of the report; `unknown` then has the reason of each part that is missing.

        An agent that only reserves a place for a portfolio is left out until a portfolio is opened there.
        """
        reader, since, until = self.reader, self.since, self.until
        refused, cut = reasons(self.plans)
        places, books = self.config.places, self.curves.books
        in_use = [k for k, name in enumerate(self.names) if name not in places or books[k].any()]
        house = self.present.house if self.present is not None else None
        weights = _weights(house)
        levels = [(alert.ts, alert.level) for alert in reader.alerts()]
        shadows = [self._shadow(table) for table in self.config.shadows]
        return Report(
            header=self._header(kind, feed),
            equity=thin([(point.ts, point.equity_micro / MICRO) for point in self.every[self.begin :]]),
            drawdown=thin(self.curves.drawdown(since)),
            spans=spans_of(self.curves, levels, since, self.last_ts, self.risk_free),
            limits=self._limits(),
            metrics=metrics_of(house) if house is not None else None,
            assessment=house,
            symbols=weights,
            sectors=_sectors(weights, reader),
            alerts_by_level=counted(alert.level for alert in self.alerts),
            alerts_by_kind=counted(alert.kind for alert in self.alerts),
            alerts_by_agent=counted(alert.agent or "house" for alert in self.alerts),
            last_alerts=self.alerts[-LAST_ALERTS:],
            switches=self.moves,
            orders=reader.order_counts(since=since + 1, until=until),
            refused=refused,
            cut=cut,
            shortfall=self._shortfall(),
            var_backtest=self._backtest(),
            agents=[*map(self._agent, in_use), *(part for part in shadows if part is not None)],
            unknown=self.unknown,
            house=self._house(),
            income=self._income(),
        )

    def _income(self) -> dict[str, str]:
        """The sum of each kind of booking in the span, in account currency as text; deposits are left out."""
        income: dict[str, Decimal] = {}
        for booking in self.bookings:
            if self.since < booking.ts <= self.until and booking.kind not in FLOWS:
                income[booking.kind] = income.get(booking.kind, Decimal(0)) + Decimal(booking.amount)
        return {kind: str(amount) for kind, amount in sorted(income.items())}

    def _risk_free(self, ts: NDArray[np.int64]) -> tuple[RiskFree, str]:
        """(annual risk-free rate of the return to each sample, definition of the Sharpe ratio).

        The rate is NaN when the file of [account] cash_rate cannot be read.
        """
        days = (ts - 1) // DAY_NS * DAY_NS  # a session that ends at midnight belongs to the day before
        try:
            rate = rate_of(self.config, int(days[0]))
        except FeedError as why:
            self.unknown.setdefault("sharpe", str(why))
            return np.full(len(ts), np.nan), SHARPE_DEFINITION
        if rate is None:
            return RISK_FREE_ANNUAL, SHARPE_DEFINITION
        return rate.rate.earned(days) * PERIODS_PER_YEAR, sharpe_definition(rate.rate.words)

    def _house(self) -> House:
        """The correlation of the agents' returns, the tests of challengers, and the moves of capital in the span."""
        begin, since, until = self.begin, self.since, self.until
        moving = [returns[begin:] for returns in self.curves.agents if bool(returns[begin:].any())]
        enough = len(self.curves.ts) - begin >= SAMPLES
        diversity = mean_correlation(moving, absolute=True) if enough else float("nan")
        if not isfinite(diversity):
            self.unknown["diversity"] = f"fewer than two agents with changes of equity, or fewer than {SAMPLES} samples"
        # the book `manual` has no share of the agents' capital
        names = [name for name in self.names if name not in (MANUAL, *self.config.places)]
        return House(
            diversity=diversity if isfinite(diversity) else None,
            trials=[
                struct_of(Trial, trial, time=instant_text(trial.ts), champion=trial.names[0], challenger=trial.names[1])
                # a `look` of 0 does not count as a test
                for trial in self.reader.promotions(since=since + 1)
                if trial.ts <= until and trial.look
            ],
            capital=[
                CapitalMove(
                    instant_text(move.ts),
                    move.method,
                    move.why,
                    *(dict(zip(names, shares, strict=False)) for shares in (move.shares, move.target)),
                )
                # without a `target` only an amount owed from before was moved
                for move in self.reader.capital(since=since + 1)
                if move.ts <= until and move.target
            ],
        )

    def _agent(self, index: int) -> AgentPart:
        """The section of the agent with this index, with the limits of its book after its last plan in the span."""
        table = self.config.agents[index]
        parts = [part for plan in self.plans for part in plan.agents if part.agent == index]
        values: Mapping[str, tuple[float, float]] = parts[-1].values if parts else {}
        assessment = self.present.agents.get(table.name) if self.present is not None else None
        part = self._section_of(
            table,
            self.curves.ts,
            self.curves.books[index],
            self.curves.agents[index],
            self.every[-1].books[index],
            self.risk_free,
        )
        return replace(
            part,
            switches=[move for move in self.moves if move.who == table.name],
            limits=[limit_now(key, value, bound) for key, (value, bound) in sorted(values.items())],
            metrics=metrics_of(assessment) if assessment is not None else None,
        )

    def _shadow(self, table: Agent) -> AgentPart | None:
        """The section of a shadow (agent on paper), from its own book; None before its first sample."""
        points = [point for point in self.reader.shadow(table.name) if point.ts <= self.until]
        if not points:
            return None
        ts = np.array([point.ts for point in points], dtype=np.int64)
        equity = np.array([point.equity_micro / MICRO for point in points])
        returns = book_returns(equity, np.zeros(len(equity)))
        part = self._section_of(table, ts, equity, returns, points[-1].equity_micro, self._risk_free(ts)[0])
        return replace(part, shadow=True)

    def _section_of(
        self, table: Agent, ts: NDArray[np.int64], equity: Floats, returns: Floats, equity_micro: int, free: RiskFree
    ) -> AgentPart:
        """The section of an agent or shadow (agent on paper), from its equity and returns at the samples `ts`.

        `equity` float64[T] is in units of the currency, `equity_micro` its present value, `free` the annual risk-free
        rate. Switches, limits and metrics are added for an agent only.
        """
        alerts = [alert for alert in self.alerts if alert.agent == table.name]
        begin = span_start(ts, self.since)
        return AgentPart(
            name=table.name,
            policy=self.policies[table.name],
            profile=table.profile or "",
            equity=money_text(equity_micro),
            span=span_of(
                "this report", ts, returns, [(alert.ts, alert.level) for alert in alerts], self.since, int(ts[-1]), free
            ),
            alerts=counted(alert.kind for alert in alerts),
            switches=[],
            limits=[],
            metrics=None,
            curve=thin(list(zip(ts[begin:].tolist(), equity[begin:].tolist(), strict=True))),
        )

    def _shortfall(self) -> list[Costed]:
        """Implementation shortfall of the span's decisions; empty without decisions."""
        if self.costs is None:
            self.unknown["shortfall"] = "the journal is unavailable"
            return []
        if self.costs.note:
            self.unknown["delay"] = self.costs.note
        return by_symbol(self.costs, self.since, self.until)

    def _header(self, kind: str, feed: str) -> Header:
        """The header of a report of this `kind`; `feed` is the digest of the market data.

        `self.present` is the account at the end of the run, None where the span of the report ends earlier: then
        `standing` is empty. `returns` is the note on the prices of several calendars.
        """
        run, config, broker_costs = self.reader.run, self.config, self.config.broker.costs()
        costs = {
            name: getattr(broker_costs, name)
            for name in broker_costs.__struct_fields__
            if name != "seed" and getattr(broker_costs, name)
        }
        bars = f"{config.feed.kind} {config.feed.path or ''} {config.feed.interval_ns // 1_000_000_000}s bars"
        return Header(
            kind=kind,
            name=config.quantd.name,
            run=run.run,
            mode=run.mode,
            first=instant_text(self.points[0].ts),
            last=instant_text(self.last_ts),
            samples=len(self.points),
            market=bars.strip(),
            symbols=run.universe.symbols,
            currency=run.universe.currency,
            benchmark=config.universe.benchmark,
            costs=costs,
            seed=config.broker.seed,
            agents={
                agent.name: self.policies[agent.name] + (" (shadow)" if agent.shadow else "") for agent in config.seats
            },
            config=digest(config),
            feed=feed,
            version=code_version(),
            standing=instant_text(self.present.ts) if self.present is not None else "",
            returns=last_prices_note(run.universe),
            sharpe_definition=self.sharpe_definition,
        )

    def _limits(self) -> list[LimitLine]:
        """Every limit of the report that was recorded or has a present value.

        The drawdown has a value at each sample.
        """
        present, points = self.present, self.every
        present_limits = {line.limit: line for line in present.limits} if present is not None else {}
        histories: dict[str, list[tuple[int, LimitNow]]] = {}
        for record in self.records:
            for key, (value, bound) in record.measures.items():
                if value is not None and bound is not None:
                    histories.setdefault(key, []).append((record.ts, limit_now(key, value, bound)))
        if (drawdowns := histories.get("max_drawdown")) and drawdowns[-1][1].bound is not None:
            histories["max_drawdown"] = [
                (p.ts, limit_now("max_drawdown", p.drawdown, drawdowns[-1][1].bound)) for p in points
            ]
        lines = []
        for key in sorted(present_limits.keys() | histories.keys()):
            history = histories.get(key, [])
            recent = [point for point in history if point[0] > self.since]
            # (use, instant, value)
            usages = [(line.use, ts, line.value) for ts, line in recent if line.use is not None]
            if present is not None and key in present_limits and (use := present_limits[key].use) is not None:
                usages.append((use, present.ts, present_limits[key].value))
            worst = max(usages, key=lambda usage: usage[0], default=None)
            line = present_limits.get(key) or history[-1][1]
            usage_history = [(ts, limit.use) for ts, limit in history if limit.use is not None]
            lines.append(
                struct_of(
                    LimitLine,
                    line,
                    limit=key,
                    words=line.words or key.replace("_", " "),
                    worst=worst[2] if worst is not None else None,
                    worst_use=worst[0] if worst is not None else None,
                    worst_time=instant_text(worst[1]) if worst is not None else "",
                    records=len(recent),
                    history=thin([(ts, use) for ts, use in usage_history if isfinite(use)]),
                )
            )
        return lines

    def _backtest(self) -> VarBacktest | None:
        """The test of the VaR from `begin` on, at least a year: a weekly report alone has too few samples.

        None without enough samples; the field `unknown` of the report then has the reason.
        """
        test, why = var_test(self.records, self.curves.ts, self.curves.returns, self.config, self.begin)
        if test is None:
            self.unknown["var_backtest"] = why
        return test


def var_test(
    records: Sequence[RiskPoint], ts: NDArray[np.int64], returns: Floats, config: Config, begin: int = 0
) -> tuple[VarBacktest | None, str]:
    """The test of the VaR that was in force at each sample against the return that followed, or None and the reason.

    `returns` float64[T] belong to the samples `ts`; the first `begin` samples are left out. A VaR over a horizon of
    several samples is divided by the root of their number.
    """
    spec = getattr(config.risk, "var", None)
    forecasts = [
        (record.ts, record.measures["var"][0])
        for record in records
        if record.measures.get("var", (None, None))[0] is not None
    ]
    if not forecasts:
        return None, "no VaR was recorded: [risk] var is not set, or the history was too short"
    newest = np.searchsorted([instant for instant, _ in forecasts], ts, side="right") - 1  # -1: none yet
    values = np.array([value for _, value in forecasts], dtype=np.float64)
    daily_var = np.where(newest >= 0, values[newest], np.nan)[:-1] / sqrt(spec.horizon if spec is not None else 1)
    returns, daily_var = returns[1:][begin:], daily_var[begin:]
    samples = int(np.isfinite(daily_var).sum())
    if samples < SAMPLES:
        return None, f"{samples} samples have a recorded VaR; {SAMPLES} are needed"
    return backtest(returns, daily_var, spec.confidence if spec is not None else 0.95), ""


def last_agents(decisions: Sequence[Decision]) -> dict[Plan, set[int]]:
    """Plan -> the agents for which it is the last plan; the report shows the limits of these agents after the plan."""
    last = {part.agent: (decision.seq, decision.ordinal) for decision in decisions for part in decision.plan.agents}
    agents_by_plan: dict[Plan, set[int]] = {}
    for agent, plan in last.items():
        agents_by_plan.setdefault(plan, set()).add(agent)
    return agents_by_plan


def replaced(decision: Decision, values: PlanValues) -> Decision:
    """A decision with the limit values in `values`: of the whole account, and of the agents that were measured."""
    plan = decision.plan
    agents = [replace(part, values=values.agents.get(part.agent, part.values)) for part in plan.agents]
    return replace(decision, plan=replace(plan, agents=agents, values=values.house))


def with_values(points: list[RiskPoint], decisions: Sequence[Decision]) -> list[RiskPoint]:
    """The records of limits, in which each record of a plan has the limit values of the decision at its instant.

    Several plans of an instant are matched in order.
    """
    plans: dict[int, list[Planned]] = {}  # by instant, the earliest last
    for decision in reversed(decisions):
        plans.setdefault(decision.plan.ts, []).append(decision.plan)
    records = []
    for point in points:
        if point.kind == "plan" and plans.get(point.ts):
            values = dict(plans[point.ts].pop().values)
            point = replace(point, measures=values)
        records.append(point)
    return records


def reasons(plans: Sequence[Planned]) -> tuple[dict[str, int], dict[str, int]]:
    """(refused, cut) counts of requested trades of agents and house (the whole account), by limit."""
    refused: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for plan in plans:
        for asked, allowed, codes in (
            (plan.net, plan.allowed, plan.reason),
            *((part.asked, part.allowed, part.reason) for part in plan.agents),
        ):
            asked_lots, allowed_lots = np.frombuffer(asked, dtype="<i8"), np.frombuffer(allowed, dtype="<i8")
            reason_codes = np.frombuffer(codes, dtype=np.int8)
            for k in np.flatnonzero(asked_lots != allowed_lots).tolist():
                (refused if allowed_lots[k] == 0 else cut)[reason_name(int(reason_codes[k]))] += 1
    return dict(refused.most_common()), dict(cut.most_common())


def _weights(house: Assessment | None) -> dict[str, float]:
    if house is None or house.positions is None:
        return {}
    return {name: part.weight for name, part in sorted(house.positions.items(), key=lambda pair: -abs(pair[1].weight))}


def _sectors(weights: Mapping[str, float], reader: Reader) -> dict[str, float]:
    universe = reader.run.universe
    sectors = dict(zip(universe.symbols, universe.sectors, strict=True))
    weight_by_sector: dict[str, float] = {}
    for symbol, weight in weights.items():
        sector = sectors.get(symbol) or "no sector"
        weight_by_sector[sector] = weight_by_sector.get(sector, 0.0) + weight
    return weight_by_sector
