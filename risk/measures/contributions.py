"""Contributions to VaR and CVaR: marginal, component and incremental figures of each position.

What can go wrong: components do not add up to the measure, or shares rest on one scenario. Components are therefore
weight x slope (derivative by weight), which add up for measures of degree one (Euler). The slope of historical VaR
comes from a single scenario, so that shares of risk are better taken from CVaR (D. Tasche, 1999).

Weights float64[N] are fractions of equity, returns float64[S, N] simple, per sample; losses are positive.
"""

import numpy as np
from msgspec import Struct

from quantd.risk.measures.portfolio import Floats, tail_count


class Contributions(Struct, frozen=True):
    """One measure of a book by position. All float64[N] are in column order.

    `marginal`: increase of the measure per unit of weight. `component`: weight x marginal; the components add up to
    `total`. `incremental`: `total` less the measure of the book with this position in cash; these do not add up.
    """

    total: float
    marginal: Floats
    component: Floats
    incremental: Floats


def historical(returns: Floats, weights: Floats, confidence: float) -> tuple[Contributions, Contributions]:
    """Return the contributions of positions to VaR and to CVaR by historical simulation.

    Marginal VaR is an instrument's loss in the VaR scenario, marginal CVaR its mean loss in the tail (D. Tasche, Risk
    contributions and performance measurement, 1999: the conditional expectation, here of scenarios). VaR depends on one
    scenario, so shares of risk are better taken from CVaR. An incremental figure is the measure less the measure
    without the position.
    """
    count = tail_count(len(returns), confidence)
    losses = -returns.dot(weights)
    rank = len(losses) - count
    order = np.argpartition(losses, rank)
    var_scenario, tail = order[rank], order[rank:]
    var, cvar = float(losses[var_scenario]), float(losses[tail].mean())
    # column i: the losses of the book without position i, in place of the returns
    losses_without = returns * weights
    losses_without += losses[:, None]
    losses_without.partition(rank, axis=0)
    marginal_var, marginal_cvar = -returns[var_scenario], -returns[tail].mean(axis=0)
    return (
        Contributions(var, marginal_var, marginal_var * weights, var - losses_without[rank]),
        Contributions(cvar, marginal_cvar, marginal_cvar * weights, cvar - losses_without[rank:].mean(axis=0)),
    )


def parametric(cov: Floats, weights: Floats, deviations: float) -> Contributions:
    """Return the contributions of positions to a multiple of the book's standard deviation. All are 0 where no return
    varies.

    The multiple `deviations` is `tails.normal_quantile(confidence)` for VaR, `normal_shortfall` for CVaR, and the root
    of the samples per year for annual volatility.

    Source: P. Jorion, Value at Risk, 3rd ed. (2006), chapter 7; the components are Euler's.
    """
    joint = cov.dot(weights)
    variance = max(float(weights.dot(joint)), 0.0)
    book_deviation = np.sqrt(variance)
    marginal = deviations / book_deviation * joint if book_deviation > 0.0 else np.zeros(len(weights))
    # by position i: (w - w_i e_i)' C (w - w_i e_i), with weights w, covariance C and unit vector e_i
    variance_without = variance - 2.0 * weights * joint + weights * weights * cov.diagonal()
    total = deviations * float(book_deviation)
    return Contributions(
        total, marginal, marginal * weights, total - deviations * np.sqrt(np.maximum(variance_without, 0.0))
    )
