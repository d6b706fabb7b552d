"""Limits on positions that only raise alerts."""

import numpy as np

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.values import Values
from quantd.risk.measures.diversification import diversification


def held_values(ctx: Context, account: Account, limits: Limits) -> Values:
    """`min_diversification` where it is set and enough synchronous returns of the positions are known: 1 - 1 /
    diversification ratio, and its bound."""
    least = limits.min_diversification
    if least is None or not account.equity > 0.0:
        return {}
    matters = account.lots != 0.0
    window = ctx.window(limits.volatility_lookback, limits.min_history)
    if not np.count_nonzero(matters) or (window.short is not None and np.count_nonzero(window.short & matters)):
        return {}
    scenarios = window.scenarios(matters)
    if len(scenarios) < limits.min_history:
        return {}
    # the ratio knows no size: values do as well as weights
    value = diversification(account.lots[matters] * ctx.px[matters], scenarios.sample.cov[np.ix_(matters, matters)])
    return {"min_diversification": (value, least)} if value == value else {}
