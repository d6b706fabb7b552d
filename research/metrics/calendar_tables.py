"""Returns by calendar month and year. A return belongs to the month of the sample that ends it."""

import numpy as np
from msgspec import Struct

from quantd.research.metrics.track_record import TrackRecord
from quantd.trading.market import Floats


class PeriodReturn(Struct, frozen=True):
    """Compound return of a month, or of a year if `month` is None. The first and the last period may be incomplete."""

    year: int
    month: int | None
    total_return: float
    samples: int
    benchmark: float | None = None


def monthly_returns(record: TrackRecord) -> tuple[PeriodReturn, ...]:
    """Return the months with a sample, in order. Their returns compound to the total return."""
    return _table(record, "M")


def annual_returns(record: TrackRecord) -> tuple[PeriodReturn, ...]:
    """Return the calendar years with a sample, in order. Their returns compound to the total return."""
    return _table(record, "Y")


def returns_by(record: TrackRecord, unit: str) -> Floats:
    """Return float64[P], the compound return of each calendar month (`unit` "M") or year ("Y") with a sample."""
    return _compound_returns(record.wealth, _period_ends(record, unit)[1])


def _period_ends(record: TrackRecord, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (months or years since 1970, index in `record.wealth` of the period's last sample), an array each.

    Only periods with a sample are included.
    """
    # periods are numbers of months or years since 1970; the last sample always ends one
    periods = record.days_ns[1:].astype("datetime64[ns]").astype(f"datetime64[{unit}]").astype(np.int64)
    last = np.flatnonzero(np.append(np.diff(periods) != 0, np.ones(min(len(periods), 1), dtype=bool)))
    return periods[last], last + 1


def _compound_returns(wealth: Floats, last: np.ndarray) -> Floats:
    """Return float64[P], the return of each of P periods; 0 after a total loss.

    `last` int64[P] is the index in `wealth` of each period's last sample.
    """
    boundary_wealth = wealth[np.concatenate((np.zeros(1, dtype=np.int64), last))]
    start_wealth = boundary_wealth[:-1]
    returns: Floats = (
        np.divide(boundary_wealth[1:], start_wealth, out=np.ones(len(start_wealth)), where=start_wealth > 0.0) - 1.0
    )
    return returns


def _table(record: TrackRecord, unit: str) -> tuple[PeriodReturn, ...]:
    """Return the periods of `unit`, "M" for months or "Y" for years.

    The return of the benchmark is None without a benchmark, and the month is None for years.
    """
    # the number of each period since January 1970, and the index of its last sample
    periods, last = _period_ends(record, unit)
    benchmark_returns = (
        _compound_returns(record.benchmark, last).tolist() if record.benchmark is not None else [None] * len(last)
    )
    counts = np.diff(last, prepend=0)
    months = [None] * len(last) if unit == "Y" else (periods % 12 + 1).tolist()
    years = (periods if unit == "Y" else periods // 12) + 1970
    return tuple(
        PeriodReturn(*row)
        for row in zip(
            years.tolist(),
            months,
            _compound_returns(record.wealth, last).tolist(),
            counts.tolist(),
            benchmark_returns,
            strict=True,
        )
    )
