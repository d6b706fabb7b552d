"""Track record of one account or index: equity at samples and, where recorded, benchmark, exposure, costs and trips."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.research.metrics.round_trips import RoundTrip
from quantd.trading.market import Floats
from quantd.trading.statistics import RiskFree, compounded, drawdowns, simple_returns, time_weighted_returns


@dataclass(frozen=True, slots=True, eq=False)
class TrackRecord:
    """One account or index over T + 1 samples. T may be 0: no metric of equity is defined then.

    `days_ns` int64[T+1] are the samples' dates at 00:00 UTC, ascending. `periods` is the number of samples a year.
    `flows` float64[T+1] are cumulative deposits less withdrawals; with them, returns are time-weighted.
    `benchmark` float64[T+1] is the benchmark's equity. `gross` and `net` float64[T+1] are exposure over equity.
    `traded`, `commission`, `slippage_paid` and `borrow` are totals in account currency; None means not recorded.
    With `ruin`, equity and benchmark may fall to 0 and stay there: a return of -100 %, and returns of 0 after it.

    The following fields are computed from those above. `returns` float64[T] are simple returns. `excess` float64[T] are
    returns less the risk-free rate of the sample. `wealth` float64[T+1] is the equity, or the compounded time-weighted
    returns. `drawdowns` float64[T+1] is the fraction of wealth lost since its highest value so far. `trip_profits`
    float64[n] are the profits of the trips in account currency, ascending, so that no sum depends on their order.

    Raises ValueError if lengths differ, if equity or benchmark is not finite and positive, if dates descend, or if
    flows leave a return of -100 % or less.
    """

    equity: Floats
    days_ns: NDArray[np.int64]
    periods: float
    risk_free_annual: RiskFree
    flows: Floats | None = None
    benchmark: Floats | None = None
    gross: Floats | None = None
    net: Floats | None = None
    traded: float | None = None
    commission: float | None = None
    slippage_paid: float | None = None
    borrow: float | None = None
    trips: tuple[RoundTrip, ...] | None = None
    ruin: bool = False
    returns: Floats = field(init=False, repr=False)
    excess: Floats = field(init=False, repr=False)
    wealth: Floats = field(init=False, repr=False)
    drawdowns: Floats = field(init=False, repr=False)
    benchmark_returns: Floats | None = field(init=False, repr=False)
    benchmark_excess: Floats | None = field(init=False, repr=False)
    trip_profits: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the columns that follow from equity. Raises ValueError for wrong lengths, values, dates or flows."""
        _check(self)
        rate = self.risk_free_annual / self.periods
        with np.errstate(over="ignore"):
            returns, wealth = _returns_and_wealth(self)
            benchmark_returns = _returns_of(self.benchmark) if self.benchmark is not None else None
        columns = {
            "returns": returns,
            "excess": returns - rate,
            "wealth": wealth,
            "drawdowns": drawdowns(wealth),
            "benchmark_returns": benchmark_returns,
            "benchmark_excess": benchmark_returns - rate if benchmark_returns is not None else None,
            "trip_profits": np.sort(np.array([trip.profit for trip in self.trips or ()], dtype=np.float64)),
        }
        for name, value in columns.items():  # the class is frozen
            object.__setattr__(self, name, value)

    @property
    def samples(self) -> int:
        """T, the number of returns of the record."""
        return len(self.returns)

    @property
    def years(self) -> float:
        """The length of the record in years: samples divided by samples a year."""
        return self.samples / self.periods

    @property
    def annualised(self) -> str:
        """A note on annual figures of less than a year, "annualised from 4 months"; empty for a year or more."""
        return annualised_from(self.years)

    @property
    def overlap(self) -> str:
        """A reason for doubt where consecutive returns move together as windows that overlap do; else empty.

        The correction is that of Lo (2002): the sum of the autocorrelations up to the first that is not above 0.
        """
        deviations = self.returns - self.returns.mean() if self.samples else self.returns
        variance = float((deviations**2).sum())
        if self.samples < MIN_OVERLAP_SAMPLES or not variance > 0.0:
            return ""
        lags = range(1, self.samples // 2)
        correlations = np.array([float((deviations[lag:] * deviations[:-lag]).sum()) / variance for lag in lags])
        if correlations[0] <= OVERLAPPING:
            return ""
        end = int(np.argmax(correlations <= 0.0)) if (correlations <= 0.0).any() else len(correlations)
        factor = float(np.sqrt(1.0 + 2.0 * correlations[:end].sum()))
        return (
            f"In doubt: the correlation of a return with the one before is {correlations[0]:.2f}, as of windows that "
            f"overlap: the Sharpe ratio is about {factor:.1f} times too large, and returns compound many times. Give "
            "returns of windows that do not overlap."
        )

    @property
    def mean_risk_free(self) -> float:
        """The mean annual risk-free rate; 0 without samples."""
        if isinstance(self.risk_free_annual, float | int):
            return float(self.risk_free_annual)
        return float(self.risk_free_annual.mean()) if len(self.risk_free_annual) else 0.0


OVERLAPPING: Final = 0.5
"""Correlation of a return with the one before above which the windows of the returns probably overlap."""

MIN_OVERLAP_SAMPLES: Final = 30
"""With fewer returns their correlation is not judged."""

A_YEAR: Final = 0.95
"""A record of this many years counts as a full year: 252 samples have 251 returns, and 12 month-ends have 11."""


def annualised_from(years: float) -> str:
    """Return a note such as "annualised from 4 months" for less than a year; empty for a year or more."""
    if years >= A_YEAR:
        return ""
    number, unit = (round(years * 12.0), "month") if years * 12.0 >= 1.5 else (max(1, round(years * 365.0)), "day")
    return f"annualised from {number} {unit}{'' if number == 1 else 's'}"


def _returns_and_wealth(record: TrackRecord) -> tuple[Floats, Floats]:
    """Return (returns, wealth) of the account. Raises ValueError if flows leave a return of -100 % or less."""
    if record.flows is None:
        return _returns_of(record.equity), record.equity
    returns = time_weighted_returns(record.equity, record.flows)
    if not bool(np.all(returns > -1.0)):
        raise ValueError("a time-weighted return is -100 % or less: flows and equity do not agree")
    return returns, compounded(returns)


def _returns_of(equity: Floats) -> Floats:
    """Return the simple returns between samples; 0 after the equity has fallen to 0."""
    if len(equity) > 1 and equity[-1] == 0.0:
        previous = equity[:-1]
        return np.divide(equity[1:], previous, out=np.ones(len(previous)), where=previous > 0.0) - 1.0
    return simple_returns(equity) if len(equity) > 1 else np.zeros(0)


def _stays_ruined(equity: Floats) -> bool:
    """Return True where equity is finite and not negative, starts above 0, and stays 0 once it is 0."""
    is_zero = equity <= 0.0
    valid = bool(np.isfinite(equity).all() and (equity >= 0.0).all() and equity[0] > 0.0)
    return valid and bool((np.diff(is_zero.astype(np.int8)) >= 0).all())


def _check(record: TrackRecord) -> None:
    """Raise ValueError where the lengths, values or dates of a record are wrong."""
    count = len(record.equity)
    series = {
        "days_ns": record.days_ns,
        "flows": record.flows,
        "benchmark": record.benchmark,
        "gross": record.gross,
        "net": record.net,
    }
    wrong_lengths = [name for name, values in series.items() if values is not None and len(values) != count]
    if wrong_lengths or count < 1:
        raise ValueError(
            f"{', '.join(wrong_lengths) or 'equity'} has no values, or not as many as equity; give one value for each "
            "sample, and at least one sample"
        )
    if not isinstance(record.risk_free_annual, float | int) and len(record.risk_free_annual) != count - 1:
        raise ValueError("risk_free_annual has not as many values as there are returns; give one rate for each return")
    if not record.periods > 0.0:
        raise ValueError("periods is not positive; give the number of samples a year")
    for name, values in (("equity", record.equity), ("benchmark", record.benchmark)):
        if values is None or bool(np.all(np.isfinite(values) & (values > 0.0))):
            continue
        # `ruin` permits a series that loses everything, and stays at 0
        if not (record.ruin and _stays_ruined(values)):
            raise ValueError(f"{name} must be finite and positive")
    if bool(np.any(np.diff(record.days_ns) < 0)):
        raise ValueError("days_ns is not in ascending order; sort the samples by date")
