"""Builds bars from files of trades or finer bars, here called parts: the good parts of a session form its bars."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantd.adapters.feeds.bars.merge import place_all
from quantd.adapters.feeds.bars.resample import Resampler
from quantd.adapters.feeds.bars.rows import NO_STAMP, Rows
from quantd.adapters.feeds.bars.stamps import IntervalError, Placed, Stamps, interval_ns
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions

TRADES = "trades"


def part_ns(build_from: str, length: int) -> int:
    """Return the length in ns of the parts from which bars of `length` ns are built: 1 for trades.

    Raises FeedError for an unknown `build_from`.
    """
    if build_from == TRADES:
        return 1
    try:
        return interval_ns(build_from) if build_from else length
    except IntervalError as error:
        raise FeedError("[feed] build_from", f'"{build_from}" is not known', f"{error.remedy}, or trades") from None


def place_parts(rows: Rows, universe: Universe, sessions: Mapping[str, Sessions], stamps: Stamps, part: int) -> Placed:
    """Place parts of `part` ns (1: trades) in their sessions; a trade at a session's exact close belongs to it."""
    if part > 1:
        return place_all(rows, universe, sessions, stamps, part)
    inside = place_all(rows, universe, sessions, "open", part).inside
    shifted_ts = np.where(inside | (rows.ts == NO_STAMP), rows.ts, rows.ts - 1)
    return place_all(replace(rows, ts=shifted_ts), universe, sessions, "open", part)


def bars_of(
    rows: Rows, universe: Universe, sessions: Mapping[str, Sessions], stamps: Stamps, part: int, length: int
) -> Rows:
    """Build bars of `length` ns from good parts, stamped with their open.

    Raises FeedError when the parts' length does not divide `length`.
    """
    resampler = Resampler(universe, sessions, length, stamps=stamps, finer_ns=part if part > 1 else 0)
    return resampler.whole(rows if part > 1 else rows.take(np.argsort(rows.ts, kind="stable")))
