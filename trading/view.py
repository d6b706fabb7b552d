"""What a policy reads and answers, besides `View`: views of many samples at once and of part of the universe, memory,
the answer HOLD, notes.

`View`, a read-only view of the market and of the policy's book at one sample, is in
`quantd.trading.history.question`, which is compiled with the engine.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import Bars, CorporateAction, per_share
from quantd.trading.history import Ring
from quantd.trading.history.question import Memory as Memory
from quantd.trading.history.question import View as View
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import deviations, means, rolling, rolling_momentum, windows_of

A = TypeVar("A", bound=NDArray[Any])

MEMORY_BYTES: Final = 65_536

EMPTY_MEMORY: Final[Memory] = {}

MOST_BYTES: Final = 2**26
"""About how many bytes of statistics at single rows a block may store: 64 MiB. Beyond it they are dropped."""


def own_memory(memory: Memory, space: str) -> dict[str, Floats]:
    """Return the entries of `memory` whose names begin with the prefix `space`, without the prefix."""
    prefix = f"{space}/"
    return {name[len(prefix) :]: value for name, value in memory.items() if name.startswith(prefix)}


def under(space: str, memory: Memory) -> dict[str, Floats]:
    """Return the entries of `memory` with the prefix `space` before each name."""
    return {f"{space}/{name}": value for name, value in memory.items()}


class NotInBlock(RuntimeError):
    """A policy's `act_rows` read something that a block of samples does not have. The caller then calls `act` at
    each sample instead."""


class BlockView:
    """The market at S samples of a backtest, for policies that decide at many samples in one call of `act_rows`.

    `rows` int64[T], ascending, are the samples to decide at, as indices from 0. `prices` float64[S, N] are the last
    known prices at each sample and `times` int64[S] the instants (ns UTC), both read-only. The statistics equal those
    of a View at each of `rows`, to the bit, and are computed once per sample for all policies. A block of samples has
    no book, no memory, no bars and no series.
    """

    __slots__ = ("_dated", "_lookback", "_returns", "_sample", "_single", "_tables", "prices", "times", "universe")

    def __init__(
        self, view: View, prices: Floats, times: Ints, actions: Mapping[int, list[CorporateAction]], *, dated: bool
    ) -> None:
        """Make the block of T samples that begins at the sample of `view`. `actions` maps the index of a sample to the
        corporate actions before it. If `dated`, all bars of a sample's date are known at that sample, so that
        `synchronous` can be computed.

        `prices` are float64[T, N], `times` int64[T] in ns UTC. `_tables` caches statistics of all samples, `_single`
        statistics of one sample.
        """
        ring = view._ring
        prices.flags.writeable = times.flags.writeable = False
        self.universe, self.prices, self.times = view.universe, prices, times
        self._lookback, self._sample = ring.lookback, view.sample
        # only while the rows by date are those of the samples
        self._dated = dated and view._rows is ring
        with np.errstate(divide="ignore", invalid="ignore"):
            block_returns = prices[1:] / prices[:-1] - 1.0
            for row, row_actions in actions.items():
                for column, (shares, cash) in per_share(row_actions).items():
                    block_returns[row - 1, column] = (prices[row, column] * shares + cash) / prices[
                        row - 1, column
                    ] - 1.0
        self._returns = np.concatenate((ring.returns(ring.lookback), block_returns))
        self._returns.flags.writeable = False
        self._tables: dict[tuple[object, int, int], Any] = {}
        self._single: dict[tuple[object, int, int, int], Any] = {}

    def __len__(self) -> int:
        return len(self.times)

    def copied(self, universe: Universe) -> "BlockView":
        """Return a copy of the block with copied arrays and no stored statistics, for code that may change them."""
        block = BlockView.__new__(BlockView)
        for name in self.__slots__:
            setattr(block, name, getattr(self, name))
        block.universe, block._tables, block._single = universe, {}, {}
        block.prices, block.times, block._returns = self.prices.copy(), self.times.copy(), self._returns.copy()
        for array in (block.prices, block.times, block._returns):
            array.flags.writeable = False
        return block

    def shows(self, view: View, row: int, since: int) -> bool:
        """Return True where `view` has the prices of the block at the sample with index `row`, and the returns of the
        block at the samples after the index `since`."""
        if view.time != self.times[row] or view.sample != self._sample + row:
            return False
        if view.prices.tobytes() != self.prices[row].tobytes():
            return False
        count, end = min(row - since, self._lookback), self._lookback + row
        return count < 1 or view._ring.returns(count).tobytes() == self._returns[end - count : end].tobytes()

    def has(self, prices: Floats, rows: Ints, since: int, ring: Ring, later: int) -> bool:
        """Return True where the block has the `prices` float64[T, N] at the samples with indices `rows`, and also the
        returns of `ring`, a buffer of past prices, at the samples after `since` up to the last of `rows`. The newest
        `later` returns of `ring` are after the last of `rows`, and are not compared.
        """
        if prices.tobytes() != self.prices[rows].tobytes():
            return False
        row = int(rows[-1])
        count, end = min(row - since, self._lookback - later), self._lookback + row
        return count < 1 or ring.returns(count + later)[:count].tobytes() == self._returns[end - count : end].tobytes()

    @property
    def first_sample(self) -> int:
        """The number of samples in the history at the first row."""
        return self._sample

    def returns(self, k: int, rows: Ints, skip: int = 0) -> Floats:
        """Return float64[T, k, N]: `View.returns(k)` at each of `rows`, or at the samples `skip` before them.

        Raises ValueError for k + `skip` above the stored samples.
        """
        first = self._first(k, skip)
        return windows_of(self._returns, k)[first + rows]

    def synchronous(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, k, N]: `View.synchronous(k)` at each of the T samples in `rows`."""
        self._require_dates()
        return self.returns(k, rows)

    def deviation(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N], the standard deviation (divisor k - 1) of each symbol's last k returns at each of the T
        samples in `rows`."""
        return self.shared(deviations, k, rows)

    def mean(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N], the mean of each symbol's last k returns at each of the T samples in `rows`."""
        return self.shared(means, k, rows)

    def momentum(self, k: int, rows: Ints, skip: int = 0) -> Floats:
        """Return float64[T, N], the total return over the k samples that ended `skip` samples before each row."""
        return self.rolling(rolling_momentum, k, rows, skip)

    def covariance(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N, N], the sample covariance (divisor k - 1) of the last k synchronous returns at each of
        the T samples in `rows`."""
        matrices = [self.at(row).covariance(k) for row in rows.tolist()]
        return np.array(matrices).reshape(len(matrices), *2 * self.prices.shape[1:])

    def shared(self, statistic: Callable[[Floats], A], k: int, rows: Ints, skip: int = 0) -> A:
        """Return `statistic` of the windows float64[T, k, N] that end at `rows`, computed once per sample.

        The statistic must give each window the same bits as if the window were computed alone.
        """
        return self._table(statistic, partial(rolling, statistic), k, rows, skip)

    def rolling(self, function: Callable[[Floats, int], A], k: int, rows: Ints, skip: int = 0) -> A:
        """Return, at `rows`, the elements of `function(returns, k)`: an array with one element per window of k returns.

        The result is computed once per sample. The function must give each window the same bits as if the window were
        computed alone.
        """
        return self._table(function, function, k, rows, skip)

    def _table(self, key: object, function: Callable[[Floats, int], A], k: int, rows: Ints, skip: int) -> A:
        table: A | None = self._tables.get((key, k, skip))
        if table is None:
            first = self._first(k, skip)
            table = self._tables[key, k, skip] = function(self._returns[first : first + k - 1 + len(self)], k)
        return cast(A, table[rows])

    def at(self, row: int) -> "RowView":
        """Return the view at one row of the block, with the methods of a View but without a book."""
        return RowView(self, row)

    def _first(self, k: int, skip: int) -> int:
        """Return the index in `_returns` at which the window of row 0 begins. Raises ValueError for k + `skip` beyond
        the lookback.
        """
        if k < 1 or skip < 0 or k + skip > self._lookback:
            raise ValueError(
                f"returns({k + skip}): k + skip must be between 1 and {self._lookback}, the run's lookback"
            )
        return self._lookback - k - skip

    def _require_dates(self) -> None:
        if not self._dated:
            raise NotInBlock("the calendars close at different times, so a block has no returns by date")

    def _one(self, statistic: Callable[[Floats], A], k: int, skip: int, row: int) -> A:
        """Return `statistic` of the window of k returns that ends `skip` samples before the sample `row`, computed
        once. All stored results of single samples are dropped when they are too large together."""
        key = statistic, k, skip, row
        estimate: A | None = self._single.get(key)
        if estimate is None:
            estimate = statistic(self._window(k, skip, row))
            estimate.flags.writeable = False
            if estimate.nbytes * len(self._single) > MOST_BYTES:  # covariances of many symbols
                self._single.clear()
            self._single[key] = estimate
        return estimate

    def _window(self, k: int, skip: int, row: int) -> Floats:
        first = self._first(k, skip) + row
        return self._returns[first : first + k]


def _absent(name: str) -> Any:
    """Return a property that raises NotInBlock, with `name` in its message."""

    def read(row: "RowView") -> Any:
        raise NotInBlock(f"act_rows: a block of samples has no {name}; a policy that reads {name} needs act")

    return property(read)


class RowView(View):
    """The view at one sample of a BlockView. Attributes and methods of `View` that need a book, bars or series
    raise NotInBlock."""

    __slots__ = ("_block", "_row")

    weights, cash, equity = _absent("weights"), _absent("cash"), _absent("equity")
    bars, macro, series = _absent("bars"), _absent("macro"), _absent("series")
    held_by = _absent("weights")

    def __init__(self, block: BlockView, row: int) -> None:
        self.universe, self._block, self._row = block.universe, block, row
        self.prices, self._end = block.prices[row], block._sample + row
        self.time = self.sample_time = int(block.times[row])

    def returns(self, k: int) -> Floats:
        return self._block._window(k, 0, self._row)

    def synchronous(self, k: int) -> Floats:
        self._block._require_dates()
        return self._block._window(k, 0, self._row)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        return self._block._one(statistic, k, skip, self._row)

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        self._block._require_dates()
        return self._block._one(statistic, k, 0, self._row)


class PartView(View):
    """A view of some columns only of the market and the book, for a policy that trades part of the universe.

    `weights` are fractions of the equity of the whole book, so that they and `cash` may add up to less than 1.
    """

    __slots__ = ("_columns", "_whole")

    def __init__(self, view: View, universe: Universe, columns: tuple[int, ...]) -> None:
        chosen = list(columns)
        prices, weights = view.prices[chosen], view.weights[chosen]
        prices.flags.writeable = weights.flags.writeable = False
        super().__init__(
            universe=universe, ring=view._ring, by_date=view._rows, prices=prices, weights=weights, cash=view.cash,
            equity=view.equity, time=view.time, sample_time=view.sample_time, bars=view._bars, macro=view._macro,
        )  # fmt: skip
        self._end, self._whole, self._columns = view._end, view, columns

    def __copy__(self) -> "PartView":
        other = cast(PartView, super().__copy__())
        other._whole, other._columns = self._whole, self._columns
        return other

    def returns(self, k: int) -> Floats:
        return _part(self._whole.returns(k), self._columns)

    def synchronous(self, k: int) -> Floats:
        return _part(self._whole.synchronous(k), self._columns)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        return self._whole.shared(OfPart(statistic, self._columns), k, skip)

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        return self._whole.shared_by_date(OfPart(statistic, self._columns), k)

    def bars(self, k: int) -> Bars:
        bars, columns = self._whole.bars(k), self._columns
        prices = (_part(rows, columns) for rows in (bars.open, bars.high, bars.low, bars.close, bars.volume))
        return Bars(bars.session, *prices)


def _part(rows: Floats, columns: tuple[int, ...]) -> Floats:
    part: Floats = rows[:, list(columns)]
    part.flags.writeable = False
    return part


@dataclass(frozen=True, slots=True)
class OfPart(Generic[A]):
    """The function `statistic` applied to some columns only.

    Two objects with the same statistic and columns are equal, so that the result is computed once per sample.
    """

    statistic: Callable[[Floats], A]
    columns: tuple[int, ...]

    def __call__(self, rows: Floats) -> A:
        return self.statistic(_part(rows, self.columns))


def dated_later(view: View, by_ns: int) -> View:
    """Return the same market and book with every date moved `by_ns` later, to test if a policy depends on dates."""
    other = copy(view)
    other.time, other.sample_time = view.time + by_ns, view.sample_time + by_ns
    if view._bars is not None:
        other._bars = view._bars.dated_later(by_ns)
    return other


class Hold:
    """The type of the answer HOLD of a policy: keep every lot unchanged."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """A policy's answer with a message for operators, such as a fallback or a regime change.

    `warns` marks an answer that deviates from the policy's intention.
    """

    weights: NDArray[np.float64] | Hold
    note: str
    warns: bool = field(default=False, kw_only=True)


HOLD: Final = Hold()
