"""Parts that the writers of formats share: text files, numbers as tools print them, archives, adjusted closes."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.adapters.feeds.table_files.expected_bars import Bar

Files = dict[str, bytes]
"""Path of a file below its format's folder -> content."""

Row = Sequence[object]

NEW_YORK = ZoneInfo("America/New_York")


def lines(rows: Iterable[str], *, end: str = "\n", last: bool = True) -> bytes:
    """Lines of text in UTF-8, each with its end; `last` False leaves the end of the last line off."""
    text = end.join(rows)
    return (text + end if last else text).encode()


def delimited(head: str | None, rows: Iterable[Row], separator: str = ",", *, end: str = "\n") -> bytes:
    """A delimited text file, with a header line or without."""
    first = [] if head is None else [head]
    return lines([*first, *(separator.join(map(str, row)) for row in rows)], end=end)


def document(value: object, *, indent: int | None = None, spaces: bool = False) -> bytes:
    """A JSON document: on one line, with or without spaces behind separators, or indented."""
    separators = None if spaces or indent else (",", ":")
    return (json.dumps(value, indent=indent, separators=separators) + ("\n" if indent else "")).encode()


def fixed(number: Decimal, decimals: int) -> str:
    """A number with this many decimals."""
    return f"{number:.{decimals}f}"


def short(number: Decimal) -> str:
    """A number without zeros at the end: 8070 and 8171.5."""
    return f"{number.normalize():f}"


def single(number: Decimal) -> float:
    """The number as a vendor that computes in 32 bits gives it to one that computes in 64."""
    value: float = struct.unpack("f", struct.pack("f", float(number)))[0]
    return value


def prices(bar: Bar) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Open, high, low and close."""
    return bar.open, bar.high, bar.low, bar.close


def floats(bar: Bar) -> list[float]:
    """Open, high, low and close as floating-point numbers, which Python prints with the digits they need."""
    return [float(price) for price in prices(bar)]


def number(value: Decimal) -> int | float:
    """A number as JSON holds it: an integer where it is one."""
    return int(value) if value == value.to_integral_value() else float(value)


def of(bars: Sequence[Bar], symbol: str) -> list[Bar]:
    """The bars of a symbol."""
    return [bar for bar in bars if bar.symbol == symbol]


def seconds(bar: Bar) -> int:
    """Unix seconds of the stamp."""
    return int(bar.ts.timestamp())


def midnight(bar: Bar, zone: ZoneInfo = NEW_YORK) -> datetime:
    """Midnight of a daily bar's date in a zone."""
    return datetime(bar.ts.year, bar.ts.month, bar.ts.day, tzinfo=zone)


def offset(stamp: datetime) -> str:
    """A stamp with a space and an offset with colon: 2024-03-11 00:00:00-04:00."""
    return stamp.isoformat(sep=" ")


def mean(bar: Bar, decimals: int) -> Decimal:
    """A volume-weighted price that lies within the bar."""
    return ((bar.high + bar.low + bar.close) / 3).quantize(Decimal(1).scaleb(-decimals))


def trades(bar: Bar, size: int) -> int:
    """A count of trades, from a typical size."""
    return int(bar.volume) // size + 1


def adjusted_closes(
    bars: Sequence[Bar], dividends: Mapping[date, Decimal], splits: Mapping[date, int]
) -> list[Decimal]:
    """Closes adjusted backwards, for dividends by 1 - amount / close before, and for splits by 1 / ratio."""
    factor, result = Decimal(1), []
    for bar, before in zip(reversed(bars), [*reversed(bars[:-1]), None], strict=True):
        result.append(bar.close * factor)
        if bar.day in dividends and before is not None:
            factor *= 1 - dividends[bar.day] / before.close
        if bar.day in splits:
            factor /= splits[bar.day]
    return result[::-1]


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip of these members, with a fixed time in each."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 4, 6, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def gzipped(content: bytes) -> bytes:
    """A gzip of a content, without name and time."""
    return gzip.compress(content, mtime=0)


def at(bar: Bar, zone: ZoneInfo, *, later: timedelta = timedelta()) -> datetime:
    """The stamp in a zone, moved to the close where a length is given."""
    return (bar.ts + later).astimezone(zone)


def utc(bar: Bar, form: str) -> str:
    """The stamp in UTC, in a form of `strftime`."""
    return bar.ts.astimezone(UTC).strftime(form)
