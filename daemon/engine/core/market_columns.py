"""The bar that the fold, the engine's compiled fast path, took last."""

from math import isfinite, nan
from typing import Any

from quantd.trading.fill_prices import Columns
from quantd.trading.number_types import FloatRows, Floats, ReadFloats, ReadIntRows, ReadInts, ReadRows, float_zeros


class BlockColumns:
    """Consecutive bars (a block) in buffers: prices float64[R, N] (and in nano-currency), volumes, times.

    R is the number of bars, N that of symbols. A symbol without a bar has its last known close and volume, of the
    instant `mark_ts`; `columns`, by which orders fill, has none.
    """

    close: ReadRows
    close_nano: ReadInts
    """int64[R * N]: the closes of one bar after the other."""
    open_nano: ReadIntRows
    volume: ReadRows
    columns: Columns
    marks: Any
    exact: Any
    volumes: Any
    """`close`, `close_nano` and `volume` as arrays [R, N], which handlers read."""
    times: Any
    """int64[R, N], `mark_ts` as an array; None where no bar is missing."""
    mark_ts: ReadIntRows
    gaps: bool
    """Whether a bar is missing."""
    priced: list[bool]
    """By row: whether every symbol has a close."""
    lacking: list[int]
    """By row: the number of symbols without a bar; empty where no bar is missing."""
    ts_open: list[int]
    ts_event: list[int]
    ts_seen: list[int]
    keys: list[int]
    full: list[bool]

    end: int
    """The first row behind those that the columns serve."""

    def __init__(self, block: Any, close_nano: ReadInts, columns: Columns, close: ReadRows, end: int) -> None:
        self.end = end
        self.close, self.close_nano, self.columns = close, close_nano, columns
        self.open_nano, self.volume = columns.open_nano, columns.volume
        self.ts_open, self.ts_event, self.ts_seen = block.ts_open, block.ts_event, block.ts_seen
        self.keys, self.full, self.priced = block.key, block.full, block.full
        self.marks, self.exact, self.volumes, self.times = block.close, block.close_nano, block.volume, None
        self.gaps, self.lacking = False, []

    def fill_gaps(self, arrays: list[Any], buffers: list[Any], priced: list[bool], lacking: list[int]) -> None:
        """Take `arrays` of closes, exact closes, volumes and their times, with the last known values where a bar is
        missing; `buffers` are their memory."""
        self.marks, self.exact, self.volumes, self.times = arrays
        self.close, self.close_nano, self.volume, self.mark_ts = buffers
        self.gaps, self.priced, self.lacking = True, priced, lacking


class Market:
    """The bars of all symbols at one instant (row `row` of a block of instants), and `px`, the prices of one lot then.

    `waiting` is True until the sample of this instant is taken. `bars` has the data of `block` as memory buffers. Where
    bars are not `daily`, `session` has the volumes of the session so far, NaN for none known, and `session_close` is
    the close of the session of the last sample.
    """

    size: int
    block: Any
    bars: BlockColumns
    row: int
    waiting: bool
    px: Floats
    px_view: ReadFloats
    lot_size: ReadFloats
    daily: bool
    session: Floats
    session_close: int

    def __init__(self, size: int, lot_size: ReadFloats, daily: bool) -> None:
        self.size, self.lot_size, self.px = size, lot_size, float_zeros(size)
        self.block, self.row, self.waiting = None, -1, False
        self.px_view = self.px
        self.daily, self.session, self.session_close = daily, float_zeros(size), 0
        self.begin_session()

    def begin_session(self, volumes: Any = None) -> None:
        """Begin a session: no volume is known of it, or `volumes`, float64[N]."""
        for k in range(self.size):
            self.session[k] = nan if volumes is None else volumes[k]

    def set_alone(self, bars: BlockColumns) -> None:
        """Make the only row of `bars` the last one: marks that are those of no bar."""
        self.block, self.bars, self.row, self.waiting = None, bars, 0, False

    def take_prices(self) -> None:
        """Compute the prices of one lot of each symbol at the closes of the bar, 0 without one."""
        bars: BlockColumns = self.bars
        close: ReadRows = bars.close
        px: Floats = self.px
        lot_size: ReadFloats = self.lot_size
        row: int = self.row
        for k in range(self.size):
            px[k] = close[row, k] * lot_size[k]
        if not self.priced():
            for k in range(self.size):
                if bars.close_nano[row * self.size + k] <= 0:
                    px[k] = 0.0

    def continues(self, block: Any, row: int) -> bool:
        """Whether the columns serve the bar `row` of `block`: they fill a missing bar from the row before it."""
        bars: BlockColumns = self.bars
        return block is self.block and row < bars.end and (not bars.gaps or row == self.row + 1)

    def priced(self) -> bool:
        """Whether every symbol has a close."""
        bars: BlockColumns = self.bars
        return bars.priced[self.row]

    def closes(self) -> ReadInts:
        """int64[N] closes of the bar by symbol, in nano-currency."""
        bars: BlockColumns = self.bars
        at: int = self.row * self.size
        return bars.close_nano[at : at + self.size]

    def samples(self, tick: Any) -> bool:
        """Whether `tick` is a sample after the newest bar, without a job."""
        if not tick.sample or tick.jobs:
            return False
        bars: BlockColumns = self.bars
        ts: int = tick.ts
        return bars.ts_event[self.row] <= ts

    def completes(self, tick: Any) -> bool:
        """Whether the bar has every symbol, and is the last one of the date of the sample `tick`."""
        bars: BlockColumns = self.bars
        key: int = tick.key
        final: int = tick.final
        ts: int = tick.ts
        return bars.full[self.row] and key == bars.keys[self.row] and final <= ts

    def age(self, ts: int) -> int:
        """The age in ns of the oldest mark at the instant `ts`; negative where the bar is of a later instant."""
        bars: BlockColumns = self.bars
        row: int = self.row
        newest: int = bars.ts_event[row]
        oldest: int = newest
        if bars.gaps and newest <= ts:
            for k in range(self.size):
                oldest = min(oldest, bars.mark_ts[row, k])
        return ts - oldest

    def take(self, row: int) -> None:
        """Make `row` the present bar. Its known volumes are added to those of the session so far."""
        bars: BlockColumns = self.bars
        columns: Columns = bars.columns
        volume: ReadRows = columns.volume
        session: Floats = self.session
        self.row, self.waiting = row, True
        if not self.daily:
            for k in range(self.size):
                traded: float = volume[row, k]
                if isfinite(traded):
                    session[k] = (session[k] if isfinite(session[k]) else 0.0) + traded

    def ends_session(self, ts: int, ring: FloatRows, count: int, host: Any) -> bool:
        """Whether a session ends with the sample at `ts`: its volumes then go into `ring`, a row for each session, of
        which `count` are written already. `host` knows the calendar."""
        bars: BlockColumns = self.bars
        volume: ReadRows = bars.volume
        session: Floats = self.session
        slot: int = count % len(ring)
        row: int = self.row
        if not self.daily:
            if ts > self.session_close:
                self.session_close = host.state.next_close(ts)
            if ts != self.session_close:
                return False
        for k in range(self.size):
            if self.daily:
                ring[slot, k] = volume[row, k]
            else:
                ring[slot, k] = session[k]
        if not self.daily:
            self.begin_session()
        return True
