"""How diversified a book is: risk taken away by holding positions together, and the number of bets it really makes.

Pass only what is held: weights float64[N] of it, and its covariance float64[N, N] per sample.
"""

from math import sqrt

import numpy as np

from quantd.risk.measures.portfolio import Floats, correlation, covariance


def diversification_ratio(weights: Floats, cov: Floats) -> float:
    """What float64[N] positions risk alone over what they risk together: the sum of |weight| x deviation over the
    deviation of the whole. At least 1; infinite for a perfect hedge; NaN where nothing held moves.

    Source: Y. Choueifaty and Y. Coignard, Toward maximum diversification (2008), here with shorts by their size.
    """
    most = float(np.abs(weights).max(initial=0.0))
    if not most > 0.0:
        return float("nan")
    # the ratio knows no size: by the largest weight, squares neither vanish nor overflow
    scaled = weights / most
    alone = float(np.abs(scaled).dot(np.sqrt(cov.diagonal())))
    if not alone > 0.0:
        return float("nan")
    together = sqrt(max(float(scaled.dot(cov).dot(scaled)), 0.0))
    # what is left of a perfect hedge by rounding is no risk; and together is never more than alone
    return max(alone / together, 1.0) if together > 1e-12 * alone else float("inf")


def diversification(weights: Floats, cov: Floats) -> float:
    """Share of stand-alone risk that holding the positions together takes away, 1 - 1 / diversification ratio:
    0 for one position, 1 for a perfect hedge; NaN where nothing held moves."""
    return 1.0 - 1.0 / diversification_ratio(weights, cov)


def effective_bets(weights: Floats, cov: Floats) -> float:
    """Effective number of bets over principal components: the exponential of the entropy of their shares of variance,
    from 1 (all risk in one) to the number of positions. NaN where the book has no variance.

    Source: A. Meucci, Managing diversification (2009).
    """
    values, vectors = np.linalg.eigh(cov)
    return _exp_entropy(vectors.T.dot(weights) ** 2 * np.maximum(values, 0.0))


def effective_bets_of(weights: Floats, returns: Floats, cov: Floats | None = None) -> float:
    """`effective_bets` of the sample covariance of float64[S, N] returns; by the S x S products where that is
    smaller, for they have the same components. `cov`: that covariance, where it is known."""
    rows, size = returns.shape
    if size <= rows:
        return effective_bets(weights, covariance(returns) if cov is None else cov)
    centred = returns - returns.mean(axis=0)
    # centred = U D V': a component's variance is (D v'w)^2 / (S - 1) = (u' centred w)^2 / (S - 1)
    _, left = np.linalg.eigh(centred.dot(centred.T))
    return _exp_entropy(left.T.dot(centred.dot(weights)) ** 2)


def minimum_torsion(cov: Floats, tolerance: float = 1e-12, most: int = 1_000) -> Floats:
    """float64[N, N]: the uncorrelated factors (rows, in weights of instruments) that are together nearest to the
    instruments, each measured by its own deviation. All NaN where the covariance is singular or something never moves.

    Source: A. Meucci, A. Santangelo and R. Deguest, Risk budgeting and diversification based on optimized uncorrelated
    factors (2015), the exact solution by iteration, `most` times or until the fit changes by no more than `tolerance`.
    """
    size = len(cov)
    sd = np.sqrt(cov.diagonal())
    # what never moves correlates with nothing, not even itself, and makes it singular
    values, vectors = np.linalg.eigh(correlation(cov))
    if not values[0] > 1e-10 * values[-1]:
        return np.full((size, size), np.nan)
    root = (vectors * np.sqrt(values)).dot(vectors.T)
    rotation, scale, fit = np.eye(size), np.ones(size), np.inf
    for _ in range(most):
        # the rotation that brings scale x rotation nearest to the root (Procrustes), then the scale that does
        left, _, right = np.linalg.svd(scale[:, None] * root)
        rotation = left.dot(right)
        scale = np.einsum("ij,ij->i", rotation, root)
        was, fit = fit, float(np.square(scale[:, None] * rotation - root).sum())
        if was - fit <= tolerance:
            break
    found: Floats = sd[:, None] * (scale[:, None] * rotation).dot(np.linalg.inv(root)) / sd
    return found


def effective_bets_torsion(weights: Floats, cov: Floats) -> float:
    """Effective number of bets over minimum-torsion factors, in which each bet keeps the name of an instrument. NaN
    where they do not exist or the book has no variance. An iteration: for reports, not for every basket.

    Source: as `minimum_torsion`.
    """
    torsion = minimum_torsion(cov)
    # exposure to each factor times the factor's covariance with the book
    return _exp_entropy(np.linalg.solve(torsion.T, weights) * torsion.dot(cov.dot(weights)))


def _exp_entropy(parts: Floats) -> float:
    """exp(-sum p ln p) of parts of a whole, which are not negative but by rounding; NaN for no whole."""
    whole = float(parts.sum())
    if not whole > 0.0:
        return float("nan")
    share = parts / whole
    share = share[share > 0.0]
    return float(np.exp(-share.dot(np.log(share))))
