"""What each limit measures on a portfolio as it stands: for verdicts before and after, for the monitor and for `why`."""

from math import sqrt

import numpy as np

from risk.context import Context, Floats
from risk.limits import Limits
from risk.measures import SAMPLES_PER_YEAR, herfindahl, historical_cvar, historical_var
from risk.pairs import joint_bound, joint_weight
from risk.rules import Account, Case, rules_of

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
        values["max_position_weight"] = (float(size.max()), limits.max_position_weight)
    if limits.max_gross_exposure is not None:
        values["max_gross_exposure"] = (float(size.sum()), limits.max_gross_exposure)
    if limits.max_net_exposure is not None:
        values["max_net_exposure"] = (abs(float(weights.sum())), limits.max_net_exposure)
    if limits.max_concentration is not None:
        values["max_concentration"] = (herfindahl(weights), limits.max_concentration)
    sectors = [row.load[: rules.size] for row in rules.rows if row.key == "max_sector_weight"]
    if limits.max_sector_weight is not None and sectors:
        values["max_sector_weight"] = (max(float(member @ size) for member in sectors), limits.max_sector_weight)
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
    if any(w.short is not None and bool((w.short & matters).any()) for w in windows.values()):
        return
    scenarios = {k: w.scenarios(matters) for k, w in windows.items()}
    if any(len(s) < limits.min_history for s in scenarios.values()):
        return
    losses = {spec.lookback: -(scenarios[spec.lookback].returns @ weights) for spec in rules.tails}
    if limits.var is not None:
        value = historical_var(losses[limits.var.lookback], limits.var.confidence)
        values["var"] = (value * sqrt(limits.var.horizon), limits.var.limit)
    if limits.cvar is not None:
        value = historical_cvar(losses[limits.cvar.lookback], limits.cvar.confidence)
        values["cvar"] = (value * sqrt(limits.cvar.horizon), limits.cvar.limit)
    if limits.max_volatility is not None:
        # of the scenario series itself: the same figure as with the covariance, without making it
        series = scenarios[limits.volatility_lookback].returns @ weights
        values["max_volatility"] = (float(series.std(ddof=1)) * sqrt(SAMPLES_PER_YEAR), limits.max_volatility)
    if limits.correlation is not None:
        case = Case(ctx, account, rules, np.zeros(rules.size, dtype=np.bool_), [])
        case.scenarios = scenarios
        sides = np.concatenate((np.maximum(-held, 0.0), np.maximum(held, 0.0)))
        value = joint_weight(case, sides * np.tile(ctx.px, 2), equity, limits.correlation)
        values["correlation"] = (value, joint_bound(limits.correlation))
