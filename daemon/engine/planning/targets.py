"""Computes the lots to trade from a book's positions and open orders to the target weights of an agent."""

from math import isnan, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.core.lots import LEAST_REST, Targets
from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.planning.late_orders import late_closing
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import heaviest_of, room_of
from quantd.risk.limits.catalogue import Limits
from quantd.risk.pretrade.gate import Codes, Verdict
from quantd.trading.effects import Effect
from quantd.trading.market import Floats, Ints
from quantd.trading.number_types import read_floats, read_ints
from quantd.trading.orders import OrderState


def least_rest(state: State, agent: int) -> float:
    """The value below which a rest of a decision of an agent does not follow."""
    return max(state.rules.agents[agent].min_trade, LEAST_REST) * state.capital(agent) / 1e6


def headroom(weights: Floats, agent: Limits, house: Limits) -> float:
    """The factor for `weights`, at most 1, that keeps gross exposure and cash within the limits of agent and house (the
    whole account) after all fills."""
    return Targets(len(weights)).factor(read_floats(weights), *room_of(agent, house))


class Aim(NamedTuple):
    """The trades towards an agent's target: float64[N] signed lots to trade and lots kept back, int8[N] reason codes of
    the latter and the value of those that wait, and the factor (at most 1) that keeps the weights within the agent's
    exposure limits."""

    change: Floats
    kept: Floats
    why: Codes
    waits: float
    scale: float

    @classmethod
    def at(cls, change: Floats) -> "Aim":
        """The trades `change` themselves, whatever the targets are."""
        return cls(change, np.zeros(len(change)), np.zeros(len(change), np.int8), 0.0, 1.0)


def target_change(state: State, agent: int, weights: Floats, flatten: bool, used: int = 0) -> Aim:
    """The lots to trade from the positions of an agent to its target weights, float64[N].

    The target is weight x equity / value of a lot, truncated to lots. A position never changes its sign at once: its
    target is then zero. A change worth less than the agent's smallest trade (`min_trade`) is omitted, unless its target
    is zero, or all such changes together are worth it. A symbol without a fresh price keeps its lots. Purchases that
    worst prices do not permit at once are kept back (`BuyingRoom`). In a follow-up (`used` is its number) a trade is
    worth LEAST_REST of equity at least, so that it trades no drift. With `flatten` all positions that can be closed are
    closed.
    """
    rules = state.rules.agents[agent]
    held = state.lots(agent)
    if flatten:
        return Aim.at(closing_lots(state, agent))
    # new arrays at each call: a report or a `why` replays rounds in a thread while the engine plans
    equity, targets, weights_view = state.capital(agent) / 1e6, Targets(len(held)), read_floats(weights)
    age = state.now - state.mark_ts
    smallest = max(rules.min_trade, LEAST_REST) if used else rules.min_trade
    # a room is the largest gross exposure and the largest sum of weights
    scale = targets.factor(weights_view, *state.rooms[agent])
    most_age, least = rules.limits.max_price_age_ns, smallest * equity
    lots, values = read_floats(held), read_floats(state.lot_values())
    most = heaviest_of(rules.limits) * equity
    aimed = most * state.at_limits[agent]
    targets.change_to(weights_view, lots, values, age.data, most_age, scale * equity, least, most, aimed)
    cash = state.ledger.books[agent].cash_micro / 1e6
    for room in state.buying_rooms[agent]:
        targets.fit(lots, values, equity, cash, *room)
    for column in state.agents[agent].exits:
        targets.omit(column, values[column])
    return Aim(
        np.array(targets.change), np.array(targets.kept), np.array(targets.why, np.int8), targets.waits, scale
    )  # fmt: skip


def scaled_out(state: State, agent: int, weights: Floats, scale: float = nan) -> dict[int, int]:
    """Column -> signed lots to trade for the weights themselves, of the symbols whose target the factor `scale` of an
    `Aim` makes smaller; without a `scale` that of the present state.

    Empty where all that is left out is worth less than a rest, as the fees of purchases are.
    """
    if isnan(scale):
        scale = Targets(len(weights)).factor(read_floats(weights), *state.rooms[agent])
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


def note_aim(state: State, agent: int, weights: Floats, aim: Aim, flatten: bool) -> None:
    """Note the target of a plan, and what its trades lack before limits are asked; with `flatten` no position is
    asked."""
    lacks = state.agents[agent].lacks
    if flatten:
        lacks.clear()
        return
    lacks.note(
        read_floats(weights), state.capital(agent) / 1e6, aim.scale, read_floats(state.lots(agent)),
        read_floats(aim.change), read_floats(aim.kept), aim.why.data, read_floats(state.lot_values()),
        state.rules.agents[agent].min_trade,
    )  # fmt: skip


def note_cuts(state: State, agent: int, change: Floats, verdict: Verdict) -> None:
    """Note what the limits of an agent cut from `change`."""
    state.agents[agent].lacks.cut(
        read_floats(state.lots(agent)), read_floats(change), read_floats(verdict.lots), verdict.reason.data,
        read_floats(state.lot_values()),
    )  # fmt: skip


def note_house_cuts(state: State, agent: int, passed: Verdict, surviving: Ints, net: Floats, verdict: Verdict) -> None:
    """Note an agent's part of what the account's limits cut from the `net` lots: of those `surviving` the crosses."""
    if (verdict.lots != net).any():
        state.agents[agent].lacks.cut_by_house(
            read_floats(state.lots(agent)), read_floats(passed.lots), read_ints(surviving), read_floats(net),
            read_floats(verdict.lots), verdict.reason.data, read_floats(state.lot_values()),
        )  # fmt: skip
