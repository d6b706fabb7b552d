"""The functions for normal, exponentially weighted, filtered and Cornish-Fisher VaR and CVaR.

What can go wrong: an estimate looks ahead, or a formula is used beyond its domain. `filtered` therefore scales each
return by the volatility of earlier rows only: if the volatility included the return itself, a large move would be
scaled down by its own size. The Cornish-Fisher expansion is a quantile only where it rises in the tail. Elsewhere the
figure is NaN, instead of a number without a meaning.

Returns float64[S, N] are simple, per sample, oldest first, finite. Losses are positive, in the unit of the weights.
Historical VaR and CVaR are in `portfolio`. Callers scale by the square root of the horizon.
"""

from functools import lru_cache
from math import exp, log, pi, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.measures.portfolio import Floats
from quantd.trading.covariance import DECAY, decay_weights, ones

FAR: Final = 8.0
"""Number of standard deviations beyond which a normal distribution has 6e-16 of its probability, less than a float
resolves."""


@lru_cache(maxsize=64)
def normal_quantile(confidence: float) -> float:
    """Return the VaR of a normal loss with mean 0 and standard deviation 1: 1.645 at confidence 0.95 (RiskMetrics
    1996)."""
    return NormalDist().inv_cdf(confidence)


@lru_cache(maxsize=64)
def normal_shortfall(confidence: float) -> float:
    """Return the expected shortfall of a normal loss with mean 0 and standard deviation 1: 2.063 at confidence 0.95.

    The formula is pdf(z) / (1 - confidence), with the normal density pdf at the quantile z.

    Source: A. McNeil, R. Frey, P. Embrechts, Quantitative Risk Management (2015), example 2.14.
    """
    z = normal_quantile(confidence)
    return exp(-0.5 * z * z) / sqrt(2.0 * pi) / (1.0 - confidence)


def ewma_deviation(series: Floats, decay: float = DECAY) -> float:
    """Return the standard deviation per sample of returns float64[S], with exponentially decaying weights."""
    return sqrt(float(decay_weights(len(series), decay).dot(series * series)))


def filtered(returns: Floats, decay: float = DECAY) -> Floats:
    """Return float64[S, N], the scenarios of filtered historical simulation: each return times the present volatility,
    divided by the volatility at the time of the return.

    Volatility is exponentially weighted with mean 0, from earlier rows only; at the first row it is the root mean
    square of the window. Correlation within a row is unchanged. A return may fall below -1, which overstates the loss.
    An instrument that never moved stays 0. Sources: J. Hull and A. White, Incorporating volatility updating into the
    historical simulation method (1998); G. Barone-Adesi, K. Giannopoulos and L. Vosper, VaR without correlations
    (1999).
    """
    rows, size = returns.shape
    # the variance before each row, and last the present one; a new array, so that each row is contiguous
    variance = np.empty((rows + 1, size))
    squares = np.multiply(returns, returns, out=variance[1:])
    np.divide(ones(rows).dot(squares), rows, out=variance[0])
    # the variance at t is decay^t (first + (1 - decay) sum over k < t of squares[k] decay^(-k-1)): one cumulative sum,
    # in blocks so short that no power overflows
    span = int(_SPAN / -log(decay))
    for first in range(0, rows, span):
        block = variance[first : first + span + 1]
        powers = _powers(len(block), decay)
        block[1:] *= (1.0 - decay) / powers[1:]
        np.cumsum(block, axis=0, out=block)
        block *= powers
    present, scale = variance[-1], variance[:-1]
    np.divide(present, scale, out=scale, where=present > 0.0)
    np.sqrt(scale, out=scale)
    scale *= returns
    return scale


_SPAN: Final = 200.0
"""Natural logarithm of the largest power in a block of `filtered`."""


@lru_cache(maxsize=64)
def _powers(count: int, decay: float) -> Floats:
    """Return float64[count, 1] of decay^0, decay^1, ..., as a read-only array."""
    powers: Floats = decay ** np.arange(count, dtype=np.float64)[:, None]
    powers.flags.writeable = False
    return powers


def cornish_fisher(losses: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return modified VaR and CVaR of losses float64[..., S]: a normal quantile adjusted for skewness and excess
    kurtosis.

    The loss at z deviations is mean + sd w(z), w(z) = z + (z^2 - 1) s / 6 + (z^3 - 3 z) k / 24 - (2 z^3 - 5 z) s^2 /
    36, with the sample's standard deviation sd, skewness s and excess kurtosis k. CVaR is the mean of this loss beyond
    the quantile, in closed form. VaR and CVaR are NaN outside the domain (see `in_domain`), where w(z) is not a
    quantile. Sources: P. Zangari, A VaR methodology for portfolios that include options (1996); L. Favre and J.-A.
    Galeano, Mean-modified value-at-risk (2002); D. Maillard, A user's guide to the Cornish Fisher expansion (2012).
    """
    mean, sd, skew, kurtosis = moments(losses)
    z = normal_quantile(confidence)
    s, k, q = skew / 6.0, kurtosis / 24.0, skew * skew / 36.0
    var = z + (z * z - 1.0) * s + (z**3 - 3.0 * z) * k - (2.0 * z**3 - 5.0 * z) * q
    # integrals of z, z^2 - 1, z^3 - 3 z and 2 z^3 - 5 z over the tail, each over pdf(z)
    cvar = normal_shortfall(confidence) * (1.0 + z * s + (z * z - 1.0) * k - (2.0 * z * z - 1.0) * q)
    valid = in_domain(skew, kurtosis, confidence)
    return np.where(valid, mean + sd * var, np.nan), np.where(valid, mean + sd * cvar, np.nan)


def moments(losses: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, standard deviation, skewness and excess kurtosis of losses float64[..., S], with the divisor S.
    Skewness and kurtosis are 0 for constant losses."""
    mean = losses.mean(axis=-1)
    centred = losses - mean[..., None]
    squares = centred * centred
    variance = squares.mean(axis=-1)
    # rounding of a constant is no variance
    moves = variance > 1e-28 * mean * mean
    scale = np.where(moves, variance, np.inf)
    skew = (squares * centred).mean(axis=-1) / scale**1.5
    kurtosis = np.where(moves, (squares * squares).mean(axis=-1) / scale**2 - 3.0, 0.0)
    return mean, np.sqrt(np.where(moves, variance, 0.0)), skew, kurtosis


def in_domain(skew: Floats | float, kurtosis: Floats | float, confidence: float) -> NDArray[np.bool_]:
    """Whether w(z) of `cornish_fisher`, the standardised loss at z deviations, is a quantile in the tail beyond
    `confidence`; the result has the arguments' shape.

    w is a quantile if it never falls between the z of this confidence and `FAR` deviations, and is at least as large
    there as at any smaller z. This domain is wider than Maillard's, where w rises everywhere.
    """
    s, k = np.asarray(skew), np.asarray(kurtosis)
    z = normal_quantile(confidence)
    # w is a cubic: a z^3 + b z^2 + c z, and a constant that no comparison sees
    a, b = k / 24.0 - s * s / 18.0, s / 6.0
    c = 1.0 - k / 8.0 + 5.0 * s * s / 36.0

    def w(x: Floats) -> Floats:
        return ((a * x + b) * x + c) * x

    at_quantile = w(np.asarray(z))
    # w may have larger values on the far left
    valid = (w(np.asarray(-FAR)) <= at_quantile) & (at_quantile <= w(np.asarray(FAR)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # where w turns: the roots of 3 a z^2 + 2 b z + c, NaN without one, written so that a = 0 divides by nothing
        # small
        q = -(b + np.copysign(np.sqrt(b * b - 3.0 * a * c), b))
        for turn in (q / (3.0 * a), c / q):
            valid &= ~((np.abs(turn) < FAR) & ((turn > z) | (w(turn) > at_quantile)))
    return valid
