"""What a risk report holds. Fractions, not percent; money is exact text."""

from msgspec import Struct

from quantd.daemon.engine.valuation import Gain
from quantd.daemon.views.overview import LimitNow
from quantd.daemon.views.risk_measures import Metrics
from quantd.daemon.views.rows import AlertLine
from quantd.daemon.views.shortfall import Costed
from quantd.risk.assessment import Assessment
from quantd.risk.measures.var_backtest import VarBacktest
from quantd.trading.statistics import (
    SHARPE_DEFINITION,
)


class Standing(Struct, frozen=True):
    """The account as it stands at `ts`: its limits, and what is measured of it; None of a run whose state is not at
    hand. `own_closes`: what the account ("") and each shadow were worth more at samples, with each instrument at its
    own close of the date."""

    ts: int
    limits: list[LimitNow]
    house: Assessment
    agents: dict[str, Assessment]
    own_closes: dict[str, list[Gain]] = {}


class Header(Struct, frozen=True):
    """What a report is about, and what made its figures: `first` and `last` sample, `feed` and `config` digests, the
    version of the code. `standing`: the instant of what is said of now, empty when nothing is. `returns`: OWN_CLOSES,
    where they are so."""

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
    """What an equity did over some samples, deposits left out; None where fewer than two, or too few for a ratio, are
    known. `alerts` counts those of each level."""

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
    """One limit: as it stands (or at the last record), the worst of the span's records, and its use over time."""

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
    """A switch that moved, with the reason."""

    ts: int
    time: str
    who: str
    before: str
    after: str
    reason: str


class AgentPart(Struct, frozen=True):
    """One agent's section. A `shadow` has no part of the account."""

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
    """A challenger that was held against its champion."""

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
    """New shares of what the agents have together, by agent."""

    time: str
    method: str
    why: str
    shares: dict[str, float]
    target: dict[str, float]


class House(Struct, frozen=True):
    """The agents beside each other: the mean absolute correlation of their returns over this report's span (a year where it
    is shorter), challengers, and capital that moved."""

    diversity: float | None
    trials: list[Trial]
    capital: list[CapitalMove]


class Report(Struct, frozen=True):
    """All of a report. `unknown` says of each part that is missing why."""

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
    """Money that dividends, borrow, interest and the like brought in the span, by kind; exact text."""
