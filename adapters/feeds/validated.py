"""The checks every recorded bar passes before anyone sees it. A bad bar is put aside with its reason: it is never
repaired, and nothing is put in its place.

Every check looks backwards only. A filter that uses tomorrow's bar to call today's bad is look-ahead too.
"""

from enum import IntEnum
from typing import Final

import numpy as np
from msgspec import Struct

from adapters.feeds.files import NO_STAMP, Rows
from adapters.feeds.stamps import Placed
from trading.market import Bools, Floats


class Reason(IntEnum):
    """Why a bar was put aside. The first that applies, in this order, is the bar's reason."""

    GOOD = 0
    STAMP = 1
    NAN = 2
    INFINITE = 3
    NON_POSITIVE = 4
    VOLUME = 5
    CROSSED = 6
    SESSION = 7
    OUT_OF_ORDER = 8
    DUPLICATE = 9
    STALE = 10
    SPIKE = 11
    SPLIT = 12


REASON_TEXT: Final = {
    Reason.GOOD: "good",
    Reason.STAMP: "its stamp cannot be read",
    Reason.NAN: "a price or the volume is missing or not a number",
    Reason.INFINITE: "a price or the volume is infinite",
    Reason.NON_POSITIVE: "a price is zero or negative",
    Reason.VOLUME: "the volume is negative or beyond belief",
    Reason.CROSSED: "high and low do not contain open and close",
    Reason.SESSION: "its stamp lies in no session of its calendar",
    Reason.OUT_OF_ORDER: "its stamp is out of order",
    Reason.DUPLICATE: "there is already a bar of this symbol and time",
    Reason.STALE: "it repeats the bars before it unchanged",
    Reason.SPIKE: "its price is out of all proportion to the bars before it",
    Reason.SPLIT: "its price jumps like a split that no action announces",
}


class BadBar(Struct, frozen=True):
    """A bar put aside. `ts` is the file's stamp and `ts_event` when it would have been known, ns UTC;
    `reason` is a Reason's name in lower case. Values are as read, NaN where there was no number."""

    ts: int
    ts_event: int
    symbol: str
    reason: str
    open: float
    high: float
    low: float
    close: float
    volume: float


CROSSED_TOLERANCE: Final = 1e-6
"""Relative: adjusted prices of one bar are rounded apart, at the sixth digit."""


def judge(rows: Rows, placed: Placed) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """int8[R] Reason of each bar; `rows` in the order of the file."""
    reason = np.zeros(len(rows), dtype=np.int8)

    def mark(bad: Bools, why: Reason) -> None:
        reason[bad & (reason == 0)] = why

    mark(rows.ts == NO_STAMP, Reason.STAMP)
    columns = (rows.open, rows.high, rows.low, rows.close, rows.volume)
    mark(np.logical_or.reduce([np.isnan(c) for c in columns]), Reason.NAN)
    mark(np.logical_or.reduce([np.isinf(c) for c in columns]), Reason.INFINITE)
    mark(np.logical_or.reduce([c <= 0 for c in columns[:4]]), Reason.NON_POSITIVE)
    mark(rows.volume < 0, Reason.VOLUME)
    mark(_crossed(rows), Reason.CROSSED)
    mark(~placed.inside, Reason.SESSION)
    return reason


def _crossed(rows: Rows) -> Bools:
    slack: Floats = np.abs(rows.close) * CROSSED_TOLERANCE
    top, bottom = np.maximum(rows.open, rows.close), np.minimum(rows.open, rows.close)
    return (rows.high + slack < top) | (rows.low - slack > bottom)
