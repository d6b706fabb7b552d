"""Rolling Sharpe ratio, volatility, drawdown and beta, in time proportional to the number of samples.

What can go wrong: windows computed as differences of running totals have, after a crash, its rounding error in every
later window. So here no sample outside a window enters its figures.

Samples are cut into blocks of one window. A window is the tail of one block and the head of the next (blocks: van Herk
1992). Moments of all tails and heads come from one pass over the position in the block (Welford 1962). They are merged
by pairs (Chan, Golub and LeVeque 1983).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from quantd.research.metrics.metric import ROUNDING
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR

WINDOW: Final = PERIODS_PER_YEAR
"""Samples of a window: one year of sessions."""

EARLIER: Final = slice(None, -1)
"""All blocks but the last."""

LATER: Final = slice(1, None)
"""All blocks but the first."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """Figures of the newest `window` returns at each return, float64[T]; NaN before the window is full.

    `sharpe` and `volatility` are annual, and NaN and 0 for constant returns. `drawdown` is the maximum within the
    window. `beta` is None without a benchmark.
    """

    window: int
    sharpe: Floats
    volatility: Floats
    drawdown: Floats
    beta: Floats | None


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, means of x and y, and sums of their squared and multiplied deviations, for many sets of samples."""

    count: int
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @classmethod
    def empty(cls, sets: int) -> Self:
        """Return `sets` sets without a sample."""
        return cls(0, *(np.zeros(sets) for _ in range(5)))

    def with_sample(self, x: Floats, y: Floats) -> "Moments":
        """Return the moments with one more sample of each set, x and y float64[sets] (Welford 1962)."""
        count = self.count + 1
        dx, dy = x - self.x, y - self.y
        mean_x, mean_y = self.x + dx / count, self.y + dy / count
        after_x, after_y = x - mean_x, y - mean_y
        return Moments(count, mean_x, mean_y, self.xx + dx * after_x, self.xy + dx * after_y, self.yy + dy * after_y)

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of each set joined with the same set of `other` (Chan, Golub, LeVeque 1983)."""
        count = self.count + other.count
        share, weight = other.count / count, self.count * other.count / count
        dx, dy = other.x - self.x, other.y - self.y
        return Moments(
            count,
            self.x + share * dx,
            self.y + share * dy,
            self.xx + other.xx + weight * dx * dx,
            self.xy + other.xy + weight * dx * dy,
            self.yy + other.yy + weight * dy * dy,
        )

    def rows(self, chosen: slice) -> "Moments":
        """Return the moments of the chosen sets."""
        return Moments(self.count, *(column[chosen] for column in self.columns()))

    def columns(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return x, y, xx, xy and yy, float64[sets] each."""
        return self.x, self.y, self.xx, self.xy, self.yy


@dataclass(frozen=True, slots=True)
class Slopes:
    """Highest and lowest wealth of many runs of samples, and their largest drawdown."""

    high: Floats
    low: Floats
    drop: Floats

    def then(self, other: "Slopes") -> "Slopes":
        """Join each run with the same run of `other`, which is later."""
        return Slopes(
            np.maximum(self.high, other.high),
            np.minimum(self.low, other.low),
            np.maximum(np.maximum(self.drop, other.drop), 1.0 - other.low / self.high),
        )

    def rows(self, chosen: slice) -> "Slopes":
        """Return the chosen runs of samples."""
        return Slopes(self.high[chosen], self.low[chosen], self.drop[chosen])


def rolling(record: TrackRecord, window: int = WINDOW) -> Rolling:
    """Return rolling figures of a record. Raises ValueError for a window of fewer than two samples."""
    if window < 2:
        raise ValueError("a window needs at least two samples")
    other = record.benchmark_excess
    with np.errstate(all="ignore"):
        moments = _moments(record.excess, record.excess if other is None else other, window)
        deviation = np.sqrt(moments.xx / (window - 1))
        root = float(np.sqrt(record.periods))
        ratio = np.where(deviation > ROUNDING, moments.x / deviation * root, np.nan)
        moved = np.sqrt(moments.yy / (window - 1)) > ROUNDING
        slope = np.where(moved, moments.xy / moments.yy, np.nan) if other is not None else None
    count = record.samples
    return Rolling(
        window,
        _padded(ratio, count),
        _padded(_volatility(record, window) * root, count),
        _padded(_drops(record.wealth, window + 1), count),
        _padded(slope, count) if slope is not None else None,
    )


def _volatility(record: TrackRecord, window: int) -> Floats:
    """Return the deviation (n - 1) of returns, not of excess returns, in each window."""
    return np.sqrt(_moments(record.returns, record.returns, window).xx / (window - 1))


def _padded(values: Floats, count: int) -> Floats:
    return np.concatenate((np.full(count - len(values), np.nan), values))


def _blocks(series: Floats, window: int) -> Floats:
    """Return float64[B, window], the series in blocks; the last is filled up with its last value."""
    size = -(-len(series) // window) * window
    return np.concatenate((series, np.full(size - len(series), series[-1]))).reshape(-1, window)


def _moments(x: Floats, y: Floats, window: int) -> Moments:
    """Return the moments of each window of float64[T], in order."""
    total = max(len(x) - window + 1, 0)
    if not total:
        return Moments.empty(0)
    x_blocks, y_blocks = _blocks(x, window), _blocks(y, window)
    heads = [Moments.empty(len(x_blocks))]
    tails = [Moments.empty(len(x_blocks))]
    for k in range(window):
        heads.append(heads[-1].with_sample(x_blocks[:, k], y_blocks[:, k]))
        tails.append(tails[-1].with_sample(x_blocks[:, window - 1 - k], y_blocks[:, window - 1 - k]))
    # a window at offset k of block i is the tail of window - k samples there and the head of k samples of block i + 1
    columns = [tails[window]]
    columns += [tails[window - k].rows(EARLIER).merged(heads[k].rows(LATER)) for k in range(1, window)]
    return Moments(
        window, *(_by_first_sample(list(column), total) for column in zip(*(c.columns() for c in columns), strict=True))
    )


def _by_first_sample(columns: list[Floats], total: int) -> Floats:
    """Return the values of windows in the order of their first samples. Column k has the windows that start at offset k
    of a block, a row for each block."""
    rows = len(columns[0])
    table = np.full((rows, len(columns)), np.nan)
    for k, column in enumerate(columns):
        table[: len(column), k] = column
    return table.reshape(-1)[:total]


def _drops(wealth: Floats, window: int) -> Floats:
    """Return the maximum drawdown of each window of float64[T+1]."""
    total = max(len(wealth) - window + 1, 0)
    if not total:
        return np.zeros(0)
    blocks = _blocks(wealth, window)
    zeros = np.zeros(len(blocks))
    samples = [Slopes(blocks[:, k], blocks[:, k], zeros) for k in range(window)]
    heads, tails = [samples[0]], [samples[-1]]
    for k in range(1, window):
        heads.append(heads[-1].then(samples[k]))
        tails.append(samples[window - 1 - k].then(tails[-1]))
    columns = [tails[-1].drop]
    columns += [tails[window - k - 1].rows(EARLIER).then(heads[k - 1].rows(LATER)).drop for k in range(1, window)]
    return _by_first_sample(columns, total)
