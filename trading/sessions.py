"""Trading sessions as plain arrays, so that pure code does not depend on a calendar library.

What can go wrong: a DAY order that ends before a price exists. An order for bitcoin, decided at the close of New York,
would expire at midnight UTC, before the open that could fill it. With daily bars an order therefore ends at the close
of the first session that opens at its time or later. Good-till-cancelled orders were not chosen instead: such an order
could fill two days after the price from which its limit was computed (docs/decisions/001).
"""

from bisect import bisect_left, bisect_right
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

DAY_NS = 86_400_000_000_000


class Sessions(Struct, frozen=True, dict=True):
    """All sessions of one calendar, oldest first. Times are int64 ns UTC.

    `day_ns` is the session's date at 00:00 UTC (a label, not an instant of trading). `open_ns` and `close_ns` are the
    true instants, early closes of half days included. A 24/7 calendar has one session per UTC day that closes at the
    next midnight. `zone` is the time zone of the exchange. `quantd.adapters.calendars` builds the sessions.
    """

    name: str
    zone: str
    day_ns: tuple[int, ...]
    open_ns: tuple[int, ...]
    close_ns: tuple[int, ...]

    @cached_property
    def row_of_day(self) -> dict[int, int]:
        """Session date (ns at 00:00 UTC) -> index of the session."""
        return {d: k for k, d in enumerate(self.day_ns)}

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """`day_ns` as int64[K]."""
        return np.array(self.day_ns, dtype=np.int64)

    @cached_property
    def opens(self) -> NDArray[np.int64]:
        """`open_ns` as int64[K]."""
        return np.array(self.open_ns, dtype=np.int64)

    @cached_property
    def closes(self) -> NDArray[np.int64]:
        """`close_ns` as int64[K]."""
        return np.array(self.close_ns, dtype=np.int64)

    @cached_property
    def open_instants(self) -> frozenset[int]:
        """All opens as a set, to test whether an instant is an open."""
        return frozenset(self.open_ns)

    @cached_property
    def close_instants(self) -> frozenset[int]:
        """All closes as a set, to test whether an instant is a close."""
        return frozenset(self.close_ns)

    def next_close(self, ts: int) -> int:
        """Return the index of the first session that closes after `ts`. Raises IndexError after the last session."""
        return self._existing(bisect_right(self.close_ns, ts))

    def _existing(self, row: int) -> int:
        if row == len(self.day_ns):
            raise IndexError(f"calendar {self.name} ends before the requested session")
        return row

    def day_order_end(self, ts: int, daily_bars: bool) -> int:
        """Return the expiry of a DAY order sent at `ts`: the close (ns UTC) of the first session in which it can fill.

        With daily bars the first possible fill price is the next *open*, so that the order lasts to the close of that
        session. A crypto order sent at the New York close would otherwise expire at midnight, before any price.
        """
        return self.close_ns[self._existing(bisect_left(self.open_ns, ts)) if daily_bars else self.next_close(ts)]


def interval_text(interval_ns: int) -> str:
    """Return an interval in ns as text: "1d", "1h", "5m"."""
    for unit, length in (("d", DAY_NS), ("h", 3_600_000_000_000), ("m", 60_000_000_000)):
        if interval_ns % length == 0:
            return f"{interval_ns // length}{unit}"
    return f"{interval_ns // 1_000_000_000}s"
