"""Answers of Bybit's REST API v5 for spot and the unified account: the keys that quantd and ccxt use.

What can go wrong. ccxt reads an answer without a documented key as an empty list or a zero. An empty list would mean
that an order never arrived, so that it would be sent again. Every answer is therefore decoded by these types first, and
an answer of another form is an error.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from quantd.adapters.exchange.answer_forms import Form

CLIENT_ID: Final = "orderLinkId"
"""The key of our client id in an order."""

Rows = Annotated[list[Any], Meta(min_length=1)]
"""A list that is never empty: the exchange always has markets."""


class Time(Struct, rename="camel"):
    """The result of market/time: the exchange's clock in seconds."""

    time_second: int


class Status(Struct):
    """The result of system/status: maintenance that goes on or is announced."""

    list: list[Any]


class Markets(Struct, rename="camel"):
    """The result of market/instruments-info."""

    list: Rows


class LotSize(Struct, rename="camel"):
    """`lotSizeFilter` of a market."""

    base_precision: Decimal
    min_order_qty: Decimal
    min_order_amt: Decimal


class PriceFilter(Struct, rename="camel"):
    """`priceFilter` of a market."""

    tick_size: Decimal


class Pair(Struct, rename="camel"):
    """One market in the result of instruments-info."""

    symbol: str
    base_coin: str
    quote_coin: str
    status: str
    lot_size_filter: LotSize
    price_filter: PriceFilter

    def __post_init__(self) -> None:
        if not (self.lot_size_filter.base_precision > 0 and self.price_filter.tick_size > 0):
            raise ValueError("a market without a tick or a step")


class Wallet(Struct, rename="camel"):
    """The unified account in the result of account/wallet-balance."""

    account_type: str
    coin: list[Any]


class Balance(Struct, rename="camel"):
    """One coin of the account: the whole balance, and what open orders reserve of it."""

    coin: str
    wallet_balance: Decimal
    locked: Decimal

    def __post_init__(self) -> None:
        if not (self.wallet_balance.is_finite() and self.locked.is_finite()):
            raise ValueError("a balance is no number")


class Page(Struct, rename="camel"):
    """One page of orders, executions or entries of the log; the cursor leads to the next one, empty at the end."""

    list: list[Any]
    next_page_cursor: str


class Order(Struct, rename="camel"):
    """One order in the results of order/realtime and order/history. `order_link_id` is our id."""

    symbol: str
    order_id: str
    order_link_id: str
    price: Decimal
    qty: Decimal
    cum_exec_qty: Decimal
    cum_exec_value: Decimal
    order_status: Literal[
        "New", "PartiallyFilled", "Untriggered", "Rejected", "PartiallyFilledCanceled", "Filled", "Cancelled",
        "Triggered", "Deactivated",
    ]  # fmt: skip
    order_type: Literal["Limit", "Market"]
    side: Literal["Buy", "Sell"]
    created_time: int


class Trade(Struct, rename="camel"):
    """One execution in the result of execution/list."""

    symbol: str
    order_id: str
    exec_id: str
    exec_price: Decimal
    exec_qty: Decimal
    exec_fee: Decimal
    fee_currency: str
    exec_time: int
    side: Literal["Buy", "Sell"]


class Entry(Struct, rename="camel"):
    """One entry in the result of account/transaction-log."""

    id: str
    type: str
    currency: str
    change: Decimal
    fee: Decimal
    transaction_time: int


class NewOrder(Struct, rename="camel"):
    """The result of order/create and order/cancel: the order was taken, not that it is in the book, or ended."""

    order_id: str
    order_link_id: str


BYBIT_ANSWERS: Final = {
    "time": Form(Time),
    "status": Form(Status),
    "instruments-info": Form(Markets, "list", Pair, named="symbol"),
    "wallet-balance": Form(Wallet, "coin", Balance, named="coin"),
    "realtime": Form(Page, "list", Order, CLIENT_ID),
    "history": Form(Page, "list", Order, CLIENT_ID),
    "list": Form(Page, "list", Trade, CLIENT_ID),
    "transaction-log": Form(Page, "list", Entry, CLIENT_ID),
    "create": Form(NewOrder),
    "cancel": Form(NewOrder),
}
"""Last part of a request's path -> the form of its result."""


def bybit_whole(answer: object) -> bool:
    """Whether the answer has a code, a result and a time, as every answer of Bybit does."""
    if not isinstance(answer, dict) or not str(answer.get("retCode")).isdigit():
        return False
    return bybit_refused(answer) or (isinstance(answer.get("result"), dict) and str(answer.get("time")).isdigit())


def bybit_refused(answer: Any) -> bool:
    """Whether the answer has the code of an error."""
    return str(answer["retCode"]) != "0"


def bybit_result(answer: Any) -> Any:
    """The result of an answer; of the balances that of the one account in its list."""
    result = answer["result"]
    rows = result.get("list")
    if isinstance(rows, list) and len(rows) == 1 and isinstance(rows[0], dict) and "accountType" in rows[0]:
        return rows[0]
    return result


async def find_order(exchange: Any, symbol: str, client_id: str) -> Any:
    """Return an order by its client id, None where the exchange has none: it is open, or among the newest ended ones
    (order/realtime), or in the history."""
    params = {CLIENT_ID: client_id}
    for ask in (exchange.fetch_open_orders, exchange.fetch_canceled_and_closed_orders):
        if found := await ask(symbol, None, None, params):
            return found[0]
    return None
