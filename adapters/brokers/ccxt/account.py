"""The account at a crypto exchange: holdings by column (index of the symbol in the universe), open orders, and cash
flows."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from quantd.adapters.brokers.ccxt.connection import Line
from quantd.adapters.brokers.ccxt.market import Markets
from quantd.adapters.brokers.ccxt.wire import fees_of, read_execution
from quantd.adapters.brokers.order_log import Orders, Sent
from quantd.adapters.brokers.unreadable import WRONG
from quantd.adapters.exchange.numbers import decimal, lots_and_odd, micro, nano, whole_lots
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import ForeignOrder, OpenOrder
from quantd.trading.ports import VenueAccount, VenueFlow, VenueTrade


async def account_of(
    line: Line, universe: Universe, markets: Markets, orders: Orders, clock: Callable[[], int]
) -> VenueAccount:
    """Read balances and open orders. Raises ConnectionError, and KeysRefused where the keys are refused."""
    exchange = line.exchange  # `line` is the connection to the exchange
    try:
        balance = await line.ask(line.balances)
        open_orders = await line.ask(line.open_orders)
        status = await line.ask(exchange.fetch_status) if exchange.has.get("fetchStatus") and line.has_wallet else {}
    except Exception as error:
        raise line.refused(error) or line.lost(error) from None
    currency, totals, unread_coins = universe.currency, balance["total"], line.unread_coins()
    if currency in unread_coins or currency not in totals:
        raise ConnectionError(f"{line.access.venue}: the answer has no readable balance in {currency}")
    lots, odd, unread = [], [], []
    for column, (symbol, base, lot_nano) in enumerate(
        zip(universe.symbols, markets.bases, universe.lot_nano, strict=True)
    ):
        lot_count, remainder = 0, ""
        try:
            lot_count, remainder = lots_and_odd(totals.get(base) or "0", lot_nano)
        except WRONG as wrong:
            line.unreadable.add("balance", {base: totals.get(base)}, wrong)
            unread.append(column)
        if base in unread_coins:
            unread.append(column)
        lots.append(lot_count)
        if remainder:
            odd.append((symbol, remainder))
    ours, foreign = _open_orders(line, universe, markets, orders, open_orders)
    open_sales = [0] * universe.size  # by column: unfilled lots of our open sales, which are not free
    for order in ours:
        column = orders.rows(order.sample, order.n, [order.row])[0].column
        open_sales[column] += max(-order.lots - order.cum, 0)
    # lots that we can sell once our own sales have ended
    free_lots = [
        min(held_lots, _free_lots(line, balance["free"].get(base), base, lot_nano) + on_sale)
        for held_lots, base, lot_nano, on_sale in zip(lots, markets.bases, universe.lot_nano, open_sales, strict=True)
    ]
    cash_micro = micro(totals.get(currency) or "0")
    state = str(status.get("status") or "ok")
    return VenueAccount(
        ts=clock(),
        currency=currency,
        lots=tuple(lots),
        cash_micro=cash_micro,
        buying_power_micro=micro(balance["free"].get(currency) or "0"),
        settled_micro=cash_micro,  # spot trades settle at once
        odd=tuple(odd),
        others=_holdings_outside(
            line,
            {asset: amount for asset, amount in totals.items() if asset != currency and asset not in markets.bases},
        ),
        ours=tuple(ours),
        foreign=tuple(foreign),
        unlent=tuple(range(universe.size)),  # a spot market has no short sales
        blocked="" if state == "ok" else f"the venue reports the status {state}",
        unread=tuple(unread),
        available=tuple(max(count, 0) for count in free_lots),
    )


def _free_lots(line: Line, amount: object, base: str, size: int) -> int:
    """Return the lots that no open order reserves; 0 for an unreadable amount, which is reported."""
    try:
        return lots_and_odd(amount or "0", size)[0]
    except WRONG as wrong:
        line.unreadable.add("balance", {base: amount}, wrong)
        return 0


def _holdings_outside(line: Line, totals: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the readable non-zero holdings outside the universe, as (asset, amount)."""
    holdings = []
    for code, amount in sorted(totals.items()):
        try:
            if size := decimal(amount or "0"):
                holdings.append((code, f"{size.normalize():f}"))
        except WRONG as wrong:
            line.unreadable.add("balance", {code: amount}, wrong)
    return tuple(holdings)


def _open_orders(
    line: Line, universe: Universe, markets: Markets, orders: Orders, open_orders: Sequence[dict[str, Any]]
) -> tuple[list[OpenOrder], list[ForeignOrder]]:
    """Return our open orders, and other clients' orders in symbols of the universe.

    Orders of markets outside the universe and unreadable orders are left out; the unreadable ones are reported.
    """
    ours: list[OpenOrder] = []
    foreign: list[ForeignOrder] = []
    for order in open_orders:
        column = markets.column.get(str(order.get("symbol")))
        if order.get("unread") or column is None:
            continue  # named already, or of a market outside the universe
        lot_nano = universe.lot_nano[column]
        sent = orders.find(line.dialect.client_id_of(order))
        try:
            if sent is not None:
                ours.append(_own_order(order, sent, markets.tick_nano[column]))
                continue
            unfilled = decimal(order.get("amount") or "0") - decimal(order.get("filled") or "0")
            # rounded up: it reserves risk
            lots = -(-int(unfilled * NANO) // lot_nano) * (1 if order["side"] == "buy" else -1)
            foreign.append(ForeignOrder(str(order["id"]), column, lots, nano(order.get("price") or "0")))
        except WRONG as wrong:
            line.unreadable.add("order", order.get("info", order), wrong)
    return ours, foreign


def _own_order(order: dict[str, Any], sent: Sent, tick: int) -> OpenOrder:
    """Return an open order of this run as an OpenOrder in lots, with the exchange's quantity and prices."""
    lots = lots_and_odd(order.get("amount") or "0", sent.lot_nano)[0]
    filled = whole_lots(order.get("filled") or "0", sent.lot_nano)
    limit, stop = nano(order.get("price") or "0"), nano(order.get("triggerPrice") or "0")
    signed_lots = lots if order["side"] == "buy" else -lots
    return OpenOrder(sent.sample, sent.n, sent.row, filled, signed_lots, limit, stop, tick)


async def flows_of(line: Line, universe: Universe, markets: Markets, since: int, now: int) -> list[VenueFlow]:
    """Return movements of cash and of the universe's coins other than fills, later than `since` and until
    `now` (ns UTC), oldest first.

    Raises ConnectionError where the exchange does not answer.
    """
    by_id: dict[str, VenueFlow] = {}
    # from a second earlier on, for all assets (None); what is not later than `since` is left out below
    start_ms = max(0, since // NANO - 1) * 1000
    columns = {base: column for column, base in enumerate(markets.bases)}
    try:
        async for entry in _entries(line, markets, start_ms, now // 1_000_000):
            try:
                flow = _flow(line, universe, columns, entry)
            except WRONG as wrong:
                line.unreadable.add("entry of the ledger", entry.get("info", entry), wrong)
                continue
            if flow is not None and flow.ts > since:
                by_id[flow.id] = flow
    except Exception as error:
        raise line.lost(error) from None
    return sorted(by_id.values(), key=lambda flow: (flow.ts, flow.id))


async def _entries(line: Line, markets: Markets, start_ms: int, now_ms: int) -> AsyncIterator[dict[str, Any]]:
    """Yield the entries of the ledger. At an exchange without a ledger, a fee that an execution paid in a third asset,
    such as the exchange's own coin, is an entry of its own."""
    async for entry in line.ledger(start_ms, now_ms):
        yield entry
    if not line.dialect.movements:
        return
    async for trade in line.trades(markets.names, start_ms):
        column = markets.column.get(str(trade.get("symbol")))
        for cost, asset in fees_of(trade):
            if column is not None and asset in markets.bases and asset != markets.bases[column]:
                yield {**trade, "id": f"fee {trade['symbol']} {trade['id']}", "type": "trade", "currency": asset,
                       "amount": "0", "fee": cost}  # fmt: skip


async def trades_of(line: Line, universe: Universe, markets: Markets, since: int) -> list[VenueTrade]:
    """Return executions in symbols of the universe later than `since` (ns UTC), oldest first. The fee of an execution
    is None if it is paid in another asset than the account's currency.

    Raises ConnectionError where the exchange does not answer.
    """
    trades: dict[str, VenueTrade] = {}
    # from a second earlier on, for all symbols (None); what is not later than `since` is left out below
    start_ms = max(0, since // NANO - 1) * 1000
    try:
        async for trade in line.trades(markets.names, start_ms):
            column = markets.column.get(str(trade.get("symbol")))
            if column is None:
                continue
            base, lot = markets.bases[column], universe.lot_nano[column]
            booked = line.booked_apart(markets.bases)
            execution = read_execution(line.unreadable, trade, lot, universe.currency, base, booked)
            if execution is None:
                continue
            units = execution.size_nano if trade["side"] == "buy" else -execution.size_nano
            in_money = all(asset == universe.currency or not decimal(cost) for cost, asset in fees_of(trade))
            fee = execution.fee_micro if in_money else None
            if execution.ts > since:
                id = str(trade["id"])
                trades[id] = VenueTrade(id, execution.ts, universe.symbols[column], units, execution.price_nano, fee)
    except Exception as error:
        raise line.lost(error) from None
    return sorted(trades.values(), key=lambda trade: (trade.ts, trade.id))


def _flow(line: Line, universe: Universe, columns: dict[str, int], entry: dict[str, Any]) -> VenueFlow | None:
    """Return the flow of an entry of the exchange's ledger.

    Returns None for a trade without a fee in the coin, and for an asset that is neither the account's currency nor in
    the universe.

    `columns` maps a coin to its column of the universe. `ledger_amount` of the dialect, the specifics of one exchange,
    returns (amount, fee) of an entry. A deposit or withdrawal (`moved`) is booked by its sign; other movements of coins
    are income, or a fee if negative. Amounts are in micro-currency, coins in nano-units.
    """
    kind, currency = str(entry.get("type")), entry.get("currency")
    column = columns.get(str(currency))
    if currency != universe.currency and column is None:
        return None
    amount_and_fee_of = line.dialect.ledger_amount
    if kind == "trade":
        # the execution has the fee in money; a fee in the coin is in the ledger only
        fee = (
            decimal(amount_and_fee_of(entry)[1])
            if amount_and_fee_of is not None and column is not None
            else decimal("0")
        )
        if column is None or fee <= 0:
            return None
        net_amount = -fee
    elif amount_and_fee_of is not None:
        net_amount = decimal(amount_and_fee_of(entry)[0]) - decimal(amount_and_fee_of(entry)[1])
    else:
        sign = -1 if entry.get("direction") == "out" else 1
        net_amount = sign * decimal(entry["amount"]) - decimal((entry.get("fee") or {}).get("cost") or "0")
    dialect = line.dialect
    booking = dialect.flow_kinds.get(kind, "other")
    if kind in dialect.moved:
        booking = "deposit" if net_amount >= 0 else "withdrawal"
    elif column is not None:
        booking = "fee" if net_amount < 0 else "interest"
    if kind not in {*dialect.moved, *dialect.flow_kinds, *dialect.further_kinds, "trade"}:
        line.unreadable.name(f"an entry of the unknown type {kind[:40]!r} was booked as {booking}", entry.get("info"))
    return VenueFlow(
        id=str(entry["id"]),
        ts=int(entry["timestamp"]) * 1_000_000,
        kind=booking,
        amount_micro=0 if column is not None else micro(net_amount),
        symbol="" if column is None else universe.symbols[column],
        text=kind,
        units_nano=0 if column is None else int(net_amount * NANO),
    )
