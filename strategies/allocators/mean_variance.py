"""Long-only portfolios from a mean and a covariance.

The portfolios are minimum variance, maximum Sharpe ratio, maximum diversification, mean-variance with costs, Merton and
Kelly.

What can go wrong: scales that differ by orders of magnitude, such as a bond beside bitcoin, and a singular covariance.
Problems are solved in units of risk, with `RIDGE` on the diagonal. The solution whose only bound is 0 is tried first,
because it is the fastest. If it breaks another bound, or is not unique, a search along the efficient frontier follows.

Covariances float64[n, n] and means float64[n] are per sample; weights float64[n] are per instrument. Every function
raises Infeasible with the reason when no such portfolio exists.
"""

from math import sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.active_set import Infeasible, bounded, nonnegative
from quantd.strategies.allocators.interior_point import Program, bounds, solve
from quantd.trading.market import Bools, Floats

RIDGE: Final = 1e-10
"""Added to the unit diagonal of correlations, so that identical instruments get equal weights."""

DUST: Final = 1e-7
"""Weights below this count as zero after an interior-point solution."""


class Box(Struct, frozen=True):
    """Bounds on every single weight, as fractions of the invested amount."""

    lower: float = 0.0
    upper: float = 1.0

    @property
    def open(self) -> bool:
        """True if long-only and fully invested are the only constraints."""
        return self.lower <= 0.0 and self.upper >= 1.0

    def has(self, weights: Floats) -> bool:
        """True if all `weights` are within the bounds."""
        return self.open or bool(((weights >= self.lower) & (weights <= self.upper)).all())

    def sides(self, size: int) -> tuple[Floats, Floats]:
        """Return the lower and the upper bounds of `size` weights. Raises Infeasible if they do not allow the sum 1."""
        lower, upper = self.lower, min(self.upper, 1.0)
        if size * lower > 1.0 + 1e-12 or size * upper < 1.0 - 1e-12:
            raise Infeasible("no weights within their bounds have the required sum")
        return np.full(size, lower), np.full(size, upper)


OPEN: Final = Box()


def scaled(cov: Floats) -> tuple[Floats, Floats]:
    """Return correlations float64[n, n] with RIDGE on their diagonal, and deviations float64[n].

    The optimisation problems are solved in units of risk, in which a bond and bitcoin have the same scale. Raises
    Infeasible where a variance is not a positive number.
    """
    variance = cov.diagonal()
    if not bool((variance > 0.0).all()) or not np.isfinite(cov).all():
        raise Infeasible("the covariance has a variance that is not a positive number")
    deviation = np.sqrt(variance)
    correlation = cov / deviation
    correlation /= deviation[:, None]
    correlation.reshape(-1)[:: len(variance) + 1] = 1.0 + RIDGE  # the diagonal
    return correlation, deviation


def _largest_ratio(cov: Floats, reward: Floats, box: Box) -> Floats:
    """Return float64[n], the fully invested weights w in the box with the largest reward' w / sqrt(w' cov w)."""
    correlation, deviation = scaled(cov)
    rate = reward / deviation
    best = float(rate.max())
    if not best > 0.0:
        raise Infeasible("no instrument has an expected return above zero")
    try:
        unscaled = nonnegative(correlation, rate / best)
    except Infeasible:
        # the covariance is nearly singular: weights that need only be 0 or more have no unique solution
        return _largest_ratio_in_box(cov, reward, box, np.full(len(reward), 1.0 / len(reward)))
    unscaled /= deviation
    weights: Floats = unscaled / unscaled.sum()
    if box.has(weights):
        return weights
    return _largest_ratio_in_box(cov, reward, box, weights)


def _largest_ratio_in_box(cov: Floats, reward: Floats, box: Box, start: Floats) -> Floats:
    """Return float64[n], the weights in the box with the largest ratio, by a search along the frontier from `start`.

    A point of the frontier is the w with the largest t r'w - w'Cw / 2 in the box, with r = `reward` and C = `cov`. The
    optimum, with the largest r'w / sqrt(w'Cw), has t = w'Cw / r'w. While the same weights are at their bounds (one
    face), this t has a closed form: the variance over the reward of the minimum-variance weights on the face. If the
    result lies outside the interval that is known to contain t, the interval is halved instead.
    """
    lower, upper = box.sides(len(reward))
    if highest(reward, box) <= 0.0:
        raise Infeasible("no portfolio within the bounds has an expected return above zero")
    cov = cov + np.diag(RIDGE * cov.diagonal())
    earned = float(start.dot(reward))
    t = float(start.dot(cov).dot(start)) / (earned if earned > 0.0 else float(reward.max()))
    below, above = 0.0, np.inf  # the bracket of the optimal t
    w = start
    for _ in range(100):
        w, free = bounded(cov, t * reward, lower, upper, 1.0, w)
        # the minimum variance on this face
        no_reward = w - t * _frontier_direction(cov, reward, free)
        mean, variance = float(reward.dot(no_reward)), float(no_reward.dot(cov).dot(no_reward))
        # where the minimum variance has no reward, the ratio still rises with t
        ratio_at_face = variance / mean if mean > 0.0 else np.inf
        if abs(ratio_at_face - t) <= 1e-10 * t or above - below <= 1e-9 * t:
            break
        below, above = (max(below, t), above) if ratio_at_face > t else (below, min(above, t))
        t = ratio_at_face if below < ratio_at_face < above else (0.5 * (below + above) if above < np.inf else 4.0 * t)
    return w


def _frontier_direction(cov: Floats, reward: Floats, free: Bools) -> Floats:
    """Return float64[n], the change of the optimal weights per unit of t while the `free` ones stay inside the box.

    t is the weight of the reward in t r'w - w'Cw / 2. The changes add up to 0.
    """
    free_columns = free.nonzero()[0]
    tilt = np.zeros(len(reward))
    if len(free_columns) > 1:
        solutions = np.linalg.solve(
            cov[free_columns[:, None], free_columns],
            np.column_stack((reward[free_columns], np.ones(len(free_columns)))),
        )
        tilt[free_columns] = solutions[:, 0] - solutions[:, 1] * (solutions[:, 0].sum() / solutions[:, 1].sum())
    return tilt


def highest(reward: Floats, box: Box) -> float:
    """Return the largest reward' w of fully invested weights within the bounds: the best columns are filled first."""
    size, width = len(reward), min(box.upper, 1.0) - box.lower
    amounts = np.clip(1.0 - size * box.lower - width * np.arange(size), 0.0, width)
    return box.lower * float(reward.sum()) + float(amounts.dot(np.sort(reward)[::-1]))


def within(weights: Floats, box: Box) -> Floats:
    """Return float64[n]: `weights` (all >= 0) times one factor, then clipped to the bounds of `box`.

    The factor is chosen so that the results add up to 1. A weight of zero gets the lower bound, and more only if the
    other weights cannot reach the sum. Raises Infeasible when the bounds do not permit the sum.
    """
    size = len(weights)
    lower, upper = box.sides(size)
    if bool(((weights >= lower) & (weights <= upper)).all()) and abs(float(weights.sum()) - 1.0) < 1e-12:
        return weights
    positive = weights[weights > 0.0]
    if not len(positive):
        return within(np.full(size, 1.0 / size), box)
    # the sum is piecewise linear in the factor, with a kink where a weight reaches a bound
    kinks = np.unique(np.concatenate((lower[0] / positive, upper[0] / positive)))
    sums = np.clip(np.outer(kinks, weights), lower, upper).sum(axis=1)
    k = int(np.searchsorted(sums, 1.0))  # the first kink at which the sum reaches 1
    if k == len(kinks):
        # weights of zero keep the sum below 1: the remainder goes to them in equal parts
        filled = np.clip(weights * kinks[-1], lower, upper)
        at_zero = weights <= 0.0
        filled[at_zero] += (1.0 - filled.sum()) / int(at_zero.sum())
        return filled
    if k == 0:
        return np.clip(weights * kinks[0], lower, upper)
    # between two kinks the sum is linear: interpolate the factor
    share = (1.0 - sums[k - 1]) / (sums[k] - sums[k - 1])
    return np.clip(weights * (kinks[k - 1] + share * (kinks[k] - kinks[k - 1])), lower, upper)


def settled(weights: Floats, box: Box) -> Floats:
    """Return float64[n], an interior-point solution with weights up to DUST (rounding) set to zero.

    The weights are then scaled to the sum 1 within the bounds of `box`.
    """
    return within(np.where(weights > DUST, weights, 0.0), box)


def minimum_variance(cov: Floats, box: Box = OPEN) -> Floats:
    """Return float64[n], the weights with the smallest w' C w (H. Markowitz, Portfolio selection, 1952)."""
    correlation, deviation = scaled(cov)
    size = len(cov)
    guess = None
    try:
        unscaled = nonnegative(correlation, deviation.min() / deviation)
        unscaled /= deviation
        guess = unscaled / unscaled.sum()
    except Infeasible:
        pass  # without a guess `bounded` begins with all weights free
    else:
        if box.has(guess):
            return guess
    # bounds apply to weights, so this is solved in weights with a common scale
    return _largest_utility(cov / float(cov.trace()) * size, np.zeros(size), box, guess)


def _largest_utility(matrix: Floats, linear: Floats, box: Box, guess: Floats | None = None) -> Floats:
    """Return float64[n], the fully invested weights w in the box with the largest linear' w - w' matrix w / 2.

    `guess` is the starting point of the search (None: a default point).
    """
    return bounded(matrix + np.diag(RIDGE * matrix.diagonal()), linear, *box.sides(len(linear)), 1.0, guess)[0]


def maximum_sharpe(cov: Floats, excess: Floats, box: Box = OPEN) -> Floats:
    """Return float64[n], the fully invested weights w in the box with the largest excess' w / sqrt(w' cov w).

    `excess` float64[n] are means less the risk-free rate (J. Tobin, 1958; W. Sharpe, Mutual fund performance, 1966).
    Raises Infeasible when no expected return exceeds that rate.
    """
    try:
        return _largest_ratio(cov, excess, box)
    except Infeasible as why:
        reward = "has an expected return above zero"
        text = str(why).replace(reward, "is expected to earn more than the risk-free rate")
        raise Infeasible(text) from None


def maximum_diversification(cov: Floats, box: Box = OPEN) -> Floats:
    """Return float64[n], the weights with the largest diversification ratio.

    The ratio is the weighted mean of the instruments' standard deviations over the standard deviation of the portfolio.
    It is maximised like a Sharpe ratio whose mean returns are the standard deviations. Source: Y. Choueifaty and Y.
    Coignard, Toward maximum diversification (2008).
    """
    return _largest_ratio(cov, np.sqrt(cov.diagonal()), box)


def maximum_utility(cov: Floats, mean: Floats, risk_aversion: float, box: Box = OPEN) -> Floats:
    """Return float64[n], the fully invested weights with the largest mean' w - risk_aversion w' C w / 2."""
    unit = float(cov.trace()) / len(cov)
    return _largest_utility(cov / unit, mean / (risk_aversion * unit), box)


def mean_variance(
    cov: Floats, mean: Floats, risk_aversion: float, held: Floats, cost: float, box: Box = OPEN
) -> Floats:
    """Return the fully invested weights with the largest mean' w - risk_aversion w' C w / 2 - cost sum(|w - held|).

    A position in `held` float64[n] is unchanged where a change would not recover its `cost` (a fraction of the value
    traded, per sample like the means). Source: S. Boyd and others, Multi-period trading via convex optimization (2017),
    one period.
    """
    if cost <= 0.0:
        return maximum_utility(cov, mean, risk_aversion, box)
    size = len(cov)
    rows, floor = bounds(*box.sides(size))
    unit = float(cov.trace()) / size
    price = cost / (risk_aversion * unit)
    # |d| = 2 max(0, -d) + d for the trade d = w - held: the first part is a soft row, the second part is linear
    program = Program(
        cov / unit,
        price - mean / (risk_aversion * unit),
        np.concatenate((np.eye(size), rows)),
        np.concatenate((held, floor)),
        np.concatenate((np.full(size, 2.0 * price), np.full(2 * size, np.inf))),
        np.ones((1, size)),
        np.ones(1),
    )
    return settled(solve(program, np.full(size, 1.0 / size)), box)


def merton(cov: Floats, excess: Floats, risk_aversion: float, cap: float = 1.0, most: float = 1.0) -> Floats:
    """Return float64[n], the weights with the largest excess' w - risk_aversion w' C w / 2.

    Bounds are 0 <= w <= `most` and sum(w) <= `cap`; the rest is cash. Without the bounds the solution is inverse(C)
    excess / risk_aversion (R. Merton, Lifetime portfolio selection under uncertainty, 1969). At risk aversion 1 the
    solution maximises the growth of wealth (J. Kelly, 1956; E. Thorp, The Kelly criterion, 2006). At risk aversion 1 /
    f the weights are f times as large, where no bound is active. All weights are zero where no expected return exceeds
    cash.
    """
    correlation, deviation = scaled(cov)
    size = len(cov)
    if not float(excess.max()) > 0.0:
        return np.zeros(size)
    rate = excess / (deviation * risk_aversion)
    try:
        weights: Floats = nonnegative(correlation, rate / rate.max()) * (rate.max() / deviation)
        if float(weights.sum()) <= cap and float(weights.max()) <= most:
            return weights
    except Infeasible:
        pass  # the covariance is nearly singular: without the upper bounds the solution diverges
    # Cash is one more instrument, without reward and nearly without variance: the sum becomes an equality.
    unit = float(cov.trace()) / size
    matrix = np.zeros((size + 1, size + 1))
    matrix[:size, :size] = cov / unit
    matrix.reshape(-1)[:: size + 2] += RIDGE  # the diagonal
    linear = np.append(excess / (risk_aversion * unit), 0.0)
    lower, upper = np.zeros(size + 1), np.append(np.full(size, min(most, cap)), cap)
    return bounded(matrix, linear, lower, upper, cap)[0][:size]


def inverse_volatility(cov: Floats, box: Box = OPEN) -> Floats:
    """Return float64[n], weights in proportion to 1 / standard deviation, scaled into the box (`within`)."""
    _, deviation = scaled(cov)
    weights = deviation.min() / deviation
    return within(weights / weights.sum(), box)


def annual_volatility(cov: Floats, weights: Floats, samples_a_year: float) -> float:
    """Return the annual standard deviation of `weights`, from a covariance per sample."""
    return sqrt(max(float(weights.dot(cov).dot(weights)), 0.0) * samples_a_year)


def at_volatility(cov: Floats, weights: Floats, target_annual: float, samples_a_year: float) -> Floats:
    """Return float64[n], `weights` scaled down, never up, to an annual volatility of at most `target_annual`.

    The rest is cash. `cov` is per sample.
    """
    volatility = annual_volatility(cov, weights, samples_a_year)
    return weights * (target_annual / volatility) if volatility > target_annual else weights
