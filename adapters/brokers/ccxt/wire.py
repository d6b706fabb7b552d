"""What an exchange has of our orders: open ones, ended ones, and every execution, found by client id."""

from collections.abc import Iterable
from typing import Any, Final

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.exchange.numbers import NotExact, decimal, micro, nano, whole_lots
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause

MARGIN_NS: Final = 60_000_000_000
"""How much earlier than an order was decided its traces are looked for: clocks differ."""

PAGES: Final = 200
"""Pages of history read for one look, so that a venue that repeats itself ends too."""

HISTORIES: Final = ("fetchOrders", "fetchCanceledAndClosedOrders", "fetchClosedOrders")
"""Where ended orders are found, the most complete first."""


class Odd(Exception):
    """The exchange says something of an order that our books cannot hold: a fee in a third currency, a part of
    a lot."""


def history_of(has: dict[str, Any]) -> str:
    """The name of ccxt's method for ended orders, empty when the exchange has none of its own."""
    return next((name for name in HISTORIES if has.get(name) is True), "")


def method(name: str) -> str:
    """fetchClosedOrders -> fetch_closed_orders."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def execution_of(trade: dict[str, Any], lot_nano: int, currency: str, base: str) -> Execution:
    """An execution as ccxt tells it; its fee is in the currency, or in the `base` that is bought. Raises Odd for a fee
    in a third currency and for a part of a lot."""
    fee = trade.get("fee") or {}
    cost, of = fee.get("cost") or "0", fee.get("currency")
    try:
        paid = decimal(cost)
        if paid and of not in (currency, base):
            raise Odd(f"trade {trade['id']} has a fee of {cost} {of}, neither {currency} nor {base}")
        return Execution(
            id=_in_order(trade),
            ts=int(trade["timestamp"]) * 1_000_000,
            size_nano=whole_lots(trade["amount"], lot_nano) * lot_nano,
            price_nano=nano(trade["price"]),
            fee_micro=micro(cost) if of != base else 0,
            fee_nano=nano(cost) if of == base else 0,
        )
    except NotExact as error:
        raise Odd(f"trade {trade.get('id')}: {error}") from None


def _since_ms(rows: Iterable[Sent]) -> int:
    """From when on: whole seconds, as exchanges count them where ccxt counts milliseconds."""
    return max(0, min(sent.ts for sent in rows) - MARGIN_NS) // NANO * 1000


def _in_order(trade: dict[str, Any]) -> str:
    """An execution's id as text that sorts as the matching engine counted: several can have one time, and their order
    must be the same in every process."""
    number = str(trade.get("info", {}).get("trade_id") or trade["id"])
    return number.zfill(20) if number.isdecimal() else number


def _cause(sent: Sent, order: dict[str, Any], cum_nano: int) -> Cause | None:
    status = order.get("status")
    if status not in ("closed", "canceled", "expired", "rejected"):
        return None
    if cum_nano == abs(sent.lots) * sent.lot_nano:
        return Cause.LAST_FILL
    if status == "rejected" and not cum_nano:
        return Cause.REJECTED
    return Cause.EXPIRED if status == "expired" else Cause.CANCELLED


def _reason(order: dict[str, Any]) -> str:
    info = order.get("info")
    return str(info.get("reason") or "") if isinstance(info, dict) else ""
