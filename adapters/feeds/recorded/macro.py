"""Macro series and cash rates from files. Each value is dated by its publication, not by the day that it describes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import digest, nanoseconds, table_of
from quantd.trading.cash_rate import CashRate, CashRateError, constant, parsed
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions

Available = Literal["next_open", "close"]


class MacroFile:
    """One series in a file with the columns `ts` (the date that a value describes) and `close` or `value`.

    A value is known from the open of the first session on the house calendar after its date. With "close", it is known
    from the close of the first session on or after its date. The constructor and `refresh` raise FeedError.
    """

    def __init__(self, name: str, path: Path, available: Available, house: Sessions) -> None:
        self.name: Final = name
        self.path: Final = path
        self.available: Final = available
        self._house: Final = house
        self._read()

    def _read(self) -> None:
        self._seen = _marks(self.path)
        days, self._values = read_series(self.path)
        self._known_ns = known_from(days, self.available, self._house)
        self._values = self._values[: len(self._known_ns)]

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if _marks(self.path) != self._seen:
            self._read()

    def at(self, ts: int) -> float:
        """Return the newest value known at `ts` (ns UTC); NaN before the first."""
        place = int(np.searchsorted(self._known_ns, ts, side="right")) - 1
        return float(self._values[place]) if place >= 0 else np.nan


class RateFile:
    """The interest rate on cash: a number, or a file of rates by date that may be updated.

    The constructor and `refresh` raise FeedError, also when `first_ns`, the date of the first session, has no rate.
    """

    name: Final = "cash_rate"

    def __init__(self, given: float | str, folder: Path, first_ns: int) -> None:
        self.path: Final = folder / given if isinstance(given, str) else None
        self._first_ns: Final = first_ns
        self._seen = (0, 0)
        self.rate = self._read() if isinstance(given, str) else constant(given)

    def _read(self) -> CashRate:
        assert self.path is not None
        self._seen = _marks(self.path)
        try:
            found = parsed(self.path.read_text(encoding="utf-8"), self.path.name)
            found.begins(self._first_ns)
        except CashRateError as error:
            raise FeedError(*error.args) from None
        except (OSError, UnicodeDecodeError) as error:
            raise FeedError(str(self.path), f"it cannot be read ({error})", "Name a text file of date,rate") from None
        return found

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self.path is not None and _marks(self.path) != self._seen:
            self.rate = self._read()


def _marks(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_series(path: Path) -> tuple[Ints, Floats]:
    """Return (dates as ns at 00:00 UTC, ascending; values) of the rows with a numeric value. Raises FeedError."""
    frame = table_of(path)
    column = next((name for name in ("value", "close") if name in frame.columns), None)
    if column is None or "ts" not in frame.columns:
        raise FeedError(path.name, f"it has the columns {', '.join(frame.columns)}", "Name two of them ts and value")
    if "symbol" in frame.columns and frame["symbol"].n_unique() > 1:
        raise FeedError(path.name, "it has more than one symbol", "Put each series in a file of its own")
    stamps = nanoseconds(frame["ts"])
    values = frame[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    if (stamps == NO_STAMP).any():
        line = int(np.argmax(stamps == NO_STAMP)) + 2
        raise FeedError(f"{path.name}:{line}", "the date cannot be read", "Write it as 2020-08-31")
    if (stamps % DAY_NS).any():
        line = int(np.argmax(stamps % DAY_NS != 0)) + 2
        raise FeedError(f"{path.name}:{line}", "ts has an hour", "Write the date that the value is about, 2020-08-31")
    order = np.argsort(stamps, kind="stable")
    order = order[np.isfinite(values[order])]
    days, values = stamps[order], values[order].astype(np.float64)
    if not len(days):
        raise FeedError(path.name, "no row has a date and a number", "Check its columns ts and value")
    twice = np.flatnonzero(days[1:] == days[:-1])
    if len(twice):
        day = np.datetime64(int(days[twice[0]]), "ns").astype("datetime64[D]")
        raise FeedError(path.name, f"{day} has two values", "Keep the one that was published first")
    return days, values


def known_from(days: Ints, available: Available, house: Sessions) -> Ints:
    """Return int64, ascending: the instant from which the value of each of `days` (ascending) is known.

    Days beyond the end of the calendar are omitted.
    """
    first = np.searchsorted(house.days, days, side="left" if available == "close" else "right")
    first = first[first < len(house.days)]
    return (house.closes if available == "close" else house.opens)[first]


def series_digest(feed: str, files: Sequence[MacroFile], rate: RateFile | None = None) -> str:
    """Return hex BLAKE2b of a recorded market with its series; without any series, `feed`, the market's own digest."""
    named = [f"{each.name} {each.available}" for each in files]
    paths = [each.path for each in files]
    if rate is not None and rate.path is not None:
        named, paths = [*named, rate.name], [*paths, rate.path]
    return digest(tuple(paths), f"{feed}|{'|'.join(named)}") if paths else feed
