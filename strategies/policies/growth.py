"""Merton and Kelly: as much of each instrument as its edge is worth, and the rest in cash."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from quantd.strategies.allocators.estimates import MeanKind, expected_returns
from quantd.strategies.allocators.mean_variance import merton
from quantd.strategies.policies.allocator import Allocator, Case, EstimateParams, Share
from quantd.strategies.policies.mean_variance import RiskAversion, RiskFree
from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL


class GrowthParams(EstimateParams, frozen=True, kw_only=True):
    """`invested` is the most that is invested in sum, `max_weight` in one instrument; `risk_free` is a year's rate."""

    max_weight: Share = 1.0
    risk_free: RiskFree = RISK_FREE_ANNUAL
    expected_returns: MeanKind = "james_stein"


class MertonParams(GrowthParams, frozen=True, kw_only=True):
    """`risk_aversion` is the relative one, constant."""

    risk_aversion: RiskAversion = 3.0


class KellyParams(GrowthParams, frozen=True, kw_only=True):
    """`fraction` of the growth-optimal bet: 1 is all of it, 0.5 gives up a quarter of the growth for half of
    the risk."""

    fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.5


def _weights(case: Case[GrowthParams], risk_aversion: float) -> Floats:
    params = case.params
    mean = expected_returns(params.expected_returns, case.returns, case.cov, risk_aversion)
    if params.expected_returns != "equilibrium":
        mean = mean - params.risk_free / params.samples_a_year
    return merton(case.cov, mean, risk_aversion, params.invested, params.max_weight)


def _merton(case: Case[MertonParams]) -> Floats:
    return _weights(case, case.params.risk_aversion)


def _kelly(case: Case[KellyParams]) -> Floats:
    # the same as the fraction of the full bet as long as no bound holds (L. MacLean, E. Thorp and W. Ziemba, 2010)
    return _weights(case, 1.0 / case.params.fraction)


def make_merton(params: Mapping[str, object]) -> Allocator[MertonParams]:
    return Allocator("Merton", parse("merton", params, MertonParams), _merton, whole=False)


def make_kelly(params: Mapping[str, object]) -> Allocator[KellyParams]:
    return Allocator("Kelly", parse("kelly", params, KellyParams), _kelly, whole=False)


RECORDS: Final = (
    PolicyRecord("kelly", make_kelly, KellyParams),
    PolicyRecord("merton", make_merton, MertonParams),
)
