"""`quantd report --export`: the tables of a run as CSV or JSON, with exact decimals and instants in ISO 8601 UTC."""

import csv
import io
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from quantd.daemon.cli.output import iso, say, write_whole
from quantd.trading.display_text import csv_cell

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader

FILLS: Final = ("ts", "order", "symbol", "side", "qty", "price", "fee", "agent")

GAINS: Final = (
    "ts", "book", "symbol", "kind", "side", "qty", "bought", "buy_price", "sold", "sell_price", "cost", "proceeds",
    "gain", "fees", "realised", "days", "term", "method",
)  # fmt: skip

GAINS_NOTE: Final = (
    "lots closed at the average cost of their position, dated first in, first out, without wash sales, the rules of a "
    "country or another currency"
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
    reader: "Reader", what: str, since: int, until: int, out: Path | None, folder: Path, *, as_json: bool
) -> None:  # fmt: skip
    """Write rows of a run with instants from `since` to `until`, ns UTC, to a file or to standard output.

    The rows are CSV, or with `as_json` one JSON document. `folder` is the state folder.
    """
    rows = [
        ("" if ts is None else iso(ts), *fields)
        for ts, *fields in _rows(reader, what, since, until, folder)
        if COLUMNS[what] in (GAINS, CLOSING) or since <= ts <= until
    ]
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
        say(f"{out}: {len(rows)} rows of run {reader.run.run}")


def _rows(reader: "Reader", what: str, since: int, until: int, folder: Path) -> Iterable[tuple[Any, ...]]:
    """The rows of a table; each begins with its instant in ns UTC, None for a sum over the period.

    The rows of gains and of a closing are those of the period.
    """
    if COLUMNS[what] in (GAINS, CLOSING):
        from quantd.research.cli.look.ledger_rows import closing_rows, gain_rows  # loads the engine

        if what == "closing":
            return closing_rows(reader, folder, since, until)
        return gain_rows(reader, since, until, by_agent=what == "agent-gains")
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
