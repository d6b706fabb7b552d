"""Black-Litterman allocation with views from the configuration."""

from math import isfinite
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.allocators.black_litterman import RISK_AVERSION, TAU, doubt_of, posterior
from quantd.strategies.allocators.mean_variance import maximum_sharpe, maximum_utility
from quantd.strategies.policies.allocator import RETURN_FALLBACKS, Allocator, BoundedParams, Case, by_symbol
from quantd.strategies.policies.mean_variance import RiskAversion, RiskFree
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL


class Opinion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One view: the total `annual_return` of `symbol`, or its excess over the symbol `over`.

    `pick` (symbol -> share), used in place of `symbol`, is a view on the return of a portfolio; shares that add up to 0
    make a relative view. A `confidence` of 1 is certainty; 0.5 has the weight of the equilibrium.
    """

    annual_return: float
    symbol: str = ""
    over: str = ""
    pick: dict[str, float] = {}
    confidence: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8

    def shares(self) -> dict[str, float]:
        """Return the portfolio whose return the view forecasts: symbol -> share."""
        if self.pick:
            return self.pick
        return {self.symbol: 1.0, self.over: -1.0} if self.over else {self.symbol: 1.0}


class BlackLittermanParams(BoundedParams, frozen=True, kw_only=True):
    """Parameters of Black-Litterman: `market` maps symbols to weights of the market portfolio; empty for equal weights.

    `objective` is the largest Sharpe ratio, or the largest utility at `risk_aversion`. `risk_free` is annual. Raises
    ValueError for market weights that are all 0, and unless each view names either a symbol or a pick, with finite
    numbers.
    """

    views: tuple[Opinion, ...] = ()
    market: dict[str, Annotated[float, Meta(ge=0.0)]] = {}
    tau: Annotated[float, Meta(gt=0.0, le=10.0)] = TAU
    risk_aversion: RiskAversion = RISK_AVERSION
    objective: Literal["sharpe", "utility"] = "sharpe"
    risk_free: RiskFree = RISK_FREE_ANNUAL

    def __post_init__(self) -> None:
        """Raises ValueError for market weights that are all 0, and for an invalid view.

        A valid view has either a symbol, perhaps over another one, or a pick of shares; all its numbers are finite.
        """
        super().__post_init__()
        if self.market and not any(self.market.values()):
            raise ValueError("market weights are all 0; leave them out for equal ones")
        for number, opinion in enumerate(self.views, 1):
            if bool(opinion.symbol) == bool(opinion.pick) or (opinion.over and not opinion.symbol):
                raise ValueError(
                    f"view {number} names {'both a symbol and a pick' if opinion.pick else 'nothing'}; "
                    'write symbol = "SPY", with over = "TLT" for a relative view, or pick = { SPY = 0.5, QQQ = 0.5 }'
                )
            if opinion.over and opinion.over == opinion.symbol:
                raise ValueError(f"view {number} sets {opinion.symbol} over itself; name another symbol in over")
            values = (opinion.annual_return, *opinion.pick.values())
            if not all(isfinite(value) for value in values) or not any(opinion.shares().values()):
                raise ValueError(
                    f"view {number} has a number that is not finite, or a pick whose shares are all 0; correct it"
                )

    @property
    def named(self) -> tuple[str, ...]:
        """All symbols of the market weights and of the views."""
        return (*self.market, *(symbol for view in self.views for symbol in view.shares()))


def _weights(case: Case[BlackLittermanParams]) -> Floats:
    """Return float64[n], the optimal weights under the posterior of the equilibrium and the views."""
    params, symbols = case.params, case.universe.symbols
    # raises ParamsError for a symbol that is not traded
    by_symbol("black_litterman", "market weights", params.market, symbols)
    market = (
        np.array([params.market.get(symbol, 0.0) for symbol in case.symbols]) if params.market else np.ones(case.size)
    )
    market = market / market.sum() if market.any() else np.full(case.size, 1.0 / case.size)
    column_of = {symbol: k for k, symbol in enumerate(case.symbols)}
    picks, views, confidence = [], [], []
    for opinion in params.views:
        shares = opinion.shares()
        by_symbol("black_litterman", "views", shares, symbols)
        if not all(symbol in column_of for symbol in shares):
            continue  # a view on an instrument that takes no part has no effect
        row = np.zeros(case.size)
        for symbol, share in shares.items():
            row[column_of[symbol]] += share
        picks.append(row)
        # means are in excess of the risk-free rate; a relative view (shares that add up to 0) has nothing to exceed
        views.append((opinion.annual_return - params.risk_free * float(row.sum())) / params.samples_a_year)
        confidence.append(opinion.confidence)
    pick_rows = np.array(picks).reshape(len(views), case.size)
    doubt = doubt_of(case.cov, pick_rows, np.array(confidence), params.tau)
    mean, cov = posterior(
        case.cov, market, pick_rows, np.array(views), doubt, tau=params.tau, risk_aversion=params.risk_aversion
    )
    if params.objective == "sharpe":
        return maximum_sharpe(cov, mean, case.box)
    # by the returns' own covariance, so that without views these are the weights of the equilibrium
    return maximum_utility(case.cov, mean, params.risk_aversion, case.box)


RECORDS: Final = (
    record(
        "black_litterman",
        BlackLittermanParams,
        lambda params: Allocator("Black-Litterman", params, _weights, RETURN_FALLBACKS),
    ),
)
