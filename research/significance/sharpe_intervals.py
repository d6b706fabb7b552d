"""Confidence intervals of Sharpe ratios and of a paired difference, by the circular block bootstrap.

What can go wrong: single draws of dependent returns give intervals that are too narrow. So blocks of neighbouring
samples, wrapped around the end, are drawn with replacement (Politis & Romano 1992, 1994). A resample preserves the
dependence within a block.

A second danger: the sums of a constant resample differ by rounding, which once gave an interval of 260 million. So a
variance up to ROUNDING counts as 0, and then there is no interval.

Rejected: one block length for both ratios and their difference. The interval of a ratio then changed with the series
that it was compared with. The interval of a ratio now depends on its series alone. For the difference, the same blocks
are drawn from both series.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

import numpy as np

from quantd.trading import bootstrap as common
from quantd.trading.bootstrap import block_length, block_sums, influence, running_sums
from quantd.trading.market import Floats
from quantd.trading.statistics import RiskFree

RESAMPLES: Final = common.RESAMPLES
CONFIDENCE: Final = common.CONFIDENCE
SEED: Final = 19_920_101

MIN_SAMPLES: Final = common.MIN_SAMPLES
"""Minimum number of returns for an interval: so few blocks say little about the spread of the ratio."""

MAX_BLOCKS: Final = 4_096
"""Maximum number of blocks in a resample. Very long series use longer blocks, without loss of accuracy."""

ROUNDING: Final = 1e-16
"""A variance of a resample up to this share of its largest squared return is rounding. Constant resamples have
3e-20."""

CHUNK: Final = 1 << 20
"""Number of block starts drawn at a time, which bounds memory."""

BLOCK_RULE: Final = (
    "block length of Politis & White (2004) as corrected by Patton, Politis & White (2009), on what each sample "
    "contributes to the Sharpe ratio; for a difference the longest of both series and of their difference"
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at the level CONFIDENCE, in the unit of the estimated figure."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether a value lies within the interval, both ends included."""
        return self.low <= value <= self.high

    @classmethod
    def of_resamples(cls, values: Floats) -> "Interval | None":
        """Return the percentile interval of resampled values; None where one of them is undefined."""
        bounds = common.percentiles(values)
        return None if bounds is None else cls(*bounds)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of annual Sharpe ratios: `own` of the first series and, where there is a second one, `other` of the
    second series and `difference` of the first less the second.

    Each interval has its block length in samples. An interval is None where a resample is constant.
    """

    block: int
    own: Interval | None
    other_block: int | None = None
    other: Interval | None = None
    difference_block: int | None = None
    difference: Interval | None = None


def sharpe_intervals(
    returns: Floats,
    other: Floats | None = None,
    *,
    periods: float,
    risk_free_annual: RiskFree,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Intervals | None:
    """Compute percentile intervals of the annual Sharpe ratio of simple returns float64[T].

    A second series also gives the interval of the difference. Returns None for fewer than MIN_SAMPLES returns, or where
    no interval exists. Raises ValueError for different lengths.
    """
    series = [returns] if other is None else [returns, other]
    if other is not None and len(returns) != len(other):
        raise ValueError(f"paired series must have the same length, not {len(returns)} and {len(other)}")
    n = len(returns)
    if n < MIN_SAMPLES:
        return None
    excess = [column - risk_free_annual / periods for column in series]
    # the part of each sample in the ratio, whose serial dependence sets the length of the blocks
    influences = [influence(column) for column in excess]
    shortest = ceil(n / MAX_BLOCKS)
    blocks = [max(shortest, block_length(series_influence)) for series_influence in influences]
    difference_block = max(*blocks, block_length(influences[0] - influences[1])) if other is not None else blocks[0]
    ratios = {
        block: _resampled(excess, block, resamples, np.random.default_rng(seed)) * sqrt(periods)
        for block in {*blocks, difference_block}
    }
    intervals = [Interval.of_resamples(ratios[block][k]) for k, block in enumerate(blocks)]
    if other is None:
        return None if intervals[0] is None else Intervals(blocks[0], intervals[0])
    if intervals == [None, None]:
        return None
    difference = Interval.of_resamples(ratios[difference_block][0] - ratios[difference_block][1])
    return Intervals(blocks[0], intervals[0], blocks[1], intervals[1], difference_block, difference)


def _resampled(series: list[Floats], block: int, resamples: int, draw: np.random.Generator) -> Floats:
    """Return float64[len(series), resamples]: mean over standard deviation of each resample, NaN for a constant one.

    A resample consists of blocks of `block` samples; all series are resampled with the same blocks. The sum of a block
    is a difference of running sums, so that the time grows with the number of blocks, not of samples.
    """
    n = len(series[0])
    count = ceil(n / block)
    last_block = n - (count - 1) * block
    # for each series (its mean, running sums of the deviations, running sums of their squares)
    sums = [running_sums(values, block) for values in series]
    rounding_variance = [max(1e-30, ROUNDING * float(np.square(values).max())) for values in series]
    ratios = np.empty((len(series), resamples))
    chunk = max(1, CHUNK // count)
    for first in range(0, resamples, chunk):
        rows = min(chunk, resamples - first)
        starts = draw.integers(0, n, (rows, count), dtype=np.int64)
        for k, (centre, linear, square) in enumerate(sums):
            total, squares = (
                block_sums(linear, starts, block, last_block),
                block_sums(square, starts, block, last_block),
            )
            mean = total / n
            # the sums of a constant resample may differ by rounding: its variance counts as 0
            variance = np.maximum(squares - n * mean * mean, 0.0) / (n - 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                chunk_ratios = np.where(variance > rounding_variance[k], (mean + centre) / np.sqrt(variance), np.nan)
            ratios[k, first : first + rows] = chunk_ratios
    return ratios
