"""Options of commands that read a table of bars: facts about it that the table itself does not show."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

import typer

from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.adapters.feeds.recorded.bar_files import BarSource
    from quantd.adapters.feeds.table_files.reader import ReadOptions

ROLES: Final = ("time", "clock", "symbol", "open", "high", "low", "close", "volume", "split", "dividend")
"""Meanings that a column of a table may have."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    """The options of a command that reads tables of bars."""

    symbol: Annotated[str, typer.Option("--symbol", metavar="NAME", help="Symbol of a table without one.")] = ""
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Clock of stamps without an offset.")] = ""
    dates: Annotated[
        Literal["", "day-first", "month-first"], typer.Option("--dates", help="Order of dates such as 02/03/2024.")
    ] = ""
    unit: Annotated[Literal["", "s", "ms", "us", "ns"], typer.Option("--unit", help="Unit of stamps in integers.")] = ""
    scale: Annotated[
        Literal["", "1", "1e-4", "1e-9", "1e-16"], typer.Option("--scale", help="Unit of prices in integers.")
    ] = ""
    decimal: Annotated[Literal["", "point", "comma"], typer.Option("--decimal", help="Decimal sign of numbers.")] = ""
    prices: Annotated[
        Literal["", "raw", "adjusted"], typer.Option("--prices", help="Whether prices hold the actions of their file.")
    ] = ""
    overlap: Annotated[
        Literal["", "first", "last"], typer.Option("--overlap", help="Which file's bars count where several differ.")
    ] = ""
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="Column of a role: close=Last. Repeat it."),
    ] = None

    def asked(self) -> "ReadOptions":
        """Return the options as one value. Raises Failure for an unknown zone, and a --column that is not ROLE=NAME."""
        from quantd.adapters.feeds.table_files.reader import ReadOptions

        zone, column_of_role = checked_zone(self.zone), dict[str, str]()
        for text in self.column or ():
            role, sign, name = text.partition("=")
            if role not in ROLES or not sign or not name:
                raise Failure(f"--column {text} is not ROLE=NAME; write one of these roles: {', '.join(ROLES)}", USAGE)
            column_of_role[role] = name
        return ReadOptions(
            self.symbol, zone, self.dates, self.unit, self.scale, self.decimal, column_of_role, prices=self.prices,
            overlap=self.overlap,
        )  # fmt: skip


NO_TABLE_OPTIONS: Final = TableOptions()


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
