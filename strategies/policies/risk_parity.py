"""Risk parity: long-only weights of which each carries its share of the portfolio's variance, equal ones or any
budgets."""

from collections.abc import Mapping
from typing import Annotated, Final

import numpy as np
from msgspec import Meta

from quantd.strategies.allocators.estimates import CovarianceKind
from quantd.strategies.allocators.risk_parity import risk_parity
from quantd.strategies.policies.allocator import LAST, Allocator, BoundedParams, Case, by_symbol, require
from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats


class RiskParityParams(BoundedParams, frozen=True, kw_only=True):
    """`budgets`: symbol -> how much risk it carries beside the 1 of an instrument that is not named."""

    lookback: Annotated[int, Meta(ge=2, le=5000)] = 126
    covariance: CovarianceKind = "sample"
    budgets: dict[str, Annotated[float, Meta(gt=0.0, le=1e6)]] = {}

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.budgets)


def _weights(case: Case[RiskParityParams]) -> Floats:
    budgets = case.params.budgets
    if not budgets:
        return risk_parity(case.cov, None, case.box)
    by_symbol("risk_parity", "budgets", tuple(budgets), case.among)
    return risk_parity(case.cov, np.array([budgets.get(s, 1.0) for s in case.symbols]), case.box)


def make_risk_parity(params: Mapping[str, object]) -> Allocator[RiskParityParams]:
    found = parse("risk_parity", params, RiskParityParams)
    require(found, "risk_parity")
    return Allocator("risk parity", found, _weights, LAST)


RECORDS: Final = (PolicyRecord("risk_parity", make_risk_parity, RiskParityParams),)
