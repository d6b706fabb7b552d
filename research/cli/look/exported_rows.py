"""`quantd report --export`: fills, orders or equity as CSV, with exact decimals and instants in ISO 8601 UTC."""

import csv
import io
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantd.daemon.cli.output import iso, say, write_whole
from quantd.trading.display_text import csv_cell

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader

FILLS: Final = ("ts", "order", "symbol", "side", "qty", "price", "fee", "agent")

COLUMNS: Final = {
    "fills": FILLS,
    "agent-fills": FILLS,
    "orders": ("ts", "order", "symbol", "side", "qty", "limit", "state", "price", "fee", "reason", "agent"),
    "equity": ("ts", "equity", "cash", "gross", "limit_drawdown"),
}
"""What can be exported -> its columns. `agent-fills` has a row for each agent's share of a fill, and for a cross."""

FOREIGN: Final = frozenset({"order", "symbol", "agent"})
"""Columns with names that others chose. quantd forms the text of the other columns, in which nothing needs quotes."""


def export(reader: "Reader", what: str, since: int, until: int, out: Path | None) -> None:
    """Write rows of a run with instants from `since` to `until`, ns UTC, as CSV to a file or to standard output."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[what])
    cell = lru_cache(maxsize=4096)(csv_cell)
    foreign = [name in FOREIGN for name in COLUMNS[what]]
    count = 0
    for ts, *fields in _rows(reader, what):
        if since <= ts <= until:
            count += 1
            row = (iso(ts), *fields)
            writer.writerow(
                [cell(field) if is_foreign else field for field, is_foreign in zip(row, foreign, strict=True)]
            )
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(out, text.getvalue().encode())
        say(f"{out}: {count} rows of run {reader.run.run}")


def _rows(reader: "Reader", what: str) -> Iterable[tuple[Any, ...]]:
    """The rows of a table; each begins with its instant in ns UTC."""
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
