"""Metrics of a run from its equity at samples: one table for the command line, reports and comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    SHARPE_DEFINITION,
    Performance,
    RiskFree,
    compounded,
    performance,
    time_weighted_returns,
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Performance of `equity` between its first and last sample.

    `sharpe_definition` is printed wherever `sharpe` is.
    """

    performance: Performance
    sharpe_definition: str = SHARPE_DEFINITION

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Return plain values for JSON; an undefined ratio is None."""
        named = {name: getattr(self.performance, name) for name in self.performance.__struct_fields__}
        return {**{k: None if v != v else v for k, v in named.items()}, "sharpe_definition": self.sharpe_definition}


def metrics_of(
    equity_micro: Sequence[int],
    periods: float = PERIODS_PER_YEAR,
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL,
    flows_micro: Sequence[int] = (),
    definition: str = SHARPE_DEFINITION,
) -> Metrics:
    """Compute metrics of exact equities in micro-currency, one per sample, oldest first.

    `flows_micro` are cumulative deposits less withdrawals at each sample, which count as neither profit nor loss; empty
    without flows. `definition` names the configured risk-free rate. Raises ValueError for fewer than two samples or an
    equity that is not positive.
    """
    if not isinstance(risk_free_annual, float | int):
        definition += f"; here {periods:g} samples a year" if periods != PERIODS_PER_YEAR else ""
    elif periods != PERIODS_PER_YEAR or risk_free_annual != RISK_FREE_ANNUAL:
        definition += f"; here {periods:g} samples a year and {risk_free_annual:.2%} risk-free"
    wealth = np.array(equity_micro, dtype=np.float64) / 1e6
    if len(flows_micro) and len(set(flows_micro)) > 1 and len(wealth) > 1 and bool((wealth > 0.0).all()):
        wealth = compounded(time_weighted_returns(wealth, np.array(flows_micro, dtype=np.float64) / 1e6))
    return Metrics(performance(wealth, periods, risk_free_annual), definition)


def metrics_of_text(equity: Sequence[str]) -> Metrics:
    """Compute the same metrics from an exported column of exact decimal text, so that an export verifies a report."""
    return metrics_of([int(Decimal(value).scaleb(6)) for value in equity])
