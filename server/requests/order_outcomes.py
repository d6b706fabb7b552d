"""An operator's settlement of an order that the venue does not confirm: the validation of a settlement before it
becomes an event.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.daemon.engine.planning.late_orders import clock_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.engine.venue.settlements import why_not_settled
from quantd.daemon.engine.venue.unanswered import order_name
from quantd.daemon.runtime.service import Service
from quantd.server.requests.cancels import OrderName
from quantd.server.requests.control import Because, NotDone, check_ready, exact_amount, journal_reason, market_now
from quantd.server.requests.manual_answers import SettledOrder
from quantd.trading.events import OrderSettled
from quantd.trading.instruments import NANO
from quantd.trading.orders import OrderState, price_text, quantity_text, size_text

EXAMPLE: Final = "0.25@90000"

Filled = Annotated[
    str,
    Meta(
        max_length=60,
        description=f"What the order has filled at the venue, as QUANTITY@PRICE, for example {EXAMPLE}. The price is "
        "that of the part that the books lack. Empty for an order that was never sent.",
    ),
]


class SettleOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Settles an order that the venue has not confirmed in time: either `filled`, or `never_sent`."""

    order: OrderName
    reason: Because
    filled: Filled = ""
    never_sent: bool = False


def found_unanswered(state: State, name: str) -> tuple[Working, int]:
    """Return the basket of an order by its id, and the index of the order in the basket.

    A basket has the orders that follow from the decisions of one instant. Raises NotDone for an unknown id.
    """
    for work in (*state.at_venue().values(), *(work for _, work in state.ended)):
        basket = work.basket
        for row, column in enumerate(basket.sym):
            if order_name(state, (basket.sample, basket.n), column) == name:
                return work, row
    raise NotDone("order", f"no order has the id {name!r}; `quantd orders` lists the newest orders with their state")


def order_settled(service: Service, asked: SettleOrder, who: str) -> OrderSettled:
    """Return the event that settles an order.

    Raises NotDone without exactly one of `filled` and `never_sent`, for an unknown order, a wrong quantity or price, a
    missing reason, and an order that the venue has answered or may still answer.
    """
    check_ready(service)
    state = service.shell.state
    if bool(asked.filled) == asked.never_sent:
        raise NotDone(
            "amount", f"not exactly one of filled and never_sent was sent; write --filled {EXAMPLE} or --never-sent"
        )
    work, row = found_unanswered(state, asked.order)
    filled_lots, price_nano = _filled_lots(state, work, row, asked.filled) if asked.filled else (0, 0)
    key = work.basket.sample, work.basket.n
    now = market_now(service)
    if why := why_not_settled(state, key, row, filled_lots):
        raise NotDone("conflict", f"not settled: {why}{_retry_text(state, work, row)}")
    reason = journal_reason(asked.reason, "the settlement of an order")
    return OrderSettled(now, *key, row, filled_lots, price_nano, reason, who)


def _retry_text(state: State, work: Working, row: int) -> str:
    """A text in brackets that says when to try again, while an order still waits for the venue; else empty.

    `work` is the basket of the order (the orders of one instant), and `row` the order's index in it.
    """
    clock = clock_of(state, (work.basket.sample, work.basket.n), row)
    wait_ns = 0 if clock is None else clock.since + UNANSWERED_NS - state.now
    return f" (try again in {-(-wait_ns // NANO)} s)" if wait_ns > 0 else ""  # rounded up


def _filled_lots(state: State, work: Working, row: int, text: str) -> tuple[int, int]:
    """Parse the text QUANTITY@PRICE into (lots, price in nano-currency).

    `work` is the basket of the order (the orders of one instant), and `row` the order's index in it. Raises NotDone for
    other text, and for a quantity that is not whole lots.
    """
    quantity, separator, price = text.partition("@")
    if not separator:
        raise NotDone("amount", f"{text!r} is not QUANTITY@PRICE; write for example {EXAMPLE}")
    lot, column = state.universe.lot_nano[work.basket.sym[row]], work.basket.sym[row]
    lots, remainder = divmod(exact_amount(quantity, NANO, "quantity", "0.25"), lot)
    if remainder:
        symbol = state.universe.symbols[column]
        raise NotDone("amount", f"{quantity} {symbol} is not whole lots; write a multiple of {quantity_text(1, lot)}")
    return lots, exact_amount(price, NANO, "price", "90000")


def became_of_settlement(state: State, settled: OrderSettled, name: str) -> SettledOrder:
    work = state.basket((settled.sample, settled.n))
    assert work is not None
    column = work.basket.sym[settled.row]
    lot = state.universe.lot_nano[column]
    return SettledOrder(
        order=name,
        **size_text(state.universe.symbols[column], work.lots[settled.row], lot),
        filled=quantity_text(settled.cum, lot),
        price=price_text(settled.price_nano) if settled.cum else "",
        state=OrderState(work.state[settled.row]).name.lower(),
    )
