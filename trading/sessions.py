"""Trading sessions as plain arrays, so that pure code never asks a calendar library."""

from bisect import bisect_left, bisect_right
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

DAY_NS = 86_400_000_000_000


class Sessions(Struct, frozen=True, dict=True):
    """All sessions of one calendar, oldest first. Times are int64 ns UTC.

    `day_ns` is the session's date at 00:00 UTC (a label), `open_ns` and `close_ns` the true instants;
    half days have their early close. A 24/7 calendar has one session per UTC day, closing at the
    next midnight. Made by `quantd.adapters.calendars`.
    """

    name: str
    zone: str
    day_ns: tuple[int, ...]
    open_ns: tuple[int, ...]
    close_ns: tuple[int, ...]

    @cached_property
    def row_of_day(self) -> dict[int, int]:
        """Session date (ns at 00:00 UTC) -> row."""
        return {d: k for k, d in enumerate(self.day_ns)}

    @cached_property
    def days(self) -> NDArray[np.int64]:
        return np.array(self.day_ns, dtype=np.int64)

    @cached_property
    def opens(self) -> NDArray[np.int64]:
        return np.array(self.open_ns, dtype=np.int64)

    @cached_property
    def closes(self) -> NDArray[np.int64]:
        return np.array(self.close_ns, dtype=np.int64)

    def next_open(self, ts: int) -> int:
        """Row of the first session that opens at or after `ts`; IndexError beyond the horizon."""
        row = bisect_left(self.open_ns, ts)
        if row == len(self.open_ns):
            raise IndexError(f"calendar {self.name} ends before the session asked for")
        return row

    def next_close(self, ts: int) -> int:
        """Row of the first session that closes after `ts`; IndexError beyond the horizon."""
        row = bisect_right(self.close_ns, ts)
        if row == len(self.close_ns):
            raise IndexError(f"calendar {self.name} ends before the session asked for")
        return row

    def day_order_end(self, ts: int, daily_bars: bool) -> int:
        """The instant a DAY order sent at `ts` ends: the close of the first session it can fill in.

        With bars of a whole session the first price it can meet is the next *open*; a crypto order
        sent at the New York close would otherwise end at midnight, before any price.
        """
        return self.close_ns[self.next_open(ts) if daily_bars else self.next_close(ts)]
