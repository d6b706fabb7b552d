"""Alpaca's account in our columns: holdings, cash, open orders, and cash that moved."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Final

from quantd.adapters.brokers.alpaca.connection import Lost, Rest
from quantd.adapters.brokers.alpaca.wire import (
    Account,
    Activity,
    Garbled,
    Order,
    Position,
    flow,
    micro,
    nano,
    plain,
)
from quantd.adapters.brokers.order_log import Orders
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import ForeignOrder
from quantd.trading.ports import OpenOrder, VenueAccount, VenueFlow

PAGE: Final = 100
"""Activities of one answer; the venue gives no more."""

MOST: Final = 500
"""Orders of one answer; the venue gives no more."""

DAY_NS: Final = 86_400 * NANO


async def read_account(rest: Rest, universe: Universe, known: Orders, now: Callable[[], int]) -> VenueAccount:
    """Raises ConnectionError when the venue does not answer, VenueError when it refuses us."""
    account, positions, orders = await asyncio.gather(
        rest.ask("GET", "v2/account"), rest.ask("GET", "v2/positions"), _open_orders(rest)
    )
    try:
        return _as_account(universe, known, now(), account.value(Account), positions.value(list[Position]), orders)
    except Garbled as wrong:
        raise Lost(str(wrong)) from None


def columns(universe: Universe) -> dict[str, int]:
    """Columns by the venue's symbols: it writes a pair's position without its slash."""
    return {symbol.replace("/", ""): column for column, symbol in enumerate(universe.symbols)}


def _as_account(
    universe: Universe, known: Orders, ts: int, account: Account, positions: Sequence[Position], orders: Sequence[Order]
) -> VenueAccount:
    at = columns(universe)
    lots = [0] * universe.size
    odd, others = [], []
    for each in positions:
        column = at.get(each.symbol.replace("/", ""))
        if column is None:
            others.append((each.symbol, plain(each.qty)))
            continue
        size, lot = nano(each.qty), universe.lot_nano[column]
        if each.side == "short":
            size = -abs(size)
        count, left = divmod(abs(size), lot)
        lots[column] = count if size > 0 else -count
        if left:
            odd.append((universe.symbols[column], plain((Decimal(left) / NANO).copy_sign(size))))
    ours, foreign = [], []
    for order in orders:
        sent = known.find(order.client_order_id)
        if sent is not None:
            ours.append(
                OpenOrder(sent.sample, sent.n, sent.row, nano(order.filled_qty) // universe.lot_nano[sent.column])
            )
        elif (found := _foreign(universe, at, order)) is not None:
            foreign.append(found)
    cash = micro(account.cash)
    assert cash is not None
    return VenueAccount(
        ts=ts,
        currency=account.currency,
        lots=tuple(lots),
        cash_micro=cash,
        equity_micro=micro(account.equity),
        buying_power_micro=micro(account.buying_power),
        # an account that borrows nothing may spend what is settled, and no proceeds before they are
        settled_micro=micro(account.non_marginable_buying_power) if account.multiplier == 1 else None,
        odd=tuple(odd),
        others=tuple(others),
        ours=tuple(ours),
        foreign=tuple(foreign),
        blocked=_blocked(account),
    )


def _foreign(universe: Universe, at: dict[str, int], order: Order) -> ForeignOrder | None:
    """Somebody else's order, in lots rounded up: it reserves risk. None outside the universe."""
    column = at.get((order.symbol or "").replace("/", ""))
    if column is None:
        return None
    lot = universe.lot_nano[column]
    left = nano(order.qty) - nano(order.filled_qty)
    lots = max(-(-left // lot), 1)
    limit = nano(order.limit_price or order.stop_price)
    return ForeignOrder(order.id, column, -lots if order.side == "sell" else lots, limit)


async def _open_orders(rest: Rest) -> list[Order]:
    """All of them. Raises NotSent, Lost or VenueError."""
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
    """Cash that moved later than `since`, oldest first; what the venue dates by day only counts as of that day's end.
    Raises ConnectionError."""
    found = []
    try:
        # a day and more earlier: the venue may compare dates of its own zone
        async for each in activities(rest, "", since - 2 * DAY_NS):
            moved = flow(each)
            if moved is not None and moved.ts > since:
                found.append(moved)
    except Garbled as wrong:
        raise Lost(str(wrong)) from None
    return sorted(found, key=lambda f: (f.ts, f.id))


def _blocked(account: Account) -> str:
    """Why nothing may be traded; empty when it may."""
    if account.account_blocked:
        return "the venue has blocked the account"
    if account.trading_blocked:
        return "the venue has blocked trading"
    if account.trade_suspended_by_user:
        return "trading is suspended in the account's settings"
    return "" if account.status == "ACTIVE" else f"the account is {account.status}"
