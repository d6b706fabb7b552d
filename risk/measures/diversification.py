"""Measures of diversification: the risk that joint holding removes, and the effective number of bets.

Weights float64[N] and covariance float64[N, N] per sample cover only the N symbols with positions.
"""

from math import sqrt

import numpy as np
from msgspec import Struct

from quantd.risk.measures.portfolio import Floats
from quantd.trading.covariance import covariance


def diversification_ratio(weights: Floats, cov: Floats) -> float:
    """Return the sum of |weight| x standard deviation over the standard deviation of the book. It is at least 1,
    infinite for a perfect hedge, and NaN where no return varies.

    Source: Y. Choueifaty and Y. Coignard, Toward maximum diversification (2008), with the absolute weights of short
    positions.
    """
    largest = float(np.abs(weights).max(initial=0.0))
    if not largest > 0.0:
        return float("nan")
    # the ratio does not depend on scale: divided by the largest weight, squares neither vanish nor overflow
    scaled = weights / largest
    separate = float(np.abs(scaled).dot(np.sqrt(cov.diagonal())))
    if not separate > 0.0:
        return float("nan")
    joint = sqrt(max(float(scaled.dot(cov).dot(scaled)), 0.0))
    # rounding leaves a variance of some 1e-16 in a perfect hedge; the joint deviation never exceeds the sum of all
    return max(separate / joint, 1.0) if joint > 1e-7 * separate else float("inf")


def diversification(weights: Floats, cov: Floats) -> float:
    """Return the fraction of stand-alone risk that joint holding removes, 1 - 1 / diversification ratio.

    It is 0 for one position, 1 for a perfect hedge, and NaN where no return varies.
    """
    return 1.0 - 1.0 / diversification_ratio(weights, cov)


class Components(Struct, frozen=True):
    """The principal components of returns.

    `vectors` are the eigenvectors of the covariance, and `values` its eigenvalues. Where `values` is None, `vectors`
    are the eigenvectors of X X' instead, with the `centred` returns X float64[S, N].
    """

    vectors: Floats
    values: Floats | None = None
    centred: Floats | None = None

    def bets(self, weights: Floats) -> float:
        """Return the effective number of bets: the exponential of the entropy of the components' shares of variance,
        from 1 to the number of positions. NaN if the variance is 0.

        Source: A. Meucci, Managing diversification (2009).
        """
        if self.values is not None:
            return _exp_entropy(self.vectors.T.dot(weights) ** 2 * np.maximum(self.values, 0.0))
        # centred = U D V': a component's variance is (D v'w)^2 / (S - 1) = (u' centred w)^2 / (S - 1)
        assert self.centred is not None
        return _exp_entropy(self.vectors.T.dot(self.centred.dot(weights)) ** 2)


def components_of(returns: Floats, cov: Floats | None = None) -> Components:
    """Return the principal components of returns float64[S, N] (S samples of N symbols). Where S is smaller than N
    they follow from the S x S matrix X X' of centred returns X. `cov` is the sample covariance, if already known."""
    rows, size = returns.shape
    if size <= rows:
        values, vectors = np.linalg.eigh(covariance(returns) if cov is None else cov)
        return Components(vectors, values)
    centred = returns - returns.mean(axis=0)
    _, left_vectors = np.linalg.eigh(centred.dot(centred.T))
    return Components(left_vectors, centred=centred)


def effective_bets(weights: Floats, cov: Floats) -> float:
    """Return the effective number of bets, exp(entropy of the principal components' shares of variance)."""
    values, vectors = np.linalg.eigh(cov)
    return Components(vectors, values).bets(weights)


def _exp_entropy(parts: Floats) -> float:
    """Return exp(-sum p ln p), where p are the `parts` divided by their sum; NaN for a sum of 0."""
    total = float(parts.sum())
    if not total > 0.0:
        return float("nan")
    fractions = parts / total
    fractions = fractions[fractions > 0.0]
    return float(np.exp(-fractions.dot(np.log(fractions))))
