"""Looks again at orders that rest at a price of their own, and at stop orders, at each sample and when limits change.

What can go wrong: an order passes, rests for a week, and fills into a book that it no longer fits: the limits are
tighter, or another position has grown or fallen. So a rest that the gate would cut now is cancelled, with the limit as
the reason. The newest goes first, until the others pass: the order in which they were sent is the order in which they
may fill. A limit of the agent comes before one of the account.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.planning.rests import none_rest, weighed
from quantd.daemon.engine.planning.targets import at_rest
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.open_orders import Key
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.pretrade.gate import gate
from quantd.risk.switch import RUN
from quantd.trading.effects import Effect, ProposalEnded
from quantd.trading.events import Event, Proposed, Reloaded, Tick
from quantd.trading.orders import OrderState, Wish, price_text, quantity_text, side_text


@idle_when(none_rest)
def review_rests(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects of an event, followed by the cancels of rests that the limits would cut now.

    It looks at each sample, and when limits change. The newest order is cancelled first, until the others pass. Limits
    of the agent come before those of the whole account.
    """
    if not (type(event) is Reloaded or (type(event) is Tick and event.sample and not event.warmup)):
        return effects
    if none_rest(state) or state.switch.state != RUN:  # at REDUCE and HALT the account's switch cancels orders itself
        return effects
    stopped = {book for _, _, book in state.held_stops()}
    agents = [number for number in range(len(state.agents)) if number in stopped or at_rest(state, number).any()]
    state.revalue()
    cancels = [
        cancel
        for book in (*agents, *((HOUSE,) if agents else ()))
        for side in (1, -1)  # one by one: both may fill, and neither makes room for the other
        for cancel in _review_side(state, book, side)
    ]
    return [*effects, *cancels]


def _review_side(state: State, book: int, side: int) -> list[Effect]:
    """Cancel the newest rests of a book (an agent's, or HOUSE) on a side (1 buys, -1 sells) until its limits let the
    others pass."""
    effects: list[Effect] = []
    ctx, limits = market_context(state), limits_in_force(state, book)
    switch = RUN if book == HOUSE else state.agents[book].switch.state
    while rows := _resting_rows(state, book, side):
        change = np.zeros(state.universe.size)
        for rest in rows:
            change[rest.symbol] += rest.lots
        account = account_of(state, book, without=frozenset(rest.name for rest in rows))
        account.repeated, account.recent_orders, account.session_orders = None, 0, 0  # they counted when they were sent
        worst = {rest.symbol: max(other.worst_nano for other in rows if other.symbol == rest.symbol) for rest in rows}
        wishes = [Wish(symbol, -1, nano) for symbol, nano in worst.items()]
        asked = weighed(state, account, change, wishes, passed=True)
        verdict = gate(ctx, account, asked, limits, switch)
        if state.judged is not None:
            state.judged.append(Judged(book, ctx, account, asked, limits, switch, verdict))
        doomed = next((rest for rest in reversed(rows) if verdict.lots[rest.symbol] != asked[rest.symbol]), None)
        if doomed is None:
            break
        size = quantity_text(abs(doomed.lots), state.universe.lot_nano[doomed.symbol])
        kind, price = ("stop", doomed.stop.orders[0].trigger_nano) if doomed.stop else ("resting", doomed.worst_nano)
        text = (
            f"the {kind} order to {side_text(doomed.lots)} {size} {state.universe.symbols[doomed.symbol]} at "
            f"{price_text(price)} is cancelled: {OF_CODE[int(verdict.reason[doomed.symbol])].text}"
        )
        effects.append(alert(state, "WARNING", "rest", text, agent=book, symbol=doomed.symbol))
        if isinstance(doomed.name, tuple):
            key, row = doomed.name
            effects.append(state.working[key].cancel(row, state.now))
        elif doomed.stop is not None:
            state.awaiting.remove(doomed.stop)
            effects.append(ProposalEnded(state.now, doomed.stop.agent, doomed.stop.id, "refused", text))
    return effects


class _Rest(NamedTuple):
    """A resting order: (the key of its basket, its row there), column, worst price and signed open lots; or a stop
    order that waits: its cause, and its proposal as `stop`."""

    name: tuple[Key, int] | str
    symbol: int
    worst_nano: int
    lots: int
    stop: Proposed | None = None


def _resting_rows(state: State, book: int, side: int) -> list[_Rest]:
    """The rests of a book on a side, oldest first, without those that are being cancelled.

    Those in a symbol that is halted, or without a fresh price, are left out: no limit can judge them now. All that are
    left out count as open orders of the account.
    """
    old = state.now - state.mark_ts > limits_in_force(state, book).max_price_age_ns
    rests = [
        _Rest((key, row), symbol, work.worst_nano[row], lots)
        for key, work in state.working.items()
        if work.cause
        for row, who, lots in work.open_shares()
        if book in (HOUSE, who) and lots * side > 0 and work.state[row] != OrderState.CANCELLING
        for symbol in (work.basket.sym[row],)
    ]
    rests += [
        _Rest(proposal.cause, wish.symbol, wish.limit_nano, wish.lots, proposal)
        for proposal, wish, who in state.held_stops()
        if book in (HOUSE, who) and wish.lots * side > 0
    ]
    return [rest for rest in rests if not old[rest.symbol] and rest.symbol not in state.restrictions.halted]
