"""The rows of `quantd report --export gains` and `--export closing`: views on the ledger of a run."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quantd.adapters.store.queries import Reader
from quantd.daemon.cli.failures import Failure
from quantd.daemon.recovery.replay import recorded_parts
from quantd.daemon.views.account_history import decode_folded
from quantd.daemon.views.run_ledger import HOUSE, ClosedLots, LedgerDiffers, RunLedger
from quantd.research.cli.look.exported_rows import AMOUNTS
from quantd.trading.display_text import session_date
from quantd.trading.execution import round_micro
from quantd.trading.instruments import ATTO_PER_MICRO
from quantd.trading.ledger.books import FrozenBook
from quantd.trading.orders import money_text, price_text, quantity_text

METHOD: Final = "average cost"

LONG_TERM_DAYS: Final = 365
"""Lots held for more days than these are long-term."""


def _folded(reader: Reader, ledger: RunLedger) -> RunLedger:
    for _, data in reader.entries():
        ledger.add(*decode_folded(data))
    return ledger


def gain_rows(reader: Reader, since: int, until: int, *, by_agent: bool) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of GAINS for lots closed and dividends paid from `since` to `until`, then a sum for each book and
    symbol, whose `realised` is the ledger's.

    The only book is the whole account, or with `by_agent` each book of an agent and the unallocated one.
    """
    universe, agents = reader.run.universe, reader.run.agents
    names = {HOUSE: "account", -1: "unallocated"} | dict(enumerate(agents))
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 5)
    for lots in _folded(reader, RunLedger(universe, agents, valued=False)).closed:
        if (lots.book == HOUSE) is by_agent or not since <= lots.ts <= until:
            continue
        cells, amounts = _gain_of(lots, universe.lot_nano[lots.symbol])
        if lots.kind != "dividend":
            key = lots.book, lots.symbol
            sums[key] = [total + amount for total, amount in zip(sums[key], amounts, strict=True)]
        yield lots.ts, names[lots.book], universe.symbols[lots.symbol] if lots.symbol >= 0 else "", *cells
    for (book, symbol), amounts in sorted(sums.items()):
        texts = map(money_text, amounts)
        yield None, names[book], universe.symbols[symbol], "sum", *[""] * 6, *texts, "", "", METHOD


def _gain_of(lots: ClosedLots, lot_nano: int) -> tuple[list[str], list[int]]:
    """The columns of GAINS from `kind` on, and the amounts from `cost` to `realised` in micro-currency."""
    if lots.kind == "dividend":
        day = str(session_date(lots.ts))
        return [lots.kind, *[""] * 4, day, "", "", money_text(lots.proceeds), *[""] * 6], []
    days = [session_date(ts) if ts else None for ts in (lots.opened, lots.ts)]
    size = abs(lots.lots) * lot_nano
    # the average price of the opening, and of a payment that has no price
    prices = [price_text(amount * ATTO_PER_MICRO // size) if size else "" for amount in (lots.cost, lots.proceeds)]
    if lots.lots < 0:
        days.reverse()
    if lots.price_nano:
        prices[lots.lots > 0] = price_text(lots.price_nano)
    opened, closed = sorted(day for day in days if day) if all(days) else (None, None)
    held = (closed - opened).days if opened and closed else None
    realised, fees = lots.proceeds - lots.cost, lots.buy_fee + lots.sell_fee
    amounts = [lots.cost + lots.buy_fee, lots.proceeds - lots.sell_fee, realised - fees, fees, realised]
    term = "" if held is None else "long" if held > LONG_TERM_DAYS else "short"
    (bought, sold), (buy_price, sell_price) = (["" if day is None else str(day) for day in days], prices)
    side = "short" if lots.lots < 0 else "long"
    cells = [lots.kind, side, quantity_text(abs(lots.lots), lot_nano), bought, buy_price, sold, sell_price]
    return [*cells, *map(money_text, amounts), "" if held is None else str(held), term, METHOD], amounts


def closing_rows(reader: Reader, folder: Path, since: int, until: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of CLOSING: each book from the last sample up to `since` to the last one up to `until` (ns UTC),
    their sum, then the positions of each book.

    A sample at midnight closes the day before. Raises Failure without a sample in the period, and LedgerDiffers where a
    row does not add up.
    """
    universe, agents = reader.run.universe, reader.run.agents
    assert reader.records is not None
    parts = recorded_parts(reader.records, reader.run.run, folder)
    ledger = RunLedger(universe, agents, parts.slices if parts is not None else None, since=since, until=until + 1)
    first, last = _folded(reader, ledger).first, ledger.last
    if first is None or last is None or last.ts <= since:
        raise Failure(f"run {reader.run.run} has no sample between --from and --to; --export equity lists its samples")
    totals = [0] * (len(AMOUNTS) + 3)
    rows, positions = [], []
    for k, name in enumerate(ledger.ledger.names):
        number = k if k < len(agents) else -1
        opening, closing = first.equities[k], last.equities[k]
        before, after = (FrozenBook.of(standing.cells[k + 1]) for standing in (first, last))
        amounts = {column: last.sums[column, number] - first.sums[column, number] for column in AMOUNTS}
        amounts["realised"] = after.realised_micro - before.realised_micro
        amounts["fees"] -= after.fees_micro - before.fees_micro
        amounts["unrealised"] = (closing - after.cash_micro - sum(after.cost_micro)) - (
            opening - before.cash_micro - sum(before.cost_micro)
        )
        if difference := opening + sum(amounts.values()) - closing:
            raise LedgerDiffers(f"the closing of {name} does not add up: it differs by {money_text(difference)}")
        row = [opening, *amounts.values(), closing, after.cash_micro]
        if not any(row):
            continue  # the book had no capital
        totals = [total + amount for total, amount in zip(totals, row, strict=True)]
        rows.append((last.ts, name, "", *map(money_text, row), *[""] * 4))
        for symbol, (lots, cost) in enumerate(zip(after.lots, after.cost_micro, strict=True)):
            if lots:
                lot_nano, mark = universe.lot_nano[symbol], int(last.marks_nano[symbol])
                value = money_text(round_micro(lots * lot_nano * mark)[0])
                held = quantity_text(lots, lot_nano), price_text(mark), value, money_text(cost)
                positions.append((last.ts, name, universe.symbols[symbol], *[""] * (len(AMOUNTS) + 3), *held))
    yield from rows
    yield (last.ts, "account", "", *map(money_text, totals), *[""] * 4)
    yield from positions
