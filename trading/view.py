"""What a policy may see: one read-only view of the market and of its own book, at one sample."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.bars import BarRing, Bars
from quantd.trading.history import Ring
from quantd.trading.instruments import Universe
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Floats

Memory = Mapping[str, NDArray[np.float64]]
"""A policy's frozen memory: name -> array. At most MEMORY_BYTES in all."""

MEMORY_BYTES: Final = 65_536

EMPTY_MEMORY: Final[Memory] = {}


class View:
    """One agent's view at one decision.

    `prices` float64[N] are the last known prices (NaN before an instrument's first bar), `weights`
    float64[N] and `cash` (a fraction) are the agent's own book, `time` is the decision's instant in ns UTC,
    `sample` the time of the newest sample. `equity` is the book's value in account currency.
    """

    __slots__ = (
        "_bars",
        "_end",
        "_macro",
        "_ring",
        "_rows",
        "cash",
        "equity",
        "prices",
        "sample",
        "time",
        "universe",
        "weights",
    )

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
        sample: int,
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
        self.sample = sample

    @property
    def samples(self) -> int:
        """How many samples the history has had so far: a clock that counts samples."""
        return self._end

    def held_by(self, weights: Floats) -> "View":
        """The same market as a book sees it that holds `weights` (float64[N]) and has the rest in cash."""
        other = View.__new__(View)
        for name in View.__slots__:
            setattr(other, name, getattr(self, name))
        weights = weights.copy()
        weights.flags.writeable = False
        other.weights, other.cash = weights, 1.0 - float(weights.sum())
        return other

    def returns(self, k: int) -> Floats:
        """float64[k, N] total returns between known samples, oldest first; NaN before an instrument's first bar.

        For timing and single instruments; `synchronous` is for what relates them.

        Raises ValueError beyond the samples kept, and RuntimeError when asked after the market moved on:
        a late worker must not see the future.
        """
        if self._ring.count != self._end:
            raise RuntimeError("this view is of an earlier sample; ask for returns while deciding")
        return self._ring.returns(k)

    def synchronous(self, k: int) -> Floats:
        """float64[k, N] total returns between session dates, each instrument by its own bars of those dates, oldest
        first.

        For whatever relates instruments: their days may end hours apart. A date appears once all its bars are known, so
        with daily crypto beside shares the newest row is one sample late. Where no bar comes after the sample it equals
        `returns(k)`. A date without a bar of an instrument keeps its price. Raises as `returns` does.
        """
        if self._ring.count != self._end:
            raise RuntimeError("this view is of an earlier sample; ask for synchronous returns while deciding")
        return self._rows.returns(k)

    def bars(self, k: int) -> Bars:
        """The newest k samples as bars, oldest first, adjusted for splits and dividends known by now; the newest as traded.

        Raises RuntimeError where no policy of the run says `uses_bars`, and as `returns` does.
        """
        if self._bars is None:
            raise RuntimeError(
                "this run keeps no bars; a policy that reads them says so (uses_bars = True, or USES_BARS = True in a file)"
            )
        if self._ring.count != self._end:
            raise RuntimeError("this view is of an earlier sample; ask for bars while deciding")
        return self._bars.bars(k)

    def macro(self, name: str, k: int) -> Floats:
        """float64[k], what was known of the series `name` of [feed] macro at each of the newest k samples, oldest first; NaN
        where nothing was.

        Raises RuntimeError in a run without such series, ValueError for one that there is not, and as `returns` does.
        """
        if self._macro is None:
            raise RuntimeError("this run has no macro series; name them in [feed] macro")
        if self._ring.count != self._end:
            raise RuntimeError("this view is of an earlier sample; ask for macro series while deciding")
        return self._macro.known(name, k)


class Hold:
    """The answer `HOLD`: keep every lot as it is."""

    __slots__ = ()


class Noted:
    """An answer with a word for people: a fallback, a switch of regime. `warns` where it is not what was wished for."""

    __slots__ = ("note", "warns", "weights")

    def __init__(self, weights: NDArray[np.float64] | Hold, note: str, *, warns: bool = False) -> None:
        self.weights = weights
        self.note = note
        self.warns = warns


HOLD: Final = Hold()
