"""Statements in words of how the reader of tables read each column of a table."""

from collections.abc import Sequence
from typing import Final, NamedTuple

MOST_STATED: Final = 5
"""Most statements that are listed for a folder or archive; the number of further ones follows."""

NO_VOLUMES: Final = "none in the table, so 0: orders fill with [broker] participation = 0 only"
"""The words about the volume of a table without a column of volumes."""


class Statement(NamedTuple):
    """How one table was read, in words: its time, prices, volume, symbol and actions, the unused columns, and notes."""

    name: str
    time: str
    prices: str
    volume: str
    symbol: str
    actions: str = ""
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        parts = [f"time: {self.time}", f"prices: {self.prices}", f"volume: {self.volume}"]
        parts += [self.actions] if self.actions else []
        parts.append(f"symbol: {self.symbol}")
        parts += [f"not used: {', '.join(self.unused)}"] if self.unused else []
        parts += [f"note: {', '.join(self.notes)}"] if self.notes else []
        return "; ".join(parts)


def stated(statements: Sequence[Statement]) -> list[str]:
    """Return one line for each different way in which tables were read, with the first such table and the number of
    further ones."""
    groups: dict[tuple[str, ...], list[Statement]] = {}
    for statement in statements:
        groups.setdefault((statement.time, statement.prices, statement.volume, *statement.unused), []).append(statement)
    lines = []
    for same_kind in list(groups.values())[:MOST_STATED]:
        more_text = f" and {len(same_kind) - 1} more like it" if len(same_kind) > 1 else ""
        lines.append(f"{same_kind[0].name}{more_text}: {same_kind[0].text()}")
    if (omitted := len(groups) - MOST_STATED) > 0:
        lines.append(f"and {omitted} more kinds of tables")
    return lines
