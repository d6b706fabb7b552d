"""Market data of one sample for the risk gate: prices, ages, volumes and synchronous return scenarios.

What can go wrong: correlations are measured on returns of different days, or a gap counts as a return of 0. Scenarios
are therefore the rows of returns in which every symbol that is held or ordered has a return. They depend on
the basket (the orders of one sample). All baskets share them only if each row is complete or completely missing.

A context is built once per sample and shared by all books; expensive parts are computed on first use. Cached objects do
not refer back to the context, so that the memory of an old sample is freed at once.
"""

from collections.abc import Callable
from functools import cached_property, partial
from math import inf, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.settings import NO_COLLAR
from quantd.risk.measures.market_loops import MarketLoops, Quotes
from quantd.risk.measures.portfolio import FEW, correlation
from quantd.risk.measures.tails import filtered
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from quantd.trading.history import RunningSums
from quantd.trading.instruments import Universe

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Moments = tuple[Floats, Floats]
"""float64[N] each: the standard deviations of return rows (divisor S - 1), and the sizes of their means."""

LOOPS: Final = MarketLoops()


class Deviations:
    """Upper bounds of the standard deviations and absolute means of returns float64[S, N] (S samples of N symbols).

    `running` are the running sums over these rows, if there are any.
    """

    __slots__ = ("_count", "_found", "_running", "returns")

    def __init__(
        self, returns: Floats, running: RunningSums | None = None, return_moments: Moments | None = None
    ) -> None:
        self.returns: Final = returns
        self._running: Final = running
        self._count: Final = -1 if running is None else running.count
        self._found = return_moments

    def computed(self) -> Moments:
        """The result of `moments` for the rows, computed once."""
        if self._found is None:
            self._found, _ = moments(self.returns)
        return self._found

    def _at_hand(self) -> RunningSums | None:
        """Return the running sums, or None once they have moved on to newer rows."""
        return self._running if self._running is not None and self._running.count == self._count else None

    def deviation(self) -> Floats:
        """Return float64[N], an upper bound of the standard deviation of the return of each symbol per sample."""
        running = self._at_hand()
        return self.computed()[0] if running is None else running.deviation()

    def mean_size(self) -> Floats:
        """Return float64[N], an upper bound of the absolute mean return, also for a symbol without deviation."""
        running = self._at_hand()
        return self.computed()[1] if running is None else running.mean_size()


def moments(returns: Floats) -> tuple[Moments, bool]:
    """Return ((deviation, size), finite) of returns float64[S, N] (S samples of N symbols).

    `deviation` float64[N] are standard deviations per sample. `size` float64[N] are absolute means with a margin for
    rounding. `finite` is False where a return is not finite.
    """
    rows: Any = np.ascontiguousarray(returns, np.float64)
    deviation: Any = np.empty(rows.shape[1])
    size: Any = np.empty(rows.shape[1])
    finite = LOOPS.moments(deviation.data, size.data, rows.data, len(rows))
    return (deviation, size), finite


class Scenarios:
    """Synchronous returns float64[S, N] (S samples of N symbols), all finite, with cached statistics.

    `running` are the running sums over these rows and `return_moments` the result of `moments`, if already known. No
    cached object refers to the scenarios, so that the scenarios of an old sample are freed at once.
    """

    def __init__(
        self,
        returns: Floats,
        sums: Floats | None = None,
        running: RunningSums | None = None,
        return_moments: Moments | None = None,
    ) -> None:
        """Store the returns. Statistics that the caller does not pass are computed on first use.

        `sums` are the sums of the returns by symbol.
        """
        self.returns: Final = returns
        self._sums = sums
        self._bounds: Final = Deviations(returns, running, return_moments)
        self._by_symbol: Floats | None = None
        self._sample: Spread | None = None

    def __len__(self) -> int:
        return len(self.returns)

    def deviation(self) -> Floats:
        """Return the standard deviation of each symbol's return per sample, float64[N], with the divisor S - 1.

        The covariance is not needed for this.
        """
        return self._bounds.computed()[0]

    def most_deviation(self) -> Floats:
        """Return an upper bound of `deviation`, float64[N]."""
        return self._bounds.deviation()

    def mean_size(self) -> Floats:
        """Return float64[N], an upper bound of the absolute mean return, also for a symbol without deviation."""
        return self._bounds.mean_size()

    @property
    def by_symbol(self) -> Floats:
        """The returns as float64[N, S] (N symbols, S samples), an array in which the returns of a symbol are
        contiguous."""
        if self._by_symbol is None:
            rows: Any = np.ascontiguousarray(self.returns, np.float64)
            columns: Any = np.empty(rows.shape[::-1])
            if columns.size:
                LOOPS.transpose(columns.data, rows.data, *rows.shape)
            self._by_symbol = columns
        return self._by_symbol

    def beyond(self, m: int) -> float:
        """Return the number of standard deviations in an upper bound of the mean of the m worst losses.

        Per unit of exposure, this mean is at most the result x deviation + |mean| of the returns, whatever fills. The
        mean of the m worst of S numbers lies within sqrt((S - m) / m) deviations of their mean (S. Cantelli, 1928). The
        deviation of a sum is at most the sum of deviations. The mean of losses without gains is at most (|mean| + root
        mean square) / 2, which is at most |mean| + deviation / 2.
        """
        return sqrt((len(self.returns) - m) / m) + 0.5

    @property
    def sample(self) -> "Spread":
        if self._sample is None:
            self._sample = Spread(self, partial(covariance, self.returns, self._sums), self._bounds.deviation)
        return self._sample

    @cached_property
    def shrunk(self) -> "Spread":
        """The covariance of the scenarios, shrunk by Ledoit and Wolf (2004), with cached matrices."""
        returns, sample = self.returns, self.sample
        return Spread(self, lambda: ledoit_wolf(returns, sample.cov))

    @cached_property
    def weighted(self) -> "Spread":
        return Spread(self, partial(ewma_covariance, self.returns))

    @cached_property
    def filtered(self) -> "Scenarios":
        """The scenarios, rescaled to the present volatility (filtered historical simulation)."""
        return Scenarios(filtered(self.returns))

    def correlation(self, columns: list[int]) -> Floats:
        """Return float64[k, k], the Pearson correlation of the symbols in k `columns`, in their order."""
        return correlation(covariance(self.returns[:, columns]))


class Spread:
    """A covariance matrix per sample, with cached matrices derived from it.

    `deviation` returns upper bounds of the standard deviations without computing the covariance.
    """

    def __init__(
        self, scenarios: Scenarios, make: Callable[[], Floats], deviation: Callable[[], Floats] | None = None
    ) -> None:
        self._make = make
        self._size: Final = scenarios.returns.shape[1]
        self._deviation = deviation
        self._linked: dict[float, Bools | None] = {}

    @cached_property
    def cov(self) -> Floats:
        """The covariance matrix per sample, float64[N, N] of N symbols."""
        return self._make()

    def deviation(self) -> Floats:
        """Return float64[N], an upper bound of the standard deviation of the return of each symbol per sample."""
        return np.sqrt(self.cov.diagonal()) if self._deviation is None else self._deviation()

    def small(self) -> bool:
        """Whether the covariance is already computed, or cheap to compute."""
        return self._size <= FEW or "cov" in self.__dict__

    def linked(self, threshold: float) -> Bools | None:
        """Return bool[2N, 2N], True for pairs of sides (short sides of N symbols, then long sides) whose correlation
        exceeds `threshold`; None if no pair does.

        The result is cached per threshold. The covariance must be cheap to compute (see `small`).
        """
        if threshold not in self._linked:
            n = self._size
            deviation = np.sqrt(self.cov.diagonal())
            # covariance against threshold x deviations: no division, and an instrument that never moves is not linked
            edge = (threshold * deviation)[:, None] * deviation
            edge.ravel()[:: n + 1] = np.inf  # the diagonal: no instrument is linked to itself
            links = None
            if np.count_nonzero(np.abs(self.cov) > edge):
                links = np.empty((2 * n, 2 * n), dtype=np.bool_)
                links[:n, :n] = links[n:, n:] = self.cov > edge
                links[:n, n:] = links[n:, :n] = self.cov < -edge
            self._linked[threshold] = links
        return self._linked[threshold]


class Window:
    """The synchronous returns of the newest samples of one lookback, including rows with missing returns."""

    def __init__(self, returns: Floats, min_rows: int, running: RunningSums | None = None) -> None:
        """Separate the three cases: complete (no gap, so all scenarios are usable), uniform (each row complete or
        empty), and with gaps, where the usable rows depend on the symbols held.

        `returns` is float64[S, N], and a symbol with fewer than `min_rows` returns is left out. `running` are the
        running sums over these rows, if there are any.
        """
        self.min_rows = min_rows
        self.returns = returns
        self.short: Bools | None = None
        self.by_rows: dict[bytes, Scenarios] = {}
        # the running sums show that no return of the window is missing
        if running is not None and running.complete and running.lookback == len(returns) >= min_rows:
            self.complete, self.all = True, Scenarios(returns, None, running)
            return
        return_moments, finite = moments(returns)
        self.complete = finite and len(returns) >= min_rows
        if self.complete:
            self.all = Scenarios(returns, return_moments=return_moments)
            return
        self.valid = np.isfinite(returns)
        # symbols with too few returns do not take part: no row needs their return
        has_too_few = self.valid.sum(axis=0) < min_rows
        self.short = has_too_few if has_too_few.any() else None
        valid = self.valid[:, ~has_too_few]
        rows: Bools = np.logical_and.reduce(valid, axis=1) & bool(valid.shape[1])
        # uniform: each row is complete or completely missing, so that the rows are the same whatever is held
        self.uniform = bool((rows == valid.any(axis=1)).all())
        self.all = self._of(rows)

    def _of(self, rows: Bools) -> Scenarios:
        """Return the scenarios of the rows marked in bool[S], cached."""
        key = rows.tobytes()
        scenarios = self.by_rows.get(key)
        if scenarios is None:
            # gaps remain only where an instrument is neither held nor ordered: its exposure is 0 whatever the value
            scenarios = self.by_rows[key] = Scenarios(np.where(self.valid[rows], self.returns[rows], 0.0))
        return scenarios

    def scenarios(self, matters: Bools) -> Scenarios:
        """Return the scenarios: the rows in which every instrument marked in `matters` has a return."""
        if self.complete or self.uniform:
            return self.all
        return self._of(np.logical_and.reduce(self.valid[:, matters], axis=1))


def _quotes(px: Any, prices_nano: Any, age_ns: Any, volume_lots: Any) -> Quotes:
    """Return a summary of all quotes (prices, ages, volumes); arrays of another type or layout are copied first."""
    floats: Any = [np.ascontiguousarray(column, np.float64).data for column in (px, volume_lots)]
    ints: Any = [np.ascontiguousarray(column, np.int64).data for column in (prices_nano, age_ns)]
    return LOOPS.read(floats[0], ints[0], ints[1], floats[1])


class Context:
    """The market at one sample, as the risk gate reads it.

    `px` float64[N] is the value of one lot at the mark price (0 where there is no price), `prices_nano` int64[N] the
    mark prices in nano-currency, `age_ns` int64[N] their ages, `volume_lots` float64[N] the average volume, NaN where
    none is known. `returns(k)` gives float64[k, N] synchronous total returns, oldest first, NaN where an instrument has
    none. This function is called at most once per lookback. `sums(k)` gives the running sums over the same rows.
    """

    def __init__(
        self,
        *,
        px: Floats,
        prices_nano: Ints,
        age_ns: Ints,
        volume_lots: Floats,
        returns: Callable[[int], Floats],
        universe: Universe,
        sums: Callable[[int], RunningSums] | None = None,
    ) -> None:
        """Summarise the quotes. Scenarios and windows of returns are computed on first use.

        `px` float64[N] are prices per lot in account currency, `prices_nano` int64[N] mark prices in nano-currency and
        `age_ns` int64[N] their ages. `volume_lots` float64[N] are average volumes. `returns` and `sums` return the
        returns, or their running sums, over a lookback in samples.
        """
        self.universe: Final = universe
        self.size: Final = len(px)
        self.prices_nano: Final = prices_nano
        self.age_ns: Final = age_ns
        self.volume_lots: Final = volume_lots
        self._returns = returns
        self._running = sums
        self._windows: dict[tuple[int, int], Window] = {}
        self._whole: dict[tuple[tuple[int, ...], int], dict[int, Scenarios] | None] = {}
        self._off_grid: dict[float, Bools | None] = {}
        self.ready: Final[dict[int, tuple[object, Any]]] = {}
        """Id of a set of rules -> (the rules, the gate's arrays for them at this sample)."""
        quotes = _quotes(px, prices_nano, age_ns, volume_lots)
        self._lowest_nano: Final[int] = quotes.lowest_nano
        self.all_priced: Final = quotes.priced
        self._px = px
        # a symbol without a valid price counts as 0
        self.px: Final[Floats] = px if self.all_priced else np.where(self.priced, px, 0.0)
        self.oldest_ns: Final[int] = quotes.oldest_ns
        self.youngest_ns: Final[int] = quotes.youngest_ns
        self.volumes_known: Final = quotes.volumes_known

    @cached_property
    def priced(self) -> Bools:
        """bool[N], True for symbols that have a price."""
        return (self._px > 0.0) & (self._px < np.inf) & (self.prices_nano > 0)

    def window(self, lookback: int, min_rows: int) -> Window:
        """Return the returns of the newest `lookback` samples as a Window, cached; a symbol with fewer than `min_rows`
        returns does not take part."""
        key = (lookback, min_rows)
        window = self._windows.get(key)
        if window is None:
            running = None if self._running is None else self._running(lookback)
            window = self._windows[key] = Window(self._returns(lookback), min_rows, running)
        return window

    def whole(self, lookbacks: tuple[int, ...], min_rows: int) -> dict[int, Scenarios] | None:
        """Return lookback -> scenarios; None where a lookback lacks a return of any instrument, or has fewer than
        `min_rows` samples."""
        key = (lookbacks, min_rows)
        if key not in self._whole:
            scenarios: dict[int, Scenarios] = {}
            for k in lookbacks:
                window = self.window(k, min_rows)
                if not window.complete:
                    break
                scenarios[k] = window.all
            self._whole[key] = scenarios if len(scenarios) == len(lookbacks) else None
        return self._whole[key]

    def off_grid(self, collar: float, ticks: Floats, widest_tick: float = inf) -> Bools | None:
        """Return bool[N], True where no whole tick lies between the mark price and the collar (limit distance) on one
        side; None if this is true of no symbol.

        `ticks` float64[N] is in nano-currency, `widest_tick` the largest tick where it is known.
        """
        if collar >= NO_COLLAR:
            return None
        if collar not in self._off_grid:
            # where even the lowest mark's collar is wider than the widest tick, each collar contains a tick
            if self._lowest_nano * collar >= widest_tick:
                self._off_grid[collar] = None
                return None
            marks = self.prices_nano
            buys = np.floor(marks * (1.0 + collar) / ticks) * ticks < marks
            sells = np.ceil(marks * (1.0 - collar) / ticks) * ticks > marks
            off = (buys | sells) & self.priced
            self._off_grid[collar] = off if off.any() else None
        return self._off_grid[collar]


def scenarios_of(ctx: Context, lookbacks: tuple[int, ...], least: int, held: Floats) -> dict[int, Scenarios] | None:
    """Return lookback in samples -> scenarios of the samples in which every instrument `held` (float64[N], any unit)
    has a return; None where any lookback has fewer than `least` such samples."""
    scenarios = ctx.whole(lookbacks, least)
    if scenarios is not None:
        return scenarios
    matters, scenarios = held != 0.0, {}
    for k in lookbacks:
        window = ctx.window(k, least)
        if window.short is not None and np.count_nonzero(window.short & matters):
            return None
        scenarios[k] = window.scenarios(matters)
        if len(scenarios[k]) < least:
            return None
    return scenarios
