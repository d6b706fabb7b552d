"""Conversion of ccxt's orders and executions."""

from collections.abc import Iterable
from typing import Any, Final

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.exchange.numbers import NotExact, decimal, micro, nano, whole_lots
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause

MARGIN_NS: Final = 60_000_000_000
"""Margin before an order's decision from which it is searched, because clocks differ."""

HISTORIES: Final = ("fetchOrders", "fetchCanceledAndClosedOrders", "fetchClosedOrders")
"""Functions that list ended orders, the most complete first."""


class Unsupported(Exception):
    """A report that the books cannot represent: a fee in a third currency, or a fraction of a lot."""


def history_of(has: dict[str, Any]) -> str:
    """The name of ccxt's function for ended orders, empty without one."""
    return next((name for name in HISTORIES if has.get(name) is True), "")


def execution_of(trade: dict[str, Any], lot_nano: int, currency: str, base: str) -> Execution:
    """Convert an execution. Its fee is in the currency or in `base`, the bought coin. Raises Unsupported."""
    fee = trade.get("fee") or {}
    cost, of = fee.get("cost") or "0", fee.get("currency")
    try:
        if decimal(cost) and of not in (currency, base):
            raise Unsupported(f"trade {trade['id']} has a fee of {cost} {of}, neither {currency} nor {base}")
        return Execution(
            id=in_order(trade),
            ts=int(trade["timestamp"]) * 1_000_000,
            size_nano=whole_lots(trade["amount"], lot_nano) * lot_nano,
            price_nano=nano(trade["price"]),
            fee_micro=micro(cost) if of != base else 0,
            fee_nano=nano(cost) if of == base else 0,
        )
    except NotExact as error:
        raise Unsupported(f"trade {trade.get('id')}: {error}") from None


def since_ms(rows: Iterable[Sent]) -> int:
    """The start of a query in ms, in whole seconds, because exchanges count seconds."""
    return max(0, min(sent.ts for sent in rows) - MARGIN_NS) // NANO * 1000


def in_order(trade: dict[str, Any]) -> str:
    """An execution's id as text that sorts like the matching engine's number, also for executions of one instant."""
    number = str(trade.get("info", {}).get("trade_id") or trade["id"])
    return number.zfill(20) if number.isdecimal() else number


def cause(sent: Sent, order: dict[str, Any], cum_nano: int) -> Cause | None:
    status = order.get("status")
    if status not in ("closed", "canceled", "expired", "rejected"):
        return None
    if cum_nano == abs(sent.lots) * sent.lot_nano:
        return Cause.LAST_FILL
    if status == "rejected" and not cum_nano:
        return Cause.REJECTED
    return Cause.EXPIRED if status == "expired" else Cause.CANCELLED


def reason(order: dict[str, Any]) -> str:
    info = order.get("info")
    return str(info.get("reason") or "") if isinstance(info, dict) else ""
