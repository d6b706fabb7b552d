"""Our open orders as the venue has them, beside the books.

A venue changes orders by itself: at a split one rescales quantity and prices, another the quantity alone. A person
changes them in the venue's own application. A stop with the prices of before a split never triggers, or never fills and
holds the shares for ever. A query of the state does not show it: such an order is open as it should be.

An order that differs is cancelled. What replaces it follows from its end: a protective stop is sent again for its
position at its level, and an agent orders again at its next decision. Rejected: to change the order in place. Not every
venue can, and the answer to a lost change is one more order of unknown state.
"""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.open_orders import UNCONFIRMED, Working
from quantd.trading.effects import Effect, Query
from quantd.trading.execution import UNLIMITED
from quantd.trading.orders import ENDED, OpenOrder, price_text, quantity_text

TICKS: Final = 2
"""Ticks within which two prices are the same: the venue rounds a price when it is sent, and again at a split."""


def order_differences(state: State, ours: Sequence[OpenOrder]) -> list[tuple[OpenOrder, str]]:
    """The orders whose quantity, fills or prices at the venue differ from the books, with the difference as text.

    Orders without a confirmed state are left out: their answer may be on its way.
    """
    baskets = state.at_venue()
    differences = []
    for order in ours:
        work = baskets.get((order.sample, order.n))
        if work is None or not 0 <= order.row < len(work.state):
            continue
        if work.state[order.row] in ENDED or work.state[order.row] in UNCONFIRMED:
            continue
        if text := "; ".join(_differences(state, work, order)):
            differences.append((order, text))
    return differences


def _differences(state: State, work: Working, order: OpenOrder) -> list[str]:
    row, rest = order.row, state.rests.get((order.sample, order.n))
    lot = state.universe.lot_nano[work.basket.sym[row]]
    stop = rest.stop_nano[row] if rest is not None else work.basket.stop_nano[row] if work.basket.stop_nano else 0
    texts = []
    for name, theirs, own in (("quantity", order.lots, work.lots[row]), ("filled", order.cum, work.filled[row])):
        if theirs != own and (theirs or name == "filled"):
            texts.append(f"{name} {quantity_text(theirs, lot)}, in the books {quantity_text(own, lot)}")
    for name, theirs, own in (("limit", order.limit_nano, work.worst_nano[row]), ("stop", order.stop_nano, stop)):
        if theirs and own and own not in UNLIMITED and abs(theirs - own) > TICKS * order.tick_nano:
            texts.append(f"{name} {price_text(theirs)}, in the books {price_text(own)}")
    return texts


def put_right(state: State, orders: Sequence[OpenOrder]) -> list[Effect]:
    """Cancel each order that differs from the books, with a CRITICAL alert; query one whose fills alone differ."""
    effects: list[Effect] = []
    for order, text in order_differences(state, orders):
        key, row = (order.sample, order.n), order.row
        work = state.at_venue()[key]
        symbol = work.basket.sym[row]
        if text.startswith("filled") and ";" not in text:
            effects.append(Query(*key, [row]))
            continue
        rest = state.rests.get(key)
        what, then = ("stop", "is sent") if rest is not None else ("order", "follows from the next decision")
        said = f"an open {what} differs at the venue: {text}; it is cancelled, and the right one {then}"
        effects.append(alert(state, "CRITICAL", "reconciliation", said, symbol=symbol))
        if rest is not None:
            rest.asked[row] = state.now
        effects.append(work.cancel(row, state.now))
    return effects
