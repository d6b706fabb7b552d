"""Orders, executions and message codes of Interactive Brokers in quantd's terms.

The codes and their meaning are those of the vendor's page "TWS API, error codes" (ibkrcampus.com), read on 2026-11-29.
A code that is in none of the sets below decides nothing: the order is unknown until the lists of the venue have it.
"""

import importlib
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from sys import float_info
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.exchange.numbers import on_tick, text_of
from quantd.trading.instruments import NANO
from quantd.trading.orders import Kind

LOST: Final = frozenset({1100})
"""The gateway has lost the venue's servers: a failure, the nightly reset, or another session."""
RESTORED: Final = frozenset({1101, 1102})
"""It has them again; after 1101 subscriptions are lost."""
NOISE: Final = frozenset({2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158})
"""Notices about the farms of market data, which orders do not need."""

REFUSED: Final = frozenset(
    {
        110, 154, 163, 200, 201, 203, 355, 382, 383, 387, 388, 392, 412, 434, 10243, 10245, 10246, 10247, 10248, 10249,
        10250, 10252, 10318,
    }
)  # fmt: skip
"""A new order is refused: tick size, halted, price limit, contract, rejection, size, and fractions."""
REMARKS: Final = frozenset({399, 404, 481, 2109, 2137, 10233, 10311, 10329, 10349})
"""The order stands: 399 it waits for its market, 404 for shares to borrow; 10349 is of ib_async, issue 191."""
NOT_CANCELLED: Final = frozenset({135, 161, 10147, 10148})
"""A cancel is refused: there is no such order, or it has ended."""
FAILED: Final = frozenset({320, 322, 323})
"""The gateway failed at a request: whether it was carried out is not known."""
CANCELLED: Final = 202
IN_USE: Final = 326

ACCEPTED: Final = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})
ENDED: Final = frozenset({"Filled", "Cancelled", "ApiCancelled"})


NEEDED: Final[dict[int, tuple[int, ...]]] = {
    3: (1, 2, 3, 6, 9),  # status: order, status, filled, permanent id, client
    5: (1, 2, 13, 14, 24, 25),  # open order: order, contract, side, quantity, client, permanent id
    10: (12,),  # contract: its id
    11: (3, 14, 15, 18, 19, 20, 21, 24),  # execution: contract, id, time, side, size, price, permanent id, filled
    59: (2, 3, 4),  # commission: execution, cost, currency
    61: (2, 3, 14),  # position: account, contract, size
    101: (1, 12, 13, 23),  # ended order: contract, side, quantity, permanent id
}
"""Number of a message -> places of fields that must not be empty: ib_async reads an empty number as 0."""


def library() -> Any:
    """Return ib_async, which `Line.connect` has imported."""
    return importlib.import_module("ib_async")


class Order(Struct, frozen=True):
    """An order in a list or in the news. `filled_nano` is None where the message does not have it, and `order_id` and
    `client_id` are -1 in the list of ended orders."""

    perm_id: int
    ref: str
    con_id: int
    buy: bool
    qty: Decimal
    limit: Decimal
    stop: Decimal
    status: str
    order_id: int = -1
    client_id: int = -1
    filled_nano: int | None = None
    words: str = ""
    symbol: str = ""


class Done(Struct, frozen=True):
    """One execution: `cum_nano` is the filled quantity of its order after it."""

    id: str
    perm_id: int
    ref: str
    con_id: int
    buy: bool
    ts: int
    size_nano: int
    price_nano: int
    cum_nano: int


def number(value: float) -> Decimal:
    """Return a decoded number as the shortest decimal with its value. Raises ValueError for one that is none, and for
    the largest double, which stands for a value that was not given."""
    exact = Decimal(repr(value))
    if not exact.is_finite() or abs(value) >= float_info.max:
        raise ValueError(f"{value!r} is no number")
    return exact.normalize()


def optional(value: float) -> Decimal:
    """As `number`, and 0 for a value that was not given: an order without a limit has the largest double."""
    return Decimal(0) if value == float_info.max else number(value)


def nano(value: Decimal) -> int:
    """Convert to nano-units, to the nearest."""
    return int((value * NANO).to_integral_value(ROUND_HALF_EVEN))


def order_of(contract: Any, order: Any, state: Any, *, ended: bool) -> Order:
    """Convert an order of ib_async. Raises ValueError for a number that is none, and for a side that is none."""
    # of an ended order the gateway says the quantity 0 (scmhub/ibsync, issue 11)
    if order.action not in ("BUY", "SELL", "SSHORT") or not (ended or number(order.totalQuantity) > 0):
        raise ValueError(f"an order to {order.action[:20]!r} {order.totalQuantity!r}")
    return Order(
        order.permId, order.orderRef, contract.conId, order.action == "BUY", number(order.totalQuantity),
        optional(order.lmtPrice), optional(order.auxPrice), state.status, -1 if ended else order.orderId,
        -1 if ended else order.clientId, nano(optional(order.filledQuantity)) if ended else None,
        state.completedStatus if ended else "", contract.symbol,
    )  # fmt: skip


def done_of(contract: Any, execution: Any) -> Done:
    """Convert an execution of ib_async. Raises ValueError for a number or a side that is none."""
    done = Done(
        execution.execId, execution.permId, execution.orderRef, contract.conId, execution.side == "BOT",
        round(execution.time.timestamp()) * NANO, nano(number(execution.shares)), nano(number(execution.price)),
        nano(number(execution.cumQty)),
    )  # fmt: skip
    # prices of combinations and futures may be negative: these are not ours
    sound = execution.side in ("BOT", "SLD") and min(done.size_nano, done.price_nano, done.cum_nano) > 0
    if contract.secType == "STK" and not sound:
        raise ValueError(f"an execution {execution.side[:20]!r} of {execution.shares!r} at {execution.price!r}")
    return done


def client_id_of(run: str) -> int:
    """Return the number of this run as a client of the gateway: the same after a restart, because only the client that
    placed an order may cancel it."""
    return int.from_bytes(blake2b(run.encode(), digest_size=4).digest(), "big") % 1_000_000_000 + 1


def tick_nano(price_nano: int) -> int:
    """The tick at a price in USD: 1 cent from $1 on, 0.01 cent below (Rule 612 of Regulation NMS)."""
    return NANO // 100 if price_nano >= NANO else NANO // 10_000


def fields_of(sent: Sent, account: str) -> dict[str, Any] | str:
    """Return an order as the fields of ib_async's Order, or the reason why it cannot be sent.

    The limit is rounded to the tick away from the market, the trigger of a stop towards it.
    """
    buys, kind = sent.lots > 0, Kind(sent.kind)
    limit = on_tick(sent.worst_nano, tick_nano(sent.worst_nano), down=buys)
    if not sent.lots or limit <= 0:
        return f"not sent: its limit {text_of(sent.worst_nano)} is below the venue's least price"
    size = Decimal(abs(sent.lots) * sent.lot_nano) / NANO
    fields: dict[str, Any] = {
        "action": "BUY" if buys else "SELL", "totalQuantity": f"{size.normalize():f}", "orderType": "LMT",
        "lmtPrice": text_of(limit), "tif": "DAY" if sent.end else "GTC", "account": account, "orderRef": sent.id,
    }  # fmt: skip
    if kind == Kind.OPEN:
        fields["tif"] = "OPG"
    elif kind == Kind.CLOSE:
        fields |= {"orderType": "LOC", "tif": "DAY"}
    elif kind == Kind.STOP:
        trigger = on_tick(sent.stop_nano, tick_nano(sent.stop_nano), down=buys)
        if trigger <= 0:
            return "not sent: a stop without a trigger price"
        fields |= {"orderType": "STP LMT", "auxPrice": text_of(trigger)}
    return fields
