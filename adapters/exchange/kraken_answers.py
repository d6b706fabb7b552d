"""Answers of Kraken's spot REST API, as docs.kraken.com/api documents them: the keys that quantd and ccxt use.

What can go wrong. ccxt reads an answer without a documented key as an empty list or a zero. An empty list would mean
that an order never arrived, so that it would be sent again. Every answer is therefore decoded by these types first, and
an answer of another form is an error.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from quantd.adapters.exchange.answer_forms import Form, Some

CLIENT_ID: Final = "cl_ord_id"
"""The key of our client id in an order."""


class Time(Struct):
    """The answer to Time: the exchange's clock in seconds."""

    unixtime: int


class SystemStatus(Struct):
    """The answer to SystemStatus, such as `online`."""

    status: str


class Asset(Struct):
    """One asset in the answer to Assets, by the exchange's id."""

    altname: str


class Pair(Struct):
    """One market in the answer to AssetPairs, by the exchange's id."""

    altname: str
    wsname: str
    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    ordermin: Decimal
    costmin: Decimal
    status: str


class Ticker(Struct):
    """One market in the answer to Ticker; `c` are price and size of the last trade."""

    c: Annotated[list[Decimal], Meta(min_length=1)]


class Balance(Struct):
    """One asset in the answer to BalanceEx: the whole balance, and what open orders reserve of it."""

    balance: Decimal
    hold_trade: Decimal

    def __post_init__(self) -> None:
        if not (self.balance.is_finite() and self.hold_trade.is_finite()):
            raise ValueError("a balance is no number")


class Description(Struct):
    """`descr` of an order; a price is 0 where its type of order has none."""

    pair: str
    type: Literal["buy", "sell"]
    ordertype: str
    price: str
    price2: str


class Order(Struct):
    """One order in the answers to OpenOrders and ClosedOrders, by its id. `cl_ord_id` is our id, null or absent for an
    order of another client."""

    status: Literal["pending", "open", "closed", "canceled", "expired"]
    opentm: float
    descr: Description
    vol: Decimal
    vol_exec: Decimal
    cost: Decimal
    fee: Decimal
    price: Decimal
    oflags: str
    cl_ord_id: str | None = None


class OpenOrders(Struct):
    """The answer to OpenOrders."""

    open: dict[str, Any]


class ClosedOrders(Struct):
    """The answer to ClosedOrders: one page, and the number of orders on all pages."""

    closed: dict[str, Any]
    count: int


class Trade(Struct):
    """One execution in the answer to TradesHistory, by its id."""

    ordertxid: str
    pair: str
    time: float
    type: Literal["buy", "sell"]
    price: Decimal
    cost: Decimal
    fee: Decimal
    vol: Decimal
    trade_id: int


class TradesHistory(Struct):
    """The answer to TradesHistory: one page, and the number of executions on all pages."""

    trades: dict[str, Any]
    count: int


class Entry(Struct):
    """One entry of the ledger, by its id."""

    time: float
    type: str
    asset: str
    amount: Decimal
    fee: Decimal


class Ledgers(Struct):
    """The answer to Ledgers: one page, and the number of entries on all pages."""

    ledger: dict[str, Any]
    count: int


class AddOrder(Struct):
    """The answer to AddOrder: the ids of the placed orders."""

    txid: Annotated[list[str], Meta(min_length=1)]


class Cancelled(Struct):
    """The answer to CancelOrder and CancelAll: the number of cancelled orders."""

    count: int


class Token(Struct):
    """The answer to GetWebSocketsToken."""

    token: str


KRAKEN_ANSWERS: Final = {
    "Time": Form(Time),
    "SystemStatus": Form(SystemStatus),
    "Assets": Form(Some, item=Asset),
    "AssetPairs": Form(Some, item=Pair),
    "Ticker": Form(Some, item=Ticker),
    "BalanceEx": Form(dict[str, Any], item=Balance),
    "OpenOrders": Form(OpenOrders, "open", Order, CLIENT_ID),
    "ClosedOrders": Form(ClosedOrders, "closed", Order, CLIENT_ID),
    "TradesHistory": Form(TradesHistory, "trades", Trade, CLIENT_ID),
    "Ledgers": Form(Ledgers, "ledger", Entry, CLIENT_ID),
    "AddOrder": Form(AddOrder),
    "CancelOrder": Form(Cancelled),
    "CancelAll": Form(Cancelled),
    "GetWebSocketsToken": Form(Token),
}
"""Last part of a request's path -> the form of its answer."""
