"""Rolling Sharpe ratio, volatility, drawdown and beta, in time proportional to the number of samples.

What can go wrong: windows could be computed as differences of running totals. Then the rounding error of a crash would
stay in every later window. So no sample outside a window enters its figures.

Samples are cut into blocks of one window. A window is the tail of one block and the head of the next (blocks: van Herk
1992). The moments of all tails and heads come from one pass over the offsets in a block (Welford 1962). The moments of
a tail and a head are then merged (Chan, Golub and LeVeque 1983).
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
    """Figures of the newest `window` returns after each return, float64[T]; NaN before the window is full.

    `sharpe` and `volatility` are annual; for constant returns `sharpe` is NaN and `volatility` 0. `drawdown` is the
    maximum within the window. `beta` is None without a benchmark.
    """

    window: int
    sharpe: Floats
    volatility: Floats
    drawdown: Floats
    beta: Floats | None


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of many sets of `count` samples each; every array is float64[sets].

    `x` and `y` are the means of two series; `xx`, `xy` and `yy` are sums of products of deviations from the means.
    """

    count: int
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @classmethod
    def empty(cls, sets: int) -> Self:
        """Return the moments of `sets` sets that have no sample yet."""
        return cls(0, *(np.zeros(sets) for _ in range(5)))

    def with_sample(self, x: Floats, y: Floats) -> "Moments":
        """Return the moments with one more sample of each set, x and y float64[sets] (Welford 1962)."""
        count = self.count + 1
        dx, dy = x - self.x, y - self.y
        mean_x, mean_y = self.x + dx / count, self.y + dy / count
        after_x, after_y = x - mean_x, y - mean_y
        return Moments(count, mean_x, mean_y, self.xx + dx * after_x, self.xy + dx * after_y, self.yy + dy * after_y)

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of each set joined with the set of `other` at the same index (Chan, Golub, LeVeque 1983).

        `x` and `y` are means, `xx`, `xy` and `yy` sums of products of deviations from them.
        """
        count = self.count + other.count
        share, cross_weight = other.count / count, self.count * other.count / count
        mean_gap_x, mean_gap_y = other.x - self.x, other.y - self.y
        return Moments(
            count,
            self.x + share * mean_gap_x,
            self.y + share * mean_gap_y,
            self.xx + other.xx + cross_weight * mean_gap_x * mean_gap_x,
            self.xy + other.xy + cross_weight * mean_gap_x * mean_gap_y,
            self.yy + other.yy + cross_weight * mean_gap_y * mean_gap_y,
        )

    def rows(self, chosen: slice) -> "Moments":
        """Return the moments of the sets that the slice `chosen` selects."""
        return Moments(self.count, *(column[chosen] for column in self.columns()))

    def columns(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return x, y, xx, xy and yy, float64[sets] each."""
        return self.x, self.y, self.xx, self.xy, self.yy


@dataclass(frozen=True, slots=True)
class WealthRange:
    """Highest and lowest wealth in each of many intervals of samples, and the maximum drawdown within each (`drop`)."""

    high: Floats
    low: Floats
    drop: Floats

    def then(self, other: "WealthRange") -> "WealthRange":
        """Return each interval joined with the interval of `other` at the same index, which follows it in time."""
        return WealthRange(
            np.maximum(self.high, other.high),
            np.minimum(self.low, other.low),
            np.maximum(np.maximum(self.drop, other.drop), 1.0 - other.low / self.high),
        )

    def rows(self, chosen: slice) -> "WealthRange":
        """Return the intervals of samples that the slice `chosen` selects."""
        return WealthRange(self.high[chosen], self.low[chosen], self.drop[chosen])


def rolling(record: TrackRecord, window: int = WINDOW) -> Rolling:
    """Return rolling figures of a record. Raises ValueError for a window of fewer than two samples."""
    if window < 2:
        raise ValueError("a window needs at least two samples")
    benchmark_excess = record.benchmark_excess
    with np.errstate(all="ignore"):
        moments = _moments(record.excess, record.excess if benchmark_excess is None else benchmark_excess, window)
        deviation = np.sqrt(moments.xx / (window - 1))
        sqrt_periods = float(np.sqrt(record.periods))
        sharpe = np.where(deviation > ROUNDING, moments.x / deviation * sqrt_periods, np.nan)
        benchmark_varies = np.sqrt(moments.yy / (window - 1)) > ROUNDING
        slope = np.where(benchmark_varies, moments.xy / moments.yy, np.nan) if benchmark_excess is not None else None
    count = record.samples
    return Rolling(
        window,
        _with_leading_nan(sharpe, count),
        _with_leading_nan(_volatility(record, window) * sqrt_periods, count),
        # a window of returns has one more value of wealth
        _with_leading_nan(_window_drawdowns(record.wealth, window + 1), count),
        _with_leading_nan(slope, count) if slope is not None else None,
    )


def _volatility(record: TrackRecord, window: int) -> Floats:
    """Return the standard deviation (n - 1) of returns, not of excess returns, in each window."""
    return np.sqrt(_moments(record.returns, record.returns, window).xx / (window - 1))


def _with_leading_nan(values: Floats, count: int) -> Floats:
    """Return float64[count]: NaN before the first full window, then `values`."""
    return np.concatenate((np.full(count - len(values), np.nan), values))


def _blocks(series: Floats, window: int) -> Floats:
    """Return float64[B, window], the series cut into B blocks; the series' last value fills up the last block."""
    size = -(-len(series) // window) * window
    return np.concatenate((series, np.full(size - len(series), series[-1]))).reshape(-1, window)


def _moments(x: Floats, y: Floats, window: int) -> Moments:
    """Return the moments of each window of `x` and `y` float64[T], in order; both series are cut into blocks."""
    windows = max(len(x) - window + 1, 0)
    if not windows:
        return Moments.empty(0)
    x_blocks, y_blocks = _blocks(x, window), _blocks(y, window)
    # element k: the moments of the first k samples (heads) or of the last k samples (tails) of every block
    heads = [Moments.empty(len(x_blocks))]
    tails = [Moments.empty(len(x_blocks))]
    for k in range(window):
        heads.append(heads[-1].with_sample(x_blocks[:, k], y_blocks[:, k]))
        tails.append(tails[-1].with_sample(x_blocks[:, window - 1 - k], y_blocks[:, window - 1 - k]))
    # a window at offset k of block i is the tail of window - k samples there and the head of k samples of block i + 1
    # EARLIER are all blocks but the last, LATER all but the first
    columns = [tails[window]]
    columns += [tails[window - k].rows(EARLIER).merged(heads[k].rows(LATER)) for k in range(1, window)]
    return Moments(
        window,
        *(
            _by_first_sample(list(column), windows)
            for column in zip(*(moments.columns() for moments in columns), strict=True)
        ),
    )


def _by_first_sample(columns: list[Floats], windows: int) -> Floats:
    """Return the values of windows in the order of their first samples.

    Element k of `columns` has the windows that start at offset k of a block, one value for each block.
    """
    rows = len(columns[0])
    table = np.full((rows, len(columns)), np.nan)
    for k, column in enumerate(columns):
        table[: len(column), k] = column
    return table.reshape(-1)[:windows]


def _window_drawdowns(wealth: Floats, window: int) -> Floats:
    """Return the maximum drawdown of each window of float64[T+1]."""
    windows = max(len(wealth) - window + 1, 0)
    if not windows:
        return np.zeros(0)
    blocks = _blocks(wealth, window)
    zeros = np.zeros(len(blocks))
    samples = [WealthRange(blocks[:, k], blocks[:, k], zeros) for k in range(window)]
    # element k: the first k + 1 samples (heads) or the last k + 1 samples (tails) of every block
    heads, tails = [samples[0]], [samples[-1]]
    for k in range(1, window):
        heads.append(heads[-1].then(samples[k]))
        tails.append(samples[window - 1 - k].then(tails[-1]))
    # a window at offset k of block i is the tail of window - k samples there and the head of k samples of block i + 1
    # EARLIER are all blocks but the last, LATER all but the first
    columns = [tails[-1].drop]
    columns += [tails[window - k - 1].rows(EARLIER).then(heads[k - 1].rows(LATER)).drop for k in range(1, window)]
    return _by_first_sample(columns, windows)
