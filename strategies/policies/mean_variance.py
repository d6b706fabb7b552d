"""Policies of a mean and a covariance: minimum variance, maximum Sharpe ratio and diversification, mean-variance with
costs, and of scenarios: minimum CVaR. Long-only and invested in full."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from strategies.allocators.cvar import minimum_cvar
from strategies.allocators.estimates import MeanKind, expected_returns
from strategies.allocators.forms import maximum_diversification, maximum_sharpe, mean_variance
from strategies.allocators.hierarchy import hierarchical_risk_parity
from strategies.policies.allocating import (
    FIRST_MINIMUM,
    LAST,
    Allocator,
    BoundedParams,
    Case,
    minimum_variance_form,
    require,
)
from strategies.policies.params import parse
from trading.market import Floats
from trading.statistics import RISK_FREE_ANNUAL

RiskAversion = Annotated[float, Meta(gt=0.0, le=1e4)]
RiskFree = Annotated[float, Meta(ge=-0.1, le=1.0)]


class MaxSharpeParams(BoundedParams, frozen=True, kw_only=True):
    """`risk_free` is a year's rate; `expected_returns`: means of the sample, shrunk ones, or those of an equilibrium."""

    risk_free: RiskFree = RISK_FREE_ANNUAL
    expected_returns: MeanKind = "sample"
    risk_aversion: RiskAversion = 2.5
    """Of the equilibrium, where `expected_returns` is that."""


class MeanVarianceParams(BoundedParams, frozen=True, kw_only=True):
    """`cost_bp` of the value traded is paid once in `horizon` samples, between two decisions."""

    risk_aversion: RiskAversion = 2.5
    expected_returns: MeanKind = "james_stein"
    cost_bp: Annotated[float, Meta(ge=0.0, le=1000.0)] = 5.0
    horizon: Annotated[int, Meta(ge=1, le=5000)] = 21


class MinCvarParams(BoundedParams, frozen=True, kw_only=True):
    """The mean loss in the worst 1 - `confidence` of the samples is the least."""

    confidence: Annotated[float, Meta(ge=0.5, lt=1.0)] = 0.95


def _sharpe(case: Case[MaxSharpeParams]) -> Floats:
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, params.risk_aversion)
    if params.expected_returns != "equilibrium":
        mean = mean - params.risk_free / params.samples_a_year
    return maximum_sharpe(case.cov, mean, case.box)


def _mean_variance(case: Case[MeanVarianceParams]) -> Floats:
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, params.risk_aversion)
    cost = params.cost_bp / 1e4 / params.horizon
    return mean_variance(case.cov, mean, params.risk_aversion, case.held, cost, case.box)


def _cvar(case: Case[MinCvarParams]) -> Floats:
    return minimum_cvar(case.returns, case.params.confidence, case.box)


def _diversification(case: Case[BoundedParams]) -> Floats:
    return maximum_diversification(case.cov, case.box)


def _hierarchical(case: Case[BoundedParams]) -> Floats:
    return hierarchical_risk_parity(case.cov, case.box)


def make_min_variance(params: Mapping[str, object]) -> Allocator[BoundedParams]:
    found = parse("min_variance", params, BoundedParams)
    require(found, "min_variance")
    return Allocator("minimum variance", found, minimum_variance_form, LAST)


def make_max_sharpe(params: Mapping[str, object]) -> Allocator[MaxSharpeParams]:
    found = parse("max_sharpe", params, MaxSharpeParams)
    require(found, "max_sharpe")
    return Allocator("maximum Sharpe ratio", found, _sharpe, FIRST_MINIMUM)


def make_max_diversification(params: Mapping[str, object]) -> Allocator[BoundedParams]:
    found = parse("max_diversification", params, BoundedParams)
    require(found, "max_diversification")
    return Allocator("maximum diversification", found, _diversification, LAST)


def make_mean_variance(params: Mapping[str, object]) -> Allocator[MeanVarianceParams]:
    found = parse("mean_variance", params, MeanVarianceParams)
    require(found, "mean_variance")
    return Allocator("mean-variance", found, _mean_variance, FIRST_MINIMUM)


def make_min_cvar(params: Mapping[str, object]) -> Allocator[MinCvarParams]:
    found = parse("min_cvar", params, MinCvarParams)
    require(found, "min_cvar")
    return Allocator("minimum CVaR", found, _cvar, FIRST_MINIMUM)


def make_hrp(params: Mapping[str, object]) -> Allocator[BoundedParams]:
    found = parse("hrp", params, BoundedParams)
    require(found, "hrp")
    return Allocator("hierarchical risk parity", found, _hierarchical, LAST)
