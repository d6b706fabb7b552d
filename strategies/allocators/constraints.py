"""Allocations under general constraints (groups, turnover, costs, a CVaR), solved by skfolio.

skfolio is the extra `allocate`; it is imported when something is solved, which takes seconds: a policy that uses this
says `worker = True`.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.mean_variance import DUST, Box
from quantd.trading.market import Floats

Objective = Literal["variance", "sharpe", "utility", "diversification", "cvar"]

PERCENT: Final = 100.0
"""Daily returns as fractions have variances below the solver's tolerances."""

MISSED: Final = 1e-5
"""How far a constraint may be missed by: what a solver rounds."""


class Limits(Struct, frozen=True):
    """What holds beside long-only, fully invested and the box. Weights are fractions of what is invested.

    `groups`: (columns, least, most) of each sum of weights. `turnover`: the most that sum(|w - held|) may be. `cost`: of a
    unit traded, per sample, taken from the mean. `cvar`: the most that the mean loss in the worst 1 - `confidence` of the
    samples may be; `confidence` is also that of the objective "cvar".
    """

    groups: tuple[tuple[tuple[int, ...], float, float], ...] = ()
    turnover: float = np.inf
    cost: float = 0.0
    cvar: float = np.inf
    confidence: float = 0.95


def available() -> bool:
    """Whether skfolio is installed."""
    return find_spec("skfolio") is not None


def load() -> None:
    """Import what takes seconds, before it is needed."""
    _given()


def constrained(
    objective: Objective,
    returns: Floats,
    cov: Floats,
    mean: Floats,
    held: Floats,
    limits: Limits,
    box: Box,
    *,
    risk_free: float = 0.0,
    risk_aversion: float = 1.0,
) -> Floats:
    """float64[n] weights: the least variance or CVaR, or the largest Sharpe ratio, diversification ratio or mean less half
    of `risk_aversion` times the variance. All per sample. Raises Infeasible when no portfolio meets the constraints.
    """
    from skfolio import RiskMeasure
    from skfolio.optimization import MaximumDiversification, MeanRisk, ObjectiveFunction

    common: dict[str, Any] = {
        "prior_estimator": _given()(mean * PERCENT, cov * PERCENT**2),
        "min_weights": box.lower,
        "max_weights": min(box.upper, 1.0),
        "previous_weights": held,
        "transaction_costs": limits.cost * PERCENT,
        "add_constraints": lambda w: _rows(w, held, limits),
        "solver_params": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10},
    }
    bounded = {"cvar_beta": limits.confidence}
    if limits.cvar < np.inf:
        bounded["max_cvar"] = limits.cvar * PERCENT
    match objective:
        case "variance":
            model = MeanRisk(risk_measure=RiskMeasure.VARIANCE, **bounded, **common)
        case "cvar":
            model = MeanRisk(risk_measure=RiskMeasure.CVAR, **bounded, **common)
        case "sharpe":
            model = MeanRisk(
                objective_function=ObjectiveFunction.MAXIMIZE_RATIO,
                risk_measure=RiskMeasure.STANDARD_DEVIATION,
                risk_free_rate=risk_free * PERCENT,
                **bounded,
                **common,
            )
        case "utility":
            model = MeanRisk(
                objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
                risk_measure=RiskMeasure.VARIANCE,
                risk_aversion=risk_aversion / 2.0 / PERCENT,
                **bounded,
                **common,
            )
        case "diversification":
            model = MaximumDiversification(**common)
    try:
        weights = np.asarray(model.fit(returns * PERCENT).weights_, dtype=np.float64)
    except Exception:  # every solver and wrapper has errors of its own
        raise Infeasible("no portfolio was found that meets every constraint") from None
    weights = np.where(weights > DUST, weights, 0.0)
    weights /= weights.sum()
    _check(weights, held, limits, returns)
    return weights


def _rows(w: Any, held: Floats, limits: Limits) -> list[Any]:
    """skfolio's own expression of a ratio is made of w times a scale: its sum is that scale."""
    cvxpy: Any = import_module("cvxpy")  # its types do not name what it exports
    scale = cvxpy.sum(w)
    found = []
    for columns, least, most in limits.groups:
        part = cvxpy.sum(w[list(columns)])
        if least > 0.0:
            found.append(part >= least * scale)
        if most < 1.0:
            found.append(part <= most * scale)
    if limits.turnover < np.inf:
        found.append(cvxpy.norm1(w - held * scale) <= limits.turnover * scale)
    return found


def _check(weights: Floats, held: Floats, limits: Limits, returns: Floats) -> None:
    """Raises Infeasible for a solution that is not one."""
    sums: Sequence[tuple[float, float, float]] = [
        (float(weights[list(columns)].sum()), least, most) for columns, least, most in limits.groups
    ]
    if (
        not np.isfinite(weights).all()
        or any(not least - MISSED <= found <= most + MISSED for found, least, most in sums)
        or not float(np.abs(weights - held).sum()) <= limits.turnover + 10.0 * MISSED
        or not shortfall(returns, weights, limits.confidence) <= limits.cvar * (1.0 + 1e-3) + 1e-9
    ):
        raise Infeasible("no portfolio was found that meets every constraint")


def shortfall(returns: Floats, weights: Floats, confidence: float) -> float:
    """CVaR per sample of float64[S, n] returns as Rockafellar and Uryasev define it: the least over a of a + mean excess of
    losses over a / (1 - confidence)."""
    losses = np.sort(-returns.dot(weights))[::-1]
    count = (1.0 - confidence) * len(losses)
    whole = int(count)
    tail = float(losses[:whole].sum())
    # the loss at the quantile counts with what is left of the tail
    return (tail + (count - whole) * float(losses[min(whole, len(losses) - 1)])) / count


@cache
def _given() -> Any:
    """skfolio's word for estimates that are made already."""
    from skfolio.prior import BasePrior, ReturnDistribution

    class Given(BasePrior):  # type: ignore[misc]  # skfolio has no types
        def __init__(self, mean: Floats, cov: Floats) -> None:
            self.mean = mean
            self.cov = cov

        def fit(self, X: Floats, y: object = None, **params: object) -> "Given":  # noqa: N803, RUF100
            self.return_distribution_ = ReturnDistribution(mu=self.mean, covariance=self.cov, returns=X)
            return self

    return Given
