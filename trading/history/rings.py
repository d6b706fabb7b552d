"""Rings of samples: prices, total returns, and running sums over them.

What can go wrong: a statistic that depends on when a run began, and a view whose data change while it is read. Running
sums of floats accumulate rounding errors with each row that is added and subtracted. `RunningSums` adds integers
instead, so that its sums depend on the returns of the window alone. These sums give bounds only, which can show that an
exact statistic is not needed; every figure that is shown or journalled is computed from the returns.

A full buffer is replaced by a new one, never shifted in place: views of earlier samples, and readers in other threads,
keep the old arrays.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantd.trading import market
from quantd.trading.bars import BarRing, CorporateAction, per_share
from quantd.trading.history.row_loops import ROOM, RowLoops, Sums
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Bools
from quantd.trading.number_types import FloatRows, ReadRows
from quantd.trading.number_types import Floats as Buffer

A = TypeVar("A", bound=NDArray[Any])
Floats = market.Floats

LOOPS: Final = RowLoops()

SURE: Final = 1.0 + 1e-9
"""Factor on a bound that covers the rounding of two sums over all instruments."""

WINDOWS: Final = 8
"""Capacity of a ring's arrays, in lookbacks."""


class RunningSums:
    """Sums of the newest `lookback` returns of each instrument and of their squares, as whole numbers.

    The sums give bounds, which can only show that an exact statistic is not needed: what is journalled, alerted or
    shown is computed from the returns. A row of returns is added when it enters the window and subtracted when it
    leaves. With integers both operations are exact, so that the sums depend on the window's returns alone and never
    drift. `rows` is the number of rows of the window in which every return is counted, `count` the ring's number of
    samples at the last update.
    """

    lookback: Final[int]
    rows: int
    count: int
    _first: int
    _sums: Sums
    _edge: float
    """The largest square of a return that is counted; a larger one could overflow the sums."""
    _loops: RowLoops
    _deviation: Any
    _mean: Any
    _roots: Any
    _norms: Buffer
    """The elements of `_roots`, as a buffer: the norm of each instrument's returns."""
    _normed: bool
    """Whether `_norms` belongs to the present sums."""

    def __init__(self, lookback: int) -> None:
        self.lookback, self._edge = lookback, ROOM / float(lookback)
        self.rows = self._first = 0
        self.count = -1
        self._loops, self._normed = LOOPS, False
        self._deviation = self._mean = None
        self._renew(0)

    def _renew(self, size: int) -> None:
        self._sums, self._roots = Sums(size), np.zeros(size)
        self._norms = self._roots.data

    @property
    def complete(self) -> bool:
        """Whether the window is full and every return in it is counted."""
        return self.rows == self.lookback

    def update(self, ring: "Ring") -> None:
        """Move the window of the sums to the newest rows of `ring`, whose returns must be computed (`Ring.fill`).

        A return whose square is too large is not summed, and its row does not count in `rows`, the number of complete
        rows.
        """
        # samples are numbered from the ring's first: `_first` is the window's oldest, `count` follows its newest;
        # a number less `oldest` is a row of the ring's array; `_edge` is the largest square of a return that is summed
        count: int = ring.count
        if count == self.count:
            return
        oldest: int = count - ring.end
        new_first: int = max(count - self.lookback, oldest)
        added_count: int = count - self.count
        place: int = self.count - oldest
        rows: FloatRows = ring._returns
        # anew: at first, where old rows have left the ring, or where adding and removing would touch more rows
        if self.count < 0 or self._first < oldest or 2 * added_count > self.lookback:
            self._renew(ring.size)
            self.rows = self._loops.add(self._sums, rows, new_first - oldest, ring.end, self._edge)
        elif added_count == 1 and new_first == self._first + 1:
            # the usual step: one row comes and one goes
            self.rows += self._loops.exchange(self._sums, rows, self._first - oldest, place, self._edge)
        else:
            self.rows -= self._loops.remove(self._sums, rows, self._first - oldest, new_first - oldest, self._edge)
            self.rows += self._loops.add(self._sums, rows, place, ring.end, self._edge)
        self.count, self._first = count, new_first
        self._deviation = self._mean = None
        self._normed = False

    def deviation(self) -> Floats:
        """Return float64[N], upper bounds of the sample deviations (divisor S - 1) of a complete window's returns."""
        if self._deviation is None:
            variances: Any = np.empty(self._sums.n)
            self._loops.variances(variances.data, self._sums, self.lookback)
            self._deviation = np.sqrt(variances, out=variances)
        deviation: Floats = self._deviation
        return deviation

    def write_deviation(self, out: Buffer, array: Any) -> None:
        """Write upper bounds of the sample deviations to the buffer `out`, which must be the memory of `array`."""
        self._loops.variances(out, self._sums, self.lookback)
        np.sqrt(array, out=array)

    def write_mean_size(self, out: Buffer) -> None:
        """Write upper bounds of each instrument's absolute mean return to the buffer `out`."""
        self._loops.means(out, self._sums, self.lookback)

    def alone(self, size: Buffer) -> tuple[float, float]:
        """Return (lower, upper) bounds of the sum over the instruments of weight x sample deviation of its returns.

        `size` float64[N] are absolute weights; the window must be complete.
        """
        upper: Any = self.deviation()
        lower: Any = np.empty(self._sums.n)
        self._loops.least_variances(lower.data, self._sums, self.lookback)
        np.sqrt(lower, out=lower)
        n: int = self._sums.n
        return self._loops.dot(lower.data, size, n), self._loops.dot(upper.data, size, n)

    def mean_size(self) -> Floats:
        """Return float64[N], upper bounds of the absolute mean return of each instrument over a complete window."""
        if self._mean is None:
            means: Any = np.empty(self._sums.n)
            self._loops.means(means.data, self._sums, self.lookback)
            self._mean = means
        mean: Floats = self._mean
        return mean

    def norm(self, size: Floats) -> float:
        """Return an upper bound of the norm of a book's losses (`norm_of`), for absolute weights float64[N]."""
        contiguous: Any = np.require(size, np.float64, ["C", "W"])
        return self.norm_of(contiguous.data)

    def norm_of(self, size: Buffer) -> float:
        """Return an upper bound of the Euclidean norm of a book's losses, by its absolute weights `size` float64[N].

        The losses L are over the rows in which every instrument of the book has a return. The triangle inequality gives
        |L| <= sum |w_i| |r_i|, with the weight w_i and the returns r_i of instrument i. The mean of the m worst losses
        is at most their root mean square, so at most |L| / sqrt(m). The deviation of S losses is at most
        |L| / sqrt(S - 1).
        """
        if not self._normed:
            self._loops.squares(self._norms, self._sums, self.lookback)
            np.sqrt(self._roots, out=self._roots)
            self._loops.norms(self._norms, self._sums)
            self._normed = True
        return self._loops.dot(self._norms, size, self._sums.n)

    def norm_below(self, size: Buffer, most: float) -> bool:
        """Whether the upper bound of the norm of a book's losses (`norm_of`) is below `most`.

        The mean of the instruments' norms n, weighted by w (`size`), is at most their root mean square: (sum |w| n)^2
        <= sum |w| x sum |w| n^2. The right side needs no square roots, and comparing it with `most` usually suffices.
        """
        if most > 0.0 and self._loops.spread(self._sums, size, self.lookback) * SURE < most * most:
            return True
        return self.norm_of(size) < most


class Ring:
    """Rows of prices and the total returns between them, as one contiguous window.

    The buffer has a capacity of WINDOWS lookbacks. When it is full, its newest `lookback` rows are copied to new
    arrays; views of the old arrays stay valid. Returns are computed on demand, in blocks: (price x split + dividend) /
    previous price - 1, NaN where either price is missing. Returns are stored by row, and a second time by symbol once a
    reader asks for that. `end` is the index after the newest row in the buffer, `count` the number of rows ever
    appended.
    """

    size: Final[int]
    lookback: Final[int]
    prices: NDArray[np.float64]
    filled_returns: NDArray[np.float64]
    end: int
    count: int
    _prices: FloatRows
    _returns: FloatRows
    """The elements of `prices` and `filled_returns`, as buffers."""
    _columns: object
    """float64[N, capacity], the same returns by symbol, from the first call of `by_symbol` on."""
    _turned: int
    """Number of rows in `_columns`."""
    _shared: tuple[int, dict[tuple[object, int, int], Any]]
    """The `count` at which statistics were computed, and these statistics by (function, k, skip)."""
    _sums: dict[int, RunningSums]
    _actions: dict[int, list[CorporateAction]]
    _filled: int
    _loops: RowLoops

    def __init__(self, size: int, lookback: int) -> None:
        self.size, self.lookback, self._loops = size, lookback, LOOPS
        self._renew()
        self._shared, self._sums = (-1, {}), {}
        self.end = self.count = 0
        self._filled = 1

    def _renew(self) -> None:
        """Allocate new arrays, because a policy in a worker thread may still read views of the old ones."""
        capacity: int = WINDOWS * self.lookback
        prices: Any = np.full((capacity, self.size), np.nan)
        returns: Any = np.full((capacity, self.size), np.nan)
        self.prices, self.filled_returns, self._prices, self._returns = prices, returns, prices.data, returns.data
        self._columns, self._turned, self._actions = None, 0, {}

    def append(self, prices: Floats, actions: list[CorporateAction] | None = None) -> None:
        """Append a row of prices; `actions` are the corporate actions since the last row, in order."""
        if self.end == len(self._prices):
            self._rewind()
        self.prices[self.end] = prices
        if actions:
            self._actions[self.end] = actions
        self.end += 1
        self.count += 1

    def put(self, prices: ReadRows, row: int) -> bool:
        """Append row `row` of `prices`, after the actions set by `act`. Returns False, without a change, if a price of
        this row or of the last one is missing."""
        if self.end == len(self._prices):
            self._rewind()
        end: int = self.end
        # without a previous price there is no return
        if end == 0:
            return False
        for k in range(self.size):
            if not (prices[row, k] > 0.0 and self._prices[end - 1, k] > 0.0):
                return False
        for k in range(self.size):
            self._prices[end, k] = prices[row, k]
        self.end += 1
        self.count += 1
        self.fill()
        return True

    def act(self, actions: list[CorporateAction]) -> None:
        """Set the corporate actions before the next `put`, in order; an empty list removes them."""
        if self.end == len(self._prices):
            self._rewind()
        self._actions.pop(self.end, None)
        if actions:
            self._actions[self.end] = actions

    def withdraw(self) -> None:
        """Remove the row that the last `put` appended, and its corporate actions."""
        self.end -= 1
        self.count -= 1
        self._filled = self.end
        self._turned = min(self._turned, self.end)
        self._shared, self._sums = (-1, {}), {}

    def _rewind(self) -> None:
        self.fill()
        keep: int = self.lookback
        prices = self.prices[self.end - keep : self.end]
        returns = self.filled_returns[self.end - keep : self.end]
        self._renew()
        self.prices[:keep], self.filled_returns[:keep] = prices, returns
        self.end = self._filled = keep

    def fill(self) -> None:
        """Compute the returns that are not yet computed, up to the newest row."""
        first: int = self._filled
        last: int = self.end
        if first >= last:
            return
        self._loops.returns(self._returns, self._prices, self.size, first, last)
        if self._actions:
            for row in [action_row for action_row in self._actions if first <= action_row < last]:
                for column, (shares, cash) in per_share(self._actions.pop(row)).items():
                    # what one old share has become, with its cash
                    total = self.prices[row, column] * shares + cash
                    self.filled_returns[row, column] = total / self.prices[row - 1, column] - 1.0
        self._filled = last

    def restore(self, prices: Floats, returns: Floats, count: int) -> None:
        """Restore saved rows, at most `lookback`; `count` is the number of rows ever appended."""
        rows: int = len(prices)
        self._renew()
        self.prices[:rows], self.filled_returns[:rows] = prices, returns
        self.end, self.count, self._filled = rows, count, max(rows, 1)
        self._shared, self._sums = (-1, {}), {}

    def follow(self, other: "Ring") -> None:
        """Share the arrays of another ring of the same size, up to that ring's newest row."""
        other.fill()
        if self.prices is not other.prices:
            self.prices, self.filled_returns = other.prices, other.filled_returns
            self._prices, self._returns = other._prices, other._returns
            self._columns, self._turned, self._actions = None, 0, {}
        self.end, self.count, self._filled = other.end, other.count, other._filled

    def settle(self) -> None:
        """Stop sharing the arrays of another ring: copy the newest rows to new arrays."""
        start: int = max(0, self.end - self.lookback)
        self.restore(self.prices[start : self.end], self.filled_returns[start : self.end], self.count)

    def copy(self) -> "Ring":
        """Copy the newest rows into a separate ring."""
        self.fill()
        other: Ring = Ring(self.size, self.lookback)
        start: int = max(0, self.end - self.lookback)
        other.restore(self.prices[start : self.end], self.filled_returns[start : self.end], self.count)
        return other

    def returns(self, k: int) -> Floats:
        """Return float64[k, N], oldest first, read-only: the newest k rows, at most `lookback`. Rows before the first
        sample, and those with a missing price, are NaN. Raises ValueError for k outside 1 to `lookback`."""
        if not 1 <= k <= self.lookback:
            raise ValueError(f"returns({k}): k must be between 1 and {self.lookback}, the lookback of the run")
        self.fill()
        end: int = self.end
        if end >= k:
            window = self.filled_returns[end - k : end]
        else:
            window = np.full((k, self.size), np.nan)
            window[k - end :] = self.filled_returns[:end]
        window.flags.writeable = False
        return window

    def sums(self, k: int) -> RunningSums:
        """Return the exact running sums over the newest `k` rows of returns, at most `lookback`."""
        running_sums: RunningSums | None = self._sums.get(k)
        if running_sums is None:
            running_sums = self._sums[k] = RunningSums(k)
        if running_sums.count != self.count:
            self.fill()
            running_sums.update(self)
        return running_sums

    def by_symbol(self, k: int) -> Floats:
        """Return float64[N, k], `returns(k)` transposed; the window of each symbol is contiguous in memory."""
        rows = self.returns(k)
        end: int = self.end
        window = np.ascontiguousarray(rows.T) if end < k else self.columns()[:, end - k : end]
        window.flags.writeable = False
        return window

    def columns(self) -> Floats:
        """Return the whole buffer of returns by symbol, float64[N, capacity], whose newest column is `end` - 1."""
        self.fill()
        end: int = self.end
        if self._columns is None:
            self._columns, self._turned = np.full(self.prices.shape[::-1], np.nan), 0
        columns: Any = self._columns
        if self._turned < end:
            columns[:, self._turned : end] = self.filled_returns[self._turned : end].T
            self._turned = end
        return columns

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        """Return `statistic` of float64[k, N], the returns of the k samples that ended `skip` samples ago.

        The result is computed once per sample for all readers, and read-only. Raises ValueError for k + `skip` above
        `lookback`.
        """
        computed_at: int = self._shared[0]
        table = self._shared[1]
        if computed_at != self.count:
            # a new table, because another thread may still read the old one
            table = {}
            self._shared = self.count, table
        key = statistic, k, skip
        estimate = table.get(key)
        if estimate is None:
            rows = self.returns(k + skip)
            estimate = statistic(rows[:k] if skip else rows)
            estimate.flags.writeable = False
            table[key] = estimate
        return estimate


class History:
    """The samples of a run in two rings of rows.

    The *known* ring has each instrument's last known price at each sample. The *synchronous* ring has a row for each
    session date, with each instrument's bar of that date; a row is complete once all its bars are known. Risk uses
    synchronous rows only: by known prices SPY and bitcoin appear uncorrelated, because their days end hours apart.
    Policies measure relations between instruments by `by_date`, the synchronous rows without gaps.

    While both rings have the same rows they are `joined`: a sample is appended to the known ring, and the synchronous
    ring shares its arrays. The rings separate at the first sample that makes them differ: the synchronous row is
    complete only later, a bar is missing, or a corporate action has another date. Arrays that were read from either
    ring before stay valid.
    """

    size: Final[int]
    bars: BarRing | None
    """OHLCV bars of the samples, if a policy of the run reads them."""
    macro: MacroHistory | None
    """Macro series and series per symbol, if the run has some."""
    known: Final[Ring]
    synchronous: Final[Ring]
    joined: bool
    """Whether the synchronous ring shares the rows of the known ring."""
    own_dates: Ring | None
    """Synchronous rows in which an instrument without a bar of the date keeps its previous price.

    None while every sample's row is final at once, because the known rows are then the same.
    """
    pending: dict[int, Floats]
    """Open synchronous rows: key -> closes known so far (NaN elsewhere)."""
    waiting: list[tuple[int, int]]
    """(key, instant from which its row is final) of samples with an open row, oldest first."""
    known_actions: list[CorporateAction]
    sync_actions: list[tuple[int, int, float, float]]
    """(key of the ex date, column, ratio, dividend) not yet in a synchronous row."""

    def __init__(self, size: int, lookback: int, bars: BarRing | None = None) -> None:
        self.size, self.bars, self.macro = size, bars, None
        self.known, self.synchronous, self.own_dates = Ring(size, lookback), Ring(size, lookback), None
        self.joined = True
        self.pending, self.waiting = {}, []
        self.known_actions, self.sync_actions = [], []

    @property
    def by_date(self) -> Ring:
        """The ring of rows by session date, with the last known price where an instrument has no bar of a date."""
        return self.known if self.own_dates is None else self.own_dates

    def drop(self, key: int) -> None:
        """Forget the closes of the date `key`: the bar that comes with its sample has all of them."""
        if self.pending.pop(key, None) is None:
            self._bound()

    def _bound(self) -> None:
        """Drop the oldest of many dates that never became a sample, such as weekends of crypto."""
        while len(self.pending) > 16:
            del self.pending[next(iter(self.pending))]

    def bar(self, key: int, fresh: Bools, full: bool, close: Floats) -> None:
        """Record the closes of one slice (the bars of one instant) for the synchronous row of the date `key`.

        A synchronous row has the closes of all symbols on one session date. `close` is float64[N]; `fresh` bool[N] is
        True for a symbol with a bar in the slice, and `full` is True if all symbols have one.
        """
        row = self.pending.get(key)
        if row is None:
            self._bound()
            self.pending[key] = close if full else np.where(fresh, close, np.nan)
        else:
            self.pending[key] = np.where(fresh, close, row)

    def action(self, key: int, column: int, ratio: float, dividend: float) -> None:
        """Record a corporate action of the symbol in `column`; `key` is the session date of the ex date.

        `ratio` is new shares per old one (1: no split), `dividend` the cash per old share (0: none).
        """
        self.known_actions.append((column, ratio, dividend))
        self.sync_actions.append((key, column, ratio, dividend))
        if self.bars is not None:
            self.bars.split(column, ratio)

    def sample(self, ts: int, key: int, final_ts: int, marks: Floats) -> None:
        """Append a sample at `ts` (ns UTC): at once to the ring by sample (`known`), with the prices `marks`; to the
        ring by session date (`synchronous`), for the date `key`, once `final_ts` is reached.

        Synchronous rows of earlier dates that are final by `ts` are appended first, in order. A synchronous row has the
        closes of all symbols on one session date, and is final when no bar of this date can arrive any more. The two
        rings share their arrays (`joined`) until a sample gives them different rows.
        """
        if self.bars is not None:
            self.bars.sample(key, marks, self.known_actions)
        # the first row that is not final at once: from here on the own-date rows may differ from the known ones
        if final_ts > ts and self.own_dates is None:
            self.own_dates = self.known.copy()
        if self.joined and not self._alike(ts, key, final_ts, marks):
            self.part()
        self.known.append(marks, self.known_actions)
        if self.known_actions:
            self.known_actions = []
        if final_ts <= ts and not self.waiting and not self.sync_actions:
            # The usual sample: its row is final at once, and no earlier row is pending.
            self._complete(key, [])
            return
        self.waiting.append((key, final_ts))
        while self.waiting and self.waiting[0][1] <= ts:
            final_key, _ = self.waiting.pop(0)
            actions = [
                (column, ratio, cash) for ex_date, column, ratio, cash in self.sync_actions if ex_date <= final_key
            ]
            if actions:
                self.sync_actions = [action for action in self.sync_actions if action[0] > final_key]
            self._complete(final_key, actions)

    def _alike(self, ts: int, key: int, final_ts: int, marks: Floats) -> bool:
        """Whether a sample gives the same row to the ring of known prices and to the ring of closes by session date.

        The corporate actions before the row must be the same, too. Rows are the same if every price is equal to the
        last bit. From `final_ts` on, no bar of the date `key` can arrive any more.
        """
        row = self.pending.get(key)
        if final_ts > ts or self.waiting or row is None or row.tobytes() != marks.tobytes():
            return False
        return self.acts_alike(key)

    def acts_alike(self, key: int) -> bool:
        """Whether the same corporate actions precede the next row in both rings: the one by sample and the one by
        session date, where the row has the date `key`."""
        if not self.sync_actions:
            return not self.known_actions
        alike: bool = len(self.sync_actions) == len(self.known_actions)
        for one, other in zip(self.sync_actions, self.known_actions, strict=False):
            alike = alike and one[0] <= key and one[1:] == other
        return alike

    def part(self) -> None:
        """Give the ring of rows by session date separate arrays, if it still shares arrays with the ring by sample."""
        if self.joined:
            self.joined = False
            self.synchronous.settle()

    def put(self, prices: ReadRows, row: int) -> bool:
        """Append row `row` of `prices` to the ring by sample (`known`) and to the ring by session date.

        Returns False if a price of this row or of the last one is missing; then both rings stay unchanged. While the
        rings are `joined`, they share their arrays. Else a row that only the ring by sample accepts is removed from it
        again, so that both rings have the same number of rows.
        """
        if not self.known.put(prices, row):
            return False
        if self.joined:
            self.synchronous.follow(self.known)
            return True
        fits: bool = self.synchronous.put(prices, row)
        if not fits:
            self.known.withdraw()
        return fits

    def _complete(self, key: int, actions: list[CorporateAction]) -> None:
        """Append the synchronous row of the date `key`, whose bars are all known, after the corporate `actions`.

        A date of which no bar arrived gives a row of NaN. The ring `own_dates` gets the same row with the previous
        price in place of a missing one; the ring is None while it would equal the ring `known`.
        """
        row = self.pending.pop(key, None)
        if row is None:
            row = np.full(self.size, np.nan)
        if self.joined:
            self.synchronous.follow(self.known)
        else:
            self.synchronous.append(row, actions)
        ring = self.own_dates
        if ring is not None:
            # this ring repeats the last price, less a split, of a symbol without a bar of the date
            last_prices = ring.prices[ring.end - 1].copy() if ring.end else np.full(self.size, np.nan)
            for action in actions:
                last_prices[action[0]] /= action[1]
            ring.append(np.where(np.isfinite(row), row, last_prices), actions)
