"""Headlines from files, and their scores by symbol and session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import nanoseconds, table_of
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions

LONGEST_WAIT_NS: Final = 14 * DAY_NS
"""Maximum time from a headline to the close of its session; beyond it the calendar does not cover the headline."""

HOUR_NS: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Headlines:
    """Headlines in the order of the file `name`: stamps int64[n] (ns UTC), symbols and texts."""

    name: str
    ts: Ints
    symbols: pl.Series
    texts: pl.Series


def read_headlines(path: Path) -> Headlines:
    """Read a file with the columns ts, symbol and headline. Raises FeedError with the line of the first fault."""
    frame = table_of(path, ("ts", "symbol", "headline"))
    if frame.is_empty():
        raise FeedError(path.name, "it has no headline", "Name a file with the columns ts, symbol and headline")
    ts = nanoseconds(frame["ts"])
    symbols, texts = (frame[name].cast(pl.String).str.strip_chars().fill_null("") for name in ("symbol", "headline"))
    for faulty, fault, remedy in (
        (ts == NO_STAMP, "ts cannot be read", "Write it as 2024-07-03 or 2024-07-03T17:00:00Z"),
        ((symbols == "").to_numpy(), "it names no symbol", "Write one, or omit the row"),
        ((texts == "").to_numpy(), "the headline is empty", "Write one, or omit the row"),
    ):
        if faulty.any():
            # line 1 is the header
            raise FeedError(f"{path.name}:{int(np.argmax(faulty)) + 2}", fault, remedy)
    return Headlines(path.name, ts, symbols, texts)


def published_ns(ts: Ints, zone: str) -> Ints:
    """Return int64[n], the instants (ns UTC) at which headlines were public at the latest.

    A stamp at 00:00 UTC is a date without an hour: its headline counts as published at the end of that date in `zone`.
    """
    ends, ends_after_skip = (
        pl.Series(ts + DAY_NS + extra_ns).cast(pl.Datetime("ns")).dt.replace_time_zone(
            zone, ambiguous="latest", non_existent="null"
        )
        for extra_ns in (0, HOUR_NS)  # where clocks go forward at midnight, the next date begins at 01:00
    )  # fmt: skip
    return np.where(ts % DAY_NS == 0, ends.fill_null(ends_after_skip).dt.epoch("ns").to_numpy(), ts)


def session_days(headlines: Headlines, calendar: Sessions) -> Ints:
    """Return int64[n], the date of the session of each headline (ns at 00:00 UTC).

    A headline belongs to the first session that closes when it was published or later. Raises FeedError for a headline
    that the calendar does not cover.
    """
    public = published_ns(headlines.ts, calendar.zone)
    session = np.searchsorted(calendar.closes, public, side="left")
    inside = session < len(calendar.closes)
    inside[inside] = calendar.closes[session[inside]] - public[inside] <= LONGEST_WAIT_NS
    if not inside.all():
        first_uncovered = int(np.argmin(inside))
        raise FeedError(
            # line 1 is the header
            f"{headlines.name}:{first_uncovered + 2}",
            f"no session of {calendar.name} closes within 14 days after {session_date(int(public[first_uncovered]))}",
            "Take the headline out, or name another calendar",
        )
    return calendar.days[session]


def by_session(headlines: Headlines, days: Ints, scores: Floats) -> pl.DataFrame:
    """Return the mean score of each symbol and session in the columns ts, symbol, value, headlines, available.

    `ts` is the date of the session, `headlines` the number of headlines. `available` is the date at whose close all of
    them were public: the same date, because `session_days` assigns a headline to the first session that closes after
    it.
    """
    return (
        pl.DataFrame({"ts": days, "symbol": headlines.symbols, "value": scores})
        .with_columns(pl.col("ts").cast(pl.Datetime("ns")).dt.date())
        .group_by("ts", "symbol", maintain_order=True)
        .agg(pl.col("value").mean(), pl.len().cast(pl.Int64).alias("headlines"))
        .with_columns(available=pl.col("ts"))
        .sort("ts", "symbol")
    )
