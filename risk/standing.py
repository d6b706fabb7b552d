"""What each limit measures on a portfolio as it stands: for verdicts before and after, for the monitor and for `why`."""

from math import sqrt

import numpy as np

from risk.case import Account, Case
from risk.context import Context, Floats
from risk.limits import Limits
from risk.measures import SAMPLES_PER_YEAR, herfindahl, tail_count, worst_of
from risk.pairs import joint_bound, joint_weight
from risk.rules import rules_of

Values = dict[str, tuple[float, float]]
"""Key of a limit -> (value, bound). For `cash` the bound is a floor, in account currency."""

FLOORS = frozenset({"cash"})
"""Keys whose value must not fall below the bound."""


def standing(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> Values:
    """Values of all basket limits that are on, after all fills of `lots` and of the open orders at reference
    prices, or with `lots` None of what is held now. Exact, no bounds. Measures without enough history are left out.
    """
    rules, px = rules_of(limits, ctx.universe), ctx.px
    held, equity, traded, cash = account.lots, account.equity, 0.0, account.cash
    if lots is not None:
        held = held + lots
        if account.up is not None:
            held = held + account.up
        if account.down is not None:
            held = held - account.down
        bought = np.maximum(lots, 0.0) * px
        collar = np.where(account.lots < 0.0, limits.reduce_collar, limits.collar)
        cash -= float(bought @ (1.0 + collar)) * (1.0 + rules.fee) + account.up_cash
        traded = float(np.abs(lots) @ px)
        equity -= traded * rules.fee
    values: Values = {"cash": (cash, (limits.cash_reserve - limits.max_cash_debit) * account.equity)}
    if not equity > 0.0:
        return values
    weights = held * px / equity
    size = np.abs(weights)
    if limits.max_position_weight is not None:
        values["max_position_weight"] = (float(np.maximum.reduce(size)), limits.max_position_weight)
    if limits.max_gross_exposure is not None:
        values["max_gross_exposure"] = (float(np.add.reduce(size)), limits.max_gross_exposure)
    if limits.max_net_exposure is not None:
        values["max_net_exposure"] = (abs(float(np.add.reduce(weights))), limits.max_net_exposure)
    if limits.max_concentration is not None:
        values["max_concentration"] = (herfindahl(weights), limits.max_concentration)
    if limits.max_sector_weight is not None and rules.sectors is not None:
        values["max_sector_weight"] = (float(np.maximum.reduce(rules.sectors @ size)), limits.max_sector_weight)
    if limits.max_turnover is not None and lots is not None:
        values["max_turnover"] = (traded / equity, limits.max_turnover)
    if rules.lookbacks:
        _market_values(values, ctx, account, limits, held, weights, equity)
    return values


def _market_values(
    values: Values, ctx: Context, account: Account, limits: Limits, held: Floats, weights: Floats, equity: float
) -> None:
    rules = rules_of(limits, ctx.universe)
    matters = held != 0.0
    windows = {k: ctx.window(k, limits.min_history) for k in rules.lookbacks}
    if any(w.short is not None and np.count_nonzero(w.short & matters) for w in windows.values()):
        return
    scenarios = {k: w.scenarios(matters) for k, w in windows.items()}
    if any(len(s) < limits.min_history for s in scenarios.values()):
        return
    series = {k: s.returns @ weights for k, s in scenarios.items()}
    for tail in rules.tails:
        losses = -series[tail.lookback]
        value = float(tail.measure(worst_of(losses, tail_count(len(losses), tail.confidence))))
        values[tail.key] = (value * tail.scale, tail.bound)
    if limits.max_volatility is not None:
        # of the series itself: the same figure as with the covariance, without making it
        own = series[limits.volatility_lookback]
        own = own - float(np.add.reduce(own)) / len(own)
        variance = float(own @ own) / (len(own) - 1)
        values["max_volatility"] = (sqrt(SAMPLES_PER_YEAR * variance), limits.max_volatility)
    if limits.correlation is not None:
        case = Case(ctx, account, rules, np.zeros(rules.size, dtype=np.bool_), [])
        case.scenarios = scenarios
        sides = np.concatenate((np.maximum(-held, 0.0), np.maximum(held, 0.0)))
        value = joint_weight(case, sides * np.tile(ctx.px, 2), equity, limits.correlation)
        values["correlation"] = (value, joint_bound(limits.correlation))
