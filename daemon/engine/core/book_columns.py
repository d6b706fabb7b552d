"""The books of the house and of the agents, as the fold reads them."""

from math import inf, sqrt
from typing import Any, Final

from quantd.daemon.engine.core.limiter import Limiter
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.equity_series import MEASURED, TOO_FEW, EquitySeries
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.switch_state import Switch
from quantd.trading.history.rings import Ring
from quantd.trading.ledger.book import Book
from quantd.trading.number_types import Floats, Ints, ReadFloats, float_zeros
from quantd.trading.statistics import RISK_FREE_ANNUAL

EXACT: Final = 9007199254740992
"""2^53: smaller equities in micro are exact as floats."""

LOSSES: Final = 3
"""Drawdown, daily and weekly loss."""

CALM: Final = 0
"""No loss changes anything."""
CROSSES: Final = 1
"""A loss may change its level."""
TRIPS: Final = 2
"""A loss may move the switch."""

ROOT_OF_YEAR: Final = sqrt(SAMPLES_PER_YEAR)
RISK_FREE: Final = RISK_FREE_ANNUAL / SAMPLES_PER_YEAR
"""Risk-free return of a sample."""

LEAST_DEVIATION: Final = 1e-12
"""Deviation of returns below which their Sharpe ratio is measured exactly."""


class BookColumns:
    """One book: positions, equity, switch and returns, with its limits.

    `held` are signed lots as floats. `micro` is its equity at the last sample. Between `low` and `high`
    a loss keeps its level; below `trip` it does not move the switch.
    """

    book: Book
    held: Floats
    held_view: ReadFloats
    """The same lots for functions that write to none: compiled code makes this view by way of a Python object."""
    micro: int
    px: Floats
    """Prices of one lot, those of the market."""
    weights: Floats
    """Room for the weights of the positions, which books share."""
    marks: Switch
    """The switch of the book, which has the marks of its losses."""
    returns: EquitySeries | None
    """The realised returns of a watched book."""
    low: Floats
    high: Floats
    trip: Floats
    volatility_low: float
    volatility_high: float
    sharpe_low: float
    sharpe_high: float
    """Bounds of the realised measures between which they keep their levels."""
    up: Floats
    down: Floats
    """Lots of its open orders, by side."""
    up_cash: float
    open_loss: float
    open_gain: float
    """What these may cost and move, as `quantd.risk.limits.case.Account` has it."""
    open_orders: int
    limiter: Limiter
    bands: Bands
    rising: Bands
    """Bands of levels that may only rise, while orders are open."""
    quiet: Bands
    """Bands below which no limit is recorded with a plan."""
    keys: dict[Any, Any]
    """Code of a cut -> keys of the values of its limit, where it has any."""
    exposures: list[Any]
    """(key, number of its measure, bound) of limits that `StepRecords.expose` measures; `sums` has the keys."""
    sums: Any

    def __init__(self, size: int) -> None:
        self.held, self.trip = float_zeros(size), float_zeros(LOSSES)
        self.low, self.high = float_zeros(LOSSES), float_zeros(LOSSES)
        self.micro, self.held_view, self.returns = 0, self.held, None
        self.volatility_low = self.sharpe_low = -inf
        self.volatility_high = self.sharpe_high = inf
        self.up, self.down = float_zeros(size), float_zeros(size)
        self.clear_open()

    def clear_open(self) -> None:
        """Begin without open orders."""
        for k in range(len(self.up)):
            self.up[k] = self.down[k] = 0.0
        self.up_cash = self.open_loss = self.open_gain = 0.0
        self.open_orders = 0

    def add_open(self, k: int, lots: float, worst: float, mark: float, fee: float) -> None:
        """Add signed lots of an open order, with the worst and the present value of one lot."""
        if lots > 0.0:
            self.up[k] += lots
            self.up_cash += lots * worst * (1.0 + fee)
            self.open_loss += lots * max(worst * (1.0 + fee) - mark, 0.0)
            self.open_gain += lots * max(mark - worst, 0.0)
        else:
            self.down[k] -= lots
            self.open_loss -= lots * max(mark - worst * (1.0 - fee), 0.0)
            self.open_gain -= lots * max(worst - mark, 0.0)

    def take_lots(self) -> None:
        """Copy the lots of the book."""
        book: Book = self.book
        lots: Ints = book.held
        held: Floats = self.held
        for k in range(len(held)):
            held[k] = float(lots[k])

    def is_short(self) -> bool:
        """Whether the book is short of a symbol."""
        lent: bool = False
        for k in range(len(self.held)):
            lent = lent or self.held[k] < 0.0
        return lent

    def weigh(self) -> None:
        """Write `weights` at the last sample."""
        held: Floats = self.held
        px: Floats = self.px
        out: Floats = self.weights
        scale: float = 1e6 / float(self.micro)
        for k in range(len(held)):
            out[k] = held[k] * px[k] * scale + 0.0

    def losses(self, equity: int, day: int, week: int) -> int:
        """What the losses at an equity in micro change: CALM, CROSSES or TRIPS."""
        marks: Switch = self.marks
        opened: int = marks.day_open if day == marks.day_key else marks.last
        began: int = marks.week_open if week == marks.week_key else marks.last
        peak: int = max(marks.high_water, equity)
        news: int = CALM
        if opened <= 0 or began <= 0:
            return TRIPS
        for k in range(LOSSES):
            reference: int = peak if k == 0 else opened if k == 1 else began
            loss: float = max(1.0 - float(equity) / float(reference), 0.0)
            if not loss < self.trip[k]:
                return TRIPS
            if not self.low[k] < loss < self.high[k]:
                news = CROSSES
        return news

    def keeps_levels(self, holdings: Holdings, px: ReadFloats, ring: Ring) -> bool:
        """Whether the limits on positions surely keep their levels, at float64[N] prices of one lot."""
        bands: Bands = self.bands
        self.write_holdings(holdings, px)
        return bands.keep(holdings, ring)

    def doubts(self, holdings: Holdings, px: ReadFloats, ring: Ring) -> Any:
        """The limits on positions whose level may change, as `Bands.doubts`."""
        bands: Bands = self.bands
        self.write_holdings(holdings, px)
        return bands.doubts(holdings, ring)

    def write_holdings(self, holdings: Holdings, px: ReadFloats) -> None:
        """Write the positions as shares of the equity, which is positive."""
        holdings.value(self.held_view, px)
        holdings.weigh(float(self.micro) / 1e6)

    def keeps_realised(self) -> bool:
        """Whether the realised measures of the last sample surely keep their levels."""
        returns: EquitySeries | None = self.returns
        if returns is None:
            return True
        status: int = returns.measure()
        if status != MEASURED:
            return status == TOO_FEW
        volatility: float = returns.deviation * ROOT_OF_YEAR
        if not self.volatility_low < volatility < self.volatility_high:
            return False
        if self.sharpe_low == -inf and self.sharpe_high == inf:
            return True
        if not returns.deviation > LEAST_DEVIATION:
            return False
        excess: float = (returns.mean - RISK_FREE) / returns.deviation * ROOT_OF_YEAR
        return self.sharpe_low < excess < self.sharpe_high

    def observe(self, equity: int, day: int, week: int) -> None:
        """Move the marks of the losses to an equity in micro, and append it to the returns of a watched book."""
        book: Book = self.book
        marks: Switch = self.marks
        returns: EquitySeries | None = self.returns
        marks.mark(equity, day, week)
        self.micro = equity
        if returns is not None:
            returns.append(equity, book.flows_micro)
