"""Replacement of an order at Alpaca: the old and the new one are never both open, and never fill more than ordered.

What can go wrong. The old order fills while it is replaced, and both together fill too much. The answer is lost, and
nobody knows which of the two orders is open.

What the order of the steps guarantees. The locks of both orders are taken before the old order is read. The order is
changed in place (one request of the venue) only while nothing of it is filled, and it is queried afterwards: if it
filled in between, the new order is cancelled. Once something is filled, the old order is cancelled instead, and the new
one is sent after the venue confirmed that end with an unchanged filled quantity. If the venue does not confirm the end
in time, the new order is not sent: the next decision can make up for an order that is missing.
"""

import asyncio
from collections.abc import Sequence

from quantd.adapters.brokers.alpaca.connection import Lost, NotSent
from quantd.adapters.brokers.alpaca.orders import ORDERS, POLL_S, Desk, is_open
from quantd.adapters.brokers.alpaca.wire import Order, is_crypto, nano
from quantd.adapters.brokers.order_log import Sent
from quantd.trading.events import Unknown
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause, Kind, OrderBasket
from quantd.trading.ports import BrokerNews


async def exchange(desk: Desk, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
    """Replace the order in `row` of the basket (`sample`, `n`) by the one order of `basket`. Returns the reports about
    both orders.

    While nothing of the old order is filled, it is changed in place. Otherwise it is cancelled, and the new order is
    sent after its end. An old order that fills more meanwhile is not replaced, because the old and the new order
    together would fill too much.

    `posted` of an order is 0 until it was sent.
    """
    new = desk.orders.add(basket)[0]  # the desk sends and queries the orders of the account
    rows = desk.orders.rows(sample, n, [row])
    if not rows:
        return [desk.end(new, Cause.EXPIRED, "never sent: the order it replaces is not known")]
    old = rows[0]
    async with old.lock, new.lock:
        # `add` returned the order of an earlier call, which may have sent it: it is queried, never sent twice
        if new.posted:
            return await desk.ask(new)
        try:
            order = await desk.order(old)
        except (NotSent, Lost) as away:
            return [desk.end(new, Cause.EXPIRED, f"never sent: {away}")]
        if order is None:
            return [desk.end(new, Cause.EXPIRED, "never sent: the venue does not have the order it replaces")]
        news = [await desk.say(old, order)]
        if not is_open(order):
            return [*news, desk.end(new, Cause.EXPIRED, "never sent: the order it replaces has ended")]
        if _can_replace_in_place(desk, old, new, order):
            return await _replace_in_place(desk, old, new, order)
        return await _cancel_then_send(desk, old, new, order)


def _can_replace_in_place(desk: Desk, old: Sent, new: Sent, order: Order) -> bool:
    """Whether the venue can change the order in place: whole shares of one symbol, the same side and kind (limit or
    stop), nothing filled."""
    symbol, lot_nano = desk.universe.symbols[old.column], desk.universe.lot_nano[old.column]
    whole_shares = (old.lots * lot_nano) % NANO == 0 == (new.lots * lot_nano) % NANO
    same_order = old.column == new.column and old.kind == new.kind and (old.lots > 0) == (new.lots > 0)
    can_be_changed = old.kind in (Kind.LIMIT, Kind.STOP) and not is_crypto(symbol)
    return whole_shares and same_order and can_be_changed and order.status == "new" and not order.filled_qty


async def _replace_in_place(desk: Desk, old: Sent, new: Sent, order: Order) -> Sequence[BrokerNews]:
    """Change the old order into the new one by one request. The caller holds the locks of both orders.

    A request that was not sent ends the new order; without an answer both are Unknown. If the old order filled
    meanwhile, the new one is cancelled.
    """
    change = desk.body(new)
    if isinstance(change, str):
        return [desk.end(new, Cause.REJECTED, change)]
    changed_fields = {name: value for name, value in change.items() if name not in ("symbol", "side", "type")}
    new.posted = desk.now()
    try:
        answer = await desk.rest.ask("PATCH", f"{ORDERS}/{order.id}", body=changed_fields, patience_s=desk.left_s(new))
    except NotSent as away:
        new.posted = 0
        return [desk.end(new, Cause.EXPIRED, f"never sent: {away}")]
    except Lost as lost:
        new.posted = desk.now()
        return [desk.unknown(old, str(lost)), desk.unknown(new, str(lost))]
    if answer.ok:
        news = [await desk.say(new, answer), *await desk.ask(old)]
        if old.log.known_nano():
            # the replaced order filled in between: its replacement would fill more than was ordered
            news += await desk.cancel_sent(new)
        return news
    news = [desk.refused(new, answer)]
    return [*await desk.ask(old), *news]


async def _cancel_then_send(desk: Desk, old: Sent, new: Sent, order: Order) -> Sequence[BrokerNews]:
    """Cancel the old order, wait for its end, and send the new one if the old one filled nothing more.

    The new order is not sent where the end of the old one is not known: the two together could fill too much.
    """
    filled = nano(order.filled_qty)
    news = list(await desk.cancel_sent(old))
    waited_s = 0.0
    while not any(isinstance(report, Unknown) for report in news):
        try:
            latest_order = await desk.order(old)
        except (NotSent, Lost):
            break
        if latest_order is None or not is_open(latest_order):
            news = [*news, *([await desk.say(old, latest_order)] if latest_order else [])]
            if latest_order is not None and nano(latest_order.filled_qty) == filled and latest_order.status != "filled":
                return [*news, *await desk.post(new)]
            return [*news, desk.end(new, Cause.EXPIRED, "never sent: the order it replaces filled on the way")]
        if waited_s >= desk.settings.timeout_s:
            break
        pause = min(POLL_S, desk.settings.timeout_s / 4)
        waited_s += pause
        await asyncio.sleep(pause)
    return [*news, desk.end(new, Cause.EXPIRED, "never sent: the order it replaces has not ended")]
