"""Rings of samples: prices, total returns, and running sums over them.

What can go wrong: a statistic that depends on when a run began, and a view that changes under its reader. Running sums
of floats drift with each row that is added and subtracted. `RunningSums` counts whole numbers, so that its sums depend
on the returns of the window alone. They only bound a number, to show that it is not needed; what is shown or journalled
is computed from the returns.

A full buffer is replaced by a new one, never moved in place: views of earlier samples, and readers in other threads,
keep the old arrays.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantd.trading import market
from quantd.trading.bars import BarRing, CorporateAction, per_share
from quantd.trading.history.row_loops import ROOM, RowLoops, Sums
from quantd.trading.history.row_vectors import quickest
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Bools
from quantd.trading.number_types import FloatRows, ReadRows
from quantd.trading.number_types import Floats as Buffer

A = TypeVar("A", bound=NDArray[Any])
Floats = market.Floats

LOOPS: Final = quickest()

SURE: Final = 1.0 + 1e-9
"""Covers the rounding of two sums over all instruments."""

WINDOWS: Final = 8
"""Windows of `lookback` rows in the arrays of a ring."""


class RunningSums:
    """Sums of the newest `lookback` returns of each instrument and of their squares, as whole numbers.

    They give upper bounds, which only decide that a number is not needed: what is journalled, alerted or shown is
    computed from the returns. A row is added when it comes and subtracted when it leaves. Whole numbers make both
    exact, so the sums depend on the returns alone and never drift. `rows` is the number of rows in which every
    instrument has a return, `count` the number of rows that the ring had at the last update.
    """

    lookback: Final[int]
    rows: int
    count: int
    _first: int
    _sums: Sums
    _edge: float
    """The largest square of a return that is counted."""
    _loops: RowLoops
    _deviation: Any
    _mean: Any
    _roots: Any
    _norms: Buffer
    """The elements of `_roots`."""
    _normed: bool
    """Whether they are of the present sums."""

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
        """Include the rows of `ring` up to the newest, whose returns are computed."""
        count: int = ring.count
        if count == self.count:
            return
        oldest: int = count - ring.end
        first: int = max(count - self.lookback, oldest)
        new: int = count - self.count
        place: int = self.count - oldest
        rows: FloatRows = ring._returns
        if self.count < 0 or self._first < oldest or 2 * new > self.lookback:
            self._renew(ring.size)
            self.rows = self._loops.add(self._sums, rows, first - oldest, ring.end, self._edge)
        elif new == 1 and first == self._first + 1:
            self.rows += self._loops.exchange(self._sums, rows, self._first - oldest, place, self._edge)
        else:
            self.rows -= self._loops.remove(self._sums, rows, self._first - oldest, first - oldest, self._edge)
            self.rows += self._loops.add(self._sums, rows, place, ring.end, self._edge)
        self.count, self._first = count, first
        self._deviation = self._mean = None
        self._normed = False

    def deviation(self) -> Floats:
        """float64[N], never below the sample deviation (divisor S - 1) of the returns of a complete window."""
        if self._deviation is None:
            variances: Any = np.empty(self._sums.n)
            self._loops.variances(variances.data, self._sums, self.lookback)
            self._deviation = np.sqrt(variances, out=variances)
        deviation: Floats = self._deviation
        return deviation

    def write_deviation(self, out: Buffer, array: Any) -> None:
        """Write `deviation` to a buffer, which has the memory of an array."""
        self._loops.variances(out, self._sums, self.lookback)
        np.sqrt(array, out=array)

    def write_mean_size(self, out: Buffer) -> None:
        """Write `mean_size` to a buffer."""
        self._loops.means(out, self._sums, self.lookback)

    def alone(self, size: Buffer) -> tuple[float, float]:
        """(lower, upper) bound of the sum of float64[N] absolute weights x sample deviations of a complete window."""
        upper: Any = self.deviation()
        lower: Any = np.empty(self._sums.n)
        self._loops.least_variances(lower.data, self._sums, self.lookback)
        np.sqrt(lower, out=lower)
        n: int = self._sums.n
        return self._loops.dot(lower.data, size, n), self._loops.dot(upper.data, size, n)

    def mean_size(self) -> Floats:
        """float64[N], never below the size of the mean return of a complete window."""
        if self._mean is None:
            means: Any = np.empty(self._sums.n)
            self._loops.means(means.data, self._sums, self.lookback)
            self._mean = means
        mean: Floats = self._mean
        return mean

    def norm(self, size: Floats) -> float:
        """`norm_of` of float64[N] absolute weights."""
        given: Any = np.require(size, np.float64, ["C", "W"])
        return self.norm_of(given.data)

    def norm_of(self, size: Buffer) -> float:
        """Never below the Euclidean norm of the losses of a book of float64[N] absolute weights, over the rows in which
        every instrument that it holds has a return.

        The triangle inequality gives |L| <= sum |w_i| |r_i|. The mean of the m worst losses is at most their root mean
        square, so at most |L| / sqrt(m); a deviation of S losses is at most |L| / sqrt(S - 1).
        """
        if not self._normed:
            self._loops.squares(self._norms, self._sums, self.lookback)
            np.sqrt(self._roots, out=self._roots)
            self._loops.norms(self._norms, self._sums)
            self._normed = True
        return self._loops.dot(self._norms, size, self._sums.n)

    def norm_below(self, size: Buffer, most: float) -> bool:
        """Whether `norm_of` is below `most`.

        The mean of norms is at most their root mean square, weighted by the weights: (sum |w| n)^2 <= sum |w| x
        sum |w| n^2. That needs no roots, and settles most questions.
        """
        if most > 0.0 and self._loops.spread(self._sums, size, self.lookback) * SURE < most * most:
            return True
        return self.norm_of(size) < most


class Ring:
    """Rows of prices and the total returns between them, as one contiguous window.

    The buffer has a capacity of eight windows. When it is full, the newest window is copied to new arrays; views of the
    old ones stay valid. Returns are computed on demand, in blocks: r = (price x split + dividend) / previous price - 1,
    NaN where either price is missing. Each is written once by row, and once by symbol where a reader asks for that.
    """

    size: Final[int]
    lookback: Final[int]
    prices: NDArray[np.float64]
    filled_returns: NDArray[np.float64]
    end: int
    count: int
    _prices: FloatRows
    _returns: FloatRows
    """The elements of both arrays."""
    _columns: object
    """float64[N, capacity], the same returns by symbol, from the first call of `by_symbol` on."""
    _turned: int
    """Number of rows in `_columns`."""
    _shared: tuple[int, dict[tuple[object, int, int], Any]]
    """The count of a sample, and the statistics computed since."""
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
        """New arrays: views of the old ones may still be read by a policy in a worker."""
        capacity: int = WINDOWS * self.lookback
        prices: Any = np.full((capacity, self.size), np.nan)
        returns: Any = np.full((capacity, self.size), np.nan)
        self.prices, self.filled_returns, self._prices, self._returns = prices, returns, prices.data, returns.data
        self._columns, self._turned, self._actions = None, 0, {}

    def append(self, prices: Floats, actions: list[CorporateAction] | None = None) -> None:
        """Append a row with the `actions` since the last one, in order."""
        if self.end == len(self._prices):
            self._rewind()
        self.prices[self.end] = prices
        if actions:
            self._actions[self.end] = actions
        self.end += 1
        self.count += 1

    def put(self, prices: ReadRows, row: int) -> bool:
        """Append one row of a block of prices, after the actions of `act`; False without a change where a price is
        missing, now or before."""
        if self.end == len(self._prices):
            self._rewind()
        end: int = self.end
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
        """Set the actions before the next `put`, in order; an empty list takes them back."""
        if self.end == len(self._prices):
            self._rewind()
        self._actions.pop(self.end, None)
        if actions:
            self._actions[self.end] = actions

    def withdraw(self) -> None:
        """Take back the row of the last `put`, and its actions."""
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
        """Compute returns up to the newest row."""
        first: int = self._filled
        last: int = self.end
        if first >= last:
            return
        self._loops.returns(self._returns, self._prices, self.size, first, last)
        if self._actions:
            for row in [r for r in self._actions if first <= r < last]:
                for column, (shares, cash) in per_share(self._actions.pop(row)).items():
                    total = self.prices[row, column] * shares + cash
                    self.filled_returns[row, column] = total / self.prices[row - 1, column] - 1.0
        self._filled = last

    def restore(self, prices: Floats, returns: Floats, count: int) -> None:
        """Restore saved rows: at most `lookback`, of `count` ever appended."""
        rows: int = len(prices)
        self._renew()
        self.prices[:rows], self.filled_returns[:rows] = prices, returns
        self.end, self.count, self._filled = rows, count, max(rows, 1)
        self._shared, self._sums = (-1, {}), {}

    def follow(self, other: "Ring") -> None:
        """Read the rows of another ring of the same size from its arrays, up to its newest row."""
        other.fill()
        if self.prices is not other.prices:
            self.prices, self.filled_returns = other.prices, other.filled_returns
            self._prices, self._returns = other._prices, other._returns
            self._columns, self._turned, self._actions = None, 0, {}
        self.end, self.count, self._filled = other.end, other.count, other._filled

    def settle(self) -> None:
        """Copy the newest rows of the ring that was followed to arrays of its own."""
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
        """Return the exact sums over the newest `k` rows of returns, at most `lookback`, up to the newest row."""
        running_sums: RunningSums | None = self._sums.get(k)
        if running_sums is None:
            running_sums = self._sums[k] = RunningSums(k)
        if running_sums.count != self.count:
            self.fill()
            running_sums.update(self)
        return running_sums

    def by_symbol(self, k: int) -> Floats:
        """Return float64[N, k], the same as `returns(k)` transposed; the window of each symbol is contiguous."""
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

        It is computed once per sample for all readers, and read-only. Raises as `returns` does for k + `skip`.
        """
        at: int = self._shared[0]
        table = self._shared[1]
        if at != self.count:
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
    """Samples in two views.

    *Known*: each instrument's last known price at the sample. *Synchronous*: rows by session date, each instrument's
    own bar of that date, complete once all bars are known. Risk uses only synchronous rows. By known prices SPY and
    bitcoin appear uncorrelated, because their days end hours apart. Policies relate instruments by `by_date`, the
    synchronous rows without gaps.

    The rings are `joined` until the first sample that makes them differ: a row that is complete later, a bar that is
    missing, an action of another date. A sample is then appended to the known rows, and the synchronous ring reads
    their arrays. What was read from either ring stays valid when they part.
    """

    size: Final[int]
    bars: BarRing | None
    """OHLCV bars of the samples, if a policy of the run reads them."""
    macro: MacroHistory | None
    """Macro series and series per symbol, if the run has some."""
    known: Final[Ring]
    synchronous: Final[Ring]
    joined: bool
    """Whether the synchronous rows are the known ones."""
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
            ready, _ = self.waiting.pop(0)
            actions = [(c, r, d) for k, c, r, d in self.sync_actions if k <= ready]
            if actions:
                self.sync_actions = [a for a in self.sync_actions if a[0] > ready]
            self._complete(ready, actions)

    def _alike(self, ts: int, key: int, final_ts: int, marks: Floats) -> bool:
        """Whether a sample is the same row of both views, to the bit, after the same actions."""
        row = self.pending.get(key)
        if final_ts > ts or self.waiting or row is None or row.tobytes() != marks.tobytes():
            return False
        return self.acts_alike(key)

    def acts_alike(self, key: int) -> bool:
        """Whether the same actions precede the next row of both views, of date `key`."""
        if not self.sync_actions:
            return not self.known_actions
        alike: bool = len(self.sync_actions) == len(self.known_actions)
        for one, other in zip(self.sync_actions, self.known_actions, strict=False):
            alike = alike and one[0] <= key and one[1:] == other
        return alike

    def part(self) -> None:
        """Give the synchronous rows arrays of their own, where they have none yet."""
        if self.joined:
            self.joined = False
            self.synchronous.settle()

    def put(self, prices: ReadRows, row: int) -> bool:
        """Append one row of a block of prices to both rings, as `Ring.put`; False without a change."""
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
        """Append the row of `key`, whose bars are all known."""
        row = self.pending.pop(key, None)
        if row is None:
            row = np.full(self.size, np.nan)
        if self.joined:
            self.synchronous.follow(self.known)
        else:
            self.synchronous.append(row, actions)
        ring = self.own_dates
        if ring is not None:
            before = ring.prices[ring.end - 1].copy() if ring.end else np.full(self.size, np.nan)
            for action in actions:
                before[action[0]] /= action[1]
            ring.append(np.where(np.isfinite(row), row, before), actions)
