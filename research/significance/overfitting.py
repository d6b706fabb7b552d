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
from typing import Final

import numpy as np

from quantd.research.significance.samples import require_trials
from quantd.trading.market import Floats

BLOCKS: Final = 16
"""Number of blocks of the paper: 12,870 divisions."""

MOST_BLOCKS: Final = 20
"""Maximum number of blocks: 184,756 divisions."""

CHUNK: Final = 1 << 18
"""Number of performances computed at a time, which bounds memory and stays in the cache."""


@dataclass(frozen=True, slots=True)
class Overfitting:
    """The result of combinatorially symmetric cross-validation, which estimates overfitting.

    `probability` is the share of divisions in which the chosen trial ranks in the lower half out of sample. `loss` is
    the share in which its ratio out of sample is negative. `blocks` is the number of blocks.
    """

    probability: float
    loss: float
    blocks: int


def overfitting(returns: Floats, *, blocks: int = BLOCKS) -> Overfitting:
    """Estimate the probability that choosing the best of K trials by Sharpe ratio overfits, from float64[T, K] returns.

    Blocks differ by at most one sample. A trial that is constant over a half has a Sharpe ratio of 0 there. Equal
    ratios share their mean rank. Raises ValueError for an odd number of blocks or one outside [2, MOST_BLOCKS],
    fewer than 2 samples per block, fewer than 2 trials or non-finite returns.
    """
    if blocks % 2 or not 2 <= blocks <= MOST_BLOCKS:
        raise ValueError(f"the number of blocks must be even and from 2 to {MOST_BLOCKS}, not {blocks}")
    require_trials(returns, 2 * blocks, 2)
    outside, ranks = _choices(returns, blocks)
    # the median rank is half of the number of trials and 1
    in_lower_half = ranks <= 0.5 * (returns.shape[1] + 1)
    return Overfitting(float(in_lower_half.mean()), float((outside < 0.0).mean()), blocks)


def _choices(returns: Floats, blocks: int) -> tuple[Floats, Floats]:
    """Return two arrays float64[C], an element for each of C divisions of the blocks into halves.

    The arrays are the chosen trial's ratio out of sample, and its rank out of sample, from 1 for the worst trial.
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
    outside, ranks = np.empty(count), np.empty(count)
    step = max(1, CHUNK // trials)
    for first in range(0, len(halves), step):
        half_marks = chosen[first : first + step]
        ratios = [_ratios(marks, sums, squares, np.diff(edges), centre) for marks in (half_marks, 1.0 - half_marks)]
        # Each division counts twice: either half chooses.
        for begin, (in_sample, out_of_sample) in ((first, ratios), (first + len(halves), ratios[::-1])):
            chosen_out = out_of_sample[np.arange(len(half_marks)), in_sample.argmax(axis=1)]
            below = (out_of_sample < chosen_out[:, None]).sum(axis=1)
            ties = (out_of_sample == chosen_out[:, None]).sum(axis=1)
            division_rows = slice(begin, begin + len(half_marks))
            outside[division_rows], ranks[division_rows] = chosen_out, below + 0.5 * (ties + 1.0)
    return outside, ranks


def _ratios(half: Floats, sums: Floats, squares: Floats, sizes: np.ndarray, centre: Floats) -> Floats:
    """Return float64[rows, K]: the Sharpe ratio of each trial in the blocks that `half` float64[rows, S] marks with 1.

    `sums` and `squares` have, for each of the S blocks, the sum of the deviations of returns from `centre` float64[K]
    and of their squares.
    """
    size = (half @ sizes)[:, None]
    mean = half @ sums / size
    variance = np.maximum(half @ squares - size * mean * mean, 0.0) / (size - 1.0)
    varies = variance > 1e-24
    ratios: Floats = np.where(varies, (mean + centre) / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return ratios
