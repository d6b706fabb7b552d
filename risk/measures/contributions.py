"""Where a book's VaR and CVaR come from: marginal, component and incremental figures of each position.

Weights float64[N] are fractions of equity, returns float64[S, N] simple, per sample; losses are positive.
"""

import numpy as np
from msgspec import Struct

from quantd.risk.measures.portfolio import Floats, tail_count


class Contributions(Struct, frozen=True):
    """One measure of a book, taken apart. All float64[N] are in column order.

    `marginal`: what the measure grows by for one unit of weight more, in the limit. `component`: weight x marginal;
    these add up to `whole`. `incremental`: `whole` less the measure of the same book with this position in cash
    instead; these do not add up.
    """

    whole: float
    marginal: Floats
    component: Floats
    incremental: Floats


def historical(returns: Floats, weights: Floats, confidence: float) -> tuple[Contributions, Contributions]:
    """Of VaR and of CVaR by historical simulation.

    Marginal VaR is an instrument's loss in the scenario that is the VaR, marginal CVaR its mean loss in the tail
    (D. Tasche, Risk contributions and performance measurement, 1999: the conditional expectation, here of scenarios).
    One scenario is a noisy witness: for shares of risk look at the CVaR's. Incremental by evaluation without the
    position.
    """
    count = tail_count(len(returns), confidence)
    losses = -returns.dot(weights)
    rank = len(losses) - count
    order = np.argpartition(losses, rank)
    at, tail = order[rank], order[rank:]
    var, cvar = float(losses[at]), float(losses[tail].mean())
    without = returns * weights
    without += losses[:, None]
    without.partition(rank, axis=0)
    marginal, in_tail = -returns[at], -returns[tail].mean(axis=0)
    return (
        Contributions(var, marginal, marginal * weights, var - without[rank]),
        Contributions(cvar, in_tail, in_tail * weights, cvar - without[rank:].mean(axis=0)),
    )


def parametric(cov: Floats, weights: Floats, deviations: float) -> Contributions:
    """Of a measure that is so many standard deviations of the book: VaR with `tails.normal_quantile(confidence)`, CVaR
    with `normal_shortfall`, volatility a year with the root of the samples in it. All 0 where nothing moves.

    Source: P. Jorion, Value at Risk, 3rd ed. (2006), chapter 7; the components are Euler's.
    """
    joint = cov.dot(weights)
    variance = max(float(weights.dot(joint)), 0.0)
    sd = np.sqrt(variance)
    marginal = deviations / sd * joint if sd > 0.0 else np.zeros(len(weights))
    # (w - w_i e_i)' C (w - w_i e_i)
    rest = variance - 2.0 * weights * joint + weights * weights * cov.diagonal()
    whole = deviations * float(sd)
    return Contributions(whole, marginal, marginal * weights, whole - deviations * np.sqrt(np.maximum(rest, 0.0)))
