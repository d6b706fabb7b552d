"""The market panel for the simulator and training: sessions by assets, raw prices with splits and dividends.

What can go wrong, and what prevents it. A coin trades while shares do not: its bar of a date ends after the close of
New York, so that a decision at that close would see a later price. `known_bars` therefore has what was known at the
decision of each row, and `idle` marks where an order would not trade. A hole (missing bar) in the middle of a series
would be a move over several days in one row: a panel with a hole is refused, and no hole is filled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.history.splits import day_of
from quantd.trading.cash_rate import CashRate
from quantd.trading.macro import Available
from quantd.trading.market import Bools, Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL, RiskFree


class MacroSource(Struct, frozen=True, forbid_unknown_fields=True):
    """A series in a file with the columns `ts` (the date of a value) and `value` or `close`, as in [feed] macro.

    `available` "next_open" means that a value is known only at closes of later dates, "close" that it is known at the
    close of its own date.
    """

    name: str
    path: str
    available: Available = "next_open"


class SeriesSource(MacroSource, frozen=True, forbid_unknown_fields=True):
    """A series per symbol in a file with the columns ts, symbol and the value column named by `column`, as in [feed]
    series.

    With `valid_days` above 0, a value is unknown after that many calendar days. With `use = false` the file is not
    read, and the observation has no features of it.
    """

    column: str = "value"
    valid_days: int = 0
    use: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """T sessions of N assets at raw prices, float64[T, N]; NaN only before an asset's first bar.

    `split` is new shares per old and `dividend` cash per old share, both effective before the row's open. `day_ns`
    int64[T] are session dates (00:00 UTC). `late` names the assets whose day ends after the close of the shares
    (coins beside shares): their bar of a date is unknown when the decision at that close is taken. `cash_rate` is the
    interest rate on cash, None for no interest.

    Each row covers the time since the previous row: a coin's row after a weekend has the open of Saturday and the close
    of Monday. Raises ValueError for a missing bar after an asset's first one.
    """

    symbols: tuple[str, ...]
    day_ns: NDArray[np.int64]
    open: Floats
    close: Floats
    split: Floats
    dividend: Floats
    late: frozenset[str] = frozenset()
    known_bars: Mapping[str, Floats] = field(default_factory=dict)
    """With late assets, `open`, `close` and the fields of `bars` as known at the decision of each row, float64[T, N].

    A coin's row has its bars since the decision before: on Monday those of Friday, Saturday and Sunday. Its close is
    the last one known. The other fields are NaN before its first bar and up to its last row without a bar."""
    idle: Bools | None = None
    """bool[T, N], True where orders of the previous row's close do not trade; None where all of them trade.

    The asset is a coin without a bar on the day before that close, whose price is too old to order by, or without a bar
    on the day after it, so that the order ends."""
    cash_rate: CashRate | None = None
    bars: Mapping[str, Floats] = field(default_factory=dict)
    """Raw `high`, `low` and `volume`, float64[T, N], where the file has them."""
    macro: Mapping[str, Floats] = field(default_factory=dict)
    """Series by name, float64[T] as known at each close; NaN before the first value."""
    series: Mapping[str, Floats] = field(default_factory=dict)
    """Series per symbol by name, float64[T, N] as known at each close; NaN where none is known."""

    def __post_init__(self) -> None:
        has_bar = np.isfinite(self.close) & np.isfinite(self.open)
        gaps = has_bar[:-1] & ~has_bar[1:]
        if gaps.any():
            row, column = (int(v[0]) for v in np.nonzero(gaps))
            day = day_of(self.day_ns[row + 1])
            raise ValueError(
                f"{self.symbols[column]} has no bar on {day}, after its first bar; leave it out or begin later"
            )

    @property
    def behind(self) -> int:
        """Number of sessions by which the newest complete row lags the close of the decision: 1 with late assets,
        else 0."""
        return int(bool(self.late))

    def known(self) -> Floats:
        """Return float64[T, N], the last close that was known at the decision of each row."""
        return self.known_bars["close"] if self.late else self.close

    def at_decisions(self) -> "Panel":
        """Return the panel with the bars that were known at the decision of each row, as in trading (`View.bars`).

        A split or dividend of a late asset comes with the bar of its ex date.
        """
        if not self.late:
            return self
        late = np.isin(self.symbols, list(self.late))
        split, dividend = (
            np.where(late, np.concatenate((np.full_like(values[:1], neutral), values[:-1])), values)
            for values, neutral in ((self.split, 1.0), (self.dividend, 0.0))
        )
        known_bars = self.known_bars
        bars = {name: known_bars[name] for name in self.bars}
        return replace(
            self, open=known_bars["open"], close=known_bars["close"], split=split, dividend=dividend, bars=bars,
            late=frozenset(), known_bars={},
        )  # fmt: skip

    def synchronous(self) -> Floats:
        """Return float64[T, N]: row t is the newest row of returns that was complete at close t, as in
        trading (`View.synchronous`)."""
        returns = self.returns()
        return np.concatenate((np.full_like(returns[: self.behind], np.nan), returns[: len(returns) - self.behind]))

    def risk_free_annual(self, rows: range) -> RiskFree:
        """Return the annual risk-free rate of the returns between the sessions of `rows`."""
        if self.cash_rate is None:
            return RISK_FREE_ANNUAL
        return self.cash_rate.earned(self.day_ns[rows.start : rows.stop])[1:] * PERIODS_PER_YEAR

    def returns(self) -> Floats:
        """Return float64[T, N] total returns from close to close; row 0 is NaN."""
        total_returns = np.full_like(self.close, np.nan)
        total_returns[1:] = (self.close[1:] * self.split[1:] + self.dividend[1:]) / self.close[:-1] - 1.0
        return total_returns
