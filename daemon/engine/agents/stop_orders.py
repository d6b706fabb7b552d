"""Stop orders from outside: the engine holds them among `state.awaiting` until the mark reaches their price.

The bars of the run are the resolution. A stop order fires at the first bar whose close is at its price or beyond it,
also where the bar jumped over it. Then it is planned as an order that came now: at the market, or at its limit.

What can go wrong: many stop orders pass one by one, and together break a limit when they fire. So the gate is asked
when a stop order comes, and it counts as an open order from then on (`State.open_rows`). Each sample looks at it again
(`safety.resting_orders`), and the gate is asked once more when it fires. An order without a price that closes a
position ends the stop orders in its way (`planning.rests`). A jump of the price may be a split: no stop order fires in
a symbol that is blocked.
"""

from typing import Final

import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.planning.rests import own_ends, passed_of, weighed
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.open_orders import Key
from quantd.daemon.engine.state.stop_records import Bracket
from quantd.risk.pretrade.gate import gate
from quantd.trading.events import Proposed
from quantd.trading.orders import THE_DAY, Wish, price_text, quantity_text, side_text

MOST_STOPS: Final = 500
"""Largest number of stop orders of an agent that wait at one time."""


def stop_of(proposal: Proposed) -> Wish | None:
    """The stop order of a proposal, which is its only order; None where it has none."""
    return next((wish for wish in proposal.orders if wish.trigger_nano), None)


def fired(state: State, book: int | None, proposal: Proposed) -> Proposed:
    """A proposal whose stop order has fired: at the market, or at its limit. That of a bracket reduces only."""
    (wish,) = proposal.orders
    if book is not None and bracket_of(state, proposal) is not None:
        wish = reducing(state, book, wish)
    return replace(proposal, orders=(replace(wish, trigger_nano=0),))


def reducing(state: State, book: int, wish: Wish) -> Wish:
    """An order with at most the lots that the book holds on the other side."""
    held = int(state.lots(book)[wish.symbol])
    most = min(abs(wish.lots), abs(held)) if held * wish.lots < 0 else 0
    return replace(wish, lots=most if wish.lots > 0 else -most)


def bracket_of(state: State, proposal: Proposed) -> Bracket | None:
    """The bracket whose stop-loss order a proposal is; None for any other."""
    return next((bracket for bracket in state.brackets if bracket.stop_cause == proposal.cause), None)


def due(state: State, proposal: Proposed, stop: Wish) -> bool:
    """Whether a stop order is to be sent now: its price is reached, and no other order of its bracket is open."""
    bracket = bracket_of(state, proposal)
    if bracket is None:
        return reached(state, stop)
    others = {bracket.entry.cause, bracket.target_cause}
    return (bracket.stopping or reached(state, stop)) and not others & state.causes_under_way()


def reached(state: State, wish: Wish) -> bool:
    """Whether the mark is at the price of a stop order or beyond it; False while the symbol is halted or blocked."""
    mark = int(state.marks_nano[wish.symbol])
    if not mark or wish.symbol in state.restrictions.halted or wish.symbol in state.restrictions.jumped:
        return False
    return mark >= wish.trigger_nano if wish.lots > 0 else mark <= wish.trigger_nano


def wait_text(state: State, wish: Wish) -> str:
    """What a stop order waits for."""
    name, way = state.universe.symbols[wish.symbol], "above" if wish.lots > 0 else "below"
    return f"held until a bar of {name} closes at {price_text(wish.trigger_nano)} or {way}"


def with_expiry(state: State, proposal: Proposed) -> Proposed:
    """A proposal that expires with the day where its stop order is for the day."""
    wish = proposal.orders[0]
    ends = [0] * state.universe.size
    if not wish.end and not state.rules.good_till_cancelled:
        wish = replace(wish, end=THE_DAY)
    end = own_ends(state, ends, (wish,))[wish.symbol]
    return replace(proposal, expires=min(filter(None, (proposal.expires, end)), default=0))


def replacing(state: State, proposal: Proposed) -> Proposed:
    """A held order that replaces another: once that one has ended, an order for what it has not filled."""
    earlier = f"{proposal.agent}/{proposal.replaces}"
    if not proposal.replaces or any(work.cause == earlier for work in state.working.values()):
        return proposal
    filled = sum(sum(work.filled) for _, work in state.ended if work.cause == earlier)
    (wish,) = proposal.orders
    lots = max(abs(wish.lots) - filled, 0)
    unfilled = replace(proposal, orders=(replace(wish, lots=lots if wish.lots > 0 else -lots),), replaces="")
    state.awaiting[state.awaiting.index(proposal)] = unfilled
    return unfilled


def wrong_stop(state: State, book: int, wish: Wish, orders: int) -> str:
    """Why a stop order is refused before any limit is asked; empty where it may wait. `orders` is the number of orders
    in its proposal."""
    name, stop = state.universe.symbols[wish.symbol], price_text(wish.trigger_nano)
    tick = state.universe.instruments[wish.symbol].tick_nano
    limits, buys = state.rules.agents[book].limits, wish.lots > 0
    if orders > 1 or not wish.lots:
        return f"the stop order of {name} must be the only order of its proposal, and not of 0 units"
    if wish.trigger_nano < 0 or wish.trigger_nano % tick:
        return f"the stop {stop} of {name} is no multiple of its tick, {price_text(tick)}"
    reduces = wish.lots * int(state.lots(book)[wish.symbol]) < 0
    collar = limits.reduce_collar if reduces else limits.collar
    bound = int(wish.trigger_nano * (1.0 + (collar if buys else -collar))) // tick * tick
    if wish.limit_nano and (wish.limit_nano > bound if buys else wish.limit_nano < bound):
        return (
            f"the limit {price_text(wish.limit_nano)} to {side_text(wish.lots)} {name} is beyond the collar of the "
            f"stop {stop}; send a limit of {price_text(bound)} or a better one"
        )
    return ""


def refused_stop(state: State, book: int, wish: Wish) -> str:
    """Why a stop order that comes now may not wait; empty where it may."""
    universe, symbol = state.universe, wish.symbol
    if reached(state, wish):
        mark, remedy = price_text(int(state.marks_nano[symbol])), "send a market order, or another stop"
        return (
            f"the stop {price_text(wish.trigger_nano)} of {universe.symbols[symbol]} is reached: {mark} now; {remedy}"
        )
    if sum(agent == book for _, _, agent in state.held_stops()) >= MOST_STOPS:
        return f"{MOST_STOPS} stop orders of the book wait already; cancel one"
    return not_passing(state, book, wish)


def not_passing(state: State, book: int, wish: Wish, without: frozenset[tuple[Key, int] | str] = frozenset()) -> str:
    """Which limit of a book or of the account an order would break with every open order `without` these, and the
    largest that passes; empty where it passes whole. Nothing is planned or counted."""
    universe, symbol = state.universe, wish.symbol
    change = np.zeros(universe.size)
    change[symbol] = wish.lots
    state.revalue()
    ctx = market_context(state)
    for owner in (book, HOUSE):
        account = account_of(state, owner, without=without)
        account.repeated = None
        asked = weighed(state, account, change, (wish,))
        mode = state.switch.state if owner == HOUSE else max(state.agents[owner].switch.state, state.switch.state)
        verdict = gate(ctx, account, asked, limits_in_force(state, owner), mode)
        if verdict.lots[symbol] != asked[symbol]:
            passed = int(passed_of(state, account, change, verdict, (wish,)).lots[symbol])
            lot, who = universe.lot_nano[symbol], "the account" if owner == HOUSE else state.rules.agents[owner].name
            sizes = (quantity_text(abs(lots), lot) for lots in (passed, wish.lots))
            why = OF_CODE[int(verdict.reason[symbol])].text
            return f"at most {' of '.join(sizes)} {universe.symbols[symbol]} would pass now: {why} ({who})"
    return ""


def wrong_exits(state: State, book: int, wish: Wish, orders: int) -> str:
    """Why an order with exits of its own is refused before any limit is asked; empty where it may be planned."""
    name, tick = state.universe.symbols[wish.symbol], state.universe.instruments[wish.symbol].tick_nano
    side = 1 if wish.lots > 0 else -1
    if orders > 1 or not wish.lots or wish.lots * int(state.lots(book)[wish.symbol]) < 0:
        return f"an order of {name} with exits must be alone in its proposal, and open or add to a position"
    if not wish.exits or any(nano < 0 or nano % tick for nano in wish.exits):
        return f"a price of the exits of {name} is no multiple of its tick, {price_text(tick)}"
    target, stop, limit = wish.exits
    if not target and not stop:
        return f"the order of {name} has exits without a price"
    entry = wish.limit_nano or wish.trigger_nano or int(state.marks_nano[wish.symbol])
    above, below = ("above", "below") if side > 0 else ("below", "above")
    if target and side * (target - entry) <= 0:
        return f"the take profit {price_text(target)} of {name} must be {above} {price_text(entry)}"
    if stop and side * (stop - entry) >= 0:
        return f"the stop loss {price_text(stop)} of {name} must be {below} {price_text(entry)}"
    bound = stop * (1.0 - side * state.rules.agents[book].limits.reduce_collar)
    if limit and side * (limit - bound) < 0:
        return f"the limit {price_text(limit)} of the stop loss of {name} is beyond the collar of {price_text(stop)}"
    return ""
