"""The structs of a risk report. Ratios are fractions, not percent; money is exact text; curves are (ns UTC, value)."""

from msgspec import Struct

from quantd.adapters.store.read_models import Alert, SwitchMove
from quantd.daemon.views.overview import LimitNow
from quantd.daemon.views.risk_measures import Metrics
from quantd.daemon.views.shortfall import Costed
from quantd.risk.assessment import Assessment
from quantd.risk.measures.var_backtest import VarBacktest
from quantd.trading.statistics import SHARPE_DEFINITION


class Standing(Struct, frozen=True):
    """The present account at `ts`: its limits and risk measures."""

    ts: int
    limits: list[LimitNow]
    house: Assessment
    agents: dict[str, Assessment]


class Header(Struct, frozen=True):
    """The subject and provenance of a report: `first` and `last` sample, `feed` and `config` digests, code version.

    `standing` is the instant of the present figures, empty without any. `returns` is the sentence LAST_PRICES where
    instruments have several calendars, else empty.
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
    """Performance over samples, without deposits; figures are None for too few samples. `alerts`: level -> count."""

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
    """One limit: its present value (or last record), the worst record of the span, and `history`, its use over time."""

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


class AgentPart(Struct, frozen=True):
    """One agent's section of a risk report. A `shadow` (agent on paper) is not part of the account."""

    name: str
    policy: str
    profile: str
    equity: str
    span: Span
    alerts: dict[str, int]
    switches: list[SwitchMove]
    limits: list[LimitNow]
    metrics: Metrics | None
    curve: list[tuple[int, float]]
    shadow: bool = False


class Trial(Struct, frozen=True):
    """A test of whether a challenger replaces its champion: `p` must be below `alpha`.

    `look` is the number of the test in a series of tests on growing data.
    """

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

    `diversity` is the mean absolute correlation over this report's span, or over a year when the span is shorter.
    """

    diversity: float | None
    trials: list[Trial]
    capital: list[CapitalMove]


class Report(Struct, frozen=True):
    """A whole risk report. `unknown`: name of a missing part -> the reason."""

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
    last_alerts: list[Alert]
    switches: list[SwitchMove]
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
