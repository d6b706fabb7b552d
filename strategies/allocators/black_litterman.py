"""Black-Litterman: equilibrium returns, adjusted by views in proportion to their confidence.

What can go wrong: two certain views that contradict each other make the system singular. So each view has at least a
small variance, and contradicting views are averaged. Without views the result is the market portfolio.
"""

from typing import Final

import numpy as np

from quantd.strategies.allocators.estimates import equilibrium
from quantd.trading.market import Floats

TAU: Final = 0.05
"""Uncertainty of the equilibrium relative to that of returns (F. Black and R. Litterman, 1992: small)."""

RISK_AVERSION: Final = 2.5
"""Risk aversion of the market as a whole (G. He and R. Litterman, 1999)."""


def posterior(
    cov: Floats,
    market: Floats,
    picks: Floats,
    views: Floats,
    doubt: Floats,
    *,
    tau: float = TAU,
    risk_aversion: float = RISK_AVERSION,
) -> tuple[Floats, Floats]:
    """Return (mean float64[n], covariance float64[n, n]) of the returns of n instruments, per sample.

    The mean is the posterior of the expected excess returns, by Bayes' rule. Their prior is normal, with the
    equilibrium of `market` as mean and `tau` x `cov` as covariance. The returned covariance is of the returns: `cov`
    plus the posterior covariance of the expected returns.

    `views` float64[k] are the expected excess returns of the k portfolios `picks` float64[k, n], with error variances
    `doubt` float64[k] >= 0. Without views the prior is returned. Sources: F. Black and R. Litterman, Global portfolio
    optimization (1992), in the form of G. He and R. Litterman, The intuition behind Black-Litterman model portfolios
    (1999).
    """
    prior = equilibrium(cov, market, risk_aversion)
    prior_cov = tau * cov
    if not len(views):
        return prior, cov + prior_cov
    cross_cov = prior_cov.dot(picks.T)  # of the instruments with the portfolios of the views, float64[n, k]
    view_cov = picks.dot(cross_cov)
    # On the diagonal. Two certain contradictory views make it singular; with a small variance they are averaged.
    view_cov.reshape(-1)[:: len(views) + 1] += doubt + 1e-12 * float(view_cov.trace())
    gain = np.linalg.solve(view_cov, cross_cov.T).T
    mean = prior + gain.dot(views - picks.dot(prior))
    posterior_cov = cov + prior_cov - gain.dot(cross_cov.T)
    return mean, (posterior_cov + posterior_cov.T) * 0.5


def doubt_of(cov: Floats, picks: Floats, confidence: Floats, tau: float = TAU) -> Floats:
    """Return float64[k] error variances of views: (1 / confidence - 1) times the prior variance of the view's
    portfolio.

    `confidence` float64[k] is in (0, 1]. At 1 the view is certain, at 0.5 it has the weight of the equilibrium. Source:
    J. Walters, The Black-Litterman model in detail (2014), the closed form of T. Idzorek, A step-by-step guide to the
    Black-Litterman model (2005): a single view moves the expected return of its portfolio by the fraction
    `confidence` of the way to the view.
    """
    return (1.0 / confidence - 1.0) * tau * np.einsum("ki,ij,kj->k", picks, cov, picks)
