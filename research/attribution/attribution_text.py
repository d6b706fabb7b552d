"""The results of attribution as text: aligned tables that fit a terminal."""

from collections.abc import Iterable, Sequence
from typing import Final

NO_SECTORS: Final = (
    'sectors are unknown: give each instrument one in [universe] instruments, {symbol = "SPY", sector = "..."}'
)


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column aligned to the left, all other columns to the right."""
    cells = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    first_width, *other_widths = widths
    return [
        "  ".join(
            [row[0].ljust(first_width), *(cell.rjust(width) for cell, width in zip(row[1:], other_widths, strict=True))]
        )
        for row in cells
    ]


def percent(value: float) -> str:
    """Format a fraction as signed percent."""
    # -0.0 + 0.0 is 0.0, which is printed as +0.00%
    return f"{value + 0.0:+.2%}"
