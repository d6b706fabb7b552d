"""Numbers as programs write them: decimal commas, separated thousands, currencies, millions, fixed-point integers.

A number with a single separator before three digits has two readings: "1,234" is 1234 or 1.234. Another number in the
same columns may decide, as "12,5" does; the file's field separator is no evidence. Without a decision an error asks for
an option. An integer price has two readings too: 500000000 is that price, or 0.5 in units of 1e-9. An integer is read
in a smaller unit only if it is too large for any price.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.instruments import CURRENCIES

NOTHING: Final = ("", "null", "nan", "n/a", "#n/a", "na", "none", "nil", "-", "--", ".")
"""Texts of a field without a value, in lower case."""

_MARKS: Final = r"[$€£¥₹₿]"
_BLANK: Final = r"[\s\x{00a0}\x{202f}]"
_GROUPING: Final = r"[\s\x{00a0}\x{202f}'’_]"
_AROUND: Final = " \t\r\n\u00a0\u202f'’\""
_NUMBER_END: Final = r"([.,]\d+)?([eE][+-]?\d+|[kmbtKMBT])?$"
_GROUPED: Final = r"^[+-]?\d{1,3}(('\d{3})+|(’\d{3})+|(_\d{3})+|(BLANK\d{3})+)".replace("BLANK", _BLANK) + _NUMBER_END
_COMMA_GROUPS: Final = r"^[+-]?\d{1,3}((,\d{3})+|(,\d{2})+,\d{3})(\.\d*)?([eE][+-]?\d+|[kmbtKMBT])?$"
_POINT_GROUPS: Final = r"^[+-]?\d{1,3}(\.\d{3})+(,\d*)?([eE][+-]?\d+|[kmbtKMBT])?$"
_CODE: Final = "|".join(sorted({"USD", "GBP", "ZAR", "ILS", *CURRENCIES.values()}))
_CODES: Final = rf"(?i)^({_CODE})|({_CODE})$"
_CODE_AT_NUMBER: Final = rf"(?i)^({_CODE})(?=[+-]?[\d.,])|(?<=[\d.,])({_CODE})$"
_FACTOR: Final = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_DECIMAL: Final = r"^[+-]?(\d{1,3}(T\d{3})+D\d+|\d+D(\d{1,2}|\d{4,})|0D\d+|\d{4,}D\d+|\d{1,3}(T\d{3}){2,})$"
_COMMA_DECIMAL: Final = _DECIMAL.replace("T", r"\.").replace("D", ",")
_POINT_DECIMAL: Final = _DECIMAL.replace("T", ",").replace("D", r"\.")
_EITHER: Final = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_FORMULA: Final = r"^\s*(=|@|[+-]\s*[A-Za-z(])"

LARGEST: Final = 9.2e9
"""Upper bound of a price; an integer beyond it is a price in a smaller unit."""

SCALES: Final = {"1": 0, "1e-4": 4, "1e-9": 9, "1e-16": 16}
"""Units of fixed-point prices by their names -> decimal places."""

_FITS: Final = {"1": (0.0, LARGEST), "1e-4": (1e5, 1e10), "1e-9": (1e6, 1e16), "1e-16": (1e13, 1e23)}
"""Unit -> smallest and largest integer of a price in it."""

_ZEROS: Final = {"1e-4": 1e2, "1e-9": 1e3, "1e-16": 1e10}
"""Unit -> divisor of the integers of ordinary prices: six decimal places at most, two with the unit 1e-4."""


THOUSANDS: Final = re.compile(r"\b(k|000s?|1000s?|thousands?|tsd)$")
MILLIONS: Final = re.compile(r"\b(m|mn|mio|mln|millions?)$")
"""Ends of names of columns in thousands or millions, in lower case without signs."""


class Spelling(NamedTuple):
    """How a file writes numbers: whether its decimal separator is a comma, and which number of the file shows it."""

    comma: bool
    text: str = ""


def are_numbers(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return values.dtype.is_numeric()
    return values.cast(pl.Float64, strict=False).null_count() == values.null_count()


def spelling_of(columns: Iterable[pl.Series], where: str, decimal: str = "") -> Spelling:
    """Return how the numbers of a file are written.

    `decimal` is an option of the user, "comma" or "point", or empty. Raises FeedError if two readings are possible and
    nothing decides.

    `commas` and `points` have examples of numbers that can only be read with a decimal comma or a decimal point;
    `ambiguous` is one with two readings, such as 1,234.
    """
    if decimal:
        return Spelling(decimal == "comma", f"decimal {decimal}, as told")
    ambiguous = ""
    commas: list[str] = []
    points: list[str] = []
    for column in columns:
        if column.dtype != pl.String:
            continue
        if are_numbers(column):
            points += column.filter(column.str.contains(_POINT_DECIMAL)).head(1).to_list()
            continue
        text = _without_marks(column)
        commas += text.filter(text.str.contains(_COMMA_DECIMAL)).head(1).to_list()
        points += text.filter(text.str.contains(_POINT_DECIMAL)).head(1).to_list()
        if not ambiguous and (first := text.filter(text.str.contains(_EITHER))).len():
            ambiguous = str(first[0])
    if commas and points:
        raise FeedError(
            where, f'"{commas[0]}" has a decimal comma and "{points[0]}" has none',
            "Write all numbers in one way; or add --decimal point or --decimal comma",
        )  # fmt: skip
    if commas:
        return Spelling(True, "decimal comma")
    if points or not ambiguous:
        return Spelling(False)
    as_integer = ambiguous.replace(",", "")
    raise FeedError(
        where, f'"{ambiguous}" has two readings: {as_integer}, or {ambiguous.replace(",", ".")}',
        "Add --decimal point for the first, --decimal comma for the second",
    )  # fmt: skip


def numbers(values: pl.Series, spelling: Spelling) -> pl.Series:
    """Return the values as decimal text or floats, null where a field is empty or is no number.

    Separators of thousands are removed where they make groups of three: 10'4.58 is no number. Lakhs (1,23,456) are read
    too. A suffix K, M, B or T multiplies the number, which is then a float.
    """
    if values.dtype != pl.String:
        return values
    if are_numbers(values) and not (spelling.comma and values.str.contains(".", literal=True).any()):
        return values
    text = _without_marks(values)
    decimal, separator, groups = (",", ".", _POINT_GROUPS) if spelling.comma else (".", ",", _COMMA_GROUPS)
    grouped = text.str.contains(separator, literal=True)
    if grouped.any():
        text = text.zip_with(~grouped | text.str.contains(groups), pl.Series([None], dtype=pl.String))
        text = text.str.replace_all(separator, "", literal=True)
    text = text.str.replace(decimal, ".", literal=True)
    suffix = text.str.extract(r"\d([kmbtKMBT])$").str.to_lowercase()
    if suffix.null_count() == len(suffix):
        plain = text.cast(pl.Float64, strict=False).is_not_null()
        return text.zip_with(plain, pl.Series([None], dtype=pl.String))
    factor = suffix.replace_strict(_FACTOR, default=1.0, return_dtype=pl.Float64)
    return text.str.replace(r"[kmbtKMBT]$", "").cast(pl.Float64, strict=False) * factor


def _without_marks(values: pl.Series) -> pl.Series:
    """Return text without currencies, blanks and thousands separators other than comma and point; null for no value.

    A separator that makes no groups of three digits stays, so that the field is no number.
    """
    text = values.str.replace_all(_MARKS, "").str.strip_chars().str.replace_all(_CODES, "")
    text = text.str.strip_chars(_AROUND).str.replace(rf"^([+-]){_BLANK}+", "$1")
    text = text.str.replace(rf"{_BLANK}+([kmbtKMBT])$", "$1")
    if (separated := text.str.contains(_GROUPING)).any():
        text = text.zip_with(~(separated & text.str.contains(_GROUPED)), text.str.replace_all(_GROUPING, ""))
    return text.zip_with(~text.str.to_lowercase().is_in(NOTHING), pl.Series([None], dtype=pl.String))


def require_numbers(
    values: pl.Series, read: pl.Series, where: str, lines: pl.Series, name: str, most: float = 0.5
) -> None:
    """Raise FeedError, with the first line at fault, if more than `most` of a column is text that is no number.

    `values` are the parsed numbers, null where parsing failed; `read` are the fields of the column `name`.
    """
    if read.dtype != pl.String:
        if not read.dtype.is_numeric() and not isinstance(read.dtype, pl.Null):
            raise FeedError(where, f"column {name} holds {read.dtype}, not numbers", "Write numbers")
        return
    no_number = values.is_null() & read.is_not_null() & ~read.str.strip_chars().str.to_lowercase().is_in(NOTHING)
    if no_number.sum() > most * len(values):
        row = int(no_number.arg_max() or 0)
        raise FeedError(f"{where}:{lines[row]}", f'"{read[row]}" in column {name} is no number', "Write numbers")


def require_no_formula(values: pl.Series, where: str, lines: pl.Series) -> None:
    """Raise FeedError with the line of a field that is a spreadsheet formula."""
    if values.dtype != pl.String:
        return
    formula = values.str.contains(_FORMULA).fill_null(value=False)
    if formula.any():
        row = int(formula.arg_max() or 0)
        raise FeedError(
            f"{where}:{lines[row]}", f'"{str(values[row])[:40]}" is a formula, not a number',
            "Write the file again with values instead of formulas",
        )  # fmt: skip


def scale_of(prices: Iterable[pl.Series], where: str, scale: str = "") -> int:
    """Return how many decimal places the integer prices of a file have (9 for units of 1e-9); 0 for plain prices.

    `scale` is the unit that the user names in an option, empty without it. Raises FeedError if two units are possible,
    or none.

    Numbers with fractions, or below 100,000, are plain prices. _FITS has the range of integers that a price can have in
    each unit, and _ZEROS a divisor of all of them.
    """
    if scale:
        return SCALES[scale]
    prices = list(prices)
    if not all(map(_are_integers, prices)):
        return 0
    values = pl.concat([column.cast(pl.Float64, strict=False) for column in prices]).drop_nulls()
    if not len(values) or (smallest := float(values.min())) < 1e5:  # type: ignore[arg-type]
        return 0
    largest = float(values.max())  # type: ignore[arg-type]
    possible_units = [
        name
        for name, (low, high) in _FITS.items()
        if low <= smallest and largest <= high and (values % _ZEROS.get(name, 1.0) == 0).all()
    ]
    if len(possible_units) == 1:
        return SCALES[possible_units[0]]
    readings = ", or ".join(f"{largest / 10 ** SCALES[name]:,.12g} in units of {name}" for name in possible_units)
    raise FeedError(
        where, f"the integer price {largest:.0f} has several readings: {readings or 'none is a price'}",
        f"Add --scale {' or --scale '.join(possible_units or SCALES)}",
    )  # fmt: skip


def _are_integers(values: pl.Series) -> bool:
    """Whether a column has integers only."""
    if values.dtype.is_integer():
        return True
    return values.dtype == pl.String and not values.str.contains(r"\D").any() and values.null_count() < len(values)


def scaled(values: pl.Series, decimal_places: int) -> pl.Series:
    """Convert integers with `decimal_places` to exact decimal text: 15 with one place is "1.5"."""
    digits = values.cast(pl.String).str.strip_chars()
    sign = digits.str.starts_with("-")
    padded = digits.str.strip_prefix("-").str.zfill(decimal_places + 1)
    with_point = padded.str.head(-decimal_places) + pl.Series(["."]) + padded.str.tail(decimal_places)
    negative = pl.when(sign).then(pl.concat_str(pl.lit("-"), with_point)).otherwise(with_point)
    return pl.select(negative).to_series().alias(values.name)


def is_number(text: str) -> bool:
    """Whether one field is a number in any spelling, or has no value."""
    bare = re.sub(_CODE_AT_NUMBER, "", re.sub(r"[\s'’_$€£¥₹₿%]", "", text))
    return bare.lower() in NOTHING or bool(re.fullmatch(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+|[kmbtKMBT])?", bare))


def fixed_point(values: pl.Series) -> pl.Series:
    """Convert binary prices to decimal text: little-endian integers, of 8 bytes in units of 1e-9, of 16 bytes in
    units of 1e-16."""
    cells = values.to_list()
    sizes = {len(cell) for cell in cells if cell is not None}
    decimal_places = {8: 9, 16: 16}.get(next(iter(sizes)) if len(sizes) == 1 else 0)
    if decimal_places is None:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    integers = [None if cell is None else str(int.from_bytes(cell, "little", signed=True)) for cell in cells]
    return scaled(pl.Series(values.name, integers), decimal_places)
