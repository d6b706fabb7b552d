"""Reads a large text file of bars column by column: numbers as numbers, repeated text once.

The general reader of tables holds a whole file as text, because it decides by the content: a gigabyte for 20 years of
500 symbols. The reader in this module decides by the first and last lines which columns are needed and which of them
are plain numbers; polars then parses these columns only. polars fills a short line with nulls without an error. The
separators are therefore counted first: their number must be exactly what the lines need. A large file with anything
unusual (a quote, a blank line, a word among numbers) is left to the general reader, which reports the line.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.table_files.containers import LARGE, kind_of
from quantd.adapters.feeds.table_files.roles import (
    CURRENCIES,
    Roles,
    are_names,
    named_roles,
    regular_time,
    valued_roles,
    whole_dates,
    word,
)
from quantd.adapters.feeds.table_files.statement import LeftOut
from quantd.adapters.feeds.table_files.text_layout import Layout, above_bars, layout_of

_CHUNK: Final = 8 << 20
_ENDS: Final = 1 << 16
_SAMPLE: Final = 100
"""How many first and last lines decide which columns are plain numbers."""
_PLAIN: Final = re.compile(r"-?\d{0,12}\.?\d{0,20}")
"""A number whose digits a float of 64 bits has, if these are at most _DIGITS, or those of an unrounded float."""

_DIGITS: Final = 15
EXACT_LENGTH: Final = _DIGITS + 1
"""Longest text of a number, with its point, that a float of 64 bits represents with every digit."""


class LargeTable(NamedTuple):
    """The needed columns of a large text file. `unused` are the names of its other columns that have values.

    `named` is True if the file has a header. `begin` is the number of lines before the first bar. `notes` and
    `left_out` are about lines above the bars.
    """

    frame: pl.DataFrame
    named: bool
    roles: Roles
    unused: tuple[str, ...]
    separator: str
    begin: int
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def large_table(source: Path | bytes, where: str, *, exact: bool = False) -> LargeTable | None:
    """Return the columns of a large text file; None for a small file, or one that the general reader must read.

    With `exact`, opens and closes with more digits than a float represents stay text. Raises FeedError for a header
    without one of the prices, and for columns that can be read in two ways.

    A layout is the separator, the header and the width of the lines. Roles say which column is the time, a price, the
    volume or the symbol. A file with quotes, other characters than ASCII or uneven lines needs the general reader.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size < LARGE:
        return None
    head, tail = _ends(source, size)
    if kind_of(head) != "text" or not head.isascii() or not tail.isascii() or b"\r" in head or b'"' in head:
        return None
    layout = layout_of(head.decode().split("\n")[:-1], where)
    if layout is None or layout.separator == " " or len(layout.header) > 1:
        return None
    if layout.header and not are_names(layout.header[0]):
        return None
    first_lines = head.decode().split("\n")[layout.begin : layout.begin + _SAMPLE]
    last_lines = tail.decode().split("\n")[1:][-_SAMPLE:]
    sample_rows = [
        fields for line in (*first_lines, *last_lines) if len(fields := line.split(layout.separator)) == layout.width
    ]
    if not _is_even(source, layout):
        return None
    column_names = list(layout.header[0]) if layout.header else [f"column_{k + 1}" for k in range(layout.width)]
    if len(set(column_names)) != len(column_names) or "" in column_names:
        return None
    sample = pl.DataFrame(sample_rows, schema=dict.fromkeys(column_names, pl.String), orient="row")
    if whole_dates(sample) is not sample:
        return None
    # {}: no person names a column
    roles = named_roles(column_names, where, {}) if layout.header else valued_roles(sample, where)
    if roles is None or not roles.time or (layout.header and regular_time(sample, roles, where)):
        return None
    frame = _read(source, layout, column_names, roles, sample, (roles.open, roles.close) if exact else ())
    if frame is None:
        return None
    unused = tuple(
        name for name in column_names if name not in frame.columns and sample[name].null_count() < len(sample)
    )
    return LargeTable(frame, bool(layout.header), roles, unused, layout.separator, layout.begin, *above_bars(layout))


def _ends(source: Path | bytes, size: int) -> tuple[bytes, bytes]:
    if isinstance(source, bytes):
        return source[:_ENDS], source[-_ENDS:]
    with source.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(size - _ENDS)
        return head, file.read()


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for start in range(0, len(source), _CHUNK):
            yield source[start : start + _CHUNK]
        return
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _is_even(source: Path | bytes, layout: Layout) -> bool:
    """Whether a file is plain ASCII, has no quote or blank line, and as many separators as its lines of data need.

    `layout.begin` is the number of lines before the data, `layout.width` the number of fields of a line.
    """
    separator, separators, lines, last_byte = layout.separator.encode(), 0, 0, b"\n"
    separators_before = sum(line.count(layout.separator) for line in layout.before)
    for chunk in _chunks(source):
        if not chunk.isascii() or b"\r" in chunk or b"\0" in chunk or b'"' in chunk or b"\n\n" in last_byte + chunk[:1]:
            return False
        if b"\n\n" in chunk:
            return False
        separators += chunk.count(separator)
        lines += chunk.count(b"\n")
        last_byte = chunk[-1:]
    lines += (last_byte != b"\n") - layout.begin  # the last line may have no end
    return lines > 0 and separators - separators_before == lines * (layout.width - 1)


def _read(
    source: Path | bytes,
    layout: Layout,
    names: list[str],
    roles: Roles,
    sample: pl.DataFrame,
    text_columns: tuple[str, ...],
) -> pl.DataFrame | None:
    """Read the columns that have a role (time, price, volume, symbol). Returns None if polars finds a line with too
    many fields, or text in a column of numbers.

    The columns in `text_columns` are read as text, and become numbers if a float represents all their digits.

    `sample` has the first and last lines as text, which decide the columns of numbers.
    """
    types: dict[str, type[pl.DataType]] = {}
    number_columns = (*roles.prices(), roles.volume, roles.other_volume)
    for name in names:
        if name == roles.symbol or (name == roles.time and roles.symbol) or word(name) in CURRENCIES:
            types[name] = pl.Categorical  # the dates of one symbol repeat for the next one
        elif (
            name not in text_columns
            and name in number_columns
            and _are_plain(sample[name], integers=name not in roles.prices())
        ):
            types[name] = pl.Float64
        else:
            types[name] = pl.String
    types_by_index = {f"column_{k}": kind for k, kind in enumerate(types.values(), 1)}
    needed = [f"column_{k}" for k, name in enumerate(names, 1) if name in roles or word(name) in CURRENCIES]
    try:
        frame = pl.read_csv(
            io.BytesIO(source) if isinstance(source, bytes) else source, has_header=False, skip_rows=layout.begin,
            separator=layout.separator, columns=needed, schema=types_by_index, quote_char=None,
        )  # fmt: skip
        frame.columns = [names[int(column.removeprefix("column_")) - 1] for column in frame.columns]
        for name in text_columns:
            if (frame[name].str.len_bytes().max() or 0) <= EXACT_LENGTH:  # type: ignore[operator]
                frame = frame.with_columns(pl.col(name).cast(pl.Float64))
        return frame
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _are_plain(values: pl.Series, *, integers: bool) -> bool:
    """Whether all fields are numbers that a float represents exactly.

    A column of integers with six digits or more may be prices in a smaller unit, which must stay text. With `integers`,
    for volumes, long integers are accepted.
    """
    fields = [field for field in values.to_list() if field]
    if not all(_PLAIN.fullmatch(field) and _is_float(field) for field in fields):
        return False
    return integers or any("." in field for field in fields) or all(len(field) < 6 for field in fields)


def _is_float(field: str) -> bool:
    """Whether a float has all digits of a number: it has few, or is written as programs write an unrounded float."""
    return len(field) <= EXACT_LENGTH or repr(float(field)) == field
