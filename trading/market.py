"""Market data as columns: a block of bars, and one instant of it (a slice).

What can go wrong: a bar that is read before it is known, and a price that loses digits. Each row therefore has the
instant at which its open is known, and the instant at which the whole bar is known. A venue may fill at the open; a
policy never sees the open before the close (docs/decisions/018). Exact prices are integers in nano-currency, parsed
from text if a file has prices as text. Arrays are read-only, because slices are views of one block.
"""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.instruments import NANO
from quantd.trading.model_events import Act

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Block:
    """T instants of bars for N symbols.

    `ts_open`, `ts_event` (the close, when the bar becomes known) and `ts_seen` are int64[T], ns UTC. `key` is int64[T]:
    the session date (00:00 UTC) of daily bars, else ts_event. Bars with the same key belong to one row of synchronous
    returns. `open` .. `volume` are float64[T, N], NaN where `fresh` bool[T, N] is False: no bar. `open_nano` and
    `close_nano` int64[T, N] are the exact prices in nano-currency, 0 without a bar. `full[t]` is True if row t has a
    bar of every symbol. `index0` is the index of row 0 in its feed, so that a journal can identify a slice by its
    index.
    """

    __slots__ = (
        "close", "close_nano", "fresh", "full", "high", "index0", "key", "low", "open", "open_nano",
        "ts_event", "ts_open", "ts_seen", "volume",
    )  # fmt: skip

    def __init__(
        self,
        *,
        ts_open: Ints,
        ts_event: Ints,
        key: Ints,
        open: Floats,
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        fresh: Bools,
        open_nano: Ints | None = None,
        close_nano: Ints | None = None,
        ts_seen: Ints | None = None,
        index0: int = 0,
    ) -> None:
        """Make a read-only block of T instants of N symbols. By default the nano prices are converted from `open` and
        `close`, and each bar was seen when it closed.

        Times and `key` are int64[T], prices float64[T, N], `fresh` bool[T, N]: True where a symbol has a bar.
        """
        self.ts_open: Final[list[int]] = ts_open.tolist()
        self.ts_event: Final[list[int]] = ts_event.tolist()
        self.ts_seen: Final[list[int]] = self.ts_event if ts_seen is None else ts_seen.tolist()
        self.key: Final[list[int]] = key.tolist()
        self.open, self.high, self.low, self.close, self.volume = open, high, low, close, volume
        self.fresh = fresh
        self.full: Final[list[bool]] = np.all(fresh, axis=1).tolist()
        self.open_nano = nano(open) if open_nano is None else open_nano
        self.close_nano = nano(close) if close_nano is None else close_nano
        self.index0 = index0
        for column in (open, high, low, close, volume, fresh, self.open_nano, self.close_nano):
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ts_event)


def nano(prices: Floats) -> Ints:
    """Convert float64 prices to int64 nano-currency, rounded half-even at 1e-6; NaN becomes 0. Exact for prices with at
    most six decimals below about 9e6, which includes every file format that quantd reads."""
    return np.rint(np.nan_to_num(prices, nan=0.0) * 1e6).astype(np.int64) * (NANO // 1_000_000)


class MarketSlice:
    """One instant of a block: the bars of the whole universe that close at `ts_event`. The columns are read-only
    views."""

    __slots__ = ("block", "row")

    def __init__(self, block: Block, row: int) -> None:
        self.block = block
        self.row = row

    @property
    def index(self) -> int:
        """Index of this slice (the bars of one instant) in its feed, from 0."""
        return self.block.index0 + self.row

    @property
    def ts_open(self) -> int:
        """When the bar began, ns UTC."""
        return self.block.ts_open[self.row]

    @property
    def ts_event(self) -> int:
        """When the bar became known: its close, ns UTC."""
        return self.block.ts_event[self.row]

    @property
    def ts_seen(self) -> int:
        """When the feed received the slice, ns UTC; `ts_event` if the feed does not report it."""
        return self.block.ts_seen[self.row]

    @property
    def key(self) -> int:
        """The session date of daily bars, else `ts_event`, ns UTC."""
        return self.block.key[self.row]

    @property
    def full(self) -> bool:
        return self.block.full[self.row]

    @property
    def fresh(self) -> Bools:
        """bool[N], True for symbols with a bar."""
        return self.block.fresh[self.row]

    @property
    def open(self) -> Floats:
        """The open of each symbol in currency, float64[N]; NaN without a bar."""
        return self.block.open[self.row]

    @property
    def high(self) -> Floats:
        """The high of each symbol in currency, float64[N]; NaN without a bar."""
        return self.block.high[self.row]

    @property
    def low(self) -> Floats:
        """The low of each symbol in currency, float64[N]; NaN without a bar."""
        return self.block.low[self.row]

    @property
    def close(self) -> Floats:
        """The close of each symbol in currency, float64[N]; NaN without a bar."""
        return self.block.close[self.row]

    @property
    def volume(self) -> Floats:
        """The volume of each symbol in units, float64[N]; NaN without a bar."""
        return self.block.volume[self.row]

    @property
    def open_nano(self) -> Ints:
        """int64[N], the exact open in nano-currency; 0 without a bar."""
        return self.block.open_nano[self.row]

    @property
    def close_nano(self) -> Ints:
        """int64[N], the exact close in nano-currency; 0 without a bar."""
        return self.block.close_nano[self.row]


class Opening(Struct, frozen=True, array_like=True):
    """The open of a bar in progress: its begin and end (ns UTC), its column `symbol`, its open in nano-currency.

    `volume` is the volume of the whole bar, which is not known yet. Only the simulated venue reads it, to cap fills.
    """

    ts_open: int
    ts_event: int
    symbol: int
    open_nano: int
    volume: float


class Jump(Struct, frozen=True, tag=True):
    """An open that differs from the last accepted close by a usual split ratio, although no action announces a split.

    The jump is either a split that is missing from the actions, or a real move. The bar that jumped is good and part of
    the slice at `ts`, when the bar is complete; a feed yields the jump immediately before that slice. `ts_open` is the
    time of the bar's open; both are ns UTC. `symbol` is the column. `before_nano` is the last accepted close, adjusted
    for announced actions, `after_nano` the open, both in nano-currency. The nearest usual ratio is `numerator` new
    shares for `denominator` old ones, as in Action.
    """

    ts: int
    ts_open: int
    symbol: int
    before_nano: int
    after_nano: int
    numerator: int
    denominator: int


class PriceJumped(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the price of a column (symbol) jumped near a split ratio without a corporate action. The event precedes
    the slice of the bar that jumped.

    `ts` is the time of the bar's open (ns UTC), `before_nano` the last price before it, `after_nano` the first price
    after it, in nano-currency. A split of `numerator` new shares for `denominator` old ones would explain the jump.
    """

    ts: int
    symbol: int
    before_nano: int
    after_nano: int
    numerator: int
    denominator: int


class JumpExplained(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator explains a price jump, which had put trading in a column (symbol) on hold. The hold then ends.

    The jump was a split of `numerator` new shares for `denominator` old ones, or a real move of the price: both
    numbers are then 1.
    """

    ts: int
    symbol: int
    reason: str
    who: str
    numerator: int = 1
    denominator: int = 1
