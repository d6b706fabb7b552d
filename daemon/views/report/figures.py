"""The figures of a risk report, from the store's read models over a span of time and from the present account.

This module only reads and is not part of the engine. Ratios are fractions, not percent; money is exact text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite, sqrt
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.store.queries import Alert, Booking, EquityPoint, Reader, RiskPoint
from quantd.daemon.assembly.parts import rate_of
from quantd.daemon.config import Agent, Config, digest
from quantd.daemon.config.schema import MANUAL
from quantd.daemon.engine.state import State
from quantd.daemon.engine.valuation import Gain, gains
from quantd.daemon.runtime.version import code_version
from quantd.daemon.views.limit_rows import reason_name
from quantd.daemon.views.overview import LimitNow, limit_now
from quantd.daemon.views.risk_measures import Metrics, metrics_of
from quantd.daemon.views.rows import AlertLine, alert_line
from quantd.daemon.views.shortfall import Costed, Slices, by_symbol, shortfalls
from quantd.risk.assessment import Assessment
from quantd.risk.measures.var_backtest import VarBacktest, backtest
from quantd.trading.clock_text import instant_text
from quantd.trading.effects import Planned, Reallocated
from quantd.trading.market import Floats
from quantd.trading.statistics import (
    OWN_CLOSES,
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    SHARPE_DEFINITION,
    RiskFree,
    annual_return,
    compounded,
    drawdowns,
    mean_correlation,
    newest,
    sharpe,
    sharpe_definition,
    time_weighted_returns,
    volatility,
)

DAY_NS: Final = 86_400_000_000_000
POINTS: Final = 300
"""Maximum of points in one chart."""

LAST_ALERTS: Final = 50
SAMPLES: Final = 60
"""Minimum of samples for a ratio and for the VaR backtest."""


class Standing(Struct, frozen=True):
    """The present account at `ts`: its limits and risk measures.

    `own_closes`: gain in equity of the account ("") and of each shadow at samples when each instrument is valued at its
    own close of the date.
    """

    ts: int
    limits: list[LimitNow]
    house: Assessment
    agents: dict[str, Assessment]
    own_closes: dict[str, list[Gain]] = {}


def own_closes(state: State) -> dict[str, list[Gain]]:
    """The `own_closes` of a `Standing`; empty when no close of a date is after its sample."""
    named = {"": state, **{shadow.rules.agents[0].name: shadow for shadow in state.shadows}}
    return {name: found for name, own in named.items() if (found := gains(own))}


class Header(Struct, frozen=True):
    """The subject and provenance of a report: `first` and `last` sample, `feed` and `config` digests, code version.

    `standing` is the instant of the present figures, empty without any. `returns` is OWN_CLOSES when that applies.
    """

    kind: str
    name: str
    run: str
    mode: str
    first: str
    last: str
    samples: int
    market: str
    symbols: tuple[str, ...]
    currency: str
    benchmark: str
    costs: dict[str, float]
    seed: int
    agents: dict[str, str]
    config: str
    feed: str
    version: str
    standing: str
    returns: str = ""
    sharpe_definition: str = SHARPE_DEFINITION


class Span(Struct, frozen=True):
    """Performance over some samples, without deposits; None for figures with too few samples.

    `alerts` counts the alerts of each level.
    """

    name: str
    samples: int
    first: str
    total: float | None
    annual: float | None
    volatility: float | None
    sharpe: float | None
    max_drawdown: float | None
    alerts: dict[str, int]


class LimitLine(Struct, frozen=True):
    """One limit: present value (or last record), worst record of the span, and use over time."""

    limit: str
    words: str
    unit: str
    value: float | None
    bound: float | None
    use: float | None
    floor: bool
    worst: float | None
    worst_use: float | None
    worst_time: str
    records: int
    history: list[tuple[int, float]]


class Move(Struct, frozen=True):
    """A change of a switch, with the reason."""

    ts: int
    time: str
    who: str
    before: str
    after: str
    reason: str


class AgentPart(Struct, frozen=True):
    """One agent's section. A `shadow` is not part of the account."""

    name: str
    policy: str
    profile: str
    equity: str
    span: Span
    alerts: dict[str, int]
    switches: list[Move]
    limits: list[LimitNow]
    metrics: Metrics | None
    curve: list[tuple[int, float]]
    shadow: bool = False


class Trial(Struct, frozen=True):
    """A test of a challenger against its champion."""

    time: str
    champion: str
    challenger: str
    promoted: bool
    why: str
    measure: str
    gain: float
    p: float
    alpha: float
    look: int


class CapitalMove(Struct, frozen=True):
    """New shares of the agents' capital, by agent."""

    time: str
    method: str
    why: str
    shares: dict[str, float]
    target: dict[str, float]


class House(Struct, frozen=True):
    """Comparison of the agents: correlation of returns, promotion tests and capital reallocations.

    The correlation is the mean absolute one over this report's span, or over a year when the span is shorter.
    """

    diversity: float | None
    trials: list[Trial]
    capital: list[CapitalMove]


class Report(Struct, frozen=True):
    """A whole report. `unknown` has the reason for each missing part."""

    header: Header
    equity: list[tuple[int, float]]
    drawdown: list[tuple[int, float]]
    spans: list[Span]
    limits: list[LimitLine]
    metrics: Metrics | None
    assessment: Assessment | None
    symbols: dict[str, float]
    sectors: dict[str, float]
    alerts_by_level: dict[str, int]
    alerts_by_kind: dict[str, int]
    alerts_by_agent: dict[str, int]
    last_alerts: list[AlertLine]
    switches: list[Move]
    orders: dict[str, int]
    refused: dict[str, int]
    cut: dict[str, int]
    shortfall: list[Costed]
    var_backtest: VarBacktest | None
    agents: list[AgentPart]
    unknown: dict[str, str]
    house: House
    income: dict[str, str] = {}
    """Income of the span by kind (dividends, borrow fees, interest and others); exact text."""


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
) -> Report:
    """The report of (since, until], in ns; until 0 is everything. `feed` is the digest of the market data.

    Raises ValueError when the run has no sample in that span.
    """
    until = until or 2**63 - 1
    every = [p for p in reader.equity() if p.ts <= until]
    points = [p for p in every if p.ts > since]
    if not points:
        raise ValueError("the run has no sample in this span")
    last_ts = points[-1].ts
    unknown: dict[str, str] = {}
    present = standing if standing is not None and last_ts <= standing.ts and standing.ts <= until else None
    if present is None:
        why = (
            "the run's state is unavailable"
            if standing is None
            else f"the span ends on {instant_text(last_ts)[:10]}, before the run's last sample"
        )
        unknown["assessment"] = why
    alerts = [a for a in reader.alerts(since=since + 1) if a.ts <= until]
    moves = [_move(m.ts, m.agent, m.before, m.after, m.reason) for m in reader.switches() if since < m.ts <= until]
    plans = [d.plan for d in reader.decisions(since=since + 1) if d.plan.ts <= until]
    records = [r for r in reader.risk() if r.ts <= until]
    names = [agent.name for agent in config.agents]
    more = standing.own_closes if standing is not None else {}
    calendars = {each.calendar for each in reader.run.universe.instruments} | {reader.run.universe.calendar}
    if standing is None and len(calendars) > 1:
        unknown["own_closes"] = "the run's state is unavailable: returns are at last known prices"
    bookings = reader.bookings()
    curves = _Curves(every, reader.sampled()[: len(every)], names, bookings, reader.capital(), more.get("", ()))
    free, definition = _risk_free(config, curves.ts, unknown)
    refused, cut = reasons(plans)
    house = present.house if present is not None else None
    weights = _weights(house)
    return Report(
        header=_header(kind, reader, config, points, feed, present, OWN_CLOSES if more else "", definition),
        equity=thin([(p.ts, float(p.equity)) for p in curves.shown(since)]),
        drawdown=thin(curves.drawdown(since)),
        spans=_spans(curves, alerts_of(reader), since, last_ts, free),
        limits=_limits(records, every, since, present),
        metrics=metrics_of(house) if house is not None else None,
        assessment=house,
        symbols=weights,
        sectors=_sectors(weights, reader),
        alerts_by_level=_counted(a.level for a in alerts),
        alerts_by_kind=_counted(a.kind for a in alerts),
        alerts_by_agent=_counted(a.agent or "house" for a in alerts),
        last_alerts=[alert_line(a) for a in alerts[-LAST_ALERTS:]],
        switches=moves,
        orders=_counted(o.order.state for o in reader.orders(since=since + 1) if o.order.ts <= until),
        refused=refused,
        cut=cut,
        shortfall=_shortfall(reader, since, until, unknown, slices),
        var_backtest=_backtest(curves, records, config, since, unknown),
        agents=[
            *(_agent(k, config, curves, plans, moves, alerts, present, since, free) for k in range(len(config.agents))),
            *(
                part
                for table in config.shadows
                if (part := _shadow(config, table, reader, alerts, since, until, more.get(table.name, ()))) is not None
            ),
        ],
        unknown=unknown,
        house=_house(reader, config, curves, since, until, unknown),
        income=_income([b for b in bookings if since < b.ts <= until]),
    )


def _income(bookings: Sequence[Booking]) -> dict[str, str]:
    found: dict[str, Decimal] = {}
    for each in bookings:
        if each.kind not in FLOWS:
            found[each.kind] = found.get(each.kind, Decimal(0)) + Decimal(each.amount)
    return {kind: str(amount) for kind, amount in sorted(found.items())}


def _risk_free(config: Config, ts: NDArray[np.int64], unknown: dict[str, str]) -> tuple[RiskFree, str]:
    """(annual risk-free rate of the return to each sample, definition of the Sharpe ratio).

    The rate is NaN when the file of [account] cash_rate cannot be read.
    """
    days = (ts - 1) // DAY_NS * DAY_NS  # a session that ends at midnight belongs to the day before
    try:
        rate = rate_of(config, int(days[0]))
    except FeedError as why:
        unknown["sharpe"] = str(why)
        return np.full(len(ts), np.nan), SHARPE_DEFINITION
    if rate is None:
        return RISK_FREE_ANNUAL, SHARPE_DEFINITION
    return rate.rate.earned(days) * PERIODS_PER_YEAR, sharpe_definition(rate.rate.words)


def _house(reader: Reader, config: Config, curves: "_Curves", since: int, until: int, unknown: dict[str, str]) -> House:
    begin = curves.start(since)
    moving = [own[begin:] for own in curves.agents if bool(own[begin:].any())]
    alike = mean_correlation(moving, absolute=True) if len(curves.ts) - begin >= SAMPLES else float("nan")
    if not isfinite(alike):
        unknown["diversity"] = f"fewer than two agents with changes of equity, or fewer than {SAMPLES} samples"
    names = [agent.name for agent in config.agents]
    return House(
        diversity=alike if isfinite(alike) else None,
        trials=[
            Trial(instant_text(t.ts), *t.names, t.promoted, t.why, t.measure, t.gain, t.p, t.alpha, t.look)
            for t in reader.promotions(since=since + 1)
            if t.ts <= until and t.look
        ],
        capital=[
            CapitalMove(
                instant_text(c.ts), c.method, c.why, *(_named(names, config, each) for each in (c.shares, c.target))
            )
            for c in reader.capital(since=since + 1)
            if c.ts <= until and c.target
        ],
    )


def _named(names: Sequence[str], config: Config, shares: Sequence[float]) -> dict[str, float]:
    """Shares of the participating agents, by name; the book `manual` does not participate."""
    return dict(zip([name for name in names if name != MANUAL], shares, strict=False))


def _shadow(
    config: Config,
    table: Agent,
    reader: Reader,
    alerts: Sequence[Alert],
    since: int,
    until: int,
    more: Sequence[Gain],
) -> AgentPart | None:
    """A shadow's section, from its own book; None before its first sample."""
    points = [p for p in reader.shadow(table.name) if p.ts <= until]
    if not points:
        return None
    ts = np.array([p.ts for p in points], dtype=np.int64)
    equity = np.array([float(p.equity) for p in points])
    own = [a for a in alerts if a.agent == table.name]
    begin = max(0, min(int(np.searchsorted(ts, since, side="right")), len(ts) - 252))
    told = [(a.ts, a.level) for a in own]
    free = _risk_free(config, ts, {})[0]
    return AgentPart(
        name=table.name,
        policy=table.policy,
        profile=table.profile or "",
        equity=points[-1].equity,
        span=_span(
            "this report",
            ts,
            _returns(equity + _more(ts, more, 0), np.zeros(len(equity))),
            told,
            since,
            int(ts[-1]),
            free,
        ),
        alerts=_counted(a.kind for a in own),
        switches=[],
        limits=[],
        metrics=None,
        curve=thin(list(zip(ts[begin:].tolist(), equity[begin:].tolist(), strict=True))),
        shadow=True,
    )


def _shortfall(reader: Reader, since: int, until: int, unknown: dict[str, str], slices: Slices | None) -> list[Costed]:
    """Implementation shortfall of the span's decisions; empty without decisions."""
    if reader.records is None:
        unknown["shortfall"] = "the journal is unavailable"
        return []
    found = shortfalls(reader, reader.records, since, slices)
    if found.note:
        unknown["delay"] = found.note
    return by_symbol(found, since, until)


def alerts_of(reader: Reader) -> list[tuple[int, str]]:
    """(instant, level) of every alert of a run."""
    return [(a.ts, a.level) for a in reader.alerts()]


def _header(
    kind: str,
    reader: Reader,
    config: Config,
    points: Sequence[EquityPoint],
    feed: str,
    present: Standing | None,
    returns: str,
    definition: str,
) -> Header:
    made = config.broker.costs()
    costs = {name: getattr(made, name) for name in made.__struct_fields__ if name != "seed" and getattr(made, name)}
    return Header(
        kind=kind,
        name=config.quantd.name,
        run=reader.run.run,
        mode=reader.run.mode,
        first=instant_text(points[0].ts),
        last=instant_text(points[-1].ts),
        samples=len(points),
        market=f"{config.feed.kind} {config.feed.path or ''} {config.feed.interval_ns // 1_000_000_000}s bars".strip(),
        symbols=reader.run.universe.symbols,
        currency=reader.run.universe.currency,
        benchmark=config.universe.benchmark,
        costs=costs,
        seed=config.broker.seed,
        agents={a.name: f"{a.policy} (shadow)" if a.shadow else a.policy for a in config.seats},
        config=digest(config),
        feed=feed,
        version=code_version(),
        standing=instant_text(present.ts) if present is not None else "",
        returns=returns,
        sharpe_definition=definition,
    )


# ---- equity ------------------------------------------------------------------------------------------


class _Curves:
    """Equity of the house and of each agent at samples, and wealth: the value of 1 unit without deposits.

    Returns use each instrument's own close of the date, by the gains in `more`. Equity is at last known prices.
    """

    def __init__(
        self,
        every: Sequence[EquityPoint],
        entries: Sequence[int],
        agents: Sequence[str],
        bookings: Sequence[Booking],
        capital: Sequence[Reallocated] = (),
        more: Sequence[Gain] = (),
    ) -> None:
        self.every = every
        self.ts = np.array([p.ts for p in every], dtype=np.int64)
        seqs = np.array(entries, dtype=np.int64)
        flows = [b for b in bookings if b.kind in FLOWS]
        house = np.array([float(p.equity) for p in every]) + _more(self.ts, more, 0)
        self.returns = _returns(house, _flows(seqs, flows))
        self.books = [np.array([float(p.books[k]) for p in every]) for k in range(len(agents))]
        # capital is reallocated at a sample, right after its valuation
        after = np.zeros((len(agents), len(every)))
        for each in capital:
            at = int(np.searchsorted(self.ts, each.ts))
            if at < len(every) and self.ts[at] == each.ts:
                after[:, at] += np.array(each.moved[: len(agents)]) / 1e6
        self.agents = [
            _returns(book + _more(self.ts, more, k + 1), _flows(seqs, [b for b in flows if b.agent == name]), own)
            for k, (name, book, own) in enumerate(zip(agents, self.books, after, strict=True))
        ]

    def shown(self, since: int) -> Sequence[EquityPoint]:
        """The first index of the span, or of a year when the span is shorter."""
        return self.every[self.start(since) :]

    def start(self, since: int) -> int:
        return max(0, min(int(np.searchsorted(self.ts, since, side="right")), len(self.every) - 252))

    def drawdown(self, since: int) -> list[tuple[int, float]]:
        fall = drawdowns(compounded(self.returns))[1:]
        begin = self.start(since)
        return list(zip(self.ts[begin:].tolist(), fall[begin:].tolist(), strict=True))

    def curve(self, agent: int, since: int) -> list[tuple[int, float]]:
        begin = self.start(since)
        return list(zip(self.ts[begin:].tolist(), self.books[agent][begin:].tolist(), strict=True))


def _more(ts: NDArray[np.int64], more: Sequence[Gain], book: int) -> Floats:
    """float64[T]: gain of the house (0) or of an agent's book (1 on) at these samples."""
    found = {each.ts: each.micro[book] / 1e6 for each in more}
    return np.array([found.get(int(each), 0.0) for each in ts])


FLOWS: Final = frozenset({"flow", "in_kind"})
"""Kinds of bookings that are neither profit nor loss."""


def _returns(equity: Floats, flows: Floats, after: Floats | None = None) -> Floats:
    """float64[T] returns, 0 at the first sample; deposits are not profit.

    A deposit `after` the valuation of a sample, at the same instant, earns from that sample on.
    """
    if after is None or not after.any():
        return np.concatenate((np.zeros(1), time_weighted_returns(equity, flows)))
    base, moved = equity[:-1] + after[:-1], flows[1:] - flows[:-1]
    found = np.zeros(len(equity))
    np.divide(equity[1:] - moved - base, base, out=found[1:], where=base > 0.0)
    return found


def _flows(seqs: NDArray[np.int64], flows: Sequence[Booking]) -> Floats:
    """float64[T]: deposits booked up to the samples of these entries, in booking order.

    A deposit at a sample's instant comes after the sample.
    """
    moved = np.zeros(len(seqs))
    for each in flows:
        at = int(np.searchsorted(seqs, each.seq))
        if at < len(moved):
            moved[at] += float(each.amount)
    return moved.cumsum()


def _span(
    name: str,
    ts: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    returns: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    alerts: Sequence[tuple[int, str]],
    since: int,
    until: int,
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL,
) -> Span:
    """Performance over the samples in (since, until], including the return to the first of them.

    `free` has the risk-free rate of the return to each sample.
    """
    mine = (ts > since) & (ts <= until)
    own = returns[mine]
    free = risk_free_annual if isinstance(risk_free_annual, float) else risk_free_annual[mine]
    if len(own) and mine[0]:
        own, free = own[1:], newest(free, len(own) - 1)  # the very first sample has no return
    known = len(own) > 0
    wealth = compounded(own)
    enough = len(own) >= SAMPLES
    ratio = sharpe(own, PERIODS_PER_YEAR, free) if enough else float("nan")
    times = ts[mine]
    return Span(
        name=name,
        samples=len(times),
        first=instant_text(int(times[0])) if len(times) else "",
        total=float(wealth[-1] - 1.0) if known else None,
        annual=annual_return(wealth) if enough else None,
        volatility=volatility(own) if enough else None,
        sharpe=ratio if isfinite(ratio) else None,
        max_drawdown=float(drawdowns(wealth).max()) if known else None,
        alerts=_counted(level for at, level in alerts if since < at <= until),
    )


SPANS: Final = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}


def _spans(
    curves: _Curves, alerts: Sequence[tuple[int, str]], since: int, until: int, risk_free_annual: RiskFree
) -> list[Span]:
    """This report's span, then day, week, month, quarter, year and all, each ending with it."""
    spans = [("this report", since)] + [(name, until - days * DAY_NS) for name, days in SPANS.items()] + [("all", 0)]
    return [_span(name, curves.ts, curves.returns, alerts, begin, until, risk_free_annual) for name, begin in spans]


def thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS points: the first, the last, and the extremes of each piece in between."""
    if len(points) <= POINTS:
        return list(points)
    pieces = np.array_split(np.arange(len(points)), POINTS // 2)
    values = np.array([value for _, value in points])
    kept = {0, len(points) - 1}
    for piece in pieces:
        kept |= {int(piece[values[piece].argmin()]), int(piece[values[piece].argmax()])}
    return [points[k] for k in sorted(kept)]


# ---- limits ------------------------------------------------------------------------------------------


def _limits(
    records: Sequence[RiskPoint], every: Sequence[EquityPoint], since: int, present: Standing | None
) -> list[LimitLine]:
    """Every limit that was recorded or has a present value; the drawdown at each sample."""
    now = {line.limit: line for line in present.limits} if present is not None else {}
    histories: dict[str, list[tuple[int, LimitNow]]] = {}
    for record in records:
        for key, (value, bound) in record.measures.items():
            if value is not None and bound is not None:
                histories.setdefault(key, []).append((record.ts, limit_now(key, value, bound)))
    if (most := histories.get("max_drawdown")) and most[-1][1].bound is not None:
        histories["max_drawdown"] = [(p.ts, limit_now("max_drawdown", p.drawdown, most[-1][1].bound)) for p in every]
    found = []
    for key in sorted(now.keys() | histories.keys()):
        history = histories.get(key, [])
        inside = [each for each in history if each[0] > since]
        used = [(line.use, ts, line.value) for ts, line in inside if line.use is not None]
        if present is not None and key in now and (use := now[key].use) is not None:
            used.append((use, present.ts, now[key].value))
        worst = max(used, key=lambda each: each[0], default=None)
        line = now.get(key) or history[-1][1]
        shown = [(ts, each.use) for ts, each in history if each.use is not None]
        found.append(
            LimitLine(
                limit=key,
                words=line.words or key.replace("_", " "),
                unit=line.unit,
                value=line.value,
                bound=line.bound,
                use=line.use,
                floor=line.floor,
                worst=worst[2] if worst is not None else None,
                worst_use=worst[0] if worst is not None else None,
                worst_time=instant_text(worst[1]) if worst is not None else "",
                records=len(inside),
                history=thin([(ts, use) for ts, use in shown if isfinite(use)]),
            )
        )
    return found


def _backtest(
    curves: _Curves, records: Sequence[RiskPoint], config: Config, since: int, unknown: dict[str, str]
) -> VarBacktest | None:
    """The VaR recorded at each sample against the return that followed."""
    spec = config.risk.var
    forecasts = [(r.ts, r.measures["var"][0]) for r in records if r.measures.get("var", (None, None))[0] is not None]
    if not forecasts:
        unknown["var_backtest"] = "no VaR was recorded: [risk] var is not set, or the history was too short"
        return None
    at = np.searchsorted([ts for ts, _ in forecasts], curves.ts, side="right") - 1
    known = np.where(at >= 0, np.array([value for _, value in forecasts], dtype=np.float64)[at], np.nan)
    made = known[:-1] / sqrt(spec.horizon if spec is not None else 1)
    begin = curves.start(since)  # at least a year: a week has too few samples
    returns, made = curves.returns[1:][begin:], made[begin:]
    samples = int(np.isfinite(made).sum())
    if samples < SAMPLES:
        unknown["var_backtest"] = f"{samples} samples have a recorded VaR; {SAMPLES} are needed"
        return None
    return backtest(returns, made, spec.confidence if spec is not None else 0.95)


# ---- orders, switches, agents --------------------------------------------------------------------


def reasons(plans: Sequence[Planned]) -> tuple[dict[str, int], dict[str, int]]:
    """(refused, cut) counts of requested trades of agents and house, by limit."""
    refused: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for plan in plans:
        for asked, allowed, codes in (
            (plan.net, plan.allowed, plan.reason),
            *((part.asked, part.allowed, part.reason) for part in plan.agents),
        ):
            wish, got = np.frombuffer(asked, dtype="<i8"), np.frombuffer(allowed, dtype="<i8")
            why = np.frombuffer(codes, dtype=np.int8)
            for k in np.flatnonzero(wish != got).tolist():
                (refused if got[k] == 0 else cut)[reason_name(int(why[k]))] += 1
    return dict(refused.most_common()), dict(cut.most_common())


def _agent(
    number: int,
    config: Config,
    curves: _Curves,
    plans: Sequence[Planned],
    moves: Sequence[Move],
    alerts: Sequence[Alert],
    present: Standing | None,
    since: int,
    free: RiskFree,
) -> AgentPart:
    table = config.agents[number]
    own = [a for a in alerts if a.agent == table.name]
    parts = [part for plan in plans for part in plan.agents if part.agent == number]
    values: Mapping[str, tuple[float, float]] = parts[-1].values if parts else {}
    found = present.agents.get(table.name) if present is not None else None
    return AgentPart(
        name=table.name,
        policy=table.policy,
        profile=table.profile or "",
        equity=curves.every[-1].books[number],
        span=_span(
            "this report",
            curves.ts,
            curves.agents[number],
            [(a.ts, a.level) for a in own],
            since,
            int(curves.ts[-1]),
            free,
        ),
        alerts=_counted(a.kind for a in own),
        switches=[m for m in moves if m.who == table.name],
        limits=[limit_now(key, value, bound) for key, (value, bound) in sorted(values.items())],
        metrics=metrics_of(found) if found is not None else None,
        curve=thin(curves.curve(number, since)),
    )


def _move(ts: int, agent: str, before: str, after: str, reason: str) -> Move:
    return Move(ts, instant_text(ts), agent or "house", before, after, reason)


def _weights(house: Assessment | None) -> dict[str, float]:
    if house is None or house.positions is None:
        return {}
    return {name: part.weight for name, part in sorted(house.positions.items(), key=lambda each: -abs(each[1].weight))}


def _sectors(weights: Mapping[str, float], reader: Reader) -> dict[str, float]:
    universe = reader.run.universe
    sectors = dict(zip(universe.symbols, universe.sectors, strict=True))
    found: dict[str, float] = {}
    for symbol, weight in weights.items():
        sector = sectors.get(symbol) or "no sector"
        found[sector] = found.get(sector, 0.0) + weight
    return found


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def day_start(ts: int, days: int) -> int:
    """00:00 UTC at the start of a span of whole days that ends with the day of `ts`."""
    return (ts // DAY_NS + 1 - days) * DAY_NS - 1


def date_ns(day: date) -> int:
    """00:00 UTC of a date."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000_000
