"""Allocations under general constraints (groups, turnover, costs, a CVaR), solved by skfolio.

skfolio is the extra `allocate`. It is imported at the first solution, which takes seconds; a policy that uses it
therefore sets `worker = True`.
"""

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
"""Scale of returns for the solver: daily variances of fractions are below its tolerances."""

CONSTRAINT_TOLERANCE: Final = 1e-5
"""Tolerance of a constraint, for the solver's rounding."""


class Limits(Struct, frozen=True):
    """Constraints in addition to long-only, fully invested and the box. Weights are fractions of the invested amount.

    `groups` are (indices of instruments, maximum of the sum of their weights). `turnover` is the maximum of sum(|w -
    held|), with the new weights w and the present weights. `cost` per unit traded, per sample, is subtracted from the
    mean. `cvar` is the maximum mean loss in the worst 1 - `confidence` of the samples; `confidence` also applies to the
    objective "cvar".
    """

    groups: tuple[tuple[tuple[int, ...], float], ...] = ()
    turnover: float = np.inf
    cost: float = 0.0
    cvar: float = np.inf
    confidence: float = 0.95


def available() -> bool:
    """Return True if skfolio is installed."""
    return find_spec("skfolio") is not None


def constrained(
    objective: Objective,
    returns: Floats,
    cov: Floats,
    mean: Floats,
    held: Floats,
    limits: Limits,
    box: Box,
    *,
    risk_aversion: float = 1.0,
) -> Floats:
    """Return float64[n] weights that optimise the objective; all figures are per sample.

    The objective is the smallest variance or CVaR, or the largest Sharpe ratio, diversification ratio or utility. For
    "sharpe", `mean` float64[n] is in excess of the risk-free rate. Utility is the mean less half of `risk_aversion`
    times the variance. `held` float64[n] are the weights before the trades. The solver gets returns in percent
    (PERCENT): variances of daily fractions are below its tolerances. Raises Infeasible when no portfolio meets the
    constraints.
    """
    from skfolio import RiskMeasure
    from skfolio.optimization import MaximumDiversification, MeanRisk, ObjectiveFunction

    common: dict[str, Any] = {
        "prior_estimator": prior()(mean * PERCENT, cov * PERCENT**2),
        "min_weights": box.lower,
        "max_weights": min(box.upper, 1.0),
        "previous_weights": held,
        "transaction_costs": limits.cost * PERCENT,
        "add_constraints": lambda w: _group_and_turnover_constraints(w, held, limits),
        "solver_params": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10},
    }
    cvar_options = {"cvar_beta": limits.confidence}
    if limits.cvar < np.inf:
        cvar_options["max_cvar"] = limits.cvar * PERCENT
    if objective == "diversification":
        model = MaximumDiversification(**common)
    else:
        function, measure = {
            "variance": (ObjectiveFunction.MINIMIZE_RISK, RiskMeasure.VARIANCE),
            "cvar": (ObjectiveFunction.MINIMIZE_RISK, RiskMeasure.CVAR),
            "sharpe": (ObjectiveFunction.MAXIMIZE_RATIO, RiskMeasure.STANDARD_DEVIATION),
            "utility": (ObjectiveFunction.MAXIMIZE_UTILITY, RiskMeasure.VARIANCE),
        }[objective]
        # skfolio subtracts the whole variance, and the returns are in percent
        model = MeanRisk(function, measure, risk_aversion=risk_aversion / 2.0 / PERCENT, **cvar_options, **common)
    try:
        weights = np.asarray(model.fit(returns * PERCENT).weights_, dtype=np.float64)
    except Exception:  # every solver and wrapper has its own errors
        raise Infeasible("no portfolio was found that meets every constraint") from None
    weights = np.where(weights > DUST, weights, 0.0)
    weights /= weights.sum()
    _require_constraints(weights, held, limits, returns)
    return weights


def _group_and_turnover_constraints(w: Any, held: Floats, limits: Limits) -> list[Any]:
    """Return the constraints of `limits` on the solver's variable `w`, as cvxpy expressions.

    skfolio solves a ratio for w times a scale. The sum of w is that scale, so each bound is multiplied by this sum.
    """
    cvxpy: Any = import_module("cvxpy")  # its types do not declare its exports
    scale = cvxpy.sum(w)
    constraints = [cvxpy.sum(w[list(columns)]) <= most * scale for columns, most in limits.groups if most < 1.0]
    if limits.turnover < np.inf:
        constraints.append(cvxpy.norm1(w - held * scale) <= limits.turnover * scale)
    return constraints


def _require_constraints(weights: Floats, held: Floats, limits: Limits, returns: Floats) -> None:
    """Raise Infeasible if a solution violates a constraint."""
    if (
        not np.isfinite(weights).all()
        or any(float(weights[list(columns)].sum()) > most + CONSTRAINT_TOLERANCE for columns, most in limits.groups)
        or not float(np.abs(weights - held).sum()) <= limits.turnover + 10.0 * CONSTRAINT_TOLERANCE
        or not shortfall(returns, weights, limits.confidence) <= limits.cvar * (1.0 + 1e-3) + 1e-9
    ):
        raise Infeasible("no portfolio was found that meets every constraint")


def shortfall(returns: Floats, weights: Floats, confidence: float) -> float:
    """Return the CVaR per sample of `weights` float64[n] over returns float64[S, n]: the mean of the worst losses.

    The worst losses are the fraction 1 - `confidence` of the S samples. Source: Rockafellar and Uryasev (2000).
    """
    losses = np.sort(-returns.dot(weights))[::-1]
    tail_count = (1.0 - confidence) * len(losses)  # not a whole number in general
    full_count = int(tail_count)
    tail = float(losses[:full_count].sum())
    # the loss at the quantile counts with the remaining fraction of the tail
    return (tail + (tail_count - full_count) * float(losses[min(full_count, len(losses) - 1)])) / tail_count


@cache
def prior() -> Any:
    """Return the class of a skfolio prior with precomputed estimates. The first call imports skfolio, which takes
    seconds.
    """
    from skfolio.prior import BasePrior, ReturnDistribution

    class PrecomputedPrior(BasePrior):  # type: ignore[misc]  # skfolio has no types
        def __init__(self, mean: Floats, cov: Floats) -> None:
            self.mean = mean
            self.cov = cov

        def fit(self, X: Floats, y: object = None, **params: object) -> "PrecomputedPrior":  # noqa: N803, RUF100
            self.return_distribution_ = ReturnDistribution(mu=self.mean, covariance=self.cov, returns=X)
            return self

    return PrecomputedPrior
