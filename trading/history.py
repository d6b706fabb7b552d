"""Recent market data in bounded buffers, as policies read it: closes, bars and macro series."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import BarRing, CorporateAction, per_share
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Bools, Floats

A = TypeVar("A", bound=NDArray[Any])
Ints = NDArray[np.int64]

RETURN: Final = 2.0**40
"""A return counts as a whole number of its inverse, to the nearest: within 2^-41."""
SQUARE: Final = 2.0**50
"""The same for the square of a return: within 2^-51."""
ROOM: Final = 2.0**12
"""The sum of squares of a window stays below it, so that the whole numbers fit 63 bits."""
HAIR: Final = 1.0 + 1e-14
"""Covers the rounding of the floats in a bound."""
ENDLESS: Final = 1e300
"""The norm of an instrument with a return that is too large. 0 times it is 0."""


class RunningSums:
    """Sums of the newest `lookback` returns of each instrument and of their squares, as whole numbers.

    They give upper bounds, which only decide that a number is not needed: what is journalled, alerted or shown is
    computed from the returns. A row is added when it comes and subtracted when it leaves. Whole numbers make both
    exact, so the sums depend on the returns alone and never drift. `rows` is the number of rows in which every
    instrument has a return, `count` the number of rows that the ring had at the last update.
    """

    __slots__ = ("_deviation", "_first", "_large", "_mean", "_norm", "_squares", "_sums", "count", "lookback", "rows")

    def __init__(self, lookback: int) -> None:
        self.lookback: Final = lookback
        self.rows = self._first = 0
        self.count = -1
        self._sums: Ints = np.empty(0, np.int64)
        self._squares: Ints = self._sums
        self._large: Ints = self._sums
        """Number of returns of each instrument that are too large to be counted."""
        self._deviation: Floats | None = None
        self._mean: Floats | None = None
        self._norm: Floats | None = None

    @property
    def complete(self) -> bool:
        """Whether the window is full and every return in it is counted."""
        return self.rows == self.lookback

    def update(self, ring: "Ring") -> None:
        """Include the rows of `ring` up to the newest, whose returns are computed."""
        if ring.count == self.count:
            return
        oldest, first = ring.count - ring.end, max(ring.count - self.lookback, ring.count - ring.end)
        new = ring.count - self.count
        returns, place = ring.filled_returns, self.count - oldest
        if self.count < 0 or self._first < oldest or 2 * new > self.lookback:
            self._sums, self._squares, self._large = np.zeros((3, returns.shape[1]), np.int64)
            self.rows = 0
            self._add(returns[first - oldest : ring.end], 1)
        elif new == 1 and first == self._first + 1:
            self._shift(returns[self._first - oldest], returns[place])
        else:
            self._add(returns[self._first - oldest : first - oldest], -1)
            self._add(returns[place : ring.end], 1)
        self.count, self._first = ring.count, first
        self._deviation = self._mean = self._norm = None

    def _shift(self, old: Floats, new: Floats) -> None:
        """One row leaves and one comes, which is the usual sample."""
        both = np.array((new, old))
        squares = both * both
        if not float(np.add.reduce(squares, axis=None)) <= ROOM / self.lookback:
            self._add(old[None], -1)
            self._add(new[None], 1)
            return
        added, left = np.rint(both * RETURN).astype(np.int64)
        self._sums += added - left
        added, left = np.rint(squares * SQUARE).astype(np.int64)
        self._squares += added - left

    def _add(self, rows: Floats, sign: int) -> None:
        """Count some rows in, or out with `sign` -1."""
        with np.errstate(over="ignore"):
            squares = rows * rows
        known = squares <= ROOM / self.lookback
        self.rows += sign * int(np.count_nonzero(np.logical_and.reduce(known, axis=1)))
        self._large += sign * np.add.reduce(squares > ROOM / self.lookback, axis=0, dtype=np.int64)
        kept, squares = np.where(known, rows, 0.0), np.where(known, squares, 0.0)
        self._sums += sign * np.add.reduce(np.rint(kept * RETURN).astype(np.int64), axis=0)
        self._squares += sign * np.add.reduce(np.rint(squares * SQUARE).astype(np.int64), axis=0)

    def _most_squares(self) -> Floats:
        """float64[N], never below the sums of squared returns."""
        found: Floats = (self._squares / SQUARE + self.lookback * 2.0**-51) * HAIR
        return found

    def deviation(self) -> Floats:
        """float64[N], never below the sample deviation (divisor S - 1) of the returns of a complete window."""
        if self._deviation is None:
            size = self.lookback
            least = np.maximum(np.abs(self._sums) / RETURN - size * 2.0**-41, 0.0)
            squares = np.maximum(self._most_squares() - least * least / (size * HAIR), 0.0)
            self._deviation = np.sqrt(squares / max(size - 1, 1))
        return self._deviation

    def mean_size(self) -> Floats:
        """float64[N], never below the size of the mean return of a complete window."""
        if self._mean is None:
            self._mean = (np.abs(self._sums) / RETURN + self.lookback * 2.0**-41) * (HAIR / self.lookback)
        return self._mean

    def norm(self, size: Floats) -> float:
        """Never below the Euclidean norm of the losses of a book of float64[N] absolute weights, over the rows in which
        every instrument that it holds has a return.

        The triangle inequality gives |L| <= sum |w_i| |r_i|. The mean of the m worst losses is at most their root mean
        square, so at most |L| / sqrt(m); a deviation of S losses is at most |L| / sqrt(S - 1).
        """
        if self._norm is None:
            self._norm = np.sqrt(self._most_squares()) * HAIR
            self._norm[self._large > 0] = ENDLESS
        return float(self._norm.dot(size))


class Ring:
    """Rows of prices and the total returns between them, as one contiguous window.

    The buffer has a capacity of eight windows. When it is full, the newest window is copied to new arrays; views of the
    old ones stay valid. Returns are computed on demand, in blocks: r = (price x split + dividend) / previous price - 1,
    NaN where either price is missing. Each is written once by row, and once by symbol where a reader asks for that.
    """

    ROOM: Final = 8

    def __init__(self, size: int, lookback: int) -> None:
        self.lookback = lookback
        self.prices: Floats = np.full((self.ROOM * lookback, size), np.nan)
        self.filled_returns: Floats = np.full((self.ROOM * lookback, size), np.nan)
        self._columns: Floats | None = None
        """float64[N, capacity], the same returns by symbol, from the first call of `by_symbol` on."""
        self._turned = 0
        """Number of rows in `_columns`."""
        self._shared: tuple[int, dict[tuple[object, int, int], Any]] = -1, {}
        """The count of a sample, and the statistics computed since."""
        self._sums: dict[int, RunningSums] = {}
        self._actions: dict[int, list[CorporateAction]] = {}
        self.end = 0
        self.count = 0
        self._filled = 1

    def append(self, prices: Floats, actions: list[CorporateAction] | None = None) -> None:
        """Append a row with the `actions` since the last one, in order."""
        if self.end == len(self.prices):
            self._rewind()
        self.prices[self.end] = prices
        if actions:
            self._actions[self.end] = actions
        self.end += 1
        self.count += 1

    def extend(self, rows: int) -> None:
        """Count rows behind the newest whose prices and returns, also those by symbol, a kernel has written."""
        self.end += rows
        self.count += rows
        self._filled = self.end
        if self._columns is not None:
            self._turned = self.end

    def room(self) -> int:
        """The number of rows that fit behind the newest; at least one, for which the window moves if it must."""
        if self.end == len(self.prices):
            self._rewind()
        return len(self.prices) - self.end

    def _rewind(self) -> None:
        keep, start = self.lookback, self.end - self.lookback
        self.fill()
        # New arrays: views of the old ones may still be read by a policy in a worker.
        prices, returns = np.full_like(self.prices, np.nan), np.full_like(self.filled_returns, np.nan)
        prices[:keep], returns[:keep] = self.prices[start:], self.filled_returns[start:]
        self.prices, self.filled_returns = prices, returns
        self._actions = {}
        self.end = self._filled = keep
        self._columns = None

    def fill(self) -> None:
        """Compute returns up to the newest row."""
        lo, hi = self._filled, self.end
        if lo >= hi:
            return
        previous, new = self.prices[lo - 1 : hi - 1], self.prices[lo:hi]
        np.divide(new, previous, out=self.filled_returns[lo:hi])
        self.filled_returns[lo:hi] -= 1.0
        if self._actions:
            for row in [r for r in self._actions if lo <= r < hi]:
                for column, (shares, cash) in per_share(self._actions.pop(row)).items():
                    total = self.prices[row, column] * shares + cash
                    self.filled_returns[row, column] = total / self.prices[row - 1, column] - 1.0
        self._filled = hi

    def restore(self, prices: Floats, returns: Floats, count: int) -> None:
        """Restore saved rows: at most `lookback`, of `count` ever appended."""
        rows = len(prices)
        self.prices[:rows], self.filled_returns[:rows] = prices, returns
        self.end, self.count, self._filled = rows, count, max(rows, 1)
        self._columns, self._shared, self._sums = None, (-1, {}), {}

    def copy(self) -> "Ring":
        """Copy the newest rows into a separate ring."""
        self.fill()
        other, start = Ring(self.prices.shape[1], self.lookback), max(0, self.end - self.lookback)
        other.restore(self.prices[start : self.end], self.filled_returns[start : self.end], self.count)
        return other

    def returns(self, k: int) -> Floats:
        """Return float64[k, N], oldest first, read-only: the newest k rows, at most `lookback`. Rows before the first
        sample, and those with a missing price, are NaN. Raises ValueError for k outside 1 to `lookback`."""
        if not 1 <= k <= self.lookback:
            raise ValueError(f"returns({k}): between 1 and {self.lookback} samples are kept")
        self.fill()
        if self.end >= k:
            window = self.filled_returns[self.end - k : self.end]
        else:
            window = np.full((k, self.prices.shape[1]), np.nan)
            window[k - self.end :] = self.filled_returns[: self.end]
        window.flags.writeable = False
        return window

    def sums(self, k: int) -> RunningSums:
        """Return the exact sums over the newest `k` rows of returns, at most `lookback`, up to the newest row."""
        found = self._sums.get(k)
        if found is None:
            found = self._sums[k] = RunningSums(k)
        if found.count != self.count:
            self.fill()
            found.update(self)
        return found

    def by_symbol(self, k: int) -> Floats:
        """Return float64[N, k], the same as `returns(k)` transposed; the window of each symbol is contiguous."""
        rows, end = self.returns(k), self.end
        window = np.ascontiguousarray(rows.T) if end < k else self.columns()[:, end - k : end]
        window.flags.writeable = False
        return window

    def columns(self) -> Floats:
        """Return the whole buffer of returns by symbol, float64[N, capacity], whose newest column is `end` - 1."""
        self.fill()
        end = self.end
        if self._columns is None:
            self._columns, self._turned = np.full(self.prices.shape[::-1], np.nan), 0
        if self._turned < end:
            self._columns[:, self._turned : end] = self.filled_returns[self._turned : end].T
            self._turned = end
        return self._columns

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        """Return `statistic` of float64[k, N], the returns of the k samples that ended `skip` samples ago.

        It is computed once per sample for all readers, and read-only. Raises as `returns` does for k + `skip`.
        """
        at, known = self._shared
        if at != self.count:
            # a new table, because another thread may still read the old one
            known = {}
            self._shared = self.count, known
        key = statistic, k, skip
        found: A | None = known.get(key)
        if found is None:
            rows = self.returns(k + skip)
            found = statistic(rows[:k] if skip else rows)
            found.flags.writeable = False
            known[key] = found
        return found


class History:
    """Samples in two views.

    *Known*: each instrument's last known price at the sample. *Synchronous*: rows by session date, each instrument's
    own bar of that date, complete once all bars are known. Risk uses only synchronous rows. By known prices SPY and
    bitcoin appear uncorrelated, because their days end hours apart. Policies relate instruments by `by_date`, the
    synchronous rows without gaps.
    """

    def __init__(self, size: int, lookback: int, bars: BarRing | None = None) -> None:
        self.size = size
        self.bars = bars
        """OHLCV bars of the samples, if a policy of the run reads them."""
        self.macro: MacroHistory | None = None
        """Macro series and series per symbol, if the run has some."""
        self.known = Ring(size, lookback)
        self.synchronous = Ring(size, lookback)
        self.own_dates: Ring | None = None
        """Synchronous rows in which an instrument without a bar of the date keeps its previous price.

        None while every sample's row is final at once, because the known rows are then the same.
        """
        self.pending: dict[int, Floats] = {}
        """Open synchronous rows: key -> closes known so far (NaN elsewhere)."""
        self.waiting: list[tuple[int, int]] = []
        """(key, instant from which its row is final) of samples with an open row, oldest first."""
        self.known_actions: list[CorporateAction] = []
        self.sync_actions: list[tuple[int, int, float, float]] = []
        """(key of the ex date, column, ratio, dividend) not yet in a synchronous row."""

    @property
    def by_date(self) -> Ring:
        """Rows by session date, complete like `synchronous`, with the last price where a date has no bar."""
        return self.known if self.own_dates is None else self.own_dates

    def bar(self, key: int, fresh: Bools, full: bool, close: Floats) -> None:
        """Record the closes of one slice for the synchronous row `key`."""
        row = self.pending.get(key)
        if row is None:
            # Bounds the rows of dates that never become a sample, such as weekends of crypto.
            while len(self.pending) > 16:
                del self.pending[next(iter(self.pending))]
            self.pending[key] = close if full else np.where(fresh, close, np.nan)
        else:
            self.pending[key] = np.where(fresh, close, row)

    def action(self, key: int, column: int, ratio: float, dividend: float) -> None:
        """Record a symbol's split `ratio` (new shares per old; 1 for none) and `dividend` (per old share; 0 for none).

        `column` is the symbol's, `key` the session of the ex date.
        """
        self.known_actions.append((column, ratio, dividend))
        self.sync_actions.append((key, column, ratio, dividend))
        if self.bars is not None:
            self.bars.split(column, ratio)

    def sample(self, ts: int, key: int, final_ts: int, marks: Floats) -> None:
        """Append a sample: the known row now, the synchronous row of `key` at `final_ts`."""
        if self.bars is not None:
            self.bars.sample(key, marks, self.known_actions)
        if final_ts > ts and self.own_dates is None:
            self.own_dates = self.known.copy()
        self.known.append(marks, self.known_actions)
        if self.known_actions:
            self.known_actions = []
        if final_ts <= ts and not self.waiting and not self.sync_actions:
            # The usual sample: its row is final at once, and no earlier row is pending.
            self._complete(key, [])
            return
        self.waiting.append((key, final_ts))
        while self.waiting and self.waiting[0][1] <= ts:
            ready, _ = self.waiting.pop(0)
            actions = [(c, r, d) for k, c, r, d in self.sync_actions if k <= ready]
            if actions:
                self.sync_actions = [a for a in self.sync_actions if a[0] > ready]
            self._complete(ready, actions)

    def _complete(self, key: int, actions: list[CorporateAction]) -> None:
        """Append the row of `key`, whose bars are all known."""
        row = self.pending.pop(key, None)
        if row is None:
            row = np.full(self.size, np.nan)
        self.synchronous.append(row, actions)
        ring = self.own_dates
        if ring is not None:
            before = ring.prices[ring.end - 1].copy() if ring.end else np.full(self.size, np.nan)
            for column, ratio, _ in actions:
                before[column] /= ratio
            ring.append(np.where(np.isfinite(row), row, before), actions)
