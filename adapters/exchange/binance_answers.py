"""Answers of Binance's spot REST API and of its wallet, as the exchange documents them: the keys that quantd and ccxt
use.

What can go wrong. ccxt reads an answer without a documented key as an empty list or a zero. An empty list would mean
that an order never arrived, so that it would be sent again. Every answer is therefore decoded by these types first, and
an answer of another form is an error.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from quantd.adapters.exchange.answer_forms import Form

Rows = Annotated[list[Any], Meta(min_length=1)]
"""A list that is never empty: the exchange always has markets."""


class Time(Struct, rename="camel"):
    """The answer to time: the exchange's clock in milliseconds."""

    server_time: int


class SystemStatus(Struct):
    """The answer to system/status: 0 for normal, 1 for maintenance."""

    status: int


class ExchangeInfo(Struct, rename="camel"):
    """The answer to exchangeInfo."""

    symbols: Rows


class Pair(Struct, rename="camel"):
    """One market in the answer to exchangeInfo. The filters have its tick and its lot."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    order_types: Annotated[list[str], Meta(min_length=1)]
    filters: Annotated[list[dict[str, Any]], Meta(min_length=1)]

    def __post_init__(self) -> None:
        by_type = {one.get("filterType"): one for one in self.filters}
        if not (Decimal(by_type["PRICE_FILTER"]["tickSize"]) > 0 and Decimal(by_type["LOT_SIZE"]["stepSize"]) > 0):
            raise ValueError("a market without a tick or a step")


class Account(Struct, rename="camel"):
    """The answer to account."""

    can_trade: bool
    balances: list[Any]


class Balance(Struct):
    """One asset in the answer to account: the free balance, and what open orders reserve."""

    asset: str
    free: Decimal
    locked: Decimal

    def __post_init__(self) -> None:
        if not (self.free.is_finite() and self.locked.is_finite()):
            raise ValueError("a balance is no number")


class Order(Struct, rename="camel"):
    """One order in the answers to order (GET) and openOrders. `client_order_id` is our id."""

    symbol: str
    order_id: int
    client_order_id: str
    price: Decimal
    orig_qty: Decimal
    executed_qty: Decimal
    cummulative_quote_qty: Decimal
    status: Literal[
        "NEW", "PENDING_NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "PENDING_CANCEL", "REJECTED", "EXPIRED",
        "EXPIRED_IN_MATCH",
    ]  # fmt: skip
    type: str
    side: Literal["BUY", "SELL"]
    stop_price: Decimal
    time: int


class NewOrder(Struct, rename="camel"):
    """The answer to order (POST)."""

    symbol: str
    order_id: int
    client_order_id: str


class Cancelled(Struct, rename="camel"):
    """The answer to order (DELETE)."""

    symbol: str
    order_id: int
    orig_client_order_id: str
    status: Literal["CANCELED"]


class Trade(Struct, rename="camel"):
    """One execution in the answer to myTrades."""

    symbol: str
    id: int
    order_id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool


class BnbBurn(Struct):
    """The answer to bnbBurn: whether fees of spot trades are paid in BNB."""

    spot_bnb_burn: bool = field(name="spotBNBBurn")


class Deposit(Struct, rename="camel"):
    """One deposit; `status` 1 and 6 are credited. Times in milliseconds."""

    id: str
    amount: Decimal
    coin: str
    status: int
    insert_time: int


class Withdrawal(Struct, rename="camel"):
    """One withdrawal; `status` 6 is completed. Times are text in UTC."""

    id: str
    amount: Decimal
    transaction_fee: Decimal
    coin: str
    status: int
    apply_time: str


class Dividends(Struct):
    """The answer to asset/assetDividend: rewards and interest."""

    rows: list[Any]


class Dividend(Struct, rename="camel"):
    """One reward or payment of interest."""

    id: int
    amount: Decimal
    asset: str
    div_time: int


BINANCE_ANSWERS: Final = {
    "time": Form(Time),
    "status": Form(SystemStatus),
    "exchangeInfo": Form(ExchangeInfo, "symbols", Pair, named="symbol"),
    "account": Form(Account, "balances", Balance, named="asset"),
    "openOrders": Form(list[Any], item=Order, keep="clientOrderId"),
    "GET order": Form(Order),
    "POST order": Form(NewOrder),
    "DELETE order": Form(Cancelled),
    "myTrades": Form(list[Any], item=Trade, keep="clientOrderId"),
    "bnbBurn": Form(BnbBurn),
    "hisrec": Form(list[Any], item=Deposit, named="id"),
    "history": Form(list[Any], item=Withdrawal, named="id"),
    "assetDividend": Form(Dividends, "rows", Dividend, named="id"),
}
"""Last part of a request's path, with its method where that matters -> the form of its answer."""


def _entry(kind: str, id: object, ms: object, asset: object, amount: Decimal, info: Any) -> dict[str, Any]:
    """Return an entry of a ledger in ccxt's form; `amount` is signed."""
    return {"id": f"{kind} {id}", "type": kind, "timestamp": int(str(ms)), "currency": asset, "amount": f"{amount:f}",
            "fee": "0", "info": info}  # fmt: skip


def deposits(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the credited deposits to the spot wallet, at the instant of their credit."""
    for row in rows:
        if str(row["status"]) in ("1", "6") and str(row.get("walletType") or "0") == "0":
            ms = row.get("completeTime") or row["insertTime"]
            yield _entry("deposit", row["id"], ms, row["coin"], Decimal(row["amount"]), row)


def withdrawals(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the completed withdrawals from the spot wallet, with their fees, at the instant of their end."""
    for row in rows:
        if str(row["status"]) == "6" and str(row.get("walletType") or "0") == "0":
            done = datetime.fromisoformat(row.get("completeTime") or row["applyTime"]).replace(tzinfo=UTC)
            amount = -Decimal(row["amount"]) - Decimal(row["transactionFee"])
            yield _entry("withdrawal", row["id"], int(done.timestamp() * 1000), row["coin"], amount, row)


def rewards(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield rewards and payments of interest."""
    for row in answer["rows"]:
        yield _entry("reward", row["id"], row["divTime"], row["asset"], Decimal(row["amount"]), row)
