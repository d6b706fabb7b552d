"""The rows of `quantd report --export gains` and `--export closing`: views on the ledgers of a chain of runs, each of
which carries the account of the one before."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from quantd.adapters.store.queries import END, Reader
from quantd.daemon.cli.failures import Failure
from quantd.daemon.recovery.replay import slices_of
from quantd.daemon.views.account_history import decode_folded
from quantd.daemon.views.run_ledger import HOUSE, ClosedLots, LedgerDiffers, RunLedger, Standing
from quantd.research.cli.look.exported_rows import AMOUNTS, Cost
from quantd.trading.display_text import session_date
from quantd.trading.events import Carried
from quantd.trading.execution import round_micro
from quantd.trading.instruments import ATTO_PER_MICRO
from quantd.trading.ledger.books import FrozenBook
from quantd.trading.orders import money_text, price_text, quantity_text

METHODS: Final[dict[Cost, str]] = {"average": "average cost", "fifo": "first in, first out"}

LONG_TERM_DAYS: Final = 365
"""Lots held for more days than these are long-term."""


def _ledgers(readers: Sequence[Reader], folder: Path | None, since: int, until: int) -> Iterator[RunLedger]:
    """Yield the ledger of each run, the oldest first; without `folder` no sample is valued.

    The last books of a ledger are final only after the next ledger. Raises LedgerDiffers, which names the run.
    """
    ledger = None
    for reader in readers:
        assert reader.records is not None
        universe, agents = reader.run.universe, reader.run.agents
        slices = slices_of(reader.records, reader.run.run, folder) if folder is not None else None
        ledger = RunLedger(
            universe, agents, slices, valued=folder is not None, since=since, until=until + 1, before=ledger
        )
        try:
            for _, data in reader.entries():
                ledger.add(*decode_folded(data))
        except LedgerDiffers as why:
            raise LedgerDiffers(f"run {reader.run.run}: {why}") from None
        yield ledger


def _carried_at(reader: Reader) -> int:
    """The instant (ns UTC) of the account that a run carries; later than any other if it has not begun with it."""
    events = (decode_folded(data)[0] for _, data in reader.entries())
    return next((event.since for event in events if isinstance(event, Carried)), END)


def gain_rows(
    readers: Sequence[Reader], since: int, until: int, cost: Cost, *, by_agent: bool
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of GAINS for lots closed and dividends paid from `since` to `until`, then a sum for each book and
    symbol. The `realised` of a row is the ledger's, at the average cost, also where `cost` is "fifo".

    The only book is the whole account, or with `by_agent` each book of an agent and the unallocated one.
    """
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for reader, ledger in zip(readers, _ledgers(readers, None, since, until), strict=True):
        universe = reader.run.universe
        names = {HOUSE: "account", -1: "unallocated"} | dict(enumerate(reader.run.agents))
        for lots in ledger.closed:
            if (lots.book == HOUSE) is by_agent or not since <= lots.ts <= until:
                continue
            cells, amounts = _gain_of(lots, universe.lot_nano[lots.symbol], cost)
            key = names[lots.book], universe.symbols[lots.symbol] if lots.symbol >= 0 else ""
            if lots.kind != "dividend":
                sums[key] = [total + amount for total, amount in zip(sums[key], amounts, strict=True)]
            yield lots.ts, *key, *cells
    for key, amounts in sorted(sums.items()):
        yield None, *key, "sum", *[""] * 6, *map(money_text, amounts), "", "", METHODS[cost]


def _gain_of(lots: ClosedLots, lot_nano: int, cost: Cost) -> tuple[list[str], list[int]]:
    """The columns of GAINS from `kind` on, and the amounts from `cost` to `realised` in micro-currency."""
    if lots.kind == "dividend":
        day = str(session_date(lots.ts))
        return [lots.kind, *[""] * 4, day, "", "", money_text(lots.proceeds), *[""] * 6], []
    realised = lots.proceeds - lots.cost
    if cost == "fifo" and lots.lots > 0:
        lots = lots._replace(cost=lots.lot_micro, buy_fee=lots.lot_fee)
    elif cost == "fifo" and lots.lots:
        lots = lots._replace(proceeds=lots.lot_micro, sell_fee=lots.lot_fee)
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
    bought_at, sold_at = lots.cost + lots.buy_fee, lots.proceeds - lots.sell_fee
    amounts = [bought_at, sold_at, sold_at - bought_at, lots.buy_fee + lots.sell_fee, realised]
    term = "" if held is None else "long" if held > LONG_TERM_DAYS else "short"
    (bought, sold), (buy_price, sell_price) = (["" if day is None else str(day) for day in days], prices)
    side = "short" if lots.lots < 0 else "long"
    cells = [lots.kind, side, quantity_text(abs(lots.lots), lot_nano), bought, buy_price, sold, sell_price]
    return [*cells, *map(money_text, amounts), "" if held is None else str(held), term, METHODS[cost]], amounts


def closing_rows(readers: Sequence[Reader], folder: Path, since: int, until: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of CLOSING: each book from the last sample up to `since` to the last one up to `until` (ns UTC),
    their sum, then the positions of each book.

    A sample at midnight closes the day before. What a carry-over moves between books is `moved`. Raises Failure without
    a sample in the period, and LedgerDiffers where a row does not add up.
    """
    while len(readers) > 1 and _carried_at(readers[1]) <= since:
        readers = readers[1:]  # a run that ended before the period, whose market need not be there
    ledgers = list(_ledgers(readers, folder, since, until))
    parts = [
        (reader.run, ledger.ledger.names, ledger.first, ledger.last)
        for reader, ledger in zip(readers, ledgers, strict=True)
        if ledger.first is not None and ledger.last is not None and ledger.last.ts > since
    ]
    if not parts:
        raise Failure(
            f"run {readers[-1].run.run} has no sample between --from and --to; --export equity lists its samples"
        )
    moved = 1 + AMOUNTS.index("moved")
    rows: dict[str, list[int]] = {}
    for run, names, first, last in parts:
        openings = dict.fromkeys(rows, 0) | dict(zip(names, first.equities, strict=True))
        if rows:
            if difference := sum(openings.values()) - sum(row[-2] for row in rows.values()):
                raise LedgerDiffers(f"run {run.run} carries an account that differs by {money_text(difference)}")
            for name, opening in openings.items():
                row = rows.setdefault(name, [0] * (len(AMOUNTS) + 3))
                row[moved] += opening - row[-2]
                row[-2:] = 0, 0
        else:
            rows = {name: [opening, *[0] * (len(AMOUNTS) + 2)] for name, opening in openings.items()}
        for k, name in enumerate(names):
            changes, closing = _changes(k, k if k < len(names) - 1 else -1, first, last)
            row = rows[name]
            row[1:-2] = [total + change for total, change in zip(row[1:-2], changes, strict=True)]
            row[-2:] = last.equities[k], closing.cash_micro
    for name, row in rows.items():
        if difference := sum(row[:-2]) - row[-2]:
            raise LedgerDiffers(f"the closing of {name} does not add up: it differs by {money_text(difference)}")
    ts = last.ts
    for name, row in rows.items():
        if any(row):  # else the book had no capital
            yield ts, name, "", *map(money_text, row), *[""] * 4
    yield ts, "account", "", *map(money_text, map(sum, zip(*rows.values(), strict=True))), *[""] * 4
    universe = run.universe
    for k, name in enumerate(names):
        after = FrozenBook.of(last.cells[k + 1])
        for symbol, (lots, cost) in enumerate(zip(after.lots, after.cost_micro, strict=True)):
            if lots:
                lot_nano, mark = universe.lot_nano[symbol], int(last.marks_nano[symbol])
                value = money_text(round_micro(lots * lot_nano * mark)[0])
                held = quantity_text(lots, lot_nano), price_text(mark), value, money_text(cost)
                yield ts, name, universe.symbols[symbol], *[""] * (len(AMOUNTS) + 3), *held


def _changes(k: int, number: int, first: Standing, last: Standing) -> tuple[list[int], FrozenBook]:
    """The amounts of AMOUNTS of a book between two standings, and the book at the second one."""
    before, after = (FrozenBook.of(standing.cells[k + 1]) for standing in (first, last))
    amounts = {column: last.sums[column, number] - first.sums[column, number] for column in AMOUNTS}
    amounts["realised"] = after.realised_micro - before.realised_micro
    amounts["fees"] -= after.fees_micro - before.fees_micro
    amounts["unrealised"] = (last.equities[k] - after.cash_micro - sum(after.cost_micro)) - (
        first.equities[k] - before.cash_micro - sum(before.cost_micro)
    )
    return list(amounts.values()), after
