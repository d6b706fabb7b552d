"""Growth-optimal portfolios of Merton and Kelly; what the optimal weights do not invest is cash."""

from typing import Annotated, Final

from msgspec import Meta

from quantd.strategies.allocators.estimates import MeanKind
from quantd.strategies.allocators.mean_variance import merton
from quantd.strategies.policies.allocator import Allocator, Case, EstimateParams
from quantd.strategies.policies.mean_variance import RiskAversion, RiskFree, excess_means
from quantd.strategies.policies.params import Share
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL


class GrowthParams(EstimateParams, frozen=True, kw_only=True):
    """Parameters of Merton's and Kelly's portfolios: `invested` is the maximum of the sum of weights.

    `max_weight` is the maximum of each weight, and `risk_free` the annual risk-free rate.
    """

    max_weight: Share = 1.0
    risk_free: RiskFree = RISK_FREE_ANNUAL
    expected_returns: MeanKind = "james_stein"


class MertonParams(GrowthParams, frozen=True, kw_only=True):
    """Parameters of Merton's portfolio: `risk_aversion` is constant relative risk aversion."""

    risk_aversion: RiskAversion = 3.0


class KellyParams(GrowthParams, frozen=True, kw_only=True):
    """Parameters of Kelly's portfolio: `fraction` of the growth-optimal bet.

    A fraction of 0.5 has three quarters of the growth, and half of the risk.
    """

    fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.5


def _weights(case: Case[GrowthParams], risk_aversion: float) -> Floats:
    params = case.params
    mean = excess_means(case, params.expected_returns, risk_aversion, params.risk_free)
    return merton(case.cov, mean, risk_aversion, params.invested, params.max_weight)


RECORDS: Final = (
    # equal to the fraction of the full bet while no bound is active (L. MacLean, E. Thorp and W. Ziemba, 2010)
    record(
        "kelly",
        KellyParams,
        lambda p: Allocator("Kelly", p, lambda c: _weights(c, 1.0 / p.fraction), sums_to_one=False),
    ),
    record(
        "merton",
        MertonParams,
        lambda p: Allocator("Merton", p, lambda c: _weights(c, p.risk_aversion), sums_to_one=False),
    ),
)
