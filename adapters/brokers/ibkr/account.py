"""The account at Interactive Brokers: contracts, holdings, cash and open orders.

Holdings are identified by contract id, not by symbol. Cash counts in the account's currency only; cash in another one
is named. Where an account has no credit, unsettled cash is not spendable.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from quantd.adapters.brokers.ibkr.connection import WHERE, Line, Refused
from quantd.adapters.brokers.ibkr.orders import Desk
from quantd.adapters.brokers.ibkr.wire import Done, Order, library, nano, optional, tick_nano
from quantd.adapters.exchange.numbers import lots_and_odd
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.orders import ForeignOrder, OpenOrder
from quantd.trading.ports import VenueAccount, VenueTrade

Mistakes = list[tuple[str, str]]
"""(the text of a mistake, its remedy)."""

ALL: Final = "BASE"
"""The venue's name for the sum of all currencies."""


async def read_values(line: Line) -> dict[tuple[str, str], str]:
    """Return (key, currency) -> text of the account's values. Raises ConnectionError.

    The subscription is begun anew, so that the values are those of now.
    """
    account = line.settings.account

    def ask(client: Any, _: int) -> None:
        client.reqAccountUpdates(False, account)
        client.reqAccountUpdates(True, account)

    listing = await line.list("account values", ask)
    if listing.unread:
        raise ConnectionError(f"{WHERE}: a message about the account could not be read")
    return {(key, currency): value for key, value, currency, of in listing.items if of == account}


async def read_positions(line: Line) -> list[tuple[int, str, str, Decimal]]:
    """Return (contract id, symbol, kind, signed size) of each position. Raises ConnectionError."""
    listing = await line.list("positions", lambda client, _: client.reqPositions())
    (await line.client()).cancelPositions()
    if listing.unread:
        raise ConnectionError(f"{WHERE}: a position could not be read")
    return [position for position in listing.items if position[3]]


def amount(values: Mapping[tuple[str, str], str], key: str, currency: str) -> int | None:
    """Return an account value in micro-currency, None where the venue does not list it. Raises ConnectionError."""
    text = values.get((key, currency))
    try:
        return None if text is None else round(Decimal(text) * MICRO)
    except (InvalidOperation, ValueError, OverflowError):
        raise ConnectionError(f"{WHERE}: {key} is {text!r}, which is no number") from None


async def read_account(desk: Desk) -> VenueAccount:
    """Read the account. Raises ConnectionError."""
    line, universe = desk.line, desk.universe
    values, positions, look = await read_values(line), await read_positions(line), await desk.look()
    currency = universe.currency
    cash = amount(values, "CashBalance", currency)
    if cash is None or look.partial or values.get(("AccountReady", "")) == "false":
        raise ConnectionError(f"{WHERE}: the account has no readable balance in {currency} now")
    for (key, other), text in values.items():
        if key == "CashBalance" and other not in (currency, ALL) and Decimal(text):
            line.unreadable.name(
                f"the account has {text} {other}, which is not counted: cash is {currency}", (other, text)
            )
    columns = {contract.conId: column for column, contract in desk.contracts.items()}
    lots, odd, others = [0] * universe.size, [], []
    for con_id, symbol, kind, size in positions:
        if (column := columns.get(con_id)) is None:
            others.append((symbol if kind == "STK" else f"{symbol} {kind}", f"{size.normalize():f}"))
            continue
        lots[column], remainder = lots_and_odd(f"{size:f}", universe.lot_nano[column])
        if remainder:
            odd.append((symbol, remainder))
    ours, foreign = _open_orders(desk, columns, look.open)
    buying_power, available = amount(values, "BuyingPower", currency), amount(values, "AvailableFunds", currency)
    has_credit = buying_power is not None and available is not None and buying_power > available
    return VenueAccount(
        ts=desk.now(),
        currency=currency,
        lots=tuple(lots),
        cash_micro=cash,
        equity_micro=amount(values, "NetLiquidation", currency),
        buying_power_micro=buying_power,
        settled_micro=None if has_credit else amount(values, "SettledCash", currency),
        odd=tuple(odd),
        others=tuple(others),
        ours=tuple(ours),
        foreign=tuple(foreign),
        available=tuple(_closable(count, column, foreign) for column, count in enumerate(lots)),
    )


def _closable(lots: int, column: int, foreign: Sequence[ForeignOrder]) -> int:
    """Return the lots of a position that orders of other clients leave to us."""
    side = 1 if lots > 0 else -1
    taken = sum(abs(order.lots) for order in foreign if order.symbol == column and order.lots * side < 0)
    return side * max(abs(lots) - taken, 0)


def _open_orders(
    desk: Desk, columns: Mapping[int, int], orders: Sequence[Order]
) -> tuple[list[OpenOrder], list[ForeignOrder]]:
    """Return our open orders, and those of other clients and of persons in instruments of the universe."""
    ours: list[OpenOrder] = []
    foreign: list[ForeignOrder] = []
    for order in orders:
        sign, filled = 1 if order.buy else -1, order.filled_nano or 0
        limit, stop = nano(order.limit), nano(order.stop)
        if (sent := desk.orders.find(order.ref)) is not None:
            tick = max(tick_nano(limit), tick_nano(stop) if stop else 0)
            lots, cum = sign * (nano(order.qty) // sent.lot_nano), filled // sent.lot_nano
            ours.append(OpenOrder(sent.sample, sent.n, sent.row, cum, lots, limit, stop, tick))
        elif (column := columns.get(order.con_id)) is not None:
            # rounded up: it reserves risk
            lots = -(-(nano(order.qty) - filled) // desk.universe.lot_nano[column])
            foreign.append(ForeignOrder(str(order.perm_id), column, sign * lots, limit or stop))
    return ours, foreign


async def read_trades(desk: Desk, since: int) -> list[VenueTrade]:
    """Return the executions of today in symbols of the universe later than `since`, oldest first; of an execution that
    was corrected, its correction. Raises ConnectionError."""
    look = await desk.look()
    if look.partial:
        raise ConnectionError(f"{WHERE}: an execution could not be read")
    columns = {contract.conId: column for column, contract in desk.contracts.items()}
    newest: dict[str, Done] = {}
    for done in sorted(look.executions, key=lambda done: done.id):
        newest[done.id.rpartition(".")[0]] = done
    return sorted(
        (
            VenueTrade(
                done.id, done.ts, desk.universe.symbols[columns[done.con_id]],
                done.size_nano if done.buy else -done.size_nano, done.price_nano, desk.fees.get(done.id),
            )
            for done in newest.values()
            if done.con_id in columns and done.ts > since
        ),
        key=lambda trade: (trade.ts, trade.id),
    )  # fmt: skip


async def read_contracts(
    line: Line, universe: Universe, known: Mapping[str, str], *, continues: bool
) -> tuple[dict[int, Any], dict[int, str], Mistakes]:
    """Return by column ib_async's contract, the reasons why columns are untradable, and the mistakes of the
    configuration. `known` has the contract ids with which the run has traded. Raises ConnectionError."""
    contracts: dict[int, Any] = {}
    untradable: dict[int, str] = {}
    wrong: Mistakes = []
    for column, instrument in enumerate(universe.instruments):
        symbol = instrument.symbol
        remove = f"remove {symbol} from [universe] symbols"
        details = await _details(line, library().Stock(symbol.replace(".", " "), "SMART", "USD"))
        if len(details) != 1:
            text = "is not known to the venue" if not details else f"means {len(details)} contracts at the venue"
            if continues and not details:
                untradable[column] = "the venue does not know it any more"
            else:
                wrong.append((f"{symbol} {text}", remove))
            continue
        contract, step = details[0].contract, nano(optional(details[0].sizeIncrement))
        id = known.get(symbol, "")
        if id not in ("", str(contract.conId)):
            untradable[column] = f"the symbol means another contract now, {contract.conId} in place of {id}"
        elif instrument.currency != "USD":
            wrong.append((f"{symbol} is in {instrument.currency}, and contracts here are in USD", remove))
        elif step and instrument.lot_nano % step:
            text = f"a lot of {symbol} is {instrument.lot_nano / NANO:g}, the venue's step {step / NANO:g}"
            wrong.append((text, f"set lot = {step / NANO:g}"))
        contracts[column] = contract
    return contracts, untradable, wrong


async def _details(line: Line, contract: Any) -> list[Any]:
    """Return what the venue has under a contract; nothing if it knows none (code 200)."""
    ask: Callable[[Any, int], None] = lambda client, id: client.reqContractDetails(id, contract)  # noqa: E731
    try:
        return (await line.list("contracts", ask, numbered=True)).items
    except Refused as refused:
        if "(code 200)" in str(refused):
            return []
        raise ConnectionError(f"{WHERE}: {refused}") from None
