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
    """The regression of T excess returns on factors, and the period's return by part.

    `alpha` is per sample. `betas` are by factor. `lags` are those of the covariance matrix. `contributions` are parts
    of the compounded `total` return: `risk_free`, `alpha`, each factor by name, and `residual`. They add up to it.
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
    """Return floor(4 (T / 100)^(2/9)), the usual number of lags (W. Newey and K. West 1994)."""
    return int(4.0 * (samples / 100.0) ** (2.0 / 9.0))


def factor_regression(
    days_ns: Ints,
    returns: Floats,
    factors: Mapping[str, Mapping[int, float]],
    risk_free: Floats | float = 0.0,
    lags: int | None = None,
) -> FactorRegression:
    """Regress the excess of float64[T] returns over `risk_free` (per sample) on factors.

    `factors` map a name to its returns by date (ns at 00:00 UTC); a factor that needs capital is given as an excess
    return. Other dates of a factor are ignored. Raises ValueError for a name that parts of the result have, a missing
    or non-finite value, factors that depend linearly on each other, T below the number of factors plus 2, or a return
    of -100 % or less.
    """
    taken = {"risk_free", ALPHA, "residual"}.intersection(factors)
    if taken:
        raise ValueError(f"a factor cannot be named {', '.join(sorted(taken))}")
    days = days_ns.tolist()
    for name, series in factors.items():
        if missing := [day for day in days if day not in series]:
            text = f"{name} has no return on {len(missing)} of {len(days)} dates of the period"
            raise ValueError(f"{text}, first {session_date(missing[0])}; give one for each, or backtest its dates only")
    columns = [np.fromiter((series[day] for day in days), dtype=np.float64) for series in factors.values()]
    design = np.column_stack([np.ones(len(days)), *columns])
    free = np.broadcast_to(risk_free, returns.shape)
    excess = returns - free
    samples, width = design.shape
    if len(returns) != samples or samples < width + 1:
        raise ValueError(f"{len(returns)} returns on {samples} dates for {width - 1} factors: too few")
    if not (np.isfinite(design).all() and np.isfinite(excess).all()):
        raise ValueError("a return is not finite")
    if np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0).clip(min=1e-300)) < width:
        raise ValueError("a factor is constant or a combination of the others; their betas are not defined")
    estimates = np.linalg.lstsq(design, excess, rcond=None)[0]
    residual = excess - design @ estimates
    used = default_lags(samples) if lags is None else lags
    errors = np.sqrt(newey_west(design, residual, used).diagonal())
    centred = excess - excess.mean()
    unexplained, variation = float(residual.dot(residual)), float(centred.dot(centred))
    r2 = 1.0 - unexplained / variation if variation > 0.0 else 0.0
    coefficients = [_coefficient(*pair) for pair in zip(estimates.tolist(), errors.tolist(), strict=True)]
    parts = link_factors(returns).dot(np.column_stack([free, design * estimates, residual]))
    names = ("risk_free", ALPHA, *factors, "residual")
    return FactorRegression(
        samples=samples,
        lags=used,
        alpha=coefficients[0],
        betas=dict(zip(factors, coefficients[1:], strict=True)),
        r2=r2,
        adjusted_r2=1.0 - (1.0 - r2) * (samples - 1) / (samples - width),
        total=period_return(returns),
        contributions=dict(zip(names, parts.tolist(), strict=True)),
    )


def newey_west(design: Floats, residual: Floats, lags: int) -> Floats:
    """Return float64[K, K], the covariance of coefficients of float64[T, K] regressors with Bartlett weights.

    With u the rows of the design times their residuals, S = sum of w_l (u_t u_(t-l)' + its transpose) with w_l = 1 - l
    / (lags + 1). There is no small-sample correction.
    """
    scores = design * residual[:, None]
    spread = scores.T @ scores
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        moved = scores[lag:].T @ scores[:-lag]
        spread += (1.0 - lag / (lags + 1.0)) * (moved + moved.T)
    inverse = np.linalg.inv(design.T @ design)
    return inverse @ spread @ inverse


def _coefficient(value: float, error: float) -> Coefficient:
    """A coefficient; t is 0 and p is 1 where the error is 0."""
    t = value / error if error > 0.0 else 0.0
    return Coefficient(value, error, t, erfc(abs(t) / sqrt(2.0)))
