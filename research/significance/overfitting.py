"""Probability of backtest overfitting, by combinatorially symmetric cross-validation (CSCV).

What can go wrong: the best of many trials on a sample is not the best on other samples. So the samples are cut into S
blocks. For each division into two halves, one half chooses the best trial, and the other half ranks this trial. Source:
Bailey, Borwein, López de Prado & Zhu 2015.

Only the halves that contain the first block are enumerated. Each division counts twice, because either half chooses.
Equal performances share their mean rank, so that permuting the trials changes nothing. A trial that does not trade has
a ratio of 0 and not an undefined one.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np

from quantd.research.significance.samples import require_trials
from quantd.trading.market import Floats

BLOCKS: Final = 16
"""Number of blocks of the paper: 12,870 divisions."""

MOST_BLOCKS: Final = 20
"""Maximum number of blocks: 184,756 divisions."""

CHUNK: Final = 1 << 18
"""Number of performances computed at a time, which bounds memory and stays in the cache."""

Measure = Literal["sharpe", "mean"]


@dataclass(frozen=True, slots=True)
class Overfitting:
    """The result of combinatorially symmetric cross-validation, which estimates overfitting.

    `probability` is the share of divisions in which the chosen trial ranks in the lower half out of sample. `logits`
    float64[C] are log odds of the chosen trial's relative rank, one for each of C divisions; a value of 0 or less means
    that the choice is overfit. `slope` is the regression slope of the chosen trial's performance out of sample on its
    performance in sample, NaN where the performance in sample is constant. `loss` is the share of divisions in which
    the chosen trial's performance out of sample is negative. `blocks` is the number of blocks.
    """

    probability: float
    logits: Floats
    slope: float
    loss: float
    blocks: int


def overfitting(returns: Floats, *, blocks: int = BLOCKS, measure: Measure = "sharpe") -> Overfitting:
    """Estimate the probability that choosing the best of K trials by `measure` overfits, from float64[T, K] returns.

    Blocks differ by at most one sample. A trial that is constant over a half has a Sharpe ratio of 0 there. Equal
    performances share their mean rank. Raises ValueError for an odd number of blocks or one outside [2, MOST_BLOCKS],
    fewer than 2 samples per block, fewer than 2 trials or non-finite returns.
    """
    if blocks % 2 or not 2 <= blocks <= MOST_BLOCKS:
        raise ValueError(f"the number of blocks must be even and from 2 to {MOST_BLOCKS}, not {blocks}")
    require_trials(returns, 2 * blocks, 2)
    inside, outside, ranks = _choices(returns, blocks, measure)
    trials = returns.shape[1]
    logits = np.log(ranks / (trials + 1.0 - ranks))
    # the slope of performance out of sample on performance in sample
    centred = inside - inside.mean()
    spread = float(centred @ centred)
    slope = float(centred @ outside) / spread if spread > 1e-24 * len(inside) else float("nan")
    # a logit of 0 is the median rank out of sample; 1e-12 allows for rounding
    return Overfitting(float((logits <= 1e-12).mean()), logits, slope, float((outside < 0.0).mean()), blocks)


def _choices(returns: Floats, blocks: int, measure: Measure) -> tuple[Floats, Floats, Floats]:
    """Return three arrays float64[C], an element for each of C divisions of the blocks into halves.

    The arrays are the chosen trial's performance in sample, its performance out of sample, and its rank out of sample,
    from 1 for the worst trial.
    """
    samples, trials = returns.shape
    edges = np.linspace(0, samples, blocks + 1).astype(np.int64)
    # deviations from the mean: sums of squares of the returns themselves would lose a small variance to rounding
    centre = returns.mean(axis=0)
    deviations = returns - centre
    sums = np.add.reduceat(deviations, edges[:-1], axis=0)
    squares = np.add.reduceat(deviations * deviations, edges[:-1], axis=0)
    # with block 0 in the first half, each division occurs once
    halves = np.array([marks for marks in combinations(range(blocks), blocks // 2) if marks[0] == 0])
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    count = 2 * len(halves)
    inside, outside, ranks = np.empty(count), np.empty(count), np.empty(count)
    step = max(1, CHUNK // trials)
    for first in range(0, len(halves), step):
        half_marks = chosen[first : first + step]
        performances = [
            _performance(marks, sums, squares, np.diff(edges), centre, measure)
            for marks in (half_marks, 1.0 - half_marks)
        ]
        # Each division counts twice: either half chooses.
        for begin, (in_sample, out_of_sample) in ((first, performances), (first + len(halves), performances[::-1])):
            rows = np.arange(len(half_marks))
            best = in_sample.argmax(axis=1)
            chosen_out = out_of_sample[rows, best]
            below = (out_of_sample < chosen_out[:, None]).sum(axis=1)
            ties = (out_of_sample == chosen_out[:, None]).sum(axis=1)
            division_rows = slice(begin, begin + len(half_marks))
            inside[division_rows], outside[division_rows] = in_sample[rows, best], chosen_out
            ranks[division_rows] = below + 0.5 * (ties + 1.0)
    return inside, outside, ranks


def _performance(
    half: Floats, sums: Floats, squares: Floats, sizes: np.ndarray, centre: Floats, measure: Measure
) -> Floats:
    """Return float64[rows, K]: the performance of each trial in the blocks that `half` float64[rows, S] marks with 1.

    `sums` and `squares` have, for each of the S blocks, the sum of the deviations of returns from `centre` float64[K]
    and of their squares.
    """
    size = (half @ sizes)[:, None]
    mean = half @ sums / size
    if measure == "mean":
        return mean + centre
    variance = np.maximum(half @ squares - size * mean * mean, 0.0) / (size - 1.0)
    varies = variance > 1e-24
    ratios: Floats = np.where(varies, (mean + centre) / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return ratios
