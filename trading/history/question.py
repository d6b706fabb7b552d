"""One question to a policy: the Ask, with a read-only view of the market and of the policy's book at one sample.

A view (what the policy may read) is made for each question, and most policies read only part of it: the arrays of
prices and weights are made when they are first read. Their source is fixed when the view is made, so that a stored view
always shows its own sample. The returns come from a ring buffer to which later samples are appended; a view therefore
refuses to return them once the next sample exists.

Rejected: a view that reads the weights from the book on demand. A policy may store the view while the book trades on.
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import BarRing, Bars
from quantd.trading.covariance import covariance
from quantd.trading.history.rings import Ring
from quantd.trading.instruments import Universe
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Floats
from quantd.trading.statistics import deviations, means, momentum_of

A = TypeVar("A", bound=NDArray[Any])

Memory = Mapping[str, NDArray[np.float64]]
"""A policy's read-only memory: name -> array, at most MEMORY_BYTES in total."""


class View:
    """What one agent's policy can read at one decision.

    `prices` float64[N] are the last known prices (NaN before an instrument's first bar). `weights` float64[N] and
    `cash` are the agent's book as fractions of its equity, and `equity` is its value in account currency. `time` is the
    decision's instant in ns UTC, `sample` the number of samples in the history so far, and `sample_time` the instant
    (ns UTC) of the newest sample.
    """

    __slots__ = (
        "_bars", "_cash", "_closes", "_closes_row", "_end", "_equity", "_held", "_macro", "_prices", "_ring", "_rows",
        "_weights", "sample_time", "time", "universe",
    )  # fmt: skip

    universe: Universe
    time: int
    sample_time: int
    _ring: Ring
    _rows: Ring
    """The ring of synchronous rows."""
    _end: int
    _bars: BarRing | None
    _macro: MacroHistory | None
    _cash: float
    _equity: float
    _prices: Any
    """The array of prices; None before the first read if it is row `_closes_row` of `_closes`."""
    _closes: Any
    _closes_row: int
    _weights: Any
    """The array of weights; None before the first read if it is made of the bytes `_held`."""
    _held: Any

    def __init__(
        self,
        universe: Universe,
        ring: Ring,
        prices: Floats,
        weights: Floats,
        cash: float,
        equity: float,
        time: int,
        sample_time: int,
        by_date: Ring | None = None,
        bars: BarRing | None = None,
        macro: MacroHistory | None = None,
    ) -> None:
        """Make a view at the newest row of `ring`, the ring of prices by sample.

        `by_date` is the ring of prices by session date, for `synchronous`; without it, `ring` has this role too.
        """
        self.universe, self._bars, self._macro = universe, bars, macro
        self._ring, self._rows, self._end = ring, ring if by_date is None else by_date, ring.count
        self._prices, self._weights, self._cash, self._equity = prices, weights, cash, equity
        self._closes = self._held = None
        self._closes_row, self.time, self.sample_time = 0, time, sample_time

    @property
    def prices(self) -> Floats:
        """The last known prices, float64[N], read-only; NaN before an instrument's first bar."""
        if self._prices is None:
            self._prices = self._closes[self._closes_row]
        prices: Floats = self._prices
        return prices

    @prices.setter
    def prices(self, prices: Floats) -> None:
        self._prices = prices

    @property
    def weights(self) -> Floats:
        """The agent's positions as fractions of its equity, float64[N], read-only."""
        if self._weights is None:
            self._weights = np.frombuffer(self._held)
        weights: Floats = self._weights
        return weights

    @weights.setter
    def weights(self, weights: Floats) -> None:
        self._weights = weights

    @property
    def cash(self) -> float:
        """The agent's cash as a fraction of its equity."""
        return self._cash

    @cash.setter
    def cash(self, cash: float) -> None:
        self._cash = cash

    @property
    def equity(self) -> float:
        """The value of the agent's book in account currency."""
        return self._equity

    @equity.setter
    def equity(self, equity: float) -> None:
        self._equity = equity

    @property
    def sample(self) -> int:
        """The number of samples in the history so far: a clock that counts samples."""
        return self._end

    def __copy__(self) -> "View":
        """Return a view of the same sample that shares all arrays."""
        view: Any = type(self).__new__(type(self))
        view.universe, view._bars, view._macro = self.universe, self._bars, self._macro
        view._ring, view._rows, view._end = self._ring, self._rows, self._end
        view._prices, view._closes, view._closes_row = self._prices, self._closes, self._closes_row
        view._weights, view._held = self._weights, self._held
        view._cash, view._equity = self._cash, self._equity
        view.time, view.sample_time = self.time, self.sample_time
        copied: View = view
        return copied

    def held_by(self, weights: Floats) -> "View":
        """Return a view of the same market for a book with `weights` float64[N], and the remainder in cash."""
        other: View = copy(self)
        weights = weights.copy()
        weights.flags.writeable = False
        other._weights, other._cash = weights, 1.0 - float(weights.sum())
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
        """Return float64[k, N] total returns from one session date to the next, oldest first, each instrument by its
        own bars.

        Use these returns for relations between instruments (correlations), whose days may end hours apart. A date
        appears once all its bars are known, so that with daily crypto beside shares the newest row is one sample late.
        The result equals `returns(k)` where no bar arrives after the sample. An instrument without a bar on a date
        keeps its price. Raises ValueError for k above the stored samples, and RuntimeError once the next sample exists.
        """
        self._require_current("synchronous returns")
        return self._rows.returns(k)

    def deviation(self, k: int) -> Floats:
        """Return float64[N], the standard deviation (k - 1) of `returns(k)` per sample.

        The result is NaN where a return is missing. Like all statistics of a view, it is computed once per sample for
        all agents and policies, and read-only. Raises ValueError for k above the stored samples, and RuntimeError once
        the next sample exists.
        """
        return self.shared(deviations, k)

    def mean(self, k: int) -> Floats:
        """Return float64[N], the mean of `returns(k)` per sample; NaN where a return is missing."""
        return self.shared(means, k)

    def momentum(self, k: int, skip: int = 0) -> Floats:
        """Return float64[N], the total return over the k samples that ended `skip` samples ago."""
        return self.shared(momentum_of, k, skip)

    def covariance(self, k: int) -> Floats:
        """Return float64[N, N], the sample covariance (k - 1) of `synchronous(k)` per sample."""
        return self.shared_by_date(covariance, k)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        """Return `statistic(returns(k))`, computed once per sample for all readers; `statistic` is a pure function that
        returns an array.

        With `skip`, the k samples ended that many samples ago. The result is read-only. Raises ValueError for more than
        the stored samples, and RuntimeError once the next sample exists.
        """
        self._require_current("returns")
        return self._ring.shared(statistic, k, skip)

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        """Return `statistic(synchronous(k))`, computed once per sample for all readers. The result is
        read-only."""
        self._require_current("synchronous returns")
        return self._rows.shared(statistic, k)

    def bars(self, k: int) -> Bars:
        """Return the newest k samples as bars, oldest first, adjusted for known splits and dividends, so that the
        newest bar has traded prices. Raises ValueError for k out of range, and RuntimeError once the next
        sample exists or if no policy of the run sets `uses_bars`."""
        if self._bars is None:
            raise RuntimeError("this run stores no bars; set uses_bars = True, or USES_BARS = True in a file")
        self._require_current("bars")
        return self._bars.bars(k)

    def macro(self, name: str, k: int) -> Floats:
        """Return float64[k], the known values of a [feed] macro series at the newest k samples, oldest first.

        NaN where no value was known. Raises RuntimeError in a run without such series, and once the next sample exists.
        Raises ValueError for an unknown series, and for k out of range.
        """
        if self._macro is None:
            raise RuntimeError("this run has no macro series; name them in [feed] macro")
        self._require_current("macro series")
        return self._macro.known(name, k)

    def series(self, name: str, k: int) -> Floats:
        """Return float64[k, N], the known values of a [feed] series at the newest k samples, oldest first, one column
        for each symbol of `universe`.

        NaN where no value was known. Raises RuntimeError in a run without series, and once the next sample exists.
        Raises ValueError for an unknown series, and for k out of range.
        """
        if self._macro is None:
            raise RuntimeError("this run has no series per symbol; name them in [feed] series")
        self._require_current("series")
        return self._macro.series(name, self.universe.symbols, k)


class Ask:
    """A request for a decision to a policy.

    `agent` and `policy` are agent numbers. `policy` is the agent for which the asked policy was configured: it differs
    from `agent` after a promotion has exchanged policies. A replay rebuilds the view from the engine's state, so that
    the journal stores only the two numbers.
    """

    __slots__ = ("agent", "memory", "policy", "round", "view")

    round: int
    agent: int
    view: Any
    """A `View`, or the object that stands for it where the policy runs in another process."""
    memory: Any
    policy: int

    def __init__(self, round: int, agent: int, view: View, memory: Memory, policy: int | None = None) -> None:
        self.round, self.agent, self.view, self.memory = round, agent, view, memory
        self.policy = agent if policy is None else policy


def question(
    round_no: int, agent: int, policy: int, memory: Memory, universe: Universe, ring: Ring, by_date: Ring, bars: Any,
    macro: Any, closes: Any, row: int, held: bytes, cash: float, equity: float, ts: int,
) -> Ask:  # fmt: skip
    """Return an `Ask` with a `View`, at a sample whose prices are row `row` of `closes`.

    An Ask is a question to a policy, and its view is what the policy may read. `closes` has the closing prices of a
    block of samples. `held` are the bytes of the book's weights float64[N]. The function exists for speed: it avoids
    the keyword arguments of both constructors.
    """
    view: View = View.__new__(View)
    view.universe, view._bars, view._macro = universe, bars, macro
    view._ring, view._rows, view._end = ring, by_date, ring.count
    view._prices, view._closes, view._closes_row = None, closes, row
    view._weights, view._held = None, held
    view._cash, view._equity, view.time, view.sample_time = cash, equity, ts, ts
    ask: Ask = Ask.__new__(Ask)
    ask.round, ask.agent, ask.view, ask.memory, ask.policy = round_no, agent, view, memory, policy
    return ask
