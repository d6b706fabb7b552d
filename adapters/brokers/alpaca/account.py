"""The Alpaca account: holdings by column, cash, open orders, and cash flows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from quantd.adapters.brokers.alpaca.connection import Lost, Rest
from quantd.adapters.brokers.alpaca.wire import (
    Account,
    Activity,
    Garbled,
    Order,
    Position,
    flow,
    instant,
    micro,
    nano,
    whole,
)
from quantd.adapters.brokers.order_log import Orders
from quantd.adapters.exchange.numbers import text_of
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.orders import ForeignOrder
from quantd.trading.ports import OpenOrder, VenueAccount, VenueFlow, VenueTrade
from quantd.trading.sessions import DAY_NS

PAGE: Final = 100
"""Maximum number of activities of one answer."""

MOST: Final = 500
"""Maximum number of orders of one answer."""


async def read_account(rest: Rest, universe: Universe, known: Orders, now: Callable[[], int]) -> VenueAccount:
    """Raises ConnectionError when the venue does not answer, VenueError when it refuses."""
    account, positions, orders = await asyncio.gather(
        rest.ask("GET", "v2/account"), rest.ask("GET", "v2/positions"), open_orders(rest)
    )
    try:
        return _account_of(universe, known, now(), account.value(Account), positions.value(list[Position]), orders)
    except Garbled as wrong:
        raise Lost(str(wrong)) from None


def _account_of(
    universe: Universe, known: Orders, ts: int, account: Account, positions: Sequence[Position], orders: Sequence[Order]
) -> VenueAccount:
    # the venue writes the position of a pair without its slash
    columns = {symbol.replace("/", ""): column for column, symbol in enumerate(universe.symbols)}
    lots = [0] * universe.size
    odd, others, ours, foreign = [], [], [], []
    for each in positions:
        column = columns.get(each.symbol.replace("/", ""))
        if column is None:
            others.append((each.symbol, text_of(nano(each.qty))))
            continue
        size = -abs(nano(each.qty)) if each.side == "short" else nano(each.qty)
        count, left = divmod(abs(size), universe.lot_nano[column])
        lots[column] = count if size > 0 else -count
        if left:
            odd.append((universe.symbols[column], text_of(left if size > 0 else -left)))
    for order in orders:
        sent = known.find(order.client_order_id)
        column = columns.get((order.symbol or "").replace("/", ""))
        if sent is not None:
            ours.append(OpenOrder(sent.sample, sent.n, sent.row, nano(order.filled_qty) // sent.lot_nano))
        elif column is not None:
            foreign.append(_foreign(order, column, universe.lot_nano[column]))
    return VenueAccount(
        ts=ts,
        currency=account.currency,
        lots=tuple(lots),
        cash_micro=whole(account.cash, MICRO),
        equity_micro=micro(account.equity),
        buying_power_micro=micro(account.buying_power),
        # an account without credit may spend settled cash only
        settled_micro=micro(account.non_marginable_buying_power) if account.multiplier == 1 else None,
        odd=tuple(odd),
        others=tuple(others),
        ours=tuple(ours),
        foreign=tuple(foreign),
        blocked=_blocked(account),
    )


def _foreign(order: Order, column: int, lot_nano: int) -> ForeignOrder:
    """An order of another client, in lots rounded up, because it reserves risk."""
    lots = max(-(-(nano(order.qty) - nano(order.filled_qty)) // lot_nano), 1)
    limit = nano(order.limit_price or order.stop_price)
    return ForeignOrder(order.id, column, -lots if order.side == "sell" else lots, limit)


async def open_orders(rest: Rest) -> list[Order]:
    """All open orders. Raises NotSent, Lost or VenueError."""
    asked = {"status": "open", "limit": str(MOST), "direction": "asc"}
    found: dict[str, Order] = {}
    while True:
        page = (await rest.ask("GET", "v2/orders", asked)).value(list[Order])
        before = len(found)
        found |= {order.id: order for order in page}
        if len(page) < MOST or len(found) == before or not page[-1].submitted_at:
            return list(found.values())
        asked["after"] = page[-1].submitted_at


async def activities(rest: Rest, kind: str, since: int) -> AsyncIterator[Activity]:
    """Activities after `since`, oldest first, all pages. Raises NotSent or Lost."""
    asked = {"after": instant_text(since), "direction": "asc", "page_size": str(PAGE)}
    while True:
        answer = await rest.ask("GET", f"v2/account/activities{kind}", asked)
        if not answer.ok:
            raise Lost(answer.words)
        page = answer.decode(list[Activity])
        for each in page:
            yield each
        if len(page) < PAGE:
            return
        asked["page_token"] = page[-1].id


async def read_flows(rest: Rest, since: int) -> Sequence[VenueFlow]:
    """Cash flows later than `since`, oldest first; a flow with a date only counts as of the end of its day.

    Raises ConnectionError.
    """
    found = []
    try:
        # two days earlier, because the venue may compare dates of its own zone
        async for each in activities(rest, "", since - 2 * DAY_NS):
            moved = flow(each)
            if moved is not None and moved.ts > since:
                found.append(moved)
    except Garbled as wrong:
        raise Lost(str(wrong)) from None
    return sorted(found, key=lambda f: (f.ts, f.id))


async def read_trades(rest: Rest, universe: Universe, since: int) -> Sequence[VenueTrade]:
    """The executions later than `since`, oldest first. The venue reports fees as flows. Raises ConnectionError."""
    names = {symbol.replace("/", ""): symbol for symbol in universe.symbols}
    found = []
    try:
        async for each in activities(rest, "/FILL", since - 2 * DAY_NS):
            at, symbol = instant(each.transaction_time), names.get((each.symbol or "").replace("/", ""))
            if symbol is not None and at > since:
                units = -nano(each.qty) if each.side.startswith("sell") else nano(each.qty)
                found.append(VenueTrade(each.id, at, symbol, units, nano(each.price)))
    except Garbled as wrong:
        raise Lost(str(wrong)) from None
    return sorted(found, key=lambda trade: (trade.ts, trade.id))


def _blocked(account: Account) -> str:
    """The reason why the account may not trade; empty if it may."""
    if account.account_blocked:
        return "the venue has blocked the account"
    if account.trading_blocked:
        return "the venue has blocked trading"
    if account.trade_suspended_by_user:
        return "trading is suspended in the account's settings"
    return "" if account.status == "ACTIVE" else f"the account is {account.status}"
