"""The layout of a text file of bars: its encoding, separator, header lines and lines of data.

The lines before the first line of data are the header or remarks. A line of data has a stamp and at least four numbers,
whatever its separator; a header or remark, such as a link with a date, has fewer. The field separator is the character
that gives most of the first lines the same number of fields. Tabs and semicolons are tried before commas, because in
such files commas are decimal separators. A blank is tried last, because time stamps contain blanks. A missing field
would shift the fields after it. A line with another number of fields is therefore refused, and the error has its line
number.
"""

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.moments import MONTHS, is_stamp
from quantd.adapters.feeds.table_files.roles import (
    are_names,
    columns_of_symbols,
    is_time,
    is_unnamed,
    named_roles,
    price_and_symbol,
)
from quantd.adapters.feeds.table_files.spelled_numbers import is_number
from quantd.adapters.feeds.table_files.statement import LeftOut
from quantd.trading.display_text import fields_of, mended

SEPARATORS: Final = ("\t", ";", "|", ",")
_HEAD: Final = 48
_FEW: Final = 12
"""The first _HEAD lines show the layout, and the last _FEW of these lines the separator."""

_ACTION: Final = re.compile(r"(?i)\d *(cash )?dividend[a-z]*\W*$|\d *(stock |aktien)?splits?\W*$")

NAMES: Final = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "blank"}


class NoTable(FeedError):
    """A text without a bar, such as the README of an archive."""


class TextTable(NamedTuple):
    """A table of text: `frame` has one text column for each field, `lines` the line number of each row in the file.

    `header` are the lines directly above the data that have as many fields as a bar, from the top; empty without any.
    `notes` are remarks about the file: its encoding, lines before the header. `left_out` are the rows that are no bars.
    """

    frame: pl.DataFrame
    lines: pl.Series
    header: tuple[tuple[str, ...], ...]
    separator: str
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


class Layout(NamedTuple):
    """How the lines of a text file are laid out. `before` are the lines before the first bar, `begin` is their number.

    Each line of a bar has `width` fields. `header` are the lines directly above the data that have as many fields as a
    bar, from the top; `remarks` counts the other lines before the data.
    """

    separator: str
    begin: int
    width: int
    header: tuple[tuple[str, ...], ...]
    remarks: int
    before: tuple[str, ...]


def layout_of(lines: Sequence[str], where: str) -> Layout | None:
    """Return the layout that the first lines of a file show; None if no line is a bar.

    A layout is the separator, the number of lines before the data, the fields of a line, the header, and the number of
    other lines above.
    """
    lines = lines[:_HEAD]
    separator = _separator(lines)
    fields = [fields_of(line, separator) for line in lines]
    names = next((k for k, row in enumerate(fields) if are_names(row)), 0)
    # above the names a date with empty fields, such as "Start Date,2024-01-02,,,,", is a remark
    begin = next(
        (
            k for k, row in enumerate(fields)
            if (is_data(row) and (k > names or sum(map(bool, row)) > 4)) or _follows_names(fields, k)
        ),
        None,
    )  # fmt: skip
    if begin is None:
        return None
    while begin and _is_action(lines[begin - 1], fields[begin - 1]):
        begin -= 1
    data = [row for row in fields[begin:] if len(row) > 1]
    width = Counter(map(len, data)).most_common(1)[0][0]
    names_above = next((row for row in reversed(fields[:begin]) if any(row)), [])
    # True counts as 1 below: a separator at the end of each line makes a further field
    has_end_separator = all(not row[-1] for row in data)
    if are_names(names_above) and width - len(names_above) != has_end_separator:
        width = len(names_above)  # a comma for thousands adds fields to lines of data
    header, remarks = _header(fields[:begin], width)
    return Layout(separator, begin, width, tuple(map(tuple, header)), remarks, tuple(lines[:begin]))


def text_table(data: bytes, where: str, chosen: Mapping[str, str]) -> TextTable:
    """Return the table of a text file. `chosen` maps roles to the columns that a person names.

    Raises FeedError, with the line number if a single line is at fault.
    """
    text, notes = _decoded(data, where)
    head = text[: 1 << 16].split("\n")
    # the last line of a head that is cut is not complete
    head = (head[:-1] if len(text) > 1 << 16 and len(head) > 1 else head)[:_HEAD]
    if not any(line.strip() for line in head):
        raise FeedError(where, "it is empty", "Download it again")
    if _separator(head) == " ":
        text = re.sub(r"[ \t]+", " ", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", text))
        head = text[: 1 << 16].split("\n")[:_HEAD]
    layout = layout_of(head, where) or _layout_of_closes(head, where, chosen)
    if layout is None:
        separator = _separator(head)
        raise _no_data_error(where, [fields_of(line, separator) for line in head], separator)
    above, left_out = above_bars(layout)
    body = text[sum(len(line) + 1 for line in layout.before) :]
    frame, line_numbers, more = _data_frame(body, layout.separator, layout.width, layout.begin, where)
    while layout.header and frame.width > len(layout.header[-1]) and frame[:, -1].null_count() == len(frame):
        frame = frame[:, :-1]  # each line ends with a separator
    return TextTable(frame, line_numbers, layout.header, layout.separator, (*notes, *above), (*left_out, *more))


def _layout_of_closes(lines: Sequence[str], where: str, chosen: Mapping[str, str]) -> Layout | None:
    """Return the layout of a text of closes alone, whose lines have fewer numbers than a bar; None for another text.

    Its names are of closes, or of symbols, in the line above the first stamp.
    """
    separator = _separator(lines)
    fields = [fields_of(line, separator) for line in lines]
    begin = next((k for k, row in enumerate(fields) if k and any(map(is_stamp, row)) and any(map(is_number, row))), 0)
    names = fields[begin - 1] if begin else []
    width = len(fields[begin]) if begin else 0
    if not 2 <= len(names) == width <= 5 or any(is_number(name) for name in names if name):
        return None
    joined = all(is_time(name) or is_unnamed(name) or price_and_symbol(name)[0] for name in names)
    if not joined and not columns_of_symbols(names) and named_roles(names, where, chosen) is None:
        return None
    return Layout(separator, begin, width, (tuple(names),), begin - 1, tuple(lines[:begin]))


_DAY_FILE: Final = re.compile(r"((?:19|20)\d{6})_(.+)_(second|minute)_([a-z]+)")


def day_table(data: bytes | Path, stem: str, where: str, scale: str) -> tuple[pl.DataFrame, str] | None:
    """Return the bars of one day and their symbol, in the files of LEAN: the file's name has the date and the symbol,
    and each line the milliseconds since midnight, open, high, low, close and volume. None for another file.

    The clock is that of the exchange, which the file does not name. Nor does it name the unit of its prices, which
    `scale` has if they are integers: shares have ten-thousandths, coins have none. Raises NoTable for quotes, and
    FeedError without the unit, and with the line of a row that is no bar.
    """
    name = _DAY_FILE.fullmatch(stem)
    if name is None:
        return None
    if name[4] != "trade":
        raise NoTable(where, f"it has the {name[4]}s of a day, no bars of trades", f"Give {name[1]}_trade.zip")
    columns = ("open", "high", "low", "close", "volume")
    text = data if isinstance(data, bytes) else data.read_bytes()
    rows = [line.split(",") for line in text.decode("utf-8", "replace").replace("\r", "").rstrip("\n").split("\n")]
    for number, row in enumerate(rows, 1):
        if len(row) != 6 or not row[0].isdecimal() or int(row[0]) >= 86_400_000:
            fault = f'"{",".join(row)[:60]}" is not milliseconds since midnight and five numbers'
            raise FeedError(f"{where}:{number}", fault, "Download it again")
    if not scale and all(field.isdecimal() for row in rows for field in row[1:5]):
        price = int(rows[0][4])
        fault = f"the integer price {price} has two readings: {price:,}, or {price / 10_000:,.12g} in units of 1e-4"
        raise FeedError(where, fault, "Add --scale 1e-4, which shares have, or --scale 1")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("ts", *columns), pl.String), orient="row")
    midnight = pl.lit(name[1]).str.to_datetime("%Y%m%d", time_unit="ms")
    ts = midnight + pl.duration(milliseconds=pl.col("ts").cast(pl.Int64))
    return frame.with_columns(ts.alias("ts")), name[2].upper()


def above_bars(layout: Layout) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """Return the note on the remarks above the header of a file, and its blank rows above the bars."""
    blank = [k for k, line in enumerate(layout.before, 1) if not any(fields_of(line, layout.separator))]
    note = f"{layout.remarks} line{'s' * (layout.remarks > 1)} before the header"
    return (note,) * bool(layout.remarks), tuple((line, "blank") for line in blank)


def _decoded(data: bytes, where: str) -> tuple[str, list[str]]:
    """Return the text with \\n as the only line end, and notes on the encoding. Raises FeedError for a NUL byte.

    A text that is neither UTF-16 nor UTF-8 is read in the encoding that gives its header names of prices, else as
    Windows-1252.
    """
    notes: list[str] = []
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
        notes.append("UTF-16")
    elif data[1:2] == b"\0" and data[3:4] == b"\0" and data[:1] != b"\0":  # UTF-16 without a byte order mark
        text = data.decode("utf-16-le", "replace")
        notes.append("UTF-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = _encoding_of_names(data)
            text = data.decode(encoding, "replace")
            notes.append(_ENCODINGS[encoding])
    if "\r" in text:
        mixed = text.count("\r\n") not in (0, text.count("\n"))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        notes += ["mixed line ends"] * mixed
    if (nul_index := text.find("\0")) >= 0:
        line = text.count("\n", 0, nul_index) + 1
        raise FeedError(f"{where}:{line}", "it has a NUL byte, so that it is no text", "Download it again")
    return text, notes


_ENCODINGS: Final = {
    "cp1252": "Windows-1252", "gb18030": "GB 18030", "cp932": "Shift JIS", "cp949": "CP949", "big5": "Big5",
    "cp1251": "Windows-1251", "cp1254": "Windows-1254",
}  # fmt: skip
"""Encodings that are tried on a text that is not UTF-8, with their names."""


def _encoding_of_names(data: bytes) -> str:
    """Return the first of the encodings in which one of the first lines has names of prices; cp1252 without one."""
    head = data[: 1 << 14].splitlines()[:_FEW]
    for encoding in _ENCODINGS:
        lines = [line.decode(encoding, "replace") for line in head]
        if any(are_names(fields_of(line, separator)) for line in lines for separator in SEPARATORS):
            return encoding
    return "cp1252"


def _separator(head: Sequence[str]) -> str:
    """Return the separator that gives most lines of data the same number of fields; a blank if none does."""
    best, best_count = " ", 0
    for separator in SEPARATORS:
        rows = [fields_of(line, separator) for line in head[-_FEW:] if separator in line]
        data = Counter(len(row) for row in rows if is_data(row))
        # an earlier separator stays unless a later one fits a fifth more lines
        if data and (count := data.most_common(1)[0][1]) > best_count * 1.2:
            best, best_count = separator, count
    if best_count:
        return best
    widths = {sep: Counter(len(fields_of(line, sep)) for line in head if sep in line) for sep in SEPARATORS}
    common = [(counts.most_common(1)[0][1], sep) for sep, counts in widths.items() if counts and max(counts) > 1]
    space_separated = [line for line in head if is_data(line.split())]
    return " " if space_separated or not common else max(common)[1]


def is_data(row: Sequence[str]) -> bool:
    """Whether a line is a bar: a stamp, at least four numbers or empty fields, and a digit after the first field."""
    numbers = sum(is_number(field) for field in row)
    return len(row) >= 4 and numbers >= 4 and any(is_stamp(field) for field in row) and any(
        re.search(r"\d", field) for field in row[1:]
    )  # fmt: skip


def _follows_names(rows: Sequence[Sequence[str]], k: int) -> bool:
    """Whether line `k` has at least four numbers, and the line above it names prices; `k` needs no readable stamp."""
    return k > 0 and are_names(rows[k - 1]) and sum(is_number(field) and bool(field) for field in rows[k]) >= 4


def _header(rows: Sequence[Sequence[str]], width: int) -> tuple[list[list[str]], int]:
    """Return the header lines (at most three), and the number of other lines before the data that are not empty.

    A line belongs to the header if it is above the data and has as many fields, one more or one less. `width` is the
    number of fields of a line of data.
    """
    header: list[list[str]] = []
    for row in reversed(rows):
        if not any(row):
            continue
        if len(row) not in (width - 1, width, width + 1) or len(row) < 4:
            break
        header.insert(0, list(row) + [""] * (width - len(row)))
        if len(header) == 3:
            break
    return header, len([row for row in rows if any(row)]) - len(header)


def _data_frame(
    body: str, separator: str, width: int, begin: int, where: str
) -> tuple[pl.DataFrame, pl.Series, list[LeftOut]]:
    """Return the lines of data as text columns, their line numbers in the file, and the lines that are left out: blank
    ones above the last bar, and remarks at the end, such as the name of a source.

    Raises FeedError for a line with another number of fields than `width`.

    `begin` is the number of lines before `body`. A field in quotes may have a separator.
    """
    data = body.encode()
    body_bytes = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(body_bytes == 10)  # line feeds
    if not len(body_bytes) or body_bytes[-1] != 10:
        ends = np.append(ends, len(body_bytes))
    starts = np.concatenate([[0], ends[:-1] + 1])
    line_lengths = ends - starts
    quoted = b'"' in data
    separator_at = np.flatnonzero(body_bytes == ord(separator))
    separator_counts = np.searchsorted(separator_at, ends) - np.searchsorted(separator_at, starts)
    uneven_rows = np.flatnonzero((separator_counts != width - 1) & (line_lengths > 0))
    has_data = line_lengths > 0
    left_out: list[LeftOut] = []
    padded: dict[int, str] = {}  # lines with a dividend or a split in place of prices
    for row in uneven_rows.tolist():
        line = data[starts[row] : ends[row]].decode("utf-8", "replace")
        fields = fields_of(line, separator, width)
        if len(fields) == width and quoted:
            continue
        remark = row >= len(ends) - 3 and _is_remark(line, fields)  # below the data
        if remark or not any(fields):
            has_data[row] = False
            left_out.append((begin + row + 1, f'"{line.strip()[:60]}"' if remark else "blank"))
            continue
        if len(fields) < width and _is_action(line, fields):
            padded[row] = line + separator * (width - len(fields))
            continue
        raise _uneven_error(f"{where}:{begin + row + 1}", line, fields, width, separator)
    if not has_data.any():
        raise FeedError(where, "it has a header and no line of data", "Download it again")
    last, last_text = int(np.flatnonzero(has_data)[-1]), int(np.flatnonzero(line_lengths)[-1])
    left_out += [(begin + row + 1, "blank") for row in np.flatnonzero(line_lengths == 0).tolist() if row < last_text]
    # only lines at the end are left out: one piece of the bytes is read
    if padded:
        rows = np.flatnonzero(has_data).tolist()
        source = b"\n".join(padded[row].encode() if row in padded else data[starts[row] : ends[row]] for row in rows)
    elif has_data.all() or not (~has_data[:last]).any():
        source = data[: int(ends[last])]
    else:
        source = b"\n".join(data[starts[row] : ends[row]] for row in np.flatnonzero(has_data).tolist())
    source = mended(source, separator, width)
    frame = pl.read_csv(
        io.BytesIO(source), has_header=False, separator=separator, infer_schema=False,
        new_columns=[f"column_{k + 1}" for k in range(width)], truncate_ragged_lines=False,
        quote_char='"' if quoted else None,
    )  # fmt: skip
    lines = pl.Series(np.flatnonzero(has_data) + begin + 1)
    if len(lines) != len(frame):
        raise FeedError(where, "a quoted field goes over a line", "Write each bar in one line")
    return _without_blank(frame, lines, left_out)


def _without_blank(
    frame: pl.DataFrame, lines: pl.Series, left_out: list[LeftOut]
) -> tuple[pl.DataFrame, pl.Series, list[LeftOut]]:
    """Return a table and its line numbers without rows of separators alone, which `left_out` then has."""
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    left_out += [(line, "blank") for line in lines.filter(blank).to_list()]
    return (frame.filter(~blank), lines.filter(~blank), left_out) if blank.any() else (frame, lines, left_out)


def _is_action(line: str, fields: Sequence[str]) -> bool:
    """Whether a line has a dividend or a split of a day, in place of a bar."""
    return bool(fields) and is_stamp(fields[0]) and _ACTION.search(line) is not None


def _is_remark(line: str, fields: Sequence[str]) -> bool:
    """Whether a line at the end of the file is a remark, such as a source, and not a truncated bar."""
    month = any(line.lstrip(' "').lower().startswith(name) for name in MONTHS)
    return (
        len(fields) <= 2
        and not month
        and line.count('"') % 2 == 0
        and re.match(r'\s*"?([^\W\d]\S*:? |[#*©])', line) is not None
    )


def _uneven_error(where: str, line: str, fields: Sequence[str], width: int, separator: str) -> FeedError:
    """Return the error about a line with too many fields (commas within numbers) or too few (a cut line)."""
    if len(fields) > width:
        return FeedError(
            where, f"{len(fields)} fields under a header of {width}",
            'Write numbers without commas for thousands, or in quotes: 798339 or "798339"',
        )  # fmt: skip
    excerpt = line if len(line) <= 60 else f"{line[:60]} ..."
    return FeedError(
        where, f'{len(fields)} field{"s" * (len(fields) > 1)} under a header of {width}, "{excerpt}": the line is cut',
        "Complete it, or take it out; or download the file again",
    )  # fmt: skip


def _no_data_error(where: str, fields: Sequence[Sequence[str]], separator: str) -> FeedError:
    """Return the error about a file without a line of data. Raises FeedError where the header lacks a price."""
    first_fields = next((row for row in fields if any(row)), [])
    is_prose = max(sum(is_number(field) and bool(field) for field in row) for row in fields) < 4
    if not any(is_number(field) and field for field in first_fields):
        named_roles(first_fields, where, {})  # names what is missing among the columns
    beginning = ", ".join(first_fields)[:80]
    return (NoTable if is_prose else FeedError)(
        where, f'no line has a time and the prices of a bar; it begins "{beginning}"',
        f"Give one line for each bar: time, open, high, low, close, volume; or for each time the closes of all "
        f"symbols, whose names are above in capitals (the separator was read as a {NAMES[separator]})",
    )  # fmt: skip
