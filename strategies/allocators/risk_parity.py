"""Risk parity: long-only weights with given shares of the portfolio's variance.

What can go wrong: a step that makes a weight negative, and instruments that cancel each other. So a step of Newton's
method far from the minimum is shortened, and the longer it is, the more. For a perfect hedge there is no finite
solution; a small constant added to the diagonal (a ridge) gives one. A cheap fixed-point iteration comes first, because
Newton's full steps need a start near the solution.
"""

from math import sqrt
from typing import Final

import numpy as np

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.mean_variance import OPEN, Box, scaled, within
from quantd.strategies.weights.sizing_rules import FINE
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR

TOLERANCE: Final = 1e-9
"""Newton decrement squared at which one more step leaves an error of similar size."""

ITERATIONS: Final = 60
"""Maximum number of Newton's steps."""

RIDGE: Final = 1e-4
"""Added to the unit diagonal where no finite solution exists: a perfect hedge, whose returns cancel."""

CHEAP: Final = 12
"""Maximum number of cheap rounds before Newton's steps."""

NEAR: Final = 0.03
"""Relative distance from the shares at which Newton's full steps begin."""


def risk_parity(cov: Floats, budgets: Floats | None = None, box: Box = OPEN) -> Floats:
    """Return weights float64[n], fully invested, whose contributions to the variance are in proportion to `budgets`.

    The contribution of instrument i is w_i (cov w)_i. `budgets` are float64[n] > 0, by default equal. `box` has the
    least and the largest weight of an instrument. If a weight exceeds a bound, it is set to the bound (`within`), and
    the contributions differ from the budgets. Raises Infeasible when a variance is not positive or the method does not
    converge.
    """
    correlation, deviation = scaled(cov)
    size = len(cov)
    shares = np.full(size, 1.0 / size) if budgets is None else budgets / budgets.sum()
    try:
        unscaled = shared_risk(correlation, shares)
    except Infeasible:  # the returns of some instruments cancel: a ridge on the diagonal leaves each some risk
        unscaled = shared_risk(correlation, shares, RIDGE)
    unscaled /= deviation
    return within(unscaled / unscaled.sum(), box)


def shared_risk(correlation: Floats, shares: Floats, ridge: float = 0.0) -> Floats:
    """Return the x > 0, float64[n], with x_i (C x)_i = shares_i for all i, C being `correlation` plus `ridge`.

    This x minimises the strictly convex x' C x / 2 - shares' log x. A cheap fixed-point iteration comes first: it
    multiplies each x by its share over its present contribution, to the power 2/3. Where no correlation is negative,
    each pass leaves at most a third of the error. Newton's method follows, with shorter steps while far from the
    minimum. Sources: F. Spinu, An algorithm for computing risk parity weights (2013); T. Griveau-Billion, J.-C. Richard
    and T. Roncalli, A fast algorithm for computing high-dimensional risk parity portfolios (2013). `correlation` has a
    unit diagonal and is positive semi-definite; `ridge` is added to the diagonal. Raises Infeasible without a finite x.
    """
    size = len(correlation)
    if ridge:
        correlation = correlation.copy()
        correlation.reshape(-1)[:: size + 1] += ridge  # the diagonal
    x = _newton_start(correlation, shares)
    smallest_share = float(shares.min())
    for _ in range(ITERATIONS):
        barrier_slope = shares / x
        slope = correlation.dot(x) - barrier_slope
        hessian = correlation.copy()
        hessian.reshape(-1)[:: size + 1] += barrier_slope / x
        step = np.linalg.solve(hessian, slope)
        # self-concordant after division by the smallest share
        decrement = float(slope.dot(step)) / smallest_share
        if decrement < TOLERANCE:
            return np.maximum(x - step, x * 0.5)  # the last step, which keeps x positive
        largest_change = float(np.abs(step / x).max())
        # far from the minimum the step is shortened by its own length, so that x stays positive
        x = x - (step / (1.0 + largest_change) if largest_change > 0.3 else step)
        # NaN, or an x that grows without end: instruments cancel each other
        if not largest_change < np.inf or float(x.max()) > 1e6:
            break
    raise Infeasible("risk cannot be shared: some instruments cancel each other")


def risk_budgets(sides: Floats, covariance: Floats, budgets: Floats) -> Floats:
    """Return float64[N] weights whose contributions to annual volatility are `budgets` (float64[N], 0 or more).

    `sides` float64[N] are +1 long, -1 short, 0 without a position. `covariance` float64[N, N] is per sample. The annual
    volatility is the sum of the budgets of the symbols with a position. A symbol without a side, without a budget or
    without variance has weight 0.
    """
    budgeted = (sides != 0.0) & (budgets > 0.0) & (covariance.diagonal() > FINE)
    weights = np.zeros(len(sides))
    if not budgeted.any():
        return weights
    volatility, held_covariance = float(budgets[budgeted].sum()), covariance[np.ix_(budgeted, budgeted)]
    signed_scale = sides[budgeted] / np.sqrt(held_covariance.diagonal())
    # the correlations, with the sign of a short position turned; 1e-9 is the ridge on their diagonal
    unscaled = (
        shared_risk(held_covariance * np.outer(signed_scale, signed_scale), budgets[budgeted] / volatility, 1e-9)
        * signed_scale
    )
    weights[budgeted] = unscaled * (volatility / sqrt(float(unscaled @ held_covariance @ unscaled) * PERIODS_PER_YEAR))
    return weights


def equal_risk(correlation: Floats) -> Floats:
    """Return float64[n], the x > 0 with equal shares of the variance; RIDGE on the diagonal makes x finite."""
    return shared_risk(correlation, np.full(len(correlation), 1.0 / len(correlation)), RIDGE)


def _newton_start(correlation: Floats, shares: Floats) -> Floats:
    """Return float64[n], a start for Newton's method, close to the solution if no correlation is negative.

    `shares` float64[n] are the wanted shares of the risk. Each x is multiplied by its share over its contribution, to
    the power 2/3, until each contribution is near its share.
    """
    unscaled_start = np.sqrt(shares / max(float(np.sqrt(shares).dot(correlation).dot(np.sqrt(shares))), 1e-3))
    x = unscaled_start
    for _ in range(CHEAP):
        risk = x * correlation.dot(x)
        if not float(risk.min()) > 0.0:
            return unscaled_start
        ratio = shares / risk * float(risk.sum())  # the scale is solved exactly
        if abs(float(ratio.max()) - 1.0) < NEAR and abs(float(ratio.min()) - 1.0) < NEAR:
            return x / float(risk.sum()) ** 0.5
        if float(ratio.max()) > 50.0:  # negative correlations: the rounds diverge
            return unscaled_start
        x = x * ratio ** (2.0 / 3.0)
    return x / float(x.dot(correlation).dot(x)) ** 0.5
