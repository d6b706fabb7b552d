"""Risk parity: long-only weights with equal or given shares of the portfolio's variance."""

from typing import Annotated, Final

import numpy as np
from msgspec import Meta

from quantd.strategies.allocators.estimates import CovarianceKind
from quantd.strategies.allocators.risk_parity import risk_parity
from quantd.strategies.policies.allocator import RISK_ONLY_FALLBACKS, Allocator, BoundedParams, Case, by_symbol
from quantd.strategies.policies.params import Lookback
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats


class RiskParityParams(BoundedParams, frozen=True, kw_only=True):
    """Parameters of risk parity: `budgets` maps symbols to relative risk budgets; an instrument without one has 1."""

    lookback: Lookback = 126
    covariance: CovarianceKind = "sample"
    budgets: dict[str, Annotated[float, Meta(gt=0.0, le=1e6)]] = {}

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.budgets)


def _weights(case: Case[RiskParityParams]) -> Floats:
    budgets = case.params.budgets
    if not budgets:
        return risk_parity(case.cov, None, case.box)
    by_symbol("risk_parity", "budgets", budgets, case.universe.symbols)
    return risk_parity(case.cov, np.array([budgets.get(s, 1.0) for s in case.symbols]), case.box)


RECORDS: Final = (
    record("risk_parity", RiskParityParams, lambda p: Allocator("risk parity", p, _weights, RISK_ONLY_FALLBACKS)),
)
