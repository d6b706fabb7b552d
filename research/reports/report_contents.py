"""The structs of a backtest's report. Its JSON has every figure of the page.

Ratios are fractions, not percent; money is in account currency; times are ns UTC. An undefined figure is None. Values
by account are in the order of `BacktestReport.accounts`.
"""

from typing import Literal

from msgspec import Struct

from quantd.research.attribution.breakdown import Breakdown
from quantd.research.attribution.risk_contributions import RiskContributions
from quantd.research.doubts import Doubt
from quantd.research.metrics.calendar_tables import PeriodReturn
from quantd.research.metrics.metric import Better, Unit
from quantd.research.metrics.round_trips import HitRate, RoundTrip
from quantd.research.runs.comparison import Settings
from quantd.research.runs.failures import AgentFailures
from quantd.research.verdict import Verdict

FORMAT = 1
"""Version of the JSON's structure."""

Figure = float | None
Row = tuple[Figure, ...]


class ReportHeader(Struct, frozen=True):
    """Subject and provenance of a report.

    `config`, `market` and `digest` are the hashes of the configuration, of the bars with their corporate actions, and
    of every effect of the run. `settings` are those that comparable runs share. `beyond_bars` has the digest of each
    further file of the market by its name; None in reports of earlier versions. `commit` is that of a checkout, and
    empty elsewhere.
    """

    name: str
    run: str
    first: str
    last: str
    samples: int
    years: float
    symbols: tuple[str, ...]
    currency: str
    source: str
    interval_ns: int
    capital: float
    costs: dict[str, float]
    seed: int
    config: str
    market: str
    digest: str
    version: str
    sharpe_definition: str
    turnover_definition: str
    risk_free_annual: float
    settings: Settings
    beyond_bars: dict[str, str] | None = None
    commit: str = ""


class Account(Struct, frozen=True):
    """A column of the report: the house, one agent's book, or a benchmark.

    `limits` are the portfolio limits of its decisions. `missing` is the reason why its figures are unknown.
    """

    name: str
    kind: Literal["house", "agent", "benchmark"]
    policy: str
    limits: str
    missing: str = ""


class MetricRow(Struct, frozen=True):
    """One metric of the catalogue, measured for each account. Metrics relative to a benchmark use the first one."""

    name: str
    title: str
    unit: Unit
    better: Better
    needs: str
    formula: str
    source: str
    values: Row


class Goal(Struct, frozen=True):
    """A number of `[study.goals]` beside the house's measured figure. A goal is no result.

    `against` is the benchmark of a ratio, else empty. `met` is None where the figure is undefined or has no direction.
    """

    name: str
    metric: str
    against: str
    unit: Unit
    better: Better
    goal: float
    measured: Figure
    met: bool | None


class Curves(Struct, frozen=True):
    """Wealth (1 at the first sample) and drawdown of each account, at no more than POINTS samples."""

    ts: tuple[int, ...]
    wealth: tuple[Row, ...]
    drawdown: tuple[Row, ...]


class RollingCurves(Struct, frozen=True):
    """Figures of the newest `window` samples, by account. `beta` is the house's to the first benchmark."""

    window: int
    ts: tuple[int, ...]
    sharpe: tuple[Row, ...]
    volatility: tuple[Row, ...]
    drawdown: tuple[Row, ...]
    beta: Row


class Drawdown(Struct, frozen=True):
    """A period of the house below an earlier high. `recovered` and `samples_up` are None where it has not ended."""

    depth: float
    high: str
    trough: str
    recovered: str | None
    samples_down: int
    samples_up: int | None


class SymbolWeight(Struct, frozen=True):
    """A symbol's weight in the house: at the end, on average, and the largest absolute one."""

    symbol: str
    end: float
    average: float
    largest: float


class Exposures(Struct, frozen=True):
    """Gross and net exposure over equity at samples. `net` is empty and `weights` too where positions are unknown."""

    ts: tuple[int, ...]
    gross: Row
    net: Row
    weights: tuple[SymbolWeight, ...]


class Trading(Struct, frozen=True):
    """Counts of the run, and round trips of the house, first in, first out, after fees."""

    orders: int
    fills: int
    cut: int
    refused: int
    switch_trips: int
    round_trips: int
    wins: int
    hit_rate: Figure
    profit: float
    by_symbol: tuple[HitRate, ...]
    winners: tuple[RoundTrip, ...]
    losers: tuple[RoundTrip, ...]


class Risk(Struct, frozen=True):
    """Contributions of symbols to the risk of the house's last and average weights."""

    last: RiskContributions | None
    average: RiskContributions | None


class CostRow(Struct, frozen=True):
    """Costs of the house, a benchmark or an agent, and their drag: annual costs over average equity.

    `orders` have at least one fill. An order of several agents counts for each of them.
    """

    account: str
    traded: float
    commission: float
    slippage_paid: float
    borrow: float
    interest: float
    total: float
    drag_annual: Figure
    orders: int | None = None


class PValue(Struct, frozen=True):
    """A p-value, and that adjusted for all benchmarks of the report (Holm 1979)."""

    p: Figure
    holm: Figure


class Versus(Struct, frozen=True):
    """The house compared with one benchmark over the same samples.

    `sharpe_difference` has a paired bootstrap interval. `relative` are the metrics that need a benchmark.
    """

    benchmark: str
    sharpe_difference: Figure
    low: Figure
    high: Figure
    paired_t: PValue
    wilcoxon: PValue
    kolmogorov_smirnov: PValue
    ledoit_wolf: PValue
    relative: dict[str, Figure]


class Statistics(Struct, frozen=True):
    """Significance of the house's Sharpe ratio. `minimum_samples` is the shortest track record that exceeds 0 at 95 %.

    `trials` is None where their number is unknown. `deflated_without_withdrawals` is None where the `withdrawn` trials
    do not raise the deflated ratio.
    """

    sharpe: Figure
    low: Figure
    high: Figure
    probabilistic_sharpe: Figure
    deflated_sharpe: Figure
    deflated_without_withdrawals: Figure
    trials: int | None
    withdrawn: int
    minimum_samples: Figure
    minimum_years: Figure
    versus: tuple[Versus, ...]


class Samples(Struct, frozen=True):
    """Every sample of the house, for comparisons. `risk_free_annual` is one rate, or one for each return."""

    ts: tuple[int, ...]
    equity: tuple[float, ...]
    risk_free_annual: float | tuple[float, ...]


class RunFigures(Struct, frozen=True):
    """The part of a report that a comparison reads; the first value of each metric is the house's."""

    header: ReportHeader
    metrics: tuple[MetricRow, ...]
    samples: Samples
    failures: tuple[AgentFailures, ...] = ()
    doubts: tuple[Doubt, ...] = ()


class BacktestReport(Struct, frozen=True):
    """A whole report. `notes` has the reason for each missing part."""

    header: ReportHeader
    verdict: Verdict
    accounts: tuple[Account, ...]
    metrics: tuple[MetricRow, ...]
    goals: tuple[Goal, ...]
    curves: Curves
    rolling: RollingCurves
    drawdowns: tuple[Drawdown, ...]
    months: tuple[PeriodReturn, ...]
    years: tuple[PeriodReturn, ...]
    exposures: Exposures
    trading: Trading
    risk: Risk
    costs: tuple[CostRow, ...]
    statistics: Statistics
    attribution: Breakdown | None
    notes: tuple[str, ...]
    samples: Samples
    format: int = FORMAT
