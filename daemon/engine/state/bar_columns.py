"""Makes the columns of bars that engine and fold read: of a block, and of marks that follow from something else.

A symbol without a bar keeps its last close, so the columns of a block with missing bars depend on the marks before it.
What can go wrong: a handler changes a mark (a split scales it, a delisting drops it), and later rows of the block go on
from the old one. So changed marks are a block of one row of their own, and the next bar makes its columns anew.

Rejected: to fill the gaps at each bar in the fold, which would copy the marks of every bar, also where none is missing.
"""

import numpy as np

from quantd.daemon.engine.core.market_columns import BlockColumns
from quantd.trading.fill_prices import Columns
from quantd.trading.market import Block, Floats, Ints
from quantd.trading.number_types import read_int_rows, read_ints, read_rows


def block_columns(
    block: Block, row: int, marks: tuple[Floats, Ints, Ints, Floats], *, alone: bool = False
) -> BlockColumns:
    """The columns of `block`, consecutive bars of a market, for bars from `row` on, or for the bar `row` `alone`.

    A symbol without a bar keeps its last known close, exact close, instant and volume: `marks` before the bar `row`.
    """
    end, size = row + 1 if alone else len(block), len(block)
    part, opens, volume = slice(row, end), block.open_nano, block.volume
    fresh, is_full = block.fresh[part], all(block.full[part])
    if not is_full:  # no order fills, and no volume counts, where a bar is missing
        opens, volume = np.empty_like(opens), np.empty_like(volume)
        opens[part] = np.where(fresh, block.open_nano[part], 0)
        volume[part] = np.where(fresh, block.volume[part], np.nan)
    columns = Columns(read_int_rows(opens), read_rows(block.low), read_rows(block.high), read_rows(volume))
    bars = BlockColumns(block, read_ints(block.close_nano.reshape(-1)), columns, read_rows(block.close), end)
    if is_full:
        return bars
    rows = np.where(fresh, np.arange(end - row)[:, None], -1)
    last = np.maximum.accumulate(rows, axis=0)  # the row of the last bar of each symbol, -1 for none since `row`
    times = np.broadcast_to(np.array(block.ts_event[part])[:, None], fresh.shape)
    arrays = []
    for column, mark in zip(
        (block.close[part], block.close_nano[part], times, block.volume[part]), marks, strict=True
    ):  # fmt: skip
        filled = np.empty(block.fresh.shape, column.dtype)
        filled[part] = np.where(last < 0, mark, np.take_along_axis(column, np.maximum(last, 0), axis=0))
        filled.flags.writeable = False
        arrays.append(filled)
    close, exact, instants, volumes = arrays
    buffers = [read_rows(close), read_ints(exact.reshape(-1)), read_rows(volumes), read_int_rows(instants)]
    priced: list[bool] = np.all((close[part] > 0.0) & (exact[part] > 0), axis=1).tolist()
    lacking: list[int] = np.sum(~fresh, axis=1).tolist()
    before, behind = [0] * row, [0] * (size - end)  # rows that are not served
    lists = [*map(bool, before), *priced, *map(bool, behind)], [*before, *lacking, *behind]
    bars.fill_gaps([close, exact, volumes, instants], buffers, *lists)
    return bars


def marks_alone(ts_event: int, key: int, marks: tuple[Floats, Ints, Ints, Floats]) -> BlockColumns:
    """The columns of no bar: one row with these closes, exact closes, instants and volumes by symbol."""
    size, ts = len(marks[0]), np.array([ts_event])
    none = np.full((1, size), np.nan)
    block = Block(
        ts_open=ts, ts_event=ts, key=np.array([key]), open=none, high=none, low=none, close=none, volume=none,
        fresh=np.zeros((1, size), dtype=np.bool_),
    )  # fmt: skip
    return block_columns(block, 0, marks)
