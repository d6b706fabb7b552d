"""Write fills, orders or equity as CSV: exact decimals, ISO 8601 UTC."""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Run, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, say, write_whole
from quantd.daemon.cli.places import place
from quantd.trading.display_text import csv_cell
from quantd.trading.exit_codes import USAGE

COLUMNS: Final = {
    "fills": ("ts", "order", "symbol", "side", "qty", "price", "fee", "agent"),
    "orders": ("ts", "order", "symbol", "side", "qty", "limit", "state", "reason", "agent"),
    "equity": ("ts", "equity", "cash", "gross", "drawdown"),
}

FOREIGN: Final = frozenset({"order", "symbol", "agent"})
"""Columns with names that others chose. quantd forms the text of the other columns, in which nothing needs quotes."""


def export(
    what: Annotated[str, typer.Argument(metavar="fills|orders|equity")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.csv", help="The file; standard output without it.")
    ] = None,
    run: Run = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="agent", help="Fills by agent: one row per share and cross.")
    ] = None,
) -> None:
    if what not in COLUMNS:
        raise Failure(f"{what!r} cannot be exported; there are: {', '.join(COLUMNS)}", USAGE)
    if by not in (None, "agent") or (by and what != "fills"):
        raise Failure("--by agent is an option of fills", USAGE)
    reader = place(config, state).reader(run)
    rows: Iterable[Sequence[str]]
    if what == "fills":
        fills = reader.shares() if by else reader.fills()
        rows = ((iso(f.ts), f.order, f.symbol, f.side, f.qty, f.price, f.fee, f.agent) for f in fills)
    elif what == "orders":
        from quantd.daemon.views.limit_rows import reason_name  # loads the engine

        rows = (
            (iso(o.ts), o.id, o.symbol, o.side, o.qty, o.limit, o.state, reason_name(int(o.reason or 0)), o.agent)
            for o in reader.orders()
        )
    else:
        from quantd.trading.orders import money_text

        rows = (
            (
                iso(point.ts),
                money_text(point.equity_micro),
                money_text(point.cash_micro),
                repr(float(point.gross)),
                repr(float(point.drawdown)),
            )
            for point in reader.equity()
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[what])
    cell = lru_cache(maxsize=4096)(csv_cell)
    # quantd forms the text of the other columns, in which nothing needs quotes
    foreign = [name in FOREIGN for name in COLUMNS[what]]
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  # the count is printed below
        writer.writerow([cell(field) if is_foreign else field for field, is_foreign in zip(row, foreign, strict=True)])
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(out, text.getvalue().encode())
        say(f"{out}: {count} rows of run {reader.run.run}")


COMMAND: Final = Command("Look", 100, export)
