"""The samples that a log of the run has not read yet, in columns."""

from typing import Any, Final

from quantd.daemon.engine.core.limiter import copy
from quantd.trading.number_types import Floats, Ints, float_zeros, int_zeros

ROOM: Final = 256
"""The largest number of samples in the columns."""

RECORD_SAMPLES: Final = 25
"""The largest number of samples, five weeks, between two records of all limits. The plan of a round is one too."""

KEPT_SAMPLES: Final = 256
"""With more samples than this in `orders_at`, which numbers the baskets of each sample, the oldest are dropped."""

KNOWN_SAMPLES: Final = 5
"""Samples, a week, between two records of losses and realised returns, which need no measurement."""


class SampleColumns:
    """The samples in columns: instant `ts`, date of the session (`key`), row of the bar, and cash, high-water mark
    (`peak`) and lots float64[S, N] of the whole account.

    S are samples, N symbols, B books. `values` int64[S, B + 1] are equities in micro-currency: of the house, of each
    agent, and of the lots and cash that belong to no agent. `orders` has the baskets that were filled since the log
    last read.
    """

    count: int
    books: int
    recording: bool
    """Whether a log reads them."""
    values: Ints
    ts: Ints
    key: Ints
    row: Ints
    cash: Ints
    peak: Ints
    lots: Floats
    orders: list[Any]
    ticks: list[Any]

    def __init__(self, books: int, size: int) -> None:
        self.count, self.books, self.recording = 0, books, False
        self.values = int_zeros(ROOM * (books + 1))
        self.ts, self.key, self.row = int_zeros(ROOM), int_zeros(ROOM), int_zeros(ROOM)
        self.cash, self.peak, self.lots = int_zeros(ROOM), int_zeros(ROOM), float_zeros(ROOM * size)
        self.orders, self.ticks = [], []

    def add(self, tick: Any, ts: int, key: int, row: int, values: Ints, cash: int, peak: int, lots: Floats) -> None:
        """Add a sample with the equities `values`, int64[B + 1], in micro-currency.

        `row` is the row of its bar in the loaded bars, `peak` the high-water mark. `lots`, float64[N], `cash` and
        `peak` are of the whole account.
        """
        at: int = self.count
        n: int = len(lots)
        first: int = at * (self.books + 1)
        for book in range(self.books + 1):
            self.values[first + book] = values[book]
        self.ts[at], self.key[at], self.row[at], self.cash[at], self.peak[at] = ts, key, row, cash, peak
        copy(self.lots[at * n : at * n + n], lots)
        self.ticks.append(tick)
        self.count += 1
