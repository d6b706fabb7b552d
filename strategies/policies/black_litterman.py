"""Black-Litterman with views from the configuration: what somebody believes, and how firmly."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.allocators.black_litterman import RISK_AVERSION, TAU, doubt_of, posterior
from quantd.strategies.allocators.mean_variance import maximum_sharpe, maximum_utility
from quantd.strategies.policies.allocator import FIRST_MINIMUM, Allocator, BoundedParams, Case, by_symbol, require
from quantd.strategies.policies.mean_variance import RiskAversion, RiskFree
from quantd.strategies.policies.params import ParamsError, parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL


class Opinion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One view: `symbol` returns `annual_return` a year (a total return), or that much more than `over`.

    `pick`, symbol -> share, is a view on a portfolio in place of both; shares that add up to 0 are a relative view.
    `confidence` 1 is certainty, 0.5 as much as the equilibrium is trusted.
    """

    annual_return: float
    symbol: str = ""
    over: str = ""
    pick: dict[str, float] = {}
    confidence: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8

    def shares(self) -> dict[str, float]:
        """The portfolio that the view is about."""
        if self.pick:
            return self.pick
        return {self.symbol: 1.0, self.over: -1.0} if self.over else {self.symbol: 1.0}


class BlackLittermanParams(BoundedParams, frozen=True, kw_only=True):
    """`market`: symbol -> weight of the equilibrium, in proportion; empty is equal weights. `objective`: the largest
    Sharpe ratio, or the largest utility at `risk_aversion`. `risk_free` is a year's rate."""

    views: tuple[Opinion, ...] = ()
    market: dict[str, Annotated[float, Meta(ge=0.0)]] = {}
    tau: Annotated[float, Meta(gt=0.0, le=10.0)] = TAU
    risk_aversion: RiskAversion = RISK_AVERSION
    objective: Literal["sharpe", "utility"] = "sharpe"
    risk_free: RiskFree = RISK_FREE_ANNUAL

    @property
    def named(self) -> tuple[str, ...]:
        return (*self.market, *(symbol for view in self.views for symbol in view.shares()))


def _weights(case: Case[BlackLittermanParams]) -> Floats:
    params = case.params
    by_symbol("black_litterman", "market weights", tuple(params.market), case.among)
    market = np.array([params.market.get(s, 0.0) for s in case.symbols]) if params.market else np.ones(case.size)
    market = market / market.sum() if market.any() else np.full(case.size, 1.0 / case.size)
    column = {symbol: k for k, symbol in enumerate(case.symbols)}
    picks, views, confidence = [], [], []
    for opinion in params.views:
        shares = opinion.shares()
        by_symbol("black_litterman", "views", tuple(shares), case.among)
        if not all(symbol in column for symbol in shares):
            continue  # of an instrument that takes no part there is nothing to believe
        row = np.zeros(case.size)
        for symbol, share in shares.items():
            row[column[symbol]] += share
        picks.append(row)
        # means are in excess of the risk-free rate; a portfolio of no cost has no rate to beat
        views.append((opinion.annual_return - params.risk_free * float(row.sum())) / params.samples_a_year)
        confidence.append(opinion.confidence)
    rows = np.array(picks).reshape(len(views), case.size)
    doubt = doubt_of(case.cov, rows, np.array(confidence), params.tau)
    found = posterior(
        case.cov, market, rows, np.array(views), doubt, tau=params.tau, risk_aversion=params.risk_aversion
    )
    if params.objective == "sharpe":
        return maximum_sharpe(found.cov, found.mean, case.box)
    # by the returns' own covariance: so that without views these are the weights of the equilibrium
    return maximum_utility(case.cov, found.mean, params.risk_aversion, case.box)


def make_black_litterman(params: Mapping[str, object]) -> Allocator[BlackLittermanParams]:
    found = parse("black_litterman", params, BlackLittermanParams)
    require(found, "black_litterman")
    if found.market and not any(found.market.values()):
        raise ParamsError("black_litterman: market weights are all 0; leave them out for equal ones")
    for number, opinion in enumerate(found.views, 1):
        if bool(opinion.symbol) == bool(opinion.pick) or (opinion.over and not opinion.symbol):
            raise ParamsError(
                f"black_litterman: view {number} names {'both a symbol and a pick' if opinion.pick else 'nothing'}; "
                'write symbol = "SPY", with over = "TLT" for a relative view, or pick = { SPY = 0.5, QQQ = 0.5 }'
            )
        if opinion.over and opinion.over == opinion.symbol:
            raise ParamsError(f"black_litterman: view {number} sets {opinion.symbol} over itself")
        values = (opinion.annual_return, *opinion.pick.values())
        if not all(isfinite(value) for value in values) or not any(opinion.shares().values()):
            raise ParamsError(f"black_litterman: view {number} has a number that is not finite, or a pick of nothing")
    return Allocator("Black-Litterman", found, _weights, FIRST_MINIMUM)


RECORDS: Final = (PolicyRecord("black_litterman", make_black_litterman, BlackLittermanParams),)
