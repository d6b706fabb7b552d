"""The Alpaca account: holdings by column (index of the symbol in the universe), cash, open orders, and cash flows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import msgspec

from quantd.adapters.brokers.alpaca.connection import Answer, Lost, Rest
from quantd.adapters.brokers.alpaca.wire import (
    Account,
    Activity,
    Garbled,
    Order,
    Position,
    TradeActivity,
    flow,
    instant,
    is_crypto,
    is_known,
    micro,
    nano,
    tick_nano,
    whole,
)
from quantd.adapters.brokers.order_log import Orders, Sent
from quantd.adapters.brokers.unreadable import WRONG, field_of
from quantd.adapters.exchange.numbers import text_of
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.orders import ForeignOrder, OpenOrder
from quantd.trading.ports import Identity, VenueAccount, VenueFlow, VenueTrade
from quantd.trading.sessions import DAY_NS

PAGE: Final = 100
"""Maximum number of activities of one answer."""

MAX_ORDERS: Final = 500
"""Maximum number of orders of one answer."""

NOTHING_KNOWN: Final = Identity()

_order = msgspec.json.Decoder(Order)
T = TypeVar("T")


async def read_account(
    client: Rest,
    universe: Universe,
    sent_orders: Orders,
    ticks: Mapping[str, int],
    now: Callable[[], int],
    identity: Identity = NOTHING_KNOWN,
) -> VenueAccount:
    """Read the account from the venue; `ticks` are the price ticks of crypto pairs by symbol.

    An account with another number than that of `identity` counts as blocked. Raises ConnectionError when the venue does
    not answer, VenueError when it refuses.

    `sent_orders` are the orders of this run, which tell our open orders from orders of other clients. Ticks are in
    nano-currency (1e-9), and `now` is our clock (ns UTC).
    """
    account, positions, orders = await asyncio.gather(
        client.ask("GET", "v2/account"), client.ask("GET", "v2/positions"), open_orders(client)
    )
    try:
        holdings, figures = _read_positions(client, universe, positions, identity), account.value(Account)
        read = _account_of(client, universe, sent_orders, ticks, now(), figures, holdings, orders)
    except Garbled as wrong:
        raise Lost(str(wrong)) from None
    if other := other_account(identity, figures.account_number):
        read = msgspec.structs.replace(read, blocked=other)
    return read


def other_account(identity: Identity, number: str) -> str:
    """Return the sentence about keys of another account than the run has traded in; empty for the same account."""
    if identity.account in ("", number):
        return ""
    return f"the keys are of account {number}, and this run has traded in account {identity.account}"


class _Positions(NamedTuple):
    """The account's positions: signed nano-units (1e-9 units) by column of the universe, (symbol, size) of positions
    outside the universe, and the columns whose position cannot be read.

    `available` are the nano-units that no open order reserves, None where the venue does not say. `renamed` are the
    symbols at the venue of positions by column that it lists under another symbol.
    """

    nano: dict[int, int]
    available: dict[int, int | None]
    others: tuple[tuple[str, str], ...]
    unread: tuple[int, ...]
    renamed: dict[int, str]


def _read_positions(client: Rest, universe: Universe, answer: Answer, identity: Identity) -> _Positions:
    """Read the positions of an answer. A position with the asset id of a symbol in `identity` is of that symbol, even
    under another name.

    A position without a readable symbol may be of any column. Every column without a position in the answer then counts
    as unreadable.

    Sizes are in nano-units (1e-9 units), negative for a short position, by column of the universe. An available size is
    None where the venue does not say which part open orders reserve.
    """
    # the venue writes the position of a pair without its slash
    columns = {symbol.replace("/", ""): column for column, symbol in enumerate(universe.symbols)}
    traded = {id: universe.index[symbol] for symbol, id in identity.assets.items() if symbol in universe.index}
    sizes: dict[int, int] = {}
    available: dict[int, int | None] = {}
    names: dict[int, str] = {}
    outside_universe: list[tuple[str, str]] = []
    unread: set[int] = set()
    nameless = False
    for raw in answer.items():
        data = bytes(raw)
        try:
            position = msgspec.json.decode(data, type=Position)
            size = -abs(nano(position.qty)) if position.side == "short" else nano(position.qty)
            free = None if position.qty_available is None else abs(nano(position.qty_available))
        except WRONG as wrong:
            client.unreadable.add("position", data, wrong)
            symbol = field_of(data, "symbol").replace("/", "")
            nameless = nameless or not symbol
            if symbol in columns:
                unread.add(columns[symbol])
            continue
        named, column = columns.get(position.symbol.replace("/", "")), traded.get(position.asset_id)
        column = named if column is None else column
        if column is None or (column in sizes and named == column):
            outside_universe.append((position.symbol, text_of(size)))
            continue
        if column in sizes:  # the venue gave the old symbol to another asset
            outside_universe.append((universe.symbols[column], text_of(sizes[column])))
        if named != column:
            names[column] = position.symbol
        sizes[column], available[column] = size, free if named == column else 0
    if nameless:
        unread |= set(range(universe.size)) - sizes.keys()
    return _Positions(sizes, available, tuple(outside_universe), tuple(sorted(unread)), names)


def _account_of(
    client: Rest,
    universe: Universe,
    sent_orders: Orders,
    ticks: Mapping[str, int],
    ts: int,
    account: Account,
    holdings: _Positions,
    orders: Sequence[Order],
) -> VenueAccount:
    """Convert the account to lots.

    Remainders below one lot are listed in `odd`. Open orders are split into `ours`, the orders that this run sent, and
    `foreign`, the orders of other clients. An order that cannot be read is left out and reported.

    `available` of the result are the lots of each position, with its sign, that a new order can close once our own open
    orders have ended: orders of other clients reserve the remainder. `ts` is the time of the answer (ns UTC), and
    amounts of money are in micro-currency.
    """
    columns = {symbol.replace("/", ""): column for column, symbol in enumerate(universe.symbols)}
    lots, closable_lots = [0] * universe.size, [0] * universe.size
    odd, ours, foreign = [], [], []
    held_back = _closing_orders(sent_orders, columns, holdings, orders)
    for column, size in holdings.nano.items():
        count, remainder = divmod(abs(size), universe.lot_nano[column])
        lots[column] = count if size > 0 else -count
        closable_nano = _closable_nano(abs(size), holdings.available[column], *held_back.get(column, (0, 0)))
        closable = closable_nano // universe.lot_nano[column]
        closable_lots[column] = closable if size > 0 else -closable
        if remainder:
            odd.append((universe.symbols[column], text_of(remainder if size > 0 else -remainder)))
    for order in orders:
        sent = sent_orders.find(order.client_order_id)
        order_column = columns.get((order.symbol or "").replace("/", ""))
        try:
            if sent is not None:
                ours.append(_own_order(order, sent, universe.symbols[sent.column], ticks))
            elif order_column is not None:
                foreign.append(_foreign_order(order, order_column, universe.lot_nano[order_column]))
        except WRONG as wrong:
            client.unreadable.add("order", order, wrong)
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
        others=holdings.others,
        ours=tuple(ours),
        foreign=tuple(foreign),
        blocked=_why_blocked(account, any(map(is_crypto, universe.symbols))),
        unread=holdings.unread,
        available=tuple(closable_lots),
        renamed=tuple(sorted(holdings.renamed.items())),
    )


def _closing_orders(
    sent_orders: Orders, columns: Mapping[str, int], holdings: _Positions, orders: Sequence[Order]
) -> dict[int, tuple[int, int]]:
    """Return, by column of the universe, how many nano-units of the position open orders close, as (our orders, orders
    of other clients).

    An unreadable order closes nothing here; the function that reads orders reports it.
    """
    closing: dict[int, tuple[int, int]] = {}
    for order in orders:
        column = columns.get((order.symbol or "").replace("/", ""))
        if (
            column is None
            or column not in holdings.nano
            or order.side != ("buy" if holdings.nano[column] < 0 else "sell")
        ):
            continue
        with suppress(*WRONG):
            ours, foreign = closing.get(column, (0, 0))
            unfilled = nano(order.qty) - nano(order.filled_qty)
            mine = sent_orders.find(order.client_order_id) is not None
            closing[column] = (ours + unfilled, foreign) if mine else (ours, foreign + unfilled)
    return closing


def _closable_nano(size: int, available: int | None, ours: int, foreign: int) -> int:
    """Return the nano-units (unsigned) of a position that we can close once our own orders for it have ended.

    `size` is the signed position, `available` the part that no order reserves (None: unknown); `ours` is the part that
    our orders close, `foreign` the part that orders of other clients close.
    """
    return max(min(size, size - foreign if available is None else available + ours), 0)


def _own_order(order: Order, sent: Sent, symbol: str, ticks: Mapping[str, int]) -> OpenOrder:
    """Return an open order of this run as an OpenOrder in lots, with the venue's quantity and prices."""
    limit, stop = nano(order.limit_price), nano(order.stop_price)
    lots = nano(order.qty) // sent.lot_nano
    tick = max(tick_nano(symbol, price, ticks.get(symbol, 0)) for price in (limit, stop))
    return OpenOrder(
        sent.sample, sent.n, sent.row, nano(order.filled_qty) // sent.lot_nano, -lots if order.side == "sell" else lots,
        limit, stop, tick,
    )  # fmt: skip


def _foreign_order(order: Order, column: int, lot_nano: int) -> ForeignOrder:
    """Convert an order of another client. Its unfilled quantity is rounded up to whole lots, because it counts in
    risk limits."""
    lots = max(-(-(nano(order.qty) - nano(order.filled_qty)) // lot_nano), 1)
    limit = nano(order.limit_price or order.stop_price)
    return ForeignOrder(order.id, column, -lots if order.side == "sell" else lots, limit)


async def open_orders(client: Rest) -> list[Order]:
    """Return all readable open orders. Raises NotSent, Lost or VenueError."""
    return client.unreadable.items("order", await listed_orders(client), _order.decode)


async def listed_orders(client: Rest) -> list[msgspec.Raw]:
    """Return all open orders, still encoded. Raises NotSent, Lost or VenueError."""
    params = {"status": "open", "limit": str(MAX_ORDERS), "direction": "asc"}
    by_id: dict[str | int, msgspec.Raw] = {}
    while True:
        page = (await client.ask("GET", "v2/orders", params)).items()
        count_before = len(by_id)
        for raw in page:
            by_id[field_of(bytes(raw), "id") or len(by_id)] = raw.copy()
        after = _field_of_last(page, "submitted_at")
        # orders of one instant may come twice; a page without a new order ends the loop
        if len(page) < MAX_ORDERS or not after or (len(by_id) == count_before and params.get("after") == after):
            return list(by_id.values())
        params["after"] = after


def _field_of_last(page: Sequence[msgspec.Raw], name: str) -> str:
    """Return the field `name` of the last item in a page that has this field; empty text if no item has it.

    The request for the next page begins at that value.
    """
    return next(filter(None, (field_of(bytes(raw), name) for raw in reversed(page))), "")


async def activities(client: Rest, path: str, kind: type[T], since: int) -> AsyncIterator[tuple[T, bytes]]:
    """Yield the readable activities after `since`, each with its encoded form, oldest first, from all pages. Raises
    NotSent or Lost.

    `path` is the end of the path: "/FILL" for executions, "" for activities of every kind; `kind` is the type of an
    item. `since` is in ns UTC.
    """
    params = {"after": instant_text(since), "direction": "asc", "page_size": str(PAGE)}
    while True:
        answer = await client.ask("GET", f"v2/account/activities{path}", params)
        if not answer.ok:
            raise Lost(answer.words)
        page = answer.decode(list[msgspec.Raw])
        for entry in client.unreadable.pairs("activity", page, msgspec.json.Decoder(kind).decode):
            yield entry
        token = _field_of_last(page, "id")
        # a full page whose last id repeats would be sent without end
        if len(page) < PAGE or not token or params.get("page_token") == token:
            return
        params["page_token"] = token


async def read_flows(client: Rest, universe: Universe, since: int, now: Callable[[], int]) -> Sequence[VenueFlow]:
    """Return movements of cash, and of units of the universe's pairs, later than `since` (ns UTC), oldest first.

    A movement with a date but no time counts at the end of that day. A movement without a date counts at the time when
    it was first listed. The first list that a process reads omits movements without a date, because they may be of any
    time. Raises ConnectionError where the venue does not answer.

    `undated` of the client maps the id of a movement without a date to the time of its first listing (ns); 0 means that
    it was in the first list, so that it is never dated.
    """
    flows = []
    is_first_list, read_at = client.undated is None, now()
    undated = client.undated if client.undated is not None else {}
    # the venue writes the symbol of a pair without its slash
    names = {symbol.replace("/", ""): symbol for symbol in universe.symbols}
    # two days earlier, because the venue may compare dates of its own zone
    async for activity, raw in activities(client, "", Activity, since - 2 * DAY_NS):
        try:
            move = flow(activity, undated.get(activity.id, 0 if is_first_list else read_at))
        except WRONG as wrong:
            undated[activity.id] = 0  # without a time: a later list must not date it as new
            client.unreadable.add("activity", raw, wrong)
            continue
        if move is not None and move.ts == read_at:  # it has no date, and is listed for the first time
            undated[activity.id] = read_at
        if move is None or move.ts <= since:  # it moves nothing, or is too early
            continue
        symbol = names.get(move.symbol.replace("/", ""), "")
        # no book holds a coin without a pair in the universe: only the cash of its movement counts
        if move.units_nano and "/" not in symbol:
            move = msgspec.structs.replace(move, units_nano=0)
            if not move.amount_micro:
                client.unreadable.name(
                    f"{activity.activity_type} of {text_of(nano(activity.qty))} {activity.symbol} is in no book", raw
                )
                continue
        if not is_known(activity):
            booked = (
                f"booked as {move.kind if move.units_nano or move.booking != 'flow' else 'a deposit or withdrawal'}"
            )
            client.unreadable.name(f"an activity of the unknown type {activity.activity_type[:40]!r} was {booked}", raw)
        flows.append(msgspec.structs.replace(move, symbol=symbol or move.symbol))
    client.undated = undated
    return sorted(flows, key=lambda move: (move.ts, move.id))


async def read_trades(client: Rest, universe: Universe, since: int) -> Sequence[VenueTrade]:
    """Return the executions later than `since` (ns UTC), oldest first. The venue reports fees as flows.

    Raises ConnectionError where the venue does not answer.
    """
    names = {symbol.replace("/", ""): symbol for symbol in universe.symbols}
    trades = []
    # two days earlier, because the venue may compare dates of its own zone; earlier executions are left out below
    async for activity, raw in activities(client, "/FILL", TradeActivity, since - 2 * DAY_NS):
        symbol = names.get(activity.symbol.replace("/", ""))
        if symbol is None:
            continue
        try:
            at, units = instant(activity.transaction_time), nano(activity.qty)
            trade = VenueTrade(
                activity.id, at, symbol, -units if activity.side.startswith("sell") else units, nano(activity.price)
            )
        except WRONG as wrong:
            client.unreadable.add("execution", raw, wrong)
            continue
        if at > since:
            trades.append(trade)
    return sorted(trades, key=lambda trade: (trade.ts, trade.id))


def _why_blocked(account: Account, pairs: bool) -> str:
    """Return the reason why the account may not trade; empty if it may. With `pairs`, also check that it may trade
    crypto pairs."""
    if account.account_blocked:
        return "the venue has blocked the account"
    if account.trading_blocked:
        return "the venue has blocked trading"
    if account.trade_suspended_by_user:
        return "trading is suspended in the account's settings"
    if account.status != "ACTIVE":
        return f"the account is {account.status}"
    crypto = account.crypto_status or "not reported"
    return f"trading in pairs is {crypto} for the account" if pairs and crypto != "ACTIVE" else ""
