"""Conversion of ccxt's orders and executions."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.brokers.unreadable import WRONG, Unreadable
from quantd.adapters.exchange.numbers import NotExact, decimal, micro, nano, whole_lots
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause

MARGIN_NS: Final = 60_000_000_000
"""An order is searched from this time before its decision on, because clocks differ."""

HISTORIES: Final = ("fetchOrders", "fetchCanceledAndClosedOrders", "fetchClosedOrders")
"""Functions that list ended orders, the most complete first."""


class Unsupported(Exception):
    """A record of the exchange that the books cannot represent, such as a fraction of a lot."""


def history_of(has: dict[str, Any]) -> str:
    """Return the name of ccxt's function that lists ended orders; empty if the exchange has none."""
    return next((name for name in HISTORIES if has.get(name) is True), "")


def read_execution(
    unreadable: Unreadable, trade: dict[str, Any], lot_nano: int, currency: str, base: str, booked: Sequence[str] = ()
) -> Execution | None:
    """Convert ccxt's record of an execution. An unreadable record is reported, with None as the result; a fee in a
    third asset is reported too, except in one of `booked`, whose fees are entries of their own."""
    try:
        execution = execution_of(trade, lot_nano, currency, base)
    except (*WRONG, Unsupported) as wrong:
        unreadable.add("execution", trade.get("info", trade), wrong)
        return None
    for cost, asset in fees_of(trade):
        if decimal(cost) and asset not in (currency, base, *booked):
            text = (
                f"the venue took a fee of {cost} {asset} for the execution {trade['id']}; the fill is booked "
                f"without it, because the books have money and {base} only. If `quantd reconcile` then shows {asset} "
                "less, `quantd reconcile --adopt AGENT --reason REASON` books that"
            )
            unreadable.name(text, {asset: trade.get("info", trade)})
    return execution


def execution_of(trade: dict[str, Any], lot_nano: int, currency: str, base: str) -> Execution:
    """Convert an execution, with its fees in the currency and in `base`, the bought coin.

    Raises Unsupported for a number that nano-units or whole lots cannot express.

    A fee in a third asset, such as an exchange's own coin, is omitted: if it raised an error, the fill would stay
    unbooked.

    `ts` is in ns UTC, `fee_micro` in micro-currency, `fee_nano` in nano-units of the coin.
    """
    try:
        fees = [(decimal(cost), cost, asset) for cost, asset in fees_of(trade)]
        return Execution(
            id=in_order(trade),
            ts=int(trade["timestamp"]) * 1_000_000,
            size_nano=whole_lots(trade["amount"], lot_nano) * lot_nano,
            price_nano=nano(trade["price"]),
            fee_micro=sum(micro(cost) for size, cost, asset in fees if size and asset == currency),
            fee_nano=sum(nano(cost) for size, cost, asset in fees if size and asset == base),
        )
    except NotExact as error:
        raise Unsupported(f"trade {trade.get('id')}: {error}") from None


def fees_of(trade: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield (cost, asset) of each fee. ccxt has a single fee in `fee`, and fees in several assets in `fees` only."""
    for fee in trade.get("fees") or [trade.get("fee")]:
        if fee:
            yield fee.get("cost") or "0", str(fee.get("currency"))


def since_ms(rows: Iterable[Sent]) -> int:
    """Return the time (ms UTC) from which to query orders: MARGIN_NS before the earliest decision, in whole seconds
    because exchanges count seconds."""
    return max(0, min(sent.ts for sent in rows) - MARGIN_NS) // NANO * 1000


def in_order(trade: dict[str, Any]) -> str:
    """Return an execution's id as text that sorts like the number of the matching engine: digits are padded to 20
    places."""
    number = str(trade.get("info", {}).get("trade_id") or trade["id"])
    return number.zfill(20) if number.isdecimal() else number


def cause(sent: Sent, order: dict[str, Any], cum_nano: int) -> Cause | None:
    """Return the cause of an order's end by its status and filled nano-units; None while it is open."""
    status = order.get("status")
    if status not in ("closed", "canceled", "expired", "rejected"):
        return None
    if cum_nano == abs(sent.lots) * sent.lot_nano:
        return Cause.LAST_FILL
    if status == "rejected" and not cum_nano:
        return Cause.REJECTED
    return Cause.EXPIRED if status == "expired" else Cause.CANCELLED


def reason(order: dict[str, Any]) -> str:
    """Return the exchange's words for the end of an order, empty without any."""
    info = order.get("info")
    return str(info.get("reason") or "") if isinstance(info, dict) else ""
