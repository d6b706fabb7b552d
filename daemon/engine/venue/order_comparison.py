"""Compares our open orders as the venue has them with the books.

A venue changes orders by itself: at a split one rescales quantity and prices, another the quantity alone. A person
changes them in the venue's own application. A stop that keeps its prices over a split never triggers, or never fills
and holds the shares for ever. A query of the state does not show this: the order is open, as in the books.

An order that differs is cancelled. Once it has ended it is replaced: a protective stop is sent again for its position
at its level, and an agent orders again at its next decision. Rejected: to change the order in place. Not every venue
can, and a change whose answer is lost leaves one more order of unknown state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import UNCONFIRMED, Working
from quantd.trading.effects import Effect, Query
from quantd.trading.execution import UNLIMITED
from quantd.trading.orders import ENDED, OpenOrder, price_text, quantity_text

TICKS: Final = 2
"""Prices that differ by at most this number of ticks are the same: the venue rounds a price when it is sent, and again
at a split."""


class Field(StrEnum):
    """A field of an open order that is compared between venue and books."""

    QUANTITY = "quantity"
    FILLED = "filled"
    LIMIT = "limit"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of one order that differs between venue and books, with both values as text."""

    field: Field
    theirs: str
    ours: str


@dataclass(frozen=True, slots=True)
class Differing:
    """An open order as the venue has it, and the fields, one or more, that differ from the books."""

    order: OpenOrder
    differences: tuple[Difference, ...]

    @property
    def text(self) -> str:
        return "; ".join(
            f"{difference.field} {difference.theirs}, in the books {difference.ours}" for difference in self.differences
        )

    @property
    def fills_alone(self) -> bool:
        """Whether only the filled quantity differs: the order is right, and a report of a fill is missing."""
        return all(difference.field is Field.FILLED for difference in self.differences)


def order_differences(state: State, ours: Sequence[OpenOrder]) -> list[Differing]:
    """The orders whose quantity, fills or prices at the venue differ from the books.

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
        if fields := tuple(_differences(state, work, order)):
            differences.append(Differing(order, fields))
    return differences


def _differences(state: State, work: Working, order: OpenOrder) -> Iterator[Difference]:
    """The fields of one order that differ. A 0 from the venue means unknown, except in the fills."""
    row, stops = order.row, state.protection.rests.get((order.sample, order.n))
    lot_nano = state.universe.lot_nano[work.basket.sym[row]]
    stop = stops.stop_nano[row] if stops is not None else work.basket.stop_nano[row] if work.basket.stop_nano else 0
    sizes = (Field.QUANTITY, order.lots, work.lots[row]), (Field.FILLED, order.cum, work.filled[row])
    for field, theirs, booked in sizes:
        if theirs != booked and (theirs or field is Field.FILLED):
            yield Difference(field, quantity_text(theirs, lot_nano), quantity_text(booked, lot_nano))
    prices = (Field.LIMIT, order.limit_nano, work.worst_nano[row]), (Field.STOP, order.stop_nano, stop)
    for field, theirs, booked in prices:
        if theirs and booked and booked not in UNLIMITED and abs(theirs - booked) > TICKS * order.tick_nano:
            yield Difference(field, price_text(theirs), price_text(booked))


def put_right(state: State, orders: Sequence[OpenOrder]) -> list[Effect]:
    """Cancel each order that differs from the books, with a CRITICAL alert; an order whose fills alone differ is only
    queried."""
    effects: list[Effect] = []
    for differing in order_differences(state, orders):
        order = differing.order
        key, row = (order.sample, order.n), order.row
        work = state.at_venue()[key]
        symbol = work.basket.sym[row]
        if differing.fills_alone:
            effects.append(Query(*key, [row]))
            continue
        stops = state.protection.rests.get(key)
        noun, replacement = ("stop", "is sent") if stops is not None else ("order", "follows from the next decision")
        text = (
            f"an open {noun} differs at the venue: {differing.text}; it is cancelled, and the right one {replacement}"
        )
        effects.append(alert(state, "CRITICAL", "reconciliation", text, symbol=symbol))
        if stops is not None:
            stops.asked[row] = state.now
        effects.append(work.cancel(row, state.now))
    return effects
