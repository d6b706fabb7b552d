"""What Python does for the bars and samples of the fold (compiled fast path): columns of blocks, and the rare sample.

A symbol without a bar keeps its last close, so the columns of a block with missing bars depend on the marks before it.
What can go wrong: a handler changes a mark (a split scales it, a delisting drops it), and later rows of the block go on
from the old one. `follow_marks` compares the marks once at each return from `step`, and drops columns that differ.

Rejected: to fill the gaps at each bar in the fold, which would copy the marks of every bar, also where none is missing.
"""

import numpy as np

from quantd.daemon.engine.core.market_columns import BlockColumns
from quantd.daemon.engine.state.engine_state import State
from quantd.daemon.runtime.host.shell_parts import Parts
from quantd.trading.events import Tick
from quantd.trading.fill_prices import Columns
from quantd.trading.market import Block, MarketSlice
from quantd.trading.number_types import read_int_rows, read_ints, read_rows


class MarketHost:
    """The part of the fold's host that has to do with bars and the history of closes."""

    state: State
    parts: Parts

    def show(self) -> None:
        """Write the last bar and sample to the state for handlers."""
        raise NotImplementedError

    @property
    def last_bar(self) -> MarketSlice:
        """The bar that the fold took last."""
        return MarketSlice(self.state.market_columns.block, self.state.market_columns.row)

    def follow_marks(self) -> None:
        """Drop columns with missing bars which do not continue from the marks of the state: `step` changed a mark."""
        state, columns, market = self.state, self.state.market_columns, self.parts.market
        if columns.block is None or not columns.bars.gaps:
            return
        if market is None or market.block is not columns.block:
            columns.block = None
            return
        bars, row = columns.bars, market.row
        pairs = [(bars.marks, state.marks), (bars.times, state.mark_ts)]
        if state.rules.daily:
            pairs.append((bars.volumes, state.volume))
        if not all(np.array_equal(column[row], value, equal_nan=True) for column, value in pairs):
            columns.block = None

    def take_pending_bar(self) -> None:
        """Make the last bar the present bar of the columns, if its closes, and no others of its date, wait for their
        sample. Else all closes go on waiting, and `step` takes a sample that comes before the next bar."""
        state, market = self.state, self.parts.market
        pending = state.history.pending
        if market is None or market.key not in pending:
            return
        columns, row = state.market_columns, market.row
        closes = market.close if market.full else np.where(market.fresh, market.close, np.nan)
        if not np.array_equal(pending[market.key], closes, equal_nan=True):
            return
        bars = columns.bars if market.block is columns.block else block_columns(market.block, row, state)
        if not bars.priced[row] or not np.array_equal(bars.marks[row], state.marks):
            return
        del pending[market.key]
        columns.block, columns.bars, columns.row, columns.waiting = market.block, bars, row, True

    def count_trades(self, item: MarketSlice, fills: bool, crosses: bool) -> None:
        """Count, for limits over a session, what fills and crosses at the open of a bar."""
        state = self.state
        activity, size = state.activity, state.universe.lot_size
        activity.roll(item.ts_open, state.rules.house_sessions())
        for orders in state.venue_orders.baskets if fills else ():
            symbols, _, _, prices, _ = orders.fills()
            activity.fill(symbols, prices, orders.signed_shares(), size)
        for cross in state.crosses if crosses else ():
            activity.cross(int(item.open_nano[cross.symbol]), cross.shares, float(size[cross.symbol]))

    def columns_of(self, block: Block, row: int) -> BlockColumns:
        """The columns of `block`, consecutive bars of a recorded market, for bars from `row` on."""
        if self.state.bars_moved and not all(block.full[row:]):
            self.show()  # the last known closes are those of the columns
        return block_columns(block, row, self.state)

    def keep_closes(self) -> None:
        """Let the closes of the last bar wait: another bar came before their sample."""
        bar = self.last_bar
        self.state.history.bar(bar.key, bar.fresh, bar.full, bar.close)
        self.state.market_columns.waiting = False

    def append(self, tick: Tick) -> None:
        """Append a sample to the history of which a close is missing, or whose date is not that of the last bar, or is
        complete later. The gates then read the prices anew, though there may be no newer return."""
        self.keep_closes()
        if not self.state.plans_in_python:
            for columns in self.state.book_columns:
                columns.limiter.renewed = -1
        history, market = self.state.history, self.state.market_columns
        history.sample(tick.ts, tick.key, tick.final, market.bars.marks[market.row])
        if history.macro is not None:
            history.macro.sample(tick.macro)

    def act(self, key: int) -> bool:
        """Apply the dividends since the last sample to the histories of closes (rings).

        Returns False, without a change, where a dividend has a later date than `key`, the date of the sample. The ring
        by instant and the ring by date share their arrays while dividends change both alike.
        """
        history = self.state.history
        if any(date_key > key for date_key, *_ in history.sync_actions):
            return False
        if not history.acts_alike(key):
            history.part()
        history.known.act(history.known_actions)
        if not history.joined:
            history.synchronous.act([(column, ratio, cash) for _, column, ratio, cash in history.sync_actions])
        return True

    def keep_bar(self) -> None:
        """Store the last bar for policies that read bars."""
        if self.state.history.bars is not None:
            self.state.history.bars.slice(self.last_bar)

    def keep_sample(self, tick: Tick) -> None:
        """Store the data of a sample that policies read: its bar and its values of the macro series. Forget its
        dividends, which are in the rings, and the closes that waited for its date."""
        history, market = self.state.history, self.state.market_columns
        if history.pending:
            history.drop(tick.key)
        if history.bars is not None:
            history.bars.sample(tick.key, market.bars.marks[market.row], history.known_actions)
        if history.macro is not None:
            history.macro.sample(tick.macro)
        history.known_actions, history.sync_actions = [], []

    def withdraw_actions(self) -> None:
        """Take the dividends that `act` applied back from the rings."""
        history = self.state.history
        history.known.act([])
        if not history.joined:
            history.synchronous.act([])


def block_columns(block: Block, row: int, state: State) -> BlockColumns:
    """The columns of `block`, consecutive bars of a recorded market, for bars from `row` on.

    A symbol without a bar keeps its last known close and volume: those of the state before the bar `row`.
    """
    is_full = all(block.full[row:])
    opens, volume = block.open_nano, block.volume
    if not is_full:  # no order fills, and no volume counts, where a bar is missing
        opens, volume = np.where(block.fresh, opens, 0), np.where(block.fresh, volume, np.nan)
    columns = Columns(read_int_rows(opens), read_rows(block.low), read_rows(block.high), read_rows(volume))
    bars = BlockColumns(block, read_ints(block.close_nano.reshape(-1)), columns, read_rows(block.close))
    if is_full:
        return bars
    rows = np.where(block.fresh, np.arange(len(block))[:, None], -1)
    rows[:row] = -1
    last = np.maximum.accumulate(rows, axis=0)  # the row of the last bar of each symbol, -1 for none since `row`
    times = np.broadcast_to(np.array(block.ts_event)[:, None], block.fresh.shape)
    arrays = []
    for column, before in (
        (block.close, state.marks), (block.close_nano, state.marks_nano), (block.volume, state.volume),
        (times, state.mark_ts),
    ):  # fmt: skip
        filled = np.where(last < 0, before, np.take_along_axis(column, np.maximum(last, 0), axis=0))
        filled.flags.writeable = False
        arrays.append(filled)
    close, exact, volumes, times = arrays
    buffers = [read_rows(close), read_ints(exact.reshape(-1)), read_rows(volumes), read_int_rows(times)]
    priced: list[bool] = np.all((close > 0.0) & (exact > 0), axis=1).tolist()
    lacking: list[int] = np.sum(~block.fresh, axis=1).tolist()
    bars.fill_gaps(arrays, buffers, priced, lacking)
    return bars
