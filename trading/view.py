"""The input of a policy: one read-only view of the market and of its own book, at one sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import BarRing, Bars, CorporateAction, per_share
from quantd.trading.covariance import covariance
from quantd.trading.history import Ring
from quantd.trading.instruments import Universe
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import deviations, means, momentum_of, rolling, rolling_momentum, windows_of

A = TypeVar("A", bound=NDArray[Any])

Memory = Mapping[str, NDArray[np.float64]]
"""A policy's read-only memory: name -> array, at most MEMORY_BYTES in total."""

MEMORY_BYTES: Final = 65_536

EMPTY_MEMORY: Final[Memory] = {}

MOST_BYTES: Final = 2**26
"""About the most bytes of single statistics that a block stores: 64 MiB."""


def own_memory(memory: Memory, space: str) -> dict[str, Floats]:
    """Return the part of `memory` under the prefix `space`, without the prefix."""
    prefix = f"{space}/"
    return {name[len(prefix) :]: value for name, value in memory.items() if name.startswith(prefix)}


def under(space: str, memory: Memory) -> dict[str, Floats]:
    """Return `memory` with the prefix `space`."""
    return {f"{space}/{name}": value for name, value in memory.items()}


class View:
    """One agent's view at one decision.

    `prices` float64[N] are the last known prices (NaN before an instrument's first bar). `weights` float64[N] and
    `cash` (a fraction) are the agent's own book, and `equity` is its value in account currency. `time` is the
    decision's instant in ns UTC, `sample` the number of samples in the history so far, and `sample_time` the instant of
    the newest one.
    """

    __slots__ = (
        "_bars", "_end", "_macro", "_ring", "_rows", "cash", "equity", "prices", "sample_time", "time", "universe",
        "weights",
    )  # fmt: skip

    _fields: ClassVar[tuple[str, ...]] = __slots__

    def __init__(
        self,
        *,
        universe: Universe,
        ring: Ring,
        by_date: Ring | None = None,
        prices: Floats,
        weights: Floats,
        cash: float,
        equity: float,
        time: int,
        sample_time: int,
        bars: BarRing | None = None,
        macro: MacroHistory | None = None,
    ) -> None:
        self.universe = universe
        self._bars = bars
        self._macro = macro
        self._ring = ring
        self._rows = ring if by_date is None else by_date
        self._end = ring.count
        self.prices = prices
        self.weights = weights
        self.cash = cash
        self.equity = equity
        self.time = time
        self.sample_time = sample_time

    @property
    def sample(self) -> int:
        """The number of samples in the history so far: a clock that counts samples."""
        return self._end

    def _copied(self) -> Self:
        other = type(self).__new__(type(self))
        for name in self._fields:
            setattr(other, name, getattr(self, name))
        return other

    def held_by(self, weights: Floats) -> "View":
        """Return the same market for a book that holds `weights` (float64[N]) and the rest in cash."""
        other = self._copied()
        weights = weights.copy()
        weights.flags.writeable = False
        other.weights, other.cash = weights, 1.0 - float(weights.sum())
        return other

    def _require_current(self, what: str) -> None:
        if self._ring.count != self._end:
            raise RuntimeError(f"this view is of an earlier sample; ask for {what} while deciding")

    def returns(self, k: int) -> Floats:
        """Return float64[k, N], the returns with dividends over the last k samples, oldest first; NaN before an
        instrument's first bar.

        Markets close at different times: use `synchronous` for correlations. Raises ValueError for k above the stored
        samples, and RuntimeError once the next sample exists, since a late policy must not see the future.
        """
        self._require_current("returns")
        return self._ring.returns(k)

    def synchronous(self, k: int) -> Floats:
        """Return float64[k, N] total returns between session dates, oldest first, each instrument by its own bars.

        It serves relations between instruments, whose days may end hours apart. A date appears once all its bars are
        known, so with daily crypto beside shares the newest row is one sample late. It equals `returns(k)` where no bar
        arrives after the sample. An instrument without a bar on a date keeps its price. Raises as `returns` does.
        """
        self._require_current("synchronous returns")
        return self._rows.returns(k)

    def deviation(self, k: int) -> Floats:
        """Return float64[N], the standard deviation (k - 1) of `returns(k)` per sample.

        This and the other statistics are NaN where a return is missing. They are computed once per sample for all
        agents and policies, and are read-only. They raise as `returns` does.
        """
        return self.shared(deviations, k)

    def mean(self, k: int) -> Floats:
        """Return float64[N], the mean of `returns(k)` per sample."""
        return self.shared(means, k)

    def momentum(self, k: int, skip: int = 0) -> Floats:
        """Return float64[N], the total return over the k samples that ended `skip` samples ago."""
        return self.shared(momentum_of, k, skip)

    def covariance(self, k: int) -> Floats:
        """Return float64[N, N], the sample covariance (k - 1) of `synchronous(k)` per sample."""
        return self.shared_by_date(covariance, k)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        """Return `statistic(returns(k))`, a pure function with an array as its result, computed once per sample.

        With `skip`, the k samples ended that many samples ago. The result is read-only. Raises as `returns` does.
        """
        self._require_current("returns")
        return self._ring.shared(statistic, k, skip)

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        """Return `statistic(synchronous(k))`, as `shared` does."""
        self._require_current("synchronous returns")
        return self._rows.shared(statistic, k)

    def bars(self, k: int) -> Bars:
        """Return the newest k samples as bars, oldest first, adjusted for known splits and dividends; the newest as
        traded. Raises RuntimeError if no policy of the run sets `uses_bars`, and as `returns` does."""
        if self._bars is None:
            raise RuntimeError("this run stores no bars; set uses_bars = True, or USES_BARS = True in a file")
        self._require_current("bars")
        return self._bars.bars(k)

    def macro(self, name: str, k: int) -> Floats:
        """Return float64[k], the known values of a [feed] macro series at the newest k samples, oldest first.

        NaN where no value was known. Raises RuntimeError in a run without such series, ValueError for an unknown one,
        and as `returns` does.
        """
        if self._macro is None:
            raise RuntimeError("this run has no macro series; name them in [feed] macro")
        self._require_current("macro series")
        return self._macro.known(name, k)

    def series(self, name: str, k: int) -> Floats:
        """Return float64[k, N], the known values of a [feed] series at the newest k samples, oldest first, one column
        for each symbol of `universe`.

        NaN where no value was known. Raises as `macro` does.
        """
        if self._macro is None:
            raise RuntimeError("this run has no series per symbol; name them in [feed] series")
        self._require_current("series")
        return self._macro.series(name, self.universe.symbols, k)


class NotInBlock(RuntimeError):
    """A question of `act_rows` that a block cannot answer: `act` answers in its place."""


class BlockView:
    """The market at S samples of a backtest. `act_rows` answers some of them: its argument `rows`, int64[T], ascending.

    `prices` float64[S, N] are the last known prices at each sample and `times` int64[S] the instants (ns UTC), both
    read-only. The statistics are those of a View at each of `rows`, to the bit. They are computed once per sample for
    all policies. Of the book and of the memory a block knows nothing, and bars and series are not in it.
    """

    __slots__ = ("_dated", "_lookback", "_returns", "_sample", "_single", "_tables", "prices", "times", "universe")

    def __init__(
        self, view: View, prices: Floats, times: Ints, actions: Mapping[int, list[CorporateAction]], *, dated: bool
    ) -> None:
        """The block begins at the sample of `view`, with its prices. `actions` are by the row that they precede. It is
        `dated` if each sample completes its own date."""
        ring = view._ring
        prices.flags.writeable = times.flags.writeable = False
        self.universe, self.prices, self.times = view.universe, prices, times
        self._lookback, self._sample = ring.lookback, view.sample
        self._dated = dated and view._rows is ring
        with np.errstate(divide="ignore", invalid="ignore"):
            coming = prices[1:] / prices[:-1] - 1.0
            for row, known in actions.items():
                for column, (shares, cash) in per_share(known).items():
                    coming[row - 1, column] = (prices[row, column] * shares + cash) / prices[row - 1, column] - 1.0
        self._returns = np.concatenate((ring.returns(ring.lookback), coming))
        self._returns.flags.writeable = False
        self._tables: dict[tuple[object, int, int], Any] = {}
        self._single: dict[tuple[object, int, int, int], Any] = {}

    def __len__(self) -> int:
        return len(self.times)

    def copied(self, universe: Universe) -> "BlockView":
        """Return a block with arrays and statistics of its own, for code that may change them."""
        other = BlockView.__new__(BlockView)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other.universe, other._tables, other._single = universe, {}, {}
        other.prices, other.times, other._returns = self.prices.copy(), self.times.copy(), self._returns.copy()
        for array in (other.prices, other.times, other._returns):
            array.flags.writeable = False
        return other

    def shows(self, view: View, row: int, since: int) -> bool:
        """Whether `view` has the prices and, in the samples after `since`, the returns of the block at `row`."""
        if view.time != self.times[row] or view.sample != self._sample + row:
            return False
        if view.prices.tobytes() != self.prices[row].tobytes():
            return False
        count, end = min(row - since, self._lookback), self._lookback + row
        return count < 1 or view._ring.returns(count).tobytes() == self._returns[end - count : end].tobytes()

    def has(self, prices: Floats, rows: Ints, since: int, ring: Ring, later: int) -> bool:
        """Whether the prices at `rows` are float64[T, N] `prices`, and the returns after row `since` up to the last of
        `rows` are those of a ring that has `later` rows after it."""
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
        """Return float64[T, k, N]: `View.returns(k)` at each of `rows`, or that of `skip` samples earlier.

        Raises ValueError for k + `skip` above the stored samples.
        """
        first = self._first(k, skip)
        return windows_of(self._returns, k)[first + rows]

    def synchronous(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, k, N]: `View.synchronous(k)` at each of `rows`."""
        self._require_dates()
        return self.returns(k, rows)

    def deviation(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N], the standard deviation (k - 1) of each symbol's returns."""
        return self.shared(deviations, k, rows)

    def mean(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N], the mean of each symbol's returns."""
        return self.shared(means, k, rows)

    def momentum(self, k: int, rows: Ints, skip: int = 0) -> Floats:
        """Return float64[T, N], the total return over the k samples that ended `skip` samples before each row."""
        return self.rolling(rolling_momentum, k, rows, skip)

    def covariance(self, k: int, rows: Ints) -> Floats:
        """Return float64[T, N, N], the sample covariance (k - 1) of `synchronous`."""
        found = [self.at(row).covariance(k) for row in rows.tolist()]
        return np.array(found).reshape(len(found), *2 * self.prices.shape[1:])

    def shared(self, statistic: Callable[[Floats], A], k: int, rows: Ints, skip: int = 0) -> A:
        """Return `statistic` of the windows float64[T, k, N] of `rows`, computed once per sample.

        It must give each window the bits that it gives the window alone.
        """
        return self._table(statistic, partial(rolling, statistic), k, rows, skip)

    def rolling(self, function: Callable[[Floats, int], A], k: int, rows: Ints, skip: int = 0) -> A:
        """Return `function(returns, k)`, an array by each k consecutive rows of float64[R, N], at `rows`.

        It is computed once per sample, and must give each window the bits that it gives the window alone.
        """
        return self._table(function, function, k, rows, skip)

    def _table(self, key: object, function: Callable[[Floats, int], A], k: int, rows: Ints, skip: int) -> A:
        found: A | None = self._tables.get((key, k, skip))
        if found is None:
            first = self._first(k, skip)
            found = self._tables[key, k, skip] = function(self._returns[first : first + k - 1 + len(self)], k)
        return cast(A, found[rows])

    def at(self, row: int) -> "RowView":
        """Return the view at one row, with the methods of a View but without a book."""
        return RowView(self, row)

    def _first(self, k: int, skip: int) -> int:
        """The first return of the window of row 0."""
        if k < 1 or skip < 0 or k + skip > self._lookback:
            raise ValueError(f"returns({k + skip}): between 1 and {self._lookback} samples are kept")
        return self._lookback - k - skip

    def _require_dates(self) -> None:
        if not self._dated:
            raise NotInBlock("the calendars close at different times; a block has no returns by date then")

    def _one(self, statistic: Callable[[Floats], A], k: int, skip: int, row: int) -> A:
        key = statistic, k, skip, row
        found: A | None = self._single.get(key)
        if found is None:
            found = statistic(self._window(k, skip, row))
            found.flags.writeable = False
            if found.nbytes * len(self._single) > MOST_BYTES:  # covariances of many symbols
                self._single.clear()
            self._single[key] = found
        return found

    def _window(self, k: int, skip: int, row: int) -> Floats:
        first = self._first(k, skip) + row
        return self._returns[first : first + k]


class RowView(View):
    """The view at one row of a block, as `View` but for what a block does not know: those raise NotInBlock."""

    __slots__ = ("_block", "_row")
    _fields: ClassVar[tuple[str, ...]] = (*View.__slots__, *__slots__)

    def __init__(self, block: BlockView, row: int) -> None:
        self.universe, self._block, self._row = block.universe, block, row
        self.prices, self._end = block.prices[row], block._sample + row
        self.time = self.sample_time = int(block.times[row])

    def __getattr__(self, name: str) -> Any:
        if name in View.__slots__:
            raise NotInBlock(f"a block has no {name.lstrip('_')}: act_rows is for policies that do not read it")
        raise AttributeError(name)

    def _require_current(self, what: str) -> None:
        """A row of a block has nothing later than itself."""

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
    """The view of a part of the universe: the same market and book, with some columns only.

    `weights` are fractions of the whole book, so that they and `cash` may add up to less than 1.
    """

    __slots__ = ("_columns", "_whole")
    _fields: ClassVar[tuple[str, ...]] = (*View.__slots__, *__slots__)

    def __init__(self, whole: View, universe: Universe, columns: tuple[int, ...]) -> None:
        for name in View.__slots__:
            setattr(self, name, getattr(whole, name))
        self.universe, self._whole, self._columns = universe, whole, columns
        chosen = list(columns)
        self.prices, self.weights = whole.prices[chosen], whole.weights[chosen]
        self.prices.flags.writeable = self.weights.flags.writeable = False

    def returns(self, k: int) -> Floats:
        return _part(self._whole.returns(k), self._columns)

    def synchronous(self, k: int) -> Floats:
        return _part(self._whole.synchronous(k), self._columns)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        return self._whole.shared(OfPart(statistic, self._columns), k, skip)

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        return self._whole.shared_by_date(OfPart(statistic, self._columns), k)

    def bars(self, k: int) -> Bars:
        whole, columns = self._whole.bars(k), self._columns
        prices = (_part(each, columns) for each in (whole.open, whole.high, whole.low, whole.close, whole.volume))
        return Bars(whole.session, *prices)


def _part(rows: Floats, columns: tuple[int, ...]) -> Floats:
    found: Floats = rows[:, list(columns)]
    found.flags.writeable = False
    return found


@dataclass(frozen=True, slots=True)
class OfPart(Generic[A]):
    """A statistic of some columns; equal for equal columns, so that it is computed once per sample."""

    statistic: Callable[[Floats], A]
    columns: tuple[int, ...]

    def __call__(self, rows: Floats) -> A:
        return self.statistic(_part(rows, self.columns))


def dated_later(view: View, by_ns: int) -> View:
    """Return the same market and book with every date `by_ns` later; to test whether a policy knows dates."""
    other = view._copied()
    other.time, other.sample_time = view.time + by_ns, view.sample_time + by_ns
    if view._bars is not None:
        other._bars = view._bars.dated_later(by_ns)
    return other


class Hold:
    """The answer `HOLD`: keep every lot unchanged."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """An answer with a message for operators, such as a fallback or a regime change.

    `warns` marks an answer that deviates from the policy's intention.
    """

    weights: NDArray[np.float64] | Hold
    note: str
    warns: bool = field(default=False, kw_only=True)


HOLD: Final = Hold()
