"""Parts of an account's volatility, VaR and CVaR by symbol, for its last or its average weights."""

from typing import Literal

import numpy as np
from msgspec import Struct

from quantd.research.attribution.book_history import BookHistory
from quantd.risk.measures.contributions import historical, parametric
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR

Basis = Literal["last", "average"]


class RiskContributions(Struct, frozen=True):
    """Annual volatility, and VaR and CVaR of the return from one sample to the next, in total and by symbol.

    All are fractions of equity; VaR and CVaR are losses, positive. The parts by symbol add up to the total. `weights`
    are the weights whose risk was measured.
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
    """Divide among symbols the risk that a portfolio of fixed weights would have had in this history.

    Volatility is parametric, from the sample covariance. VaR and CVaR are historical, at the level `confidence`.
    `basis` chooses the weights: of the last sample ("last"), or their mean over all samples ("average"). `periods` is
    the number of samples per year. A symbol without a price counts with a return of 0. Raises ValueError for fewer than
    two intervals.
    """
    returns = history.asset_returns()
    if len(returns) < 2:
        raise ValueError(f"risk needs at least two intervals, this history has {len(returns)}: choose a longer period")
    weights = history.weights()[-1] if basis == "last" else history.weights().mean(axis=0)
    volatility = parametric(np.atleast_2d(np.cov(returns, rowvar=False)), weights, float(np.sqrt(periods)))
    var, cvar = historical(returns, weights, confidence)

    def table(values: Floats) -> dict[str, float]:
        return dict(zip(history.symbols, values.tolist(), strict=True))

    return RiskContributions(
        volatility=volatility.total,
        var=var.total,
        cvar=cvar.total,
        weights=table(weights),
        volatility_by_asset=table(volatility.component),
        var_by_asset=table(var.component),
        cvar_by_asset=table(cvar.component),
    )
