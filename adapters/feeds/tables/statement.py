"""What a reader took a table's columns for, in words."""

from collections.abc import Sequence
from typing import Final, NamedTuple

MOST_STATED: Final = 5
"""Statements of a folder or archive that are listed; further ones are counted."""

NO_VOLUMES: Final = "none in the table, so 0: orders fill with [broker] participation = 0 only"
"""The words about the volume of a table without a column of volumes."""


class Statement(NamedTuple):
    """The reading of one table: its time, prices, volume, symbol and actions in words, what is unused, and notes."""

    name: str
    time: str
    prices: str
    volume: str
    symbol: str
    actions: str = ""
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the statement in one line."""
        parts = [f"time: {self.time}", f"prices: {self.prices}", f"volume: {self.volume}"]
        parts += [self.actions] if self.actions else []
        parts.append(f"symbol: {self.symbol}")
        parts += [f"not used: {', '.join(self.unused)}"] if self.unused else []
        parts += [f"note: {', '.join(self.notes)}"] if self.notes else []
        return "; ".join(parts)


def stated(statements: Sequence[Statement]) -> list[str]:
    """Return the lines about several tables: equal ones once, each with the number of its tables."""
    groups: dict[tuple[str, ...], list[Statement]] = {}
    for statement in statements:
        groups.setdefault((statement.time, statement.prices, statement.volume, *statement.unused), []).append(statement)
    lines = []
    for alike in list(groups.values())[:MOST_STATED]:
        more = f" and {len(alike) - 1} more like it" if len(alike) > 1 else ""
        lines.append(f"{alike[0].name}{more}: {alike[0].text()}")
    if (omitted := len(groups) - MOST_STATED) > 0:
        lines.append(f"and {omitted} more kinds of tables")
    return lines
