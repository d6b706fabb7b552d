"""Policies of a mean and a covariance: minimum variance, maximum Sharpe ratio and diversification, mean-variance with
costs, and of scenarios: minimum CVaR. Long-only and invested in full."""

from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.estimates import MeanKind, expected_returns
from quantd.strategies.allocators.hierarchy import hierarchical_risk_parity
from quantd.strategies.allocators.mean_variance import maximum_diversification, maximum_sharpe, mean_variance
from quantd.strategies.policies.allocator import (
    FIRST_MINIMUM,
    LAST,
    Allocator,
    BoundedParams,
    Case,
    Form,
    minimum_variance_form,
    require,
)
from quantd.strategies.policies.constraints import ConstrainedParams, require_solver, solved
from quantd.strategies.policies.params import ParamsError, parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL

RiskAversion = Annotated[float, Meta(gt=0.0, le=1e4)]
RiskFree = Annotated[float, Meta(ge=-0.1, le=1.0)]


class MaxSharpeParams(ConstrainedParams, frozen=True, kw_only=True):
    """`risk_free` is a year's rate; `expected_returns`: means of the sample, shrunk ones, or those of an
    equilibrium."""

    risk_free: RiskFree = RISK_FREE_ANNUAL
    expected_returns: MeanKind = "sample"
    risk_aversion: RiskAversion = 2.5
    """Of the equilibrium, where `expected_returns` is that."""


class MeanVarianceParams(ConstrainedParams, frozen=True, kw_only=True):
    """`cost_bp` of the value traded is paid once in `horizon` samples, between two decisions."""

    risk_aversion: RiskAversion = 2.5
    expected_returns: MeanKind = "james_stein"
    cost_bp: Annotated[float, Meta(ge=0.0, le=1000.0)] = 5.0
    horizon: Annotated[int, Meta(ge=1, le=5000)] = 21


class MinCvarParams(ConstrainedParams, frozen=True, kw_only=True):
    """The mean loss in the worst 1 - `confidence` of the samples is the least."""

    confidence: Annotated[float, Meta(ge=0.5, lt=1.0)] = 0.95


def _sharpe(case: Case[MaxSharpeParams]) -> Floats:
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, params.risk_aversion)
    if params.expected_returns != "equilibrium":
        mean = mean - params.risk_free / params.samples_a_year
    if params.constraints is not None:
        return solved("sharpe", case, mean)
    return maximum_sharpe(case.cov, mean, case.box)


def _mean_variance(case: Case[MeanVarianceParams]) -> Floats:
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, params.risk_aversion)
    cost = params.cost_bp / 1e4 / params.horizon
    if params.constraints is not None:
        return solved("utility", case, mean, cost=cost, risk_aversion=params.risk_aversion)
    return mean_variance(case.cov, mean, params.risk_aversion, case.held, cost, case.box)


def _cvar(case: Case[MinCvarParams]) -> Floats:
    params = case.params
    if params.constraints is not None:
        return solved("cvar", case, case.returns.mean(axis=0), confidence=params.confidence)
    return minimum_cvar(case.returns, params.confidence, case.box)


def _variance(case: Case[ConstrainedParams]) -> Floats:
    if case.params.constraints is not None:
        return solved("variance", case, case.returns.mean(axis=0))
    return minimum_variance_form(case)


def _diversification(case: Case[ConstrainedParams]) -> Floats:
    if case.params.constraints is not None:
        return solved("diversification", case, case.returns.mean(axis=0))
    return maximum_diversification(case.cov, case.box)


def _hierarchical(case: Case[BoundedParams]) -> Floats:
    return hierarchical_risk_parity(case.cov, case.box)


C = TypeVar("C", bound=ConstrainedParams)


def _made(name: str, words: str, params: C, form: Form[C], fallbacks: tuple[tuple[str, Form[C]], ...]) -> Allocator[C]:
    """With constraints it runs in a worker, and nothing stands in for it: what does would not meet them."""
    require(params, name)
    require_solver(name, params)
    if params.constraints is not None:
        return Allocator(words, params, form, worker=True)
    return Allocator(words, params, form, fallbacks)


def make_min_variance(params: Mapping[str, object]) -> Allocator[ConstrainedParams]:
    return _made("min_variance", "minimum variance", parse("min_variance", params, ConstrainedParams), _variance, LAST)


def make_max_sharpe(params: Mapping[str, object]) -> Allocator[MaxSharpeParams]:
    found = parse("max_sharpe", params, MaxSharpeParams)
    return _made("max_sharpe", "maximum Sharpe ratio", found, _sharpe, FIRST_MINIMUM)


def make_max_diversification(params: Mapping[str, object]) -> Allocator[ConstrainedParams]:
    found = parse("max_diversification", params, ConstrainedParams)
    if found.constraints is not None and found.constraints.max_cvar < 1.0:
        raise ParamsError(
            "max_diversification: max_cvar is not among the constraints it can be solved under; leave it out"
        )
    return _made("max_diversification", "maximum diversification", found, _diversification, LAST)


def make_mean_variance(params: Mapping[str, object]) -> Allocator[MeanVarianceParams]:
    found = parse("mean_variance", params, MeanVarianceParams)
    return _made("mean_variance", "mean-variance", found, _mean_variance, FIRST_MINIMUM)


def make_min_cvar(params: Mapping[str, object]) -> Allocator[MinCvarParams]:
    found = parse("min_cvar", params, MinCvarParams)
    if found.constraints is not None and found.constraints.cvar_confidence != found.confidence:
        # one tail is measured, not two
        raise ParamsError("min_cvar: set cvar_confidence of its constraints to the same value as confidence")
    return _made("min_cvar", "minimum CVaR", found, _cvar, FIRST_MINIMUM)


def make_hrp(params: Mapping[str, object]) -> Allocator[BoundedParams]:
    found = parse("hrp", params, BoundedParams)
    require(found, "hrp")
    return Allocator("hierarchical risk parity", found, _hierarchical, LAST)


RECORDS: Final = (
    PolicyRecord("hrp", make_hrp, BoundedParams),
    PolicyRecord("max_diversification", make_max_diversification, ConstrainedParams),
    PolicyRecord("max_sharpe", make_max_sharpe, MaxSharpeParams),
    PolicyRecord("mean_variance", make_mean_variance, MeanVarianceParams),
    PolicyRecord("min_cvar", make_min_cvar, MinCvarParams),
    PolicyRecord("min_variance", make_min_variance, ConstrainedParams),
)
