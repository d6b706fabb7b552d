"""Options of commands that read a table of bars: facts about it that the table itself does not show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

import typer

from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.adapters.feeds.recorded.bar_files import BarSource
    from quantd.adapters.feeds.table_files.reader import ReadOptions

Symbol = Annotated[str, typer.Option("--symbol", metavar="NAME", help="Symbol of a table without one.")]
Dates = Annotated[
    Literal["", "day-first", "month-first"], typer.Option("--dates", help="Order of dates such as 02/03/2024.")
]
Unit = Annotated[Literal["", "s", "ms", "us", "ns"], typer.Option("--unit", help="Unit of stamps in integers.")]
Scale = Annotated[
    Literal["", "1", "1e-4", "1e-9", "1e-16"], typer.Option("--scale", help="Unit of prices in integers.")
]
Decimal = Annotated[Literal["", "point", "comma"], typer.Option("--decimal", help="Decimal sign of numbers.")]
Prices = Annotated[
    Literal["", "raw", "adjusted"], typer.Option("--prices", help="Whether prices hold the actions of their file.")
]
Overlap = Annotated[
    Literal["", "first", "last"], typer.Option("--overlap", help="Which file's bars count where several differ.")
]
Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="ROLE=NAME", help="Column of a role: close=Last. Repeat it.")
]

ROLES: Final = ("time", "clock", "symbol", "open", "high", "low", "close", "volume", "split", "dividend")
"""Meanings that a column of a table may have."""


def asked_of(
    symbol: str = "",
    zone: str = "",
    dates: str = "",
    unit: str = "",
    scale: str = "",
    decimal: str = "",
    columns: list[str] | None = None,
    prices: str = "",
    overlap: str = "",
) -> "ReadOptions":
    """Return the options about a table as one value. Raises Failure for a --column that is not ROLE=NAME."""
    from quantd.adapters.feeds.table_files.reader import ReadOptions

    column_of_role: dict[str, str] = {}
    for text in columns or ():
        role, sign, name = text.partition("=")
        if role not in ROLES or not sign or not name:
            raise Failure(f"--column {text} is not ROLE=NAME; write one of these roles: {', '.join(ROLES)}", USAGE)
        column_of_role[role] = name
    return ReadOptions(symbol, zone, dates, unit, scale, decimal, column_of_role, prices=prices, overlap=overlap)


def source_of(file: Path, asked: "ReadOptions") -> "BarSource":
    """Return the source of a file's bars: the file itself if it has the columns of quantd, else its table as read.

    Raises FeedError for an unreadable table.
    """
    from quantd.adapters.feeds.recorded.bar_files import BarFrame, foreign_table
    from quantd.adapters.feeds.table_files.plain import is_plain
    from quantd.adapters.feeds.table_files.reader import NOTHING_ASKED

    if is_plain(file) and asked._replace(zone="") == NOTHING_ASKED:  # a zone applies to a plain file too
        return file
    table = foreign_table(file, asked)
    return BarFrame(
        table.frame, file.name, table.actions if len(table.actions) else None, table.statements, table.lines
    )


def checked_zone(name: str) -> str:
    """Return the name of a time zone unchanged. Raises Failure for an unknown one."""
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        from quantd.daemon.config.mistakes import nearest

        close_name = nearest(name, sorted(available_timezones()))
        hint = f"Did you mean {close_name}?" if close_name else "Write a name like America/New_York"
        raise Failure(f"--zone {name} is not a time zone. {hint}", USAGE) from None
    return name
