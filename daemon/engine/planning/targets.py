"""Computes the lots to trade from a book's positions and open orders to the target weights of an agent."""

from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.core.lots import LEAST_REST, Targets
from quantd.daemon.engine.planning.late_orders import late_closing
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import room_of
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Effect
from quantd.trading.market import Floats
from quantd.trading.number_types import read_floats
from quantd.trading.orders import OrderState


def least_rest(state: State, agent: int) -> float:
    """The value below which a rest of a decision of an agent does not follow."""
    return max(state.rules.agents[agent].min_trade, LEAST_REST) * state.capital(agent) / 1e6


def headroom(weights: Floats, agent: Limits, house: Limits) -> float:
    """The factor for `weights`, at most 1, that keeps gross exposure and cash within the limits of agent and house (the
    whole account) after all fills."""
    return Targets(len(weights)).factor(read_floats(weights), *room_of(agent, house))


def scaled_out(state: State, agent: int, weights: Floats, scale: float = nan) -> dict[int, int]:
    """Column -> signed lots to trade for the weights themselves, of the symbols whose target the factor `scale` of an
    `Aim` makes smaller; without a `scale` that of the present state.

    Empty where all that is left out is worth less than a rest, as the fees of purchases are.
    """
    if isnan(scale):
        terms = state.agent_columns[agent]
        scale = Targets(len(weights)).factor(read_floats(weights), terms.gross, terms.net)
    equity, held = state.capital(agent) / 1e6, state.lots(agent)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not (1.0 - scale) * float(np.abs(weights).sum()) * equity >= least_rest(state, agent):  # NaN: refused
            return {}
        wanted, aimed = (np.trunc(np.nan_to_num(part * weights * equity / state.lot_values())) for part in (1.0, scale))
    return {k: int(wanted[k] - held[k]) for k in np.flatnonzero(wanted != aimed).tolist()}


def hold_back(state: State, agent: int, change: Floats, closes: bool = False) -> tuple[Floats, list[Effect]]:
    """Compare a change with open orders, and cancel the orders of each symbol whose open lots differ from the change.

    Returns the change without symbols that have open orders, and the cancels. A change that `closes` positions does not
    wait for orders without an answer of the venue: it omits the lots that these orders may have closed.
    """
    open_lots = in_flight(state, agent)
    busy = open_lots != 0.0
    # an order that may rest for ever is not the change
    differs = busy & ((change != open_lots) | (at_rest(state, agent) * change > 0.0))
    differs[list(state.agents[agent].exits)] = False  # the orders of a protective exit go on
    unblocked = np.where(busy, 0.0, change)
    if closes:
        for column, lots in late_closing(state, agent).items():
            side = np.sign(change[column])
            unblocked[column] = side * max(abs(change[column]) - lots, 0.0)
    return unblocked, withdraw(state, agent, differs) if differs.any() else []


def in_flight(state: State, agent: int) -> Floats:
    """float64[N] signed lots of an agent that may still fill, or cross (trade with another agent)."""
    open_lots = np.zeros(state.universe.size)
    for work in state.working.values():
        for row, who, lots in work.open_shares():
            if who == agent:
                open_lots[work.basket.sym[row]] += lots
    for cross in state.crosses:
        for who, lots in cross.shares:
            if who == agent:
                open_lots[cross.symbol] += lots
    return open_lots


def at_rest(state: State, agent: int) -> Floats:
    """float64[N] signed lots of an agent's orders for proposals with a price of their sender's own, or with a worst
    price that the market has passed.

    They may rest for ever, and do not count as the closing of a position.
    """
    resting = np.zeros(state.universe.size)
    for work in state.working.values():
        for row, who, lots in work.open_shares() if work.cause else ():
            symbol = work.basket.sym[row]
            mark = int(state.marks_nano[symbol])
            passed = work.worst_nano[row] < mark if lots > 0 else work.worst_nano[row] > mark
            if who == agent and (passed or symbol in work.priced):
                resting[symbol] += lots
    return resting


def withdraw(state: State, agent: int, symbols: NDArray[np.bool_]) -> list[Effect]:
    """Cancel an agent's working orders in these symbols, bool[N], and drop its crosses (with other agents) there."""
    effects: list[Effect] = []
    for work in state.working.values():
        for row, who, _ in work.open_shares():
            if who == agent and symbols[work.basket.sym[row]] and work.state[row] != OrderState.CANCELLING:
                effects.append(work.cancel(row, state.now))
    if state.crosses:
        state.crosses.keep(
            cross
            for cross in state.crosses
            if not (symbols[cross.symbol] and any(who == agent for who, _ in cross.shares))
        )
    return effects
