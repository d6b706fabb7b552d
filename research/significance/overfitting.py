"""Probability of backtest overfitting, by combinatorially symmetric cross-validation (CSCV).

What can go wrong: the best of many trials on a sample is not the best on other samples. So the samples are cut into S
blocks. Each half of the blocks chooses the best trial, and the other half ranks it. Source: Bailey, Borwein, López de
Prado & Zhu 2015.

Only the halves with the first block are enumerated. Each division counts twice, because either half chooses. Equal
performances share their mean rank, so that permuting the trials changes nothing. A trial that does not trade has a
ratio of 0 and not an undefined one.
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
    """The result of the cross-validation.

    `probability` is the share of divisions in which the chosen trial is in the lower half of the others' ranking.
    `logits` float64[C] are log odds of its relative rank, one for each division; a value up to 0 is overfit.
    `slope` is that of its performance out of sample on the one in sample, per sample; NaN where the latter is constant.
    `loss` is the share of divisions in which its performance out of sample is negative.
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
    inside, outside, ranks = _chosen(returns, blocks, measure)
    trials = returns.shape[1]
    logits = np.log(ranks / (trials + 1.0 - ranks))
    centred = inside - inside.mean()
    spread = float(centred @ centred)
    slope = float(centred @ outside) / spread if spread > 1e-24 * len(inside) else float("nan")
    return Overfitting(float((logits <= 1e-12).mean()), logits, slope, float((outside < 0.0).mean()), blocks)


def _chosen(returns: Floats, blocks: int, measure: Measure) -> tuple[Floats, Floats, Floats]:
    """Return three float64[C]: the chosen trial's performance in sample and out of sample, and its rank there."""
    samples, trials = returns.shape
    edges = np.linspace(0, samples, blocks + 1).astype(np.int64)
    centre = returns.mean(axis=0)
    deviations = returns - centre
    sums = np.add.reduceat(deviations, edges[:-1], axis=0)
    squares = np.add.reduceat(deviations * deviations, edges[:-1], axis=0)
    halves = np.array([half for half in combinations(range(blocks), blocks // 2) if half[0] == 0])
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    count = 2 * len(halves)
    inside, outside, ranks = np.empty(count), np.empty(count), np.empty(count)
    step = max(1, CHUNK // trials)
    for first in range(0, len(halves), step):
        one = chosen[first : first + step]
        pair = [_performance(half, sums, squares, np.diff(edges), centre, measure) for half in (one, 1.0 - one)]
        # Each division counts twice: either half chooses.
        for begin, (here, there) in ((first, pair), (first + len(halves), pair[::-1])):
            rows = np.arange(len(one))
            best = here.argmax(axis=1)
            reached = there[rows, best]
            below = (there < reached[:, None]).sum(axis=1)
            equal = (there == reached[:, None]).sum(axis=1)
            place = slice(begin, begin + len(one))
            inside[place], outside[place] = here[rows, best], reached
            ranks[place] = below + 0.5 * (equal + 1.0)
    return inside, outside, ranks


def _performance(
    half: Floats, sums: Floats, squares: Floats, sizes: np.ndarray, centre: Floats, measure: Measure
) -> Floats:
    """Return float64[rows, K]: the performance of each trial in the blocks that `half` float64[rows, S] marks with 1.
    The sums of each block are of deviations from `centre` float64[K]."""
    size = (half @ sizes)[:, None]
    mean = half @ sums / size
    if measure == "mean":
        return mean + centre
    variance = np.maximum(half @ squares - size * mean * mean, 0.0) / (size - 1.0)
    varies = variance > 1e-24
    ratios: Floats = np.where(varies, (mean + centre) / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return ratios
