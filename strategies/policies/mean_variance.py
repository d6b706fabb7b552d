"""Long-only, fully invested portfolios from a mean and a covariance, and minimum CVaR from scenarios."""

from typing import Annotated, Final, TypeVar

import numpy as np
from msgspec import Meta

from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.estimates import MeanKind, expected_returns
from quantd.strategies.allocators.hierarchy import hierarchical_risk_parity
from quantd.strategies.allocators.mean_variance import maximum_diversification, maximum_sharpe, mean_variance
from quantd.strategies.policies.allocator import (
    RETURN_FALLBACKS,
    RISK_ONLY_FALLBACKS,
    Allocator,
    BoundedParams,
    Case,
    Form,
    P,
    minimum_variance_form,
)
from quantd.strategies.policies.constraints import ConstrainedParams, solved
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL

RiskAversion = Annotated[float, Meta(gt=0.0, le=1e4)]
RiskFree = Annotated[float, Meta(ge=-0.1, le=1.0)]


class MaxSharpeParams(ConstrainedParams, frozen=True, kw_only=True):
    """Parameters of the maximum Sharpe ratio: `risk_free` is annual.

    `risk_aversion` is used only with expected_returns = "equilibrium".
    """

    risk_free: RiskFree = RISK_FREE_ANNUAL
    expected_returns: MeanKind = "sample"
    risk_aversion: RiskAversion = 2.5


class MeanVarianceParams(ConstrainedParams, frozen=True, kw_only=True):
    """Parameters of mean-variance: `cost_bp` of the value traded is paid once per `horizon` samples.

    The horizon is the time between two decisions.
    """

    risk_aversion: RiskAversion = 2.5
    expected_returns: MeanKind = "james_stein"
    cost_bp: Annotated[float, Meta(ge=0.0, le=1000.0)] = 5.0
    horizon: Annotated[int, Meta(ge=1, le=5000)] = 21


class MinCvarParams(ConstrainedParams, frozen=True, kw_only=True):
    """Parameters of minimum CVaR, the mean loss in the worst 1 - `confidence` of the samples.

    Raises ValueError for `constraints` whose `cvar_confidence` differs from `confidence`.
    """

    confidence: Annotated[float, Meta(ge=0.5, lt=1.0)] = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constraints is not None and self.constraints.cvar_confidence != self.confidence:
            # the solver measures one tail for both
            raise ValueError("constraints.cvar_confidence differs from confidence; give both the same value")


class MaxDiversificationParams(ConstrainedParams, frozen=True, kw_only=True):
    """Parameters of maximum diversification. The solver does not support the constraint `max_cvar` for this objective.

    Raises ValueError for a `max_cvar` below 1.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constraints is not None and self.constraints.max_cvar < 1.0:
            raise ValueError("the diversification ratio cannot be solved under max_cvar; leave max_cvar out")


def excess_means(case: Case[P], kind: MeanKind, risk_aversion: float, risk_free_annual: float) -> Floats:
    """Return float64[n], the expected returns of a case's instruments per sample, in excess of the risk-free rate."""
    mean = expected_returns(kind, case.returns, case.cov, risk_aversion)
    return mean if kind == "equilibrium" else mean - risk_free_annual / case.params.samples_a_year


def _sharpe(case: Case[MaxSharpeParams]) -> Floats:
    params = case.params
    mean = excess_means(case, params.expected_returns, params.risk_aversion, params.risk_free)
    if params.constraints is not None:
        return solved("sharpe", case, mean)
    return maximum_sharpe(case.cov, mean, case.box)


def _mean_variance(case: Case[MeanVarianceParams]) -> Floats:
    """Return float64[n], the weights with the largest utility after costs. With constraints skfolio computes them."""
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, params.risk_aversion)
    cost = params.cost_bp / 1e4 / params.horizon
    if params.constraints is not None:
        return solved("utility", case, mean, cost=cost, risk_aversion=params.risk_aversion)
    held = (
        case.held if cost > 0.0 else np.zeros(case.size)
    )  # without costs it is not used, and a block of samples has no book
    return mean_variance(case.cov, mean, params.risk_aversion, held, cost, case.box)


def _cvar(case: Case[MinCvarParams]) -> Floats:
    params = case.params
    if params.constraints is not None:
        return solved("cvar", case, case.returns.mean(axis=0), confidence=params.confidence)
    return minimum_cvar(case.returns, params.confidence, case.box)


def _variance(case: Case[ConstrainedParams]) -> Floats:
    if case.params.constraints is not None:
        return solved("variance", case, case.returns.mean(axis=0))
    return minimum_variance_form(case)


def _diversification(case: Case[MaxDiversificationParams]) -> Floats:
    if case.params.constraints is not None:
        return solved("diversification", case, case.returns.mean(axis=0))
    return maximum_diversification(case.cov, case.box)


C = TypeVar("C", bound=ConstrainedParams)


def _constrainable(words: str, params: C, form: Form[C], fallbacks: tuple[tuple[str, Form[C]], ...]) -> Allocator[C]:
    """Return the policy that allocates by `form`, a function from estimates to weights; `words` names the policy in
    notes.

    With `constraints` in `params` the policy runs in a worker process. It then has no `fallbacks`, because these could
    break the constraints.
    """
    if params.constraints is not None:
        return Allocator(words, params, form, worker=True)
    return Allocator(words, params, form, fallbacks)


RECORDS: Final = (
    record(
        "hrp",
        BoundedParams,
        lambda p: Allocator(
            "hierarchical risk parity",
            p,
            lambda case: hierarchical_risk_parity(case.cov, case.box),
            RISK_ONLY_FALLBACKS,
        ),
    ),
    record(
        "max_diversification",
        MaxDiversificationParams,
        lambda p: _constrainable("maximum diversification", p, _diversification, RISK_ONLY_FALLBACKS),
    ),
    record(
        "max_sharpe", MaxSharpeParams, lambda p: _constrainable("maximum Sharpe ratio", p, _sharpe, RETURN_FALLBACKS)
    ),
    record(
        "mean_variance",
        MeanVarianceParams,
        lambda p: _constrainable("mean-variance", p, _mean_variance, RETURN_FALLBACKS),
    ),
    record("min_cvar", MinCvarParams, lambda p: _constrainable("minimum CVaR", p, _cvar, RETURN_FALLBACKS)),
    record(
        "min_variance",
        ConstrainedParams,
        lambda p: _constrainable("minimum variance", p, _variance, RISK_ONLY_FALLBACKS),
    ),
)
