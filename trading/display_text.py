"""Text for people: instants in UTC, text from outside without control characters, values of TOML, CSV."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from io import StringIO
from math import isfinite
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def endpoint_text(host: str, port: int) -> str:
    """Format a host and a port for an address: an IPv6 address has brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def instant_text(ts_ns: int) -> str:
    """Format an instant in ns UTC: 2024-07-03T17:00:00Z, with microseconds unless they are 0; 0 gives empty text."""
    return iso_text(ts_ns) if ts_ns else ""


def iso_text(ts_ns: int) -> str:
    """Format an instant in ns UTC: 2024-07-03T17:00:00Z, with microseconds unless they are 0; 0 is 1970-01-01."""
    return _iso(ts_ns)


@lru_cache(maxsize=256)  # many rows of a list have one instant
def _iso(ts_ns: int) -> str:
    return instant(ts_ns).isoformat().replace("+00:00", "Z")


def microsecond_text(ts_ns: int) -> str:
    """Format an instant in ns UTC with six decimals: 2024-07-03T17:00:00.000000Z."""
    return instant(ts_ns).isoformat(timespec="microseconds").replace("+00:00", "Z")


def session_date(ts_ns: int) -> date:
    """Return the UTC date of an instant in ns."""
    return instant(ts_ns).date()


def instant(ts_ns: int) -> datetime:
    """Return the instant in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=int(ts_ns) // 1000)  # accepts numpy integers too


def local(ts_ns: int, zone: str = "America/New_York") -> str:
    """Format an instant in ns UTC on an exchange's clock: 2020-02-28 16:00."""
    moment = instant(ts_ns).astimezone(ZoneInfo(zone))
    return moment.strftime("%Y-%m-%d %H:%M" + (":%S" if moment.second else ""))


def clock_name(zone: str) -> str:
    """Return the city in a time zone's name, to print beside a time: "New York" for America/New_York."""
    return zone.rsplit("/", 1)[-1].replace("_", " ")


def toml_value(value: object) -> str:
    """Return a Python value as a value of TOML. Raises TypeError for a type that TOML does not have."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case int():
            return repr(value)
        case float():
            return repr(float(value))  # a float64 of numpy is a float with another repr
        case date() | time():
            return value.isoformat()
        case Mapping():
            inner = ", ".join(f"{toml_key(str(key))} = {toml_value(entry)}" for key, entry in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence():
            return f"[{', '.join(map(toml_value, value))}]"
        case _ if hasattr(value, "item"):  # a number of numpy
            return toml_value(value.item())
    raise TypeError(f"{value!r} has no form in TOML")


def toml_key(name: str) -> str:
    """Return a key of TOML, quoted where it needs quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def some(texts: Sequence[str], most: int = 5) -> str:
    """Return the first texts and the number of further ones: "A, B and 3 more"."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")


ESCAPES: Final[Mapping[int, str]] = {c: f"\\x{c:02x}" for c in range(32)} | {
    # JSON escapes code points below 32 itself, and none of these. This notation is valid in JSON too.
    c: f"\\u{c:04x}"
    for c in (*range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Code point of a control character -> its escape, for text of one line."""

LINES: Final[Mapping[int, str]] = {c: text for c, text in ESCAPES.items() if chr(c) not in "\n\t"}
"""The same for text of several lines, in which line feeds and tabs stay."""


def one_line(text: object, longest: int, hidden: Iterable[str] = ()) -> str:
    """Return at most `longest` characters of a text from outside in one line; each text of `hidden` becomes ***.

    A hidden text of three characters or fewer stays: it would match ordinary words.
    """
    line = " ".join(str(text).split())
    for secret in hidden:
        if len(secret) > 3:
            line = line.replace(secret, "***")
    return line[:longest]


def visible(text: str) -> str:
    """Return `text` with control characters escaped, except line feeds and tabs; a JSON document keeps its meaning."""
    return text if text.isascii() and text.isprintable() else text.translate(LINES)


FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a cell that a spreadsheet runs as a formula; the last four are full-width."""


def csv_cell(value: object) -> str:
    """Return a value as a cell of a CSV file.

    Text that begins like a formula is prefixed with a quote, so that no spreadsheet evaluates it. Control characters
    are escaped, except line feeds and tabs.
    """
    text = visible(str(value))
    if not text.startswith(FORMULA_STARTS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def csv_table(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV file, each value as its `csv_cell`; a value that is None is an empty cell."""
    import csv  # few commands write a table

    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["" if value is None else csv_cell(value) for value in row] for row in rows])
    return text.getvalue()


def figure(value: float | None, kind: str) -> str:
    """Return a value as text by its `kind`: 27.1 % ("share"), 2,310.40 ("money"), 1.5 h ("hours"); "unknown" for
    None."""
    if value is None or not isfinite(value):
        return "unknown"
    match kind:
        case "share":
            return f"{100 * value:.1f} %"
        case "money":
            return f"{value:,.2f}"
        case "orders":
            return f"{value:,.0f}"
        case "sessions":
            return f"{value:.2f}"
        case "hours":
            return f"{value:.1f} h"
        case _:
            return f"{value:.3g}"


_OPENING: Final = re.compile(' *"+')


def fields_of(line: str, separator: str, width: int = 0) -> list[str]:
    """Return the fields of one line, without blanks around them.

    A quote that closes no field, such as an inch mark, is text. If only the reading without any quoted field gives
    `width` fields, it is taken.
    """
    if separator == " ":
        return line.split()
    plain = [field.strip() for field in line.split(separator)]
    if '"' not in line:
        return plain
    quoted = _quoted_fields(line, separator)
    return plain if len(quoted) != width == len(plain) else quoted


def _quoted_fields(line: str, separator: str) -> list[str]:
    """Return the fields of a line with quotes. A field in quotes begins with one and ends with one before a separator;
    two quotes in it are one."""
    # runs of quotes before a separator, by their end: one of odd length closes a field, one at its beginning if even
    runs = {match.end(): len(match[0]) for match in re.finditer(rf'"+(?=[ \t]*(?:{re.escape(separator)}|$))', line)}
    closing = [end for end, length in runs.items() if length % 2]
    fields: list[str] = []
    start = 0
    while start <= len(line):
        begin = _OPENING.match(line, start)
        end = -1  # where the field in quotes ends; -1 for a field without
        if begin is not None:
            own = begin.end()
            place = bisect_right(closing, own)
            end = own if runs.get(own, 1) % 2 == 0 else closing[place] if place < len(closing) else -1
        stop = line.find(separator, max(end, start))
        stop = len(line) if stop < 0 else stop
        text = line[start:stop].strip()
        fields.append(text[1:-1].replace('""', '"').strip() if end >= 0 else text)
        start = stop + len(separator)
    return fields


def mended(data: bytes, separator: str, width: int) -> bytes:
    """Return the lines of a text with proper quotes around each field that has a quote, where a line lacks them.

    polars reads a quote within a field as the beginning of a quoted text, which may go over many lines. Lines without
    such a quote stay as they are.
    """
    if b'"' not in data:
        return data
    sign, mark = separator.encode(), re.escape(separator.encode())
    well_formed = re.compile(rb"(?m)(?:^|(?<=" + mark + rb'))"(?:[^"\r\n]|"")*+"(?=' + mark + rb"|\r?$)")
    lines = data.split(b"\n")
    for k, unquoted in enumerate(well_formed.sub(b"", data).split(b"\n")):
        line = lines[k]
        if b'"' in line and (b'"' in unquoted or unquoted.count(sign) != width - 1):
            fields = fields_of(line.decode("utf-8", "replace").rstrip("\r"), separator, width)
            quoted = (f'"{field.replace(chr(34), chr(34) * 2)}"' if separator in field or '"' in field else field
                      for field in fields)  # fmt: skip
            lines[k] = separator.join(quoted).encode()
    return b"\n".join(lines)


def decimal_text(value: int, scale: int) -> str:
    """Format an exact integer with `scale` decimal places; trailing zeros beyond the second decimal are dropped."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    integer, fraction = digits[:-scale], digits[-scale:].rstrip("0")
    return f"{sign}{integer}.{fraction.ljust(2, '0')}"


def money_text(micro: int) -> str:
    """Format micro-currency as exact decimal text: 1234500000 -> "1234.50"."""
    return decimal_text(micro, 6)
