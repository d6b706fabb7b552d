"""The newest bars of each symbol, with which new bars are compared and repeated bars are recognised.

What can go wrong. A bar that was passed on would be judged again with later bars and could get another verdict. A
checked bar therefore retains its verdict, and only new bars are judged. A bar that a vendor sends again replaces the
stored one, so that it is not compared with itself.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.adapters.feeds.bars.checks import BadBar, Checked, Reason, Reasons, judge
from quantd.adapters.feeds.bars.merge import bad_bar
from quantd.adapters.feeds.bars.rows import Rows, concatenated, rows_of
from quantd.adapters.feeds.bars.stamps import BarTimes
from quantd.trading.events import Action
from quantd.trading.instruments import Universe

_NOTHING: Final = np.iinfo(np.int64).min


class RecentBars:
    """The last LENGTH bars of each of `size` symbols, bad ones included, symbol by symbol in time order."""

    LENGTH: Final = 128
    """Twice the check window of quantd.adapters.feeds.bars.jumps, so that enough good bars remain if some are bad."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self._rows = rows_of(())
        none = np.empty(0, dtype=np.bool_)
        self._placed = BarTimes(self._rows.ts, self._rows.ts, self._rows.ts, none, none)
        self._reason: Reasons = np.empty(0, dtype=np.int8)
        self._index: dict[tuple[int, int], int] | None = None
        self._accepted: dict[int, Action] = {}

    def extend(self, rows: Rows, placed: BarTimes, interval: int, actions: Sequence[Action] = ()) -> Checked:
        """Check bars against the stored ones and `actions` (in time order), and store them. Returns their verdict.

        The jumps of the verdict include the shifts (new price levels) that these bars confirm, dated by the confirming
        bar. A bar that is already stored is replaced.

        `rows` and `placed` have the bars, and their opens and closes. `_accepted` has, by column, a split of 1:1, which
        marks a price that a person declared real. Each symbol keeps its newest LENGTH bars.
        """
        if not len(rows):
            return Checked(np.empty(0, dtype=np.int8))
        added = set(zip(rows.column.tolist(), placed.ts_event.tolist(), strict=True))
        stored_rows = self._unrepeated_rows(rows, placed)
        stored_count, stored_verdicts = len(stored_rows), self._reason[stored_rows]
        rows = concatenated((self._rows.take(stored_rows), rows))
        placed = concatenated((self._placed.take(stored_rows), placed))
        order = np.lexsort((placed.ts_event, rows.column))
        rows, placed = rows.take(order), placed.take(order)
        # a checked bar retains its verdict, which determined whether it was passed on
        is_old = order < stored_count
        verdict = np.zeros(len(order), dtype=np.int8)
        verdict[is_old] = stored_verdicts[order[is_old]]
        accepted = self._accepted.values()
        review = judge(rows, placed, interval, sorted((*actions, *accepted), key=lambda change: change.ts))
        verdict[~is_old] = review.reason[~is_old]
        new_verdicts = np.empty(len(order) - stored_count, dtype=np.int8)
        new_verdicts[order[~is_old] - stored_count] = verdict[~is_old]
        stops = np.searchsorted(rows.column, np.arange(self.size), side="right")
        within_length = stops[rows.column] - 1 - np.arange(len(rows)) < self.LENGTH
        self._rows, self._placed, self._reason = (
            rows.take(within_length),
            placed.take(within_length),
            verdict[within_length],
        )
        self._index = None  # `find` makes it anew
        changes = (*review.jumps, *(shift.jump for shift in review.shifts))
        jumps = sorted((jump for jump in changes if (jump.symbol, jump.ts) in added), key=lambda change: change.ts)
        return Checked(new_verdicts, tuple(jumps))

    def accept(self, column: int) -> None:
        """Compare later bars of a column (symbol) with its newest suspicious bar, after a person stated that its
        price is real."""
        spikes = np.flatnonzero((self._rows.column == column) & (self._reason == Reason.SPIKE))
        if len(spikes):
            # a split of 1:1 marks a human check, and the bar after it is not compared with the bars before
            opens, day = int(self._placed.ts_open[spikes[-1]]), int(self._placed.day[spikes[-1]])
            self._accepted[column] = Action(opens, day, column, "split", 1, 1)

    def find(self, column: int, event: int) -> int | None:
        """Return the row of the stored bar of a symbol that closed at `event` (ns UTC); None if it is not stored."""
        if self._index is None:
            pairs = zip(self._rows.column.tolist(), self._placed.ts_event.tolist(), strict=True)
            self._index = {pair: k for k, pair in enumerate(pairs)}
        return self._index.get((column, event))

    def bar(self, row: int, universe: Universe) -> tuple[BadBar, bool]:
        """Return the stored bar in `row` with its reason, and whether it was good."""
        reason = Reason(self._reason[row])
        return bad_bar(self._rows, self._placed, row, universe, reason.name.lower()), reason == Reason.GOOD

    def same(self, row: int, rows: Rows, k: int) -> bool:
        """Whether row `k` of `rows` equals the stored bar in `row` in every value; a stored NaN equals any value."""
        stored = self._rows
        return all(
            getattr(stored, name)[row] == getattr(rows, name)[k]
            or (getattr(stored, name)[row] != getattr(stored, name)[row])
            for name in ("open_nano", "close_nano", "high", "low", "volume")
        )

    def oldest(self, column: int) -> int:
        """Return the earliest stored close (ns UTC) of a symbol with LENGTH bars, whose older bars may be dropped.

        Returns the smallest int64 for a symbol with fewer bars, because nothing was dropped.
        """
        of_symbol = np.flatnonzero(self._rows.column == column)
        return int(self._placed.ts_event[of_symbol[0]]) if len(of_symbol) >= self.LENGTH else _NOTHING

    def _unrepeated_rows(self, rows: Rows, placed: BarTimes) -> NDArray[np.intp]:
        """Return the rows of the stored bars that `rows` does not repeat."""
        repeated = np.zeros(len(self._rows), dtype=np.bool_)
        if int(placed.ts_event.min()) <= int(self._placed.ts_event.max(initial=_NOTHING)):
            for column, event in zip(rows.column.tolist(), placed.ts_event.tolist(), strict=True):
                row = self.find(column, event)
                if row is not None:
                    repeated[row] = True
        return np.flatnonzero(~repeated)
