"""`quantd report --export`: the tables of a run, and of the runs whose account it carries on, as CSV or JSON.

Amounts are exact decimals, and instants are ISO 8601 UTC.
"""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from quantd.daemon.cli.failures import note
from quantd.daemon.cli.output import iso, say, write_whole
from quantd.trading.display_text import csv_cell, session_date

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader

Cost = Literal["average", "fifo"]
"""The cost of closed lots: the average cost of their position, or that of the lots themselves, first in, first out."""

FILLS: Final = ("ts", "order", "symbol", "side", "qty", "price", "fee", "agent")

GAINS: Final = (
    "ts", "book", "symbol", "kind", "side", "qty", "bought", "buy_price", "sold", "sell_price", "cost", "proceeds",
    "gain", "fees", "realised", "days", "term", "method",
)  # fmt: skip

GAINS_NOTE: Final = (
    "closed lots, dated first in, first out, at the cost of --cost, without wash sales, the rules of a country or "
    "another currency"
)

AMOUNTS: Final = ("deposits", "moved", "realised", "unrealised", "dividends", "interest", "borrow", "fees")
"""The columns of a closing that add up from the opening equity of a book to its closing equity."""

CLOSING: Final = ("ts", "book", "symbol", "opening", *AMOUNTS, "closing", "cash", "qty", "price", "value", "cost")

COLUMNS: Final = {
    "fills": FILLS,
    "agent-fills": FILLS,
    "orders": ("ts", "order", "symbol", "side", "qty", "limit", "state", "price", "fee", "reason", "agent"),
    "equity": ("ts", "equity", "cash", "gross", "limit_drawdown"),
    "gains": GAINS,
    "agent-gains": GAINS,
    "closing": CLOSING,
}
"""What can be exported -> its columns.

`agent-fills` has a row for each agent's share of a fill, and for a cross. `gains` are those of the whole account, in
which crosses and transfers between books do not count, and `agent-gains` those of each book.
"""

FOREIGN: Final = frozenset({"order", "symbol", "agent", "book"})
"""Columns with names that others chose. quantd forms the text of the other columns, in which nothing needs quotes."""


def export(
    readers: "Sequence[Reader]", what: str, since: int, until: int, out: Path | None, folder: Path, cost: Cost, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Write rows of a run with instants from `since` to `until`, ns UTC, to a file or to standard output.

    `readers` are of the runs whose account it carries on, the oldest first, and of the run. The rows are CSV, or with
    `as_json` one JSON document. `folder` is the state folder. A sentence on standard error names a `since` before the
    day of the first sample, and a period without a sample.
    """
    from quantd.trading.sessions import DAY_NS  # loads numpy

    rows = [
        ("" if ts is None else iso(ts), *fields)
        for ts, *fields in _rows(readers, what, since, until, folder, cost)
        if COLUMNS[what] in (GAINS, CLOSING) or since <= ts <= until
    ]
    reader, first = readers[-1], readers[0]
    if not any(one.equity(since=since, until=until, last=1) for one in readers) and (samples := first.equity()):
        days = [session_date(sample.ts - 1) for sample in (samples[0], reader.equity(last=1)[-1])]
        note(f"no sample is in this period: the record of run {reader.run.run} is of {days[0]} to {days[1]}")
    elif since > 1 and not first.equity(until=since + DAY_NS, last=1):  # 1: no --from
        begun = next((f"begins on {session_date(sample.ts - 1)}" for sample in first.equity()), "has no sample")
        note(f"--from {session_date(since)} is before the record of this account: run {first.run.run} {begun}")
    if as_json:
        named = [dict(zip(COLUMNS[what], row, strict=True)) for row in rows]
        document = {"run": reader.run.run, "currency": reader.run.universe.currency, "table": what, "rows": named}
        data = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    else:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS[what])
        cell = lru_cache(maxsize=4096)(csv_cell)
        foreign = [name in FOREIGN for name in COLUMNS[what]]
        for row in rows:
            writer.writerow(
                [cell(field) if is_foreign else field for field, is_foreign in zip(row, foreign, strict=True)]
            )
        data = text.getvalue().encode()
    if out is None:
        sys.stdout.write(data.decode())
    else:
        write_whole(out, data)
        names = [one.run.run for one in readers]
        say(f"{out}: {len(rows)} rows of {'run' if len(names) == 1 else 'runs'} {', '.join(names)}")


def _rows(
    readers: "Sequence[Reader]", what: str, since: int, until: int, folder: Path, cost: Cost
) -> Iterable[tuple[Any, ...]]:
    """The rows of a table; each begins with its instant in ns UTC, None for a sum over the period.

    The rows of gains and of a closing are those of the period.
    """
    if COLUMNS[what] in (GAINS, CLOSING):
        from quantd.research.cli.look.ledger_rows import closing_rows, gain_rows  # loads the engine

        if what == "closing":
            return closing_rows(readers, folder, since, until)
        return gain_rows(readers, since, until, cost, by_agent=what == "agent-gains")
    return (row for reader in readers for row in _stored_rows(reader, what))


def _stored_rows(reader: "Reader", what: str) -> Iterable[tuple[Any, ...]]:
    """The rows of a table of the store, of one run."""
    if what == "orders":
        from quantd.daemon.views.limit_rows import reason_name  # loads the engine

        return (
            (
                o.ts, o.id, o.symbol, o.side, o.qty, o.limit, o.state, o.price, o.fee, reason_name(int(o.reason or 0)),
                o.agent,
            )
            for o in reader.orders()
        )  # fmt: skip
    if what == "equity":
        from quantd.trading.orders import money_text

        return (
            (
                p.ts, money_text(p.equity_micro), money_text(p.cash_micro), repr(float(p.gross)),
                repr(float(p.drawdown)),
            )
            for p in reader.equity()
        )  # fmt: skip
    fills = reader.fills() if what == "fills" else reader.shares()
    return ((f.ts, f.order, f.symbol, f.side, f.qty, f.price, f.fee, f.agent) for f in fills)
