"""The structs of a backtest's report. Its JSON has every figure of the page.

Ratios are fractions, not percent. Money is in account currency. Times, `ts`, are ns UTC, and dates are texts. An
undefined figure is None. Values by account are in the order of `BacktestReport.accounts`.
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
"""A figure; None where it is undefined."""

Row = tuple[Figure, ...]
"""Figures of one account at several samples, or of one metric for several accounts."""


class ReportHeader(Struct, frozen=True):
    """Subject and provenance of a report.

    `config`, `market` and `digest` are the hashes of the configuration, of the bars with their corporate actions, and
    of every effect of the run. `settings` are the settings that must be equal in comparable runs. `beyond_bars` has the
    hash of each further file of the market (members, macro series, interest rate) by its name; None in reports of
    earlier versions. `commit` is the Git commit of the code, empty where quantd does not run from a checkout.
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
    """A column of the report: the whole account, one agent's book, or a benchmark.

    `limits` names the portfolio limits on this account's decisions. `missing` is the reason why its figures are
    unknown, empty where they are known.
    """

    name: str
    kind: Literal["house", "agent", "benchmark"]
    policy: str
    limits: str
    missing: str = ""


class MetricRow(Struct, frozen=True):
    """One metric of the catalogue. `values` has its figure for each account.

    A metric relative to a benchmark uses the first benchmark. `needs` names the data without which it is undefined.
    """

    name: str
    title: str
    unit: Unit
    better: Better
    needs: str
    formula: str
    source: str
    values: Row


class Goal(Struct, frozen=True):
    """A number of `[study.goals]`, `goal`, beside the whole account's figure, `measured`. A goal is no result.

    A goal METRIC/BENCHMARK concerns the ratio of the account's figure to the figure of the benchmark `against`, which
    is empty for other goals. `met` is None where the figure is undefined, or where neither high nor low is better.
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
    """Wealth (1 at the first sample) and drawdown, one row for each account, at the samples `ts`.

    Longer runs are thinned to at most `report_figures.POINTS` samples.
    """

    ts: tuple[int, ...]
    wealth: tuple[Row, ...]
    drawdown: tuple[Row, ...]


class RollingCurves(Struct, frozen=True):
    """Figures over the newest `window` returns at each time of `ts`, one row for each account.

    `beta` is the beta of the whole account to the first benchmark, empty without a benchmark.
    """

    window: int
    ts: tuple[int, ...]
    sharpe: tuple[Row, ...]
    volatility: tuple[Row, ...]
    drawdown: tuple[Row, ...]
    beta: Row


class Drawdown(Struct, frozen=True):
    """A period in which the house's wealth was below an earlier high. `depth` is the largest loss, a positive fraction.

    The house is the whole account. `high`, `trough` and `recovered` are dates. `samples_down` counts from the high to
    the trough, `samples_up` from the trough to the recovery. `recovered` and `samples_up` are None where the run ended
    before the recovery.
    """

    depth: float
    high: str
    trough: str
    recovered: str | None
    samples_down: int
    samples_up: int | None


class SymbolWeight(Struct, frozen=True):
    """A symbol's weight in the account: at the last sample, the mean over all samples, and the largest by amount."""

    symbol: str
    end: float
    average: float
    largest: float


class Exposures(Struct, frozen=True):
    """Gross and net exposure over equity at the samples `ts`, and the weight of each symbol.

    `net` and `weights` are empty where positions are unknown.
    """

    ts: tuple[int, ...]
    gross: Row
    net: Row
    weights: tuple[SymbolWeight, ...]


class Trading(Struct, frozen=True):
    """Counts of the run, and the account's round trips, matched first in, first out, after fees.

    `cut` and `refused` count orders that the risk gate reduced or refused. `switch_trips` counts how often a risk
    switch (such as a halt) was triggered. `wins` are round trips with a profit. `winners` and `losers` are the round
    trips with the largest profits and losses.
    """

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
    """Contributions of symbols to the account's risk, by its last and by its average weights; None where unknown."""

    last: RiskContributions | None
    average: RiskContributions | None


class CostRow(Struct, frozen=True):
    """Costs of the whole account, a benchmark or an agent's book. `traded` is the value traded.

    `total` is commission, slippage and borrow fees, without interest. `drag_annual` is the costs of a year over average
    equity. `orders` counts orders with at least one fill; an order for several agents counts for each agent.
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
    """A p-value `p`, and the same p-value adjusted for the number of benchmarks of the report, `holm` (Holm 1979)."""

    p: Figure
    holm: Figure


class Versus(Struct, frozen=True):
    """The whole account compared with one benchmark over the same samples.

    `sharpe_difference` is the house's annual Sharpe ratio less the benchmark's; `low` and `high` are the ends of its
    paired bootstrap interval. The p-values are of four tests of the returns. `relative` has the metrics of the
    catalogue that need a benchmark.
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
    """Significance of the whole account's annual Sharpe ratio; `low` and `high` are the ends of its 95 % interval.

    `probabilistic_sharpe` is the probability that the true ratio is above 0. `minimum_samples` is the length of the
    shortest track record with which the measured ratio would be above 0 at 95 %. `trials` is the number of
    configurations tried, None where it is unknown. `withdrawn` counts the trials withdrawn as faulty.
    """

    sharpe: Figure
    low: Figure
    high: Figure
    probabilistic_sharpe: Figure
    deflated_sharpe: Figure
    trials: int | None
    withdrawn: int
    minimum_samples: Figure
    minimum_years: Figure
    versus: tuple[Versus, ...]


class Samples(Struct, frozen=True):
    """Every sample of the account, for comparisons. `risk_free_annual` is one annual rate, or one for each return."""

    ts: tuple[int, ...]
    equity: tuple[float, ...]
    risk_free_annual: float | tuple[float, ...]


class RunFigures(Struct, frozen=True):
    """The part of a report that a comparison of two runs reads. A metric's first value is the whole account's."""

    header: ReportHeader
    metrics: tuple[MetricRow, ...]
    samples: Samples
    failures: tuple[AgentFailures, ...] = ()
    doubts: tuple[Doubt, ...] = ()


class BacktestReport(Struct, frozen=True):
    """A whole report of a backtest. `notes` has the reason for each missing part, and the doubts about the run."""

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
