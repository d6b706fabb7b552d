"""Write fills, orders or equity as CSV: exact decimals, ISO 8601 UTC."""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Run, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import cell, iso, say
from quantd.daemon.cli.places import place
from quantd.daemon.views.limit_rows import reason_name
from quantd.trading.exit_codes import USAGE

COLUMNS: Final = {
    "fills": ("ts", "order", "symbol", "side", "qty", "price", "fee", "agent"),
    "orders": ("ts", "order", "symbol", "side", "qty", "limit", "state", "reason", "agent"),
    "equity": ("ts", "equity", "cash", "gross", "drawdown"),
}


def export(
    what: Annotated[str, typer.Argument(metavar="fills|orders|equity")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.csv", help="A file; standard output without it.")
    ] = None,
    run: Run = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="agent", help="Fills by agent: one row per share, and crosses.")
    ] = None,
) -> None:
    if what not in COLUMNS:
        raise Failure(f"{what!r} cannot be exported; there are: {', '.join(COLUMNS)}", USAGE)
    if by not in (None, "agent") or (by and what != "fills"):
        raise Failure("--by agent is for fills: one row for each agent's share, and crosses", USAGE)
    reader = place(config, state).reader(run)
    rows: Iterable[Sequence[str]]
    if what == "fills":
        found = reader.shares() if by else reader.fills()
        rows = [(iso(f.ts), f.order, f.symbol, f.side, f.qty, f.price, f.fee, f.agent) for f in found]
    elif what == "orders":
        rows = [
            (
                iso(o.order.ts), o.order.id, o.order.symbol, o.order.side, o.order.qty, o.order.limit, o.order.state,
                reason_name(int(o.order.reason or 0)), o.order.agent,
            )
            for o in reader.orders()
        ]  # fmt: skip
    else:
        rows = [(iso(p.ts), p.equity, p.cash, _number(p.gross), _number(p.drawdown)) for p in reader.equity()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[what])
    count = 0
    for row in rows:
        writer.writerow(map(cell, row))
        count += 1
    if out is None:
        sys.stdout.write(text.getvalue())
        return
    _write(out, text.getvalue())
    say(f"{out}: {count} rows of run {reader.run.run}")


def _number(value: float) -> str:
    """The shortest decimal that is this float."""
    return repr(float(value))


def _write(out: Path, text: str) -> None:
    """All of it or nothing: a reader never sees half a file."""
    part = out.with_name(out.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(out)


COMMAND: Final = Command("Look", 100, export)
