"""Statements in words of how the reader of tables read each column of a table."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.feeds.bars.stamps import CLOCKS
from quantd.adapters.feeds.table_files.moments import Moments, clock_of, is_midnight
from quantd.adapters.feeds.table_files.roles import Roles, word
from quantd.adapters.feeds.table_files.spelled_numbers import NOTHING, Spelling

MOST_STATED: Final = 5
"""Most statements that are listed for a folder or archive; the number of further ones follows."""

NO_VOLUMES: Final = "none in the table, so 0: fills need [broker] participation = 0, and are not cut then"
"""The words about the volume of a table without a column of volumes."""


LeftOut = tuple[int, str]
"""A row that is no bar: its line in the file, and what it has instead, such as "blank"."""

_MOST_SHOWN: Final = 4


class Statement(NamedTuple):
    """How one table was read, in words: its time, prices, volume, symbol and actions, the unused columns, and notes.

    `left_out` counts its rows that are no bars. `currency` is the code in its column of currencies, empty without one.
    """

    name: str
    time: str
    prices: str
    volume: str
    symbol: str
    actions: str = ""
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: int = 0
    currency: str = ""

    def text(self) -> str:
        parts = [f"time: {self.time}", f"prices: {self.prices}", f"volume: {self.volume}"]
        parts += [self.actions] if self.actions else []
        parts.append(f"symbol: {self.symbol}")
        parts += [f"currency: {self.currency}"] if self.currency else []
        parts += [f"not used: {', '.join(self.unused)}"] if self.unused else []
        parts += [f"note: {', '.join(self.notes)}"] if self.notes else []
        return "; ".join(parts)


def stated(statements: Sequence[Statement]) -> list[str]:
    """Return one line for each different way in which tables were read, with the first such table and the number of
    further ones."""
    groups: dict[tuple[str, ...], list[Statement]] = {}
    for statement in statements:
        actions = re.sub(r"\d+", "", statement.actions)
        key = (statement.time, statement.prices, statement.volume, actions, *statement.unused)
        groups.setdefault(key, []).append(statement)
    lines = []
    for same_kind in list(groups.values())[:MOST_STATED]:
        more_text = f" and {len(same_kind) - 1} more like it" if len(same_kind) > 1 else ""
        lines.append(f"{same_kind[0].name}{more_text}: {same_kind[0].text()}")
    if (omitted := len(groups) - MOST_STATED) > 0:
        lines.append(f"and {omitted} more kinds of tables")
    left_out = sum(statement.left_out for statement in statements)
    if left_out > sum(same_kind[0].left_out for same_kind in list(groups.values())[:MOST_STATED]):
        lines.append(f"{left_out:,} rows of these {len(statements):,} tables are no bars and are left out")
    return lines


def left_out_note(rows: Sequence[LeftOut]) -> str:
    """Return the note about rows that are no bars: their number, and the line and content of the first ones."""
    shown = [f"line {line} ({what})" for line, what in sorted(rows)[:_MOST_SHOWN]]
    more = [f"{len(rows) - _MOST_SHOWN:,} more"] if len(rows) > _MOST_SHOWN else []
    listed = f"{', '.join([*shown, *more][:-1])} and {[*shown, *more][-1]}" if len(rows) > 1 else shown[0]
    return (
        f"{len(rows):,} {'row is no bar and is' if len(rows) == 1 else 'rows are no bars and are'} left out: {listed}"
    )


def unread_note(values: pl.Series, fields: pl.Series, lines: pl.Series, name: str, what: str) -> list[str]:
    """Return the note about fields of a column that could not be read, with the first one and its line; none without.

    `values` are null where a field was not read. `what` says what the fields are not, "number" or "time". A number may
    be missing.
    """
    if fields.dtype not in (pl.String, pl.Categorical) or not values.null_count():
        return []
    unread = values.is_null()
    if what == "number":
        text = fields.cast(pl.String).str.strip_chars().str.to_lowercase()
        unread &= text.is_not_null() & ~text.is_in(NOTHING)
    count, row = int(unread.sum()), int(unread.arg_max() or 0)
    if not count:
        return []
    harm = "so that its bar is rejected" if count == 1 else f"as {count - 1:,} more: their bars are rejected"
    return [f'"{(fields[row] or "")[:40]}" in column {name}, line {lines[row]}, is no {what}, {harm}']


def time_text(roles: Roles, stamps: Moments) -> str:
    """Return the statement of how the times of a table were read."""
    column = f"column {roles.time}" + (f" and {roles.clock}" if roles.clock else "")
    values = stamps.values
    if values.dtype == pl.Date:
        how_read = f", {stamps.text}" if stamps.text not in ("", "dates") else ""
        return f"{column}{how_read}, dated as sessions"
    if values.dtype.time_zone is None:  # type: ignore[attr-defined]
        return f"{column}, times of a clock that it does not name"
    zone = "" if is_midnight(values) else clock_of(values, CLOCKS)
    if zone:
        return f"{column}, midnight in {zone}, dated as sessions"
    midnight = ", dated as sessions" if is_midnight(values) else ""
    return f"{column}, {stamps.text or 'in UTC'}{midnight}"


def prices_text(roles: Roles, spelling: Spelling, decimal_places: int) -> str:
    """Return the statement of the columns of prices and of how their numbers were read."""
    names = roles.prices()
    usual_names = all(word(name) == role for name, role in zip(names, PRICES, strict=True))
    if len(set(names)) == 1:
        text = f"{names[3]} alone, so that an order fills at the close of the bar after its decision"
    else:
        text = (
            names[3] if usual_names else ", ".join(f"{role} {name}" for role, name in zip(PRICES, names, strict=True))
        )
    text += f", {roles.adjusted} beside it" if roles.adjusted else ""
    text += f", {spelling.text}" if spelling.text else ""
    return text + (f", integers in units of 1e-{decimal_places}" if decimal_places else "")
