"""Inputs of allocators: a covariance and expected returns, from float64[S, n] returns per sample.

What can go wrong: an optimiser mistakes noise for opportunity. A sample covariance of too few samples is refused, and
`denoised` replaces the eigenvalues that noise alone can produce by their mean. Sample means have larger errors than
means that are moved towards one value, as by `shrunk_means` (P. Jorion, 1986).
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, Literal

import numpy as np

from quantd.strategies.allocators.active_set import Infeasible
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from quantd.trading.market import Floats

CovarianceKind = Literal["sample", "ledoit_wolf", "ewma", "denoised"]
MeanKind = Literal["sample", "james_stein", "equilibrium"]

VARIANCE_FLOOR: Final = 1e-18
"""Variance per sample below which a price counts as constant and is not bought."""


def covariance_of(kind: CovarianceKind, returns: Floats, decay: float) -> Floats:
    """Return float64[n, n] by one of four estimators; `decay` is used by "ewma" only.

    A sample covariance of S <= n samples is singular, and raises Infeasible.
    """
    match kind:
        case "sample":
            if len(returns) <= returns.shape[1]:
                raise Infeasible("a sample covariance of no more samples than instruments is singular")
            return covariance(returns)
        case "ledoit_wolf":
            return ledoit_wolf(returns)
        case "ewma":
            return ewma_covariance(returns, decay)
        case "denoised":
            return denoised(returns)


@lru_cache(maxsize=64)
def estimator(kind: CovarianceKind, decay: float) -> Callable[[Floats], Floats]:
    """Return the function from returns to their covariance by the estimator `kind` (`covariance_of`).

    Equal arguments give the same object, so that a view can store its result for all readers.
    """
    return partial(covariance_of, kind, decay=decay)


def denoised(returns: Floats) -> Floats:
    """Return float64[n, n], the sample covariance with the noise eigenvalues of its correlation replaced by their mean.

    For n instruments and S samples, noise alone gives eigenvalues up to v (1 + sqrt(n / S))^2 (V. Marchenko and L.
    Pastur, 1967). v is the mean of the eigenvalues within that bound, found by iteration. Sources: L. Laloux and
    others, Noise dressing of financial correlation matrices (1999); M. Lopez de Prado, Machine learning for asset
    managers (2020), section 2.5.
    """
    rows, size = returns.shape
    cov = covariance(returns)
    deviation = np.sqrt(cov.diagonal())
    values, vectors = np.linalg.eigh(cov / np.outer(deviation, deviation))
    noise_edge = (1.0 + np.sqrt(size / rows)) ** 2
    noise_count = size
    while noise_count:
        # the eigenvalues inside the noise band; they are in ascending order
        inside_count = int(np.searchsorted(values, noise_edge * float(values[:noise_count].mean()), side="right"))
        if inside_count >= noise_count:
            break
        noise_count = inside_count
    if noise_count:
        values[:noise_count] = values[:noise_count].mean()
    clean = (vectors * values).dot(vectors.T)
    # back to a covariance; the cleaned matrix no longer has a unit diagonal
    scale = deviation / np.sqrt(clean.diagonal())
    denoised_cov = clean * np.outer(scale, scale)
    return (denoised_cov + denoised_cov.T) * 0.5


def expected_returns(kind: MeanKind, returns: Floats, cov: Floats, risk_aversion: float) -> Floats:
    """Return float64[n] means per sample by one of three estimators.

    "sample" are the means of the returns, and "james_stein" these means shrunk towards one value. "equilibrium" are the
    means, in excess of the risk-free rate, at which an investor with this `risk_aversion` holds an equally weighted
    market; the other estimators do not use `risk_aversion`.
    """
    match kind:
        case "sample":
            return returns.sum(axis=0) / len(returns)
        case "james_stein":
            return shrunk_means(returns, cov)
        case "equilibrium":
            return equilibrium(cov, np.full(len(cov), 1.0 / len(cov)), risk_aversion)


def shrunk_means(returns: Floats, cov: Floats) -> Floats:
    """Return float64[n], sample means shrunk towards the mean return of the minimum-variance portfolio.

    The shrinkage is (n + 2) / (n + 2 + S d'C^-1 d), with n instruments, S samples, the covariance C, and d the sample
    means less that mean return. Source: P. Jorion, Bayes-Stein estimation for portfolio analysis (1986),
    after W. James and C. Stein (1961).
    """
    rows, size = returns.shape
    means = returns.sum(axis=0) / rows
    if size < 3:
        return means  # below three dimensions shrinkage has no gain
    # inverse(C) times a vector of ones, and times the means
    solved = np.linalg.solve(cov, np.column_stack((np.ones(size), means)))
    anchor = float(solved[:, 1].sum() / solved[:, 0].sum())
    deviations = means - anchor
    distance = max(float(deviations.dot(solved[:, 1] - anchor * solved[:, 0])), 0.0)
    shrinkage = (size + 2.0) / (size + 2.0 + rows * distance)
    return anchor + (1.0 - shrinkage) * deviations


def equilibrium(cov: Floats, market: Floats, risk_aversion: float) -> Floats:
    """Return float64[n] excess returns per sample at which the weights `market` float64[n] are optimal.

    The returns are `risk_aversion` times `cov` times `market`. Source: W. Sharpe, Imputing expected security returns
    from portfolio composition (1974).
    """
    return risk_aversion * cov.dot(market)
