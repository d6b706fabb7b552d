"""Regression of returns on the returns of factors, and the part of a period's return that each factor explains.

The regression is ordinary least squares. Standard errors are consistent under heteroskedasticity and autocorrelation:
W. Newey and K. West, A simple, positive semi-definite covariance matrix (1987), with Bartlett weights.
"""

from collections.abc import Mapping
from math import erfc, sqrt

import numpy as np
from msgspec import Struct

from quantd.research.attribution.attribution_text import aligned, percent
from quantd.research.attribution.linking import link_factors, period_return
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats, Ints

ALPHA = "alpha"


class Coefficient(Struct, frozen=True):
    """One coefficient: its value, Newey-West standard error, t statistic and two-sided normal p-value."""

    value: float
    error: float
    t: float
    p: float


class FactorRegression(Struct, frozen=True):
    """The regression of excess returns on factors, and the parts of the period's return.

    `samples` is the number of returns. `lags` is the number of lags in the Newey-West covariance matrix. `alpha` is per
    sample. `betas` has a coefficient for each factor. `contributions` are the parts of `total`, the compounded return,
    and add up to it: `risk_free`, `alpha`, each factor by its name, and `residual`.
    """

    samples: int
    lags: int
    alpha: Coefficient
    betas: dict[str, Coefficient]
    r2: float
    adjusted_r2: float
    total: float
    contributions: dict[str, float]

    def __str__(self) -> str:
        """Return a line of the fit, then a row for each factor and for the return that no factor explains, as text."""
        head = ("factor", "beta", "error", "t", "p", "contribution")
        rows = [
            (
                name, f"{beta.value:.3f}", f"{beta.error:.3f}", f"{beta.t:.2f}", f"{beta.p:.3f}",
                percent(self.contributions[name]),
            )
            for name, beta in self.betas.items()
        ]  # fmt: skip
        alpha = self.alpha
        summary = (
            f"return {percent(self.total)} over {self.samples:,} samples; R2 {self.r2:.3f}, adjusted "
            f"{self.adjusted_r2:.3f}; alpha {alpha.value:.2e} a sample (t {alpha.t:.2f}, p {alpha.p:.3f}); "
            f"Newey-West, {self.lags} lags"
        )
        other_rows = [
            (name, "", "", "", "", percent(self.contributions[name])) for name in ("risk_free", ALPHA, "residual")
        ]
        return "\n".join([summary, *aligned(head, [*rows, *other_rows])])

    def __repr__(self) -> str:
        return str(self)


def default_lags(samples: int) -> int:
    """Return floor(4 (T / 100)^(2/9)), the usual number of lags for T samples (W. Newey and K. West 1994)."""
    return int(4.0 * (samples / 100.0) ** (2.0 / 9.0))


# Long because five faults of the input are refused first, each with its own remedy.
def factor_regression(
    days_ns: Ints,
    returns: Floats,
    factors: Mapping[str, Mapping[int, float]],
    risk_free: Floats | float = 0.0,
    lags: int | None = None,
) -> FactorRegression:
    """Regress the excess of `returns` float64[T] over `risk_free` (per sample) on factors.

    `days_ns` int64[T] are the dates of the returns. `factors` maps a name to its returns by date (ns at 00:00 UTC).
    Dates that are not in `days_ns` are ignored. The returns of a factor that needs capital must be excess returns.
    `lags` is the number of Newey-West lags, by default `default_lags`.

    Raises ValueError for a factor named `risk_free`, `alpha` or `residual`, a missing or non-finite value, factors that
    depend linearly on each other, T below the number of factors plus 2, or a return of -100 % or less.
    """
    reserved_names = {"risk_free", ALPHA, "residual"}.intersection(factors)
    if reserved_names:
        raise ValueError(
            f"a factor cannot be named {', '.join(sorted(reserved_names))}, as a part of the result is: rename it"
        )
    days = days_ns.tolist()
    for name, series in factors.items():
        if missing_days := [day for day in days if day not in series]:
            problem = f"{name} has no return on {len(missing_days)} of {len(days)} dates of the period"
            raise ValueError(
                f"{problem}, first {session_date(missing_days[0])}; give one for each, or backtest its dates only"
            )
    columns = [np.fromiter((series[day] for day in days), dtype=np.float64) for series in factors.values()]
    design = np.column_stack([np.ones(len(days)), *columns])
    risk_free_returns = np.broadcast_to(risk_free, returns.shape)
    excess = returns - risk_free_returns
    samples, coefficient_count = design.shape
    if len(returns) != samples or samples < coefficient_count + 1:
        raise ValueError(
            f"{len(returns)} returns on {samples} dates for {coefficient_count - 1} factors: give one return for each "
            f"date, and at least {coefficient_count + 1} dates (two more than factors)"
        )
    if not (np.isfinite(design).all() and np.isfinite(excess).all()):
        raise ValueError("a return of the account, of a factor or of cash is not finite (NaN or infinite); remove it")
    # columns of length 1, so that the rank does not depend on their units; the minimum avoids a division by 0
    if np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0).clip(min=1e-300)) < coefficient_count:
        raise ValueError("a factor is constant or a combination of the others, so that no betas are defined; remove it")
    estimates = np.linalg.lstsq(design, excess, rcond=None)[0]
    residual = excess - design @ estimates
    lag_count = default_lags(samples) if lags is None else lags
    errors = np.sqrt(newey_west(design, residual, lag_count).diagonal())
    centred = excess - excess.mean()
    unexplained, variation = float(residual.dot(residual)), float(centred.dot(centred))
    r2 = 1.0 - unexplained / variation if variation > 0.0 else 0.0
    coefficients = [_coefficient(*pair) for pair in zip(estimates.tolist(), errors.tolist(), strict=True)]
    contributions = link_factors(returns).dot(np.column_stack([risk_free_returns, design * estimates, residual]))
    names = ("risk_free", ALPHA, *factors, "residual")
    return FactorRegression(
        samples=samples,
        lags=lag_count,
        alpha=coefficients[0],
        betas=dict(zip(factors, coefficients[1:], strict=True)),
        r2=r2,
        adjusted_r2=1.0 - (1.0 - r2) * (samples - 1) / (samples - coefficient_count),
        total=period_return(returns),
        contributions=dict(zip(names, contributions.tolist(), strict=True)),
    )


def newey_west(design: Floats, residual: Floats, lags: int) -> Floats:
    """Return float64[K, K], the covariance of K coefficients, for a design float64[T, K] and residuals float64[T].

    With X the design, u_t its row t times residual t, and Bartlett weights w_l = 1 - l / (lags + 1) of the lags l, the
    covariance is (X'X)^-1 S (X'X)^-1. S is the sum of all u_t u_t' and w_l (u_t u_(t-l)' + its transpose). There is no
    small-sample correction.
    """
    scores = design * residual[:, None]
    score_covariance = scores.T @ scores
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        lagged = scores[lag:].T @ scores[:-lag]
        score_covariance += (1.0 - lag / (lags + 1.0)) * (lagged + lagged.T)
    inverse_gram = np.linalg.inv(design.T @ design)
    return inverse_gram @ score_covariance @ inverse_gram


def _coefficient(value: float, error: float) -> Coefficient:
    """Return a coefficient from its value and standard error; t is 0 and p is 1 where the error is 0."""
    t = value / error if error > 0.0 else 0.0
    return Coefficient(value, error, t, erfc(abs(t) / sqrt(2.0)))
