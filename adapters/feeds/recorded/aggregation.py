"""Builds bars from files of trades or finer bars, called parts; only parts that pass the checks are used."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantd.adapters.feeds.bars.merge import place_all
from quantd.adapters.feeds.bars.resample import Resampler
from quantd.adapters.feeds.bars.rows import NO_STAMP, Rows
from quantd.adapters.feeds.bars.stamps import BarTimes, IntervalError, Stamps, interval_ns
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions

TRADES = "trades"


def part_ns(build_from: str, length: int) -> int:
    """Return the length in ns of the inputs (parts) from which bars of `length` ns are built: 1 for trades.

    Raises FeedError for an unknown `build_from`.
    """
    if build_from == TRADES:
        return 1
    try:
        return interval_ns(build_from) if build_from else length
    except IntervalError as error:
        raise FeedError("[feed] build_from", f'"{build_from}" is not known', f"{error.remedy}, or trades") from None


def place_parts(
    rows: Rows, universe: Universe, sessions: Mapping[str, Sessions], stamps: Stamps, part: int
) -> BarTimes:
    """Assign trades (`part` is 1) or finer bars of `part` ns to their sessions; a trade at a session's exact close
    belongs to it."""
    if part > 1:
        return place_all(rows, universe, sessions, stamps, part)
    inside = place_all(rows, universe, sessions, "open", part).inside
    shifted_ts = np.where(inside | (rows.ts == NO_STAMP), rows.ts, rows.ts - 1)
    return place_all(replace(rows, ts=shifted_ts), universe, sessions, "open", part)


def bars_of(
    rows: Rows, universe: Universe, sessions: Mapping[str, Sessions], stamps: Stamps, part: int, length: int
) -> Rows:
    """Build bars of `length` ns from trades or finer bars that passed the checks, stamped with their open.

    Raises FeedError when `length` is no multiple of the finer bars' length.
    """
    resampler = Resampler(universe, sessions, length, stamps=stamps, finer_ns=part if part > 1 else 0)
    return resampler.whole(rows if part > 1 else rows.take(np.argsort(rows.ts, kind="stable")))
