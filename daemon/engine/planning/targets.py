"""The change of position for a target, less the lots of open orders."""

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.state import State
from quantd.risk.limits.catalogue import Limits
from quantd.risk.pretrade.gate import Context
from quantd.trading.effects import Effect
from quantd.trading.market import Floats
from quantd.trading.orders import OrderState


def headroom(weights: Floats, agent: Limits, house: Limits) -> float:
    """The factor, at most 1, that keeps gross exposure and cash within limits when all orders fill at worst prices.

    A purchase of x of equity at c above the mark costs x (1 + c)(1 + f). Gross is then x (1 + c) over an equity reduced
    by x (c + f (1 + c)).
    """
    gross = float(np.add.reduce(np.abs(weights)))
    long = float(np.add.reduce(np.maximum(weights, 0.0)))
    c = max(agent.collar, house.collar)
    f = max(agent.fee_bp, house.fee_bp) / 1e4
    factor = 1.0
    for limits in (agent, house):
        if limits.max_gross_exposure is not None and gross > 0.0:
            bound = limits.max_gross_exposure * (1.0 + limits.in_flight)
            factor = min(factor, bound / ((1.0 + c) + bound * (c + f * (1.0 + c))) / gross)
        if long > 0.0:
            cash = 1.0 - limits.cash_reserve + limits.max_cash_debit
            factor = min(factor, cash / ((1.0 + c) * (1.0 + f)) / long)
    return factor


def target_change(state: State, agent: int, weights: Floats, ctx: Context, flatten: bool) -> tuple[Floats, float]:
    """float64[N] signed lots to trade, and the factor of `headroom`.

    The target is weight x equity / value of a lot, truncated to lots. A position never crosses zero; changes below
    `min_trade` are left out, except to zero. A symbol without a fresh price keeps its lots.
    """
    rules = state.rules.agents[agent]
    held = state.lots(agent)
    if flatten:
        return -held, 1.0
    equity = state.capital(agent) / 1e6
    scale = headroom(weights, rules.limits, state.rules.house)
    # the factor prevents the loss of a lot by rounding when a weight equals the position
    value = scale * equity * (1.0 + 1e-12)
    if ctx.all_priced:
        target = np.trunc(weights * value / ctx.px)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            target = np.trunc(weights * value / ctx.px)
        target[np.isinf(target)] = np.nan  # no price
    usable = np.isfinite(target) & (ctx.age_ns <= rules.limits.max_price_age_ns)
    target[usable & (target * held < 0.0)] = 0.0
    change = np.where(usable, target - held, 0.0)
    if rules.min_trade > 0.0:
        small = np.abs(change) * ctx.px < rules.min_trade * equity
        change[small & (target != 0.0)] = 0.0
    if state.agents[agent].exits:
        change[list(state.agents[agent].exits)] = 0.0  # an exit overrides the policy
    return change, scale


def hold_back(state: State, agent: int, change: Floats) -> tuple[Floats, list[Effect]]:
    """Compare a change with open orders: an order for another change is cancelled.

    Returns the change without symbols that have open orders, and the cancels.
    """
    open_lots = in_flight(state, agent)
    busy = open_lots != 0.0
    differs = busy & (change != open_lots)
    differs[list(state.agents[agent].exits)] = False
    return np.where(busy, 0.0, change), withdraw(state, agent, differs) if differs.any() else []


def in_flight(state: State, agent: int) -> Floats:
    """float64[N] signed lots of an agent that may still fill or cross."""
    found = np.zeros(state.universe.size)
    for work in state.working.values():
        for row, who, lots in work.open_shares():
            if who == agent:
                found[work.basket.sym[row]] += lots
    for cross in state.crosses:
        for who, lots in cross.shares:
            if who == agent:
                found[cross.symbol] += lots
    return found


def withdraw(state: State, agent: int, symbols: NDArray[np.bool_]) -> list[Effect]:
    """Cancel an agent's working orders in these symbols, bool[N], and drop its crosses there."""
    effects: list[Effect] = []
    for work in state.working.values():
        for row, who, _ in work.open_shares():
            if who == agent and symbols[work.basket.sym[row]] and work.state[row] != OrderState.CANCELLING:
                effects.append(work.cancel(row, state.now))
    state.crosses = [c for c in state.crosses if not (symbols[c.symbol] and any(who == agent for who, _ in c.shares))]
    return effects
