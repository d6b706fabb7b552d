"""Writes a state into the arrays of a batch, and what its plans need of the history."""

from collections.abc import Sequence
from math import isfinite

import numpy as np

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.arrays import Arrays
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.measures.portfolio import least, total
from quantd.risk.monitor.realised import KEPT
from quantd.trading.covariance import ones
from quantd.trading.events import Tick
from quantd.trading.market import Block
from quantd.trading.orders import OrderState
from quantd.trading.ports import KernelVenue
from quantd.trading.sessions import DAY_NS


def write_state(state: State, arrays: Arrays, block: Block, first: int, ticks: Sequence[Tick], checked: bool) -> None:
    """Write the state into the arrays, and the times of row `first` of `block` and of those that follow. `checked`: the
    caller checks levels that may have changed."""
    cells, rows, last = arrays.ints.data, len(ticks), first + len(ticks)
    books = len(state.agents) + 1
    for name, value in (
        (place.ROWS, rows), (place.ROW, 0), (place.FIRST, first),
        (place.ORDERS, 0), (place.CROSSES, 0), (place.ASKED, 0), (place.REFUSED, 0), (place.CLIPPED, 0),
        (place.LAST_TS, state.sample), (place.CHECKED, checked),
    ):  # fmt: skip
        cells[name] = value
    times = arrays.section(place.A_TIMES, 4 * rows).reshape(rows, 4)
    times[:, 0], times[:, 1] = block.ts_open[first:last], block.ts_event[first:last]
    times[:, 2] = [tick.ts for tick in ticks]
    times[:, 3] = [tick.key // DAY_NS for tick in ticks]
    always = any(
        not (agent.suspended or rules.scheduled) for agent, rules in zip(state.agents, state.rules.agents, strict=True)
    )
    arrays.section(place.A_DUE, rows)[:] = 1 if always else [bool(tick.due) for tick in ticks]
    marks: list[int] = []
    basis: list[float] = []
    for book in (HOUSE, *range(books - 1)):
        own = state.switch_at(book)
        marks += (own.high_water, own.day_open, own.week_open, own.day_key, own.week_key, own.last)
        basis += state.watch.realised[book + 1].basis(state.account(book).flows_micro)
    arrays.section(place.A_MARKS, len(marks))[:] = marks
    arrays.numbers(place.F_BASIS, len(basis))[:] = basis
    size = state.universe.size
    held = np.array([book.held for book in (state.ledger.house, *state.ledger.books[:-1])])
    arrays.numbers(place.F_HELD, books * size).reshape(books, size)[:] = held
    if cells[place.REALISED]:
        before = arrays.numbers(place.F_REALISED, books * (KEPT + place.LONGEST)).reshape(books, -1)
        counts = arrays.section(place.A_REALISED, books)
        for book in range(books):
            returns = state.watch.realised[book].returns()
            counts[book], before[book, KEPT - len(returns) : KEPT] = len(returns), returns
    for each in arrays.sets:
        each.rare.begin(state.history.synchronous)
    asked = [own.asked_at if own.asked else 0 for own in state.activity.books[: books - 1]]
    arrays.section(place.A_ASKED_AT, len(asked))[:] = asked
    arrays.section(place.A_FOLLOW, books - 1)[:] = [agent.follow_up is not None for agent in state.agents]


def write_orders(state: State, arrays: Arrays, venue: KernelVenue, ts_open: int) -> bool:
    """Write the open basket and the crosses into the arrays; False where they are others than the kernel knows, or not
    eligible at the open `ts_open`."""
    cells = arrays.ints.data
    size, agents = state.universe.size, len(state.agents)
    for (sample, n), work in state.working.items():
        rows, starts = len(work.lots), venue.starts(sample, n)
        whole = work.basket.lots == work.lots and work.basket.worst_nano == work.worst_nano
        if starts is None or len(state.working) > 1 or not whole or work.odd or work.basket.kind or work.again:
            return False
        if work.state != [OrderState.WORKING] * rows or any(work.filled) or 0 in work.basket.end:
            return False
        basket = work.basket
        columns = [*basket.sym, *basket.lots, *basket.worst_nano, *basket.end]
        arrays.section(place.A_ORDERS, 4 * rows)[:] = columns
        arrays.section(place.A_REASONS, rows)[:] = basket.reason or [0] * rows
        pairs = arrays.section(place.A_PAIRS, size + 2 * size * agents)
        pairs[:rows] = [len(each) for each in work.shares]
        flat = [value for each in work.shares for pair in each for value in pair]
        pairs[size : size + len(flat)] = flat
        cells[place.ORDERS], cells[place.AFTER] = rows, starts
        cells[place.SENT_SAMPLE], cells[place.SENT_N] = sample, n
    lots = arrays.section(place.A_CROSSED, agents * size).reshape(agents, size)
    lots[:] = 0
    worst = arrays.section(place.A_CROSS_WORST, 2 * size).reshape(2, size)
    for cross in state.crosses:
        if lots[:, cross.symbol].any() or cross.ts > ts_open:
            return False
        if [agent for agent, _ in cross.shares] != sorted({agent for agent, _ in cross.shares}):
            return False
        for agent, own in cross.shares:
            lots[agent, cross.symbol] = own
        worst[:, cross.symbol] = cross.buy_worst_nano, cross.sell_worst_nano
    cells[place.CROSSES] = len(state.crosses)
    return True


class Volumes:
    """The average volumes that the gates of a batch read."""

    def __init__(self, state: State, arrays: Arrays, block: Block, first: int) -> None:
        self._state, self._arrays, self._block, self._first = state, arrays, block, first
        self.needed = any(each.by_volume for each in arrays.sets)
        """Whether a gate reads them."""
        self._volumes = state.volumes.copy()
        self._rows = 0
        """Rows whose volumes are among `_volumes`."""

    def write_volume(self, rows: int, applied: int) -> bool:
        """Write the average volume at the last of `rows`, of which the state has `applied`; False where one is not
        known."""
        if not self.needed:
            return True
        state, kept = self._state, len(self._volumes)
        before = state.volume_count - applied
        for row in range(max(self._rows, rows - kept), rows):
            self._volumes[(before + row) % kept] = self._block.volume[self._first + row]
        self._rows = rows
        known = self._volumes[: before + rows]
        average = ones(len(known)).dot(known) / len(known) / state.universe.lot_size
        self._arrays.numbers(place.F_VOLUME, len(average))[:] = average
        return isfinite(total(average)) and least(average) >= 0.0
