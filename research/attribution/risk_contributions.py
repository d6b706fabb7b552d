"""Parts of an account's volatility, VaR and CVaR by symbol, at its last or average weights."""

from typing import Literal

import numpy as np
from msgspec import Struct

from quantd.research.attribution.book_history import BookHistory
from quantd.risk.measures.contributions import historical, parametric
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR

Basis = Literal["last", "average"]


class RiskContributions(Struct, frozen=True):
    """Annual volatility, and VaR and CVaR of one sample as positive losses, each as a whole and by symbol.

    All are fractions of equity. The parts of a measure add up to it.
    """

    volatility: float
    var: float
    cvar: float
    weights: dict[str, float]
    volatility_by_asset: dict[str, float]
    var_by_asset: dict[str, float]
    cvar_by_asset: dict[str, float]


def risk_contributions(
    history: BookHistory, basis: Basis = "last", confidence: float = 0.95, periods: float = PERIODS_PER_YEAR
) -> RiskContributions:
    """Divide the risk of fixed weights over the history's own returns among symbols.

    Volatility is parametric, from the sample covariance; VaR and CVaR are historical. `basis` is the weights at the
    last sample, or their mean over all samples. `periods` are the samples per year. A symbol without a price returns 0.
    Raises ValueError for fewer than two intervals.
    """
    returns = history.asset_returns()
    if len(returns) < 2:
        raise ValueError(f"risk needs at least two intervals, this history has {len(returns)}")
    weights = history.weights()[-1] if basis == "last" else history.weights().mean(axis=0)
    spread = parametric(np.atleast_2d(np.cov(returns, rowvar=False)), weights, float(np.sqrt(periods)))
    var, cvar = historical(returns, weights, confidence)

    def table(values: Floats) -> dict[str, float]:
        return dict(zip(history.symbols, values.tolist(), strict=True))

    return RiskContributions(
        volatility=spread.total,
        var=var.total,
        cvar=cvar.total,
        weights=table(weights),
        volatility_by_asset=table(spread.component),
        var_by_asset=table(var.component),
        cvar_by_asset=table(cvar.component),
    )
