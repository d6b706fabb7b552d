"""The books of the whole account and of the agents, in the columns that the compiled fold reads."""

from math import inf, sqrt
from typing import Any, Final

from quantd.daemon.engine.core.limiter import Limiter
from quantd.risk.limits.collars import Collars
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
"""2^53: equities in micro below it are exact as floats."""

LOSSES: Final = 3
"""The number of measured losses: drawdown, daily loss and weekly loss, in this order."""

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
    """One book in columns: positions, equity, kill switch and returns, with its limits.

    `held` are signed lots as floats. `micro` is the book's equity at the last sample, in micro-currency. Between `low`
    and `high` a loss keeps its alert level; below `moves_at` it does not move the switch. `low`, `high` and `moves_at`
    are float64[LOSSES], one element for each measured loss.
    """

    book: Book
    held: Floats
    held_view: ReadFloats
    """The same lots for functions that write to none: compiled code makes this view by way of a Python object."""
    micro: int
    used: bool
    """Whether the book is in use: that of a place without a portfolio is not."""
    watched: bool
    """Whether the alert levels of its limits are checked."""
    px: Floats
    """Prices of one lot: the array `px` of the market."""
    weights: Floats
    """Scratch for the weights of the positions; all books share it."""
    marks: Switch
    """The switch of the book, which has the marks of its losses."""
    returns: EquitySeries | None
    """The realised returns of a watched book."""
    low: Floats
    high: Floats
    moves_at: Floats
    volatility_low: float
    volatility_high: float
    sharpe_low: float
    sharpe_high: float
    """Bounds of the realised measures between which they keep their levels."""
    up: Floats
    down: Floats
    """Unsigned lots of its open purchases, and of its open sales, by symbol."""
    up_cash: float
    open_loss: float
    open_gain: float
    """Cash that open purchases may cost, and what open orders may lose and gain at their worst prices, as in
    `quantd.risk.limits.case.Account`."""
    open_orders: int
    limiter: Limiter
    collars: Collars
    bands: Bands
    rising: Bands
    """Bands that are left upwards only: whether a plan raises a level."""
    quiet: Bands
    """Bands within which no value of a limit is recorded with a plan."""
    keys: dict[Any, Any]
    """Reason code of a cut -> keys of the values of its limit, where the limit has any."""
    exposures: list[Any]
    """(key, code of its measure, bound) of limits that `StepRecords.expose` measures; `sums` is the set of the keys."""
    sums: Any

    def __init__(self, size: int) -> None:
        self.held, self.moves_at = float_zeros(size), float_zeros(LOSSES)
        self.low, self.high = float_zeros(LOSSES), float_zeros(LOSSES)
        self.micro, self.held_view, self.returns = 0, self.held, None
        self.used, self.watched = True, False
        self.volatility_low = self.sharpe_low = -inf
        self.volatility_high = self.sharpe_high = inf
        self.up, self.down = float_zeros(size), float_zeros(size)
        self.clear_open()

    def clear_open(self) -> None:
        """Empty the columns that sum a book's open orders."""
        for k in range(len(self.up)):
            self.up[k] = self.down[k] = 0.0
        self.up_cash = self.open_loss = self.open_gain = 0.0
        self.open_orders = 0

    def add_open(self, k: int, lots: float, worst: float, mark: float, fee: float) -> None:
        """Add signed lots of an open order in symbol `k`. `worst` and `mark` are the value of one lot at the worst
        price and at the mark, `fee` the rate of the fee.

        `up` and `down` are the unsigned lots of open purchases and sales; `up_cash` is the cash that purchases may
        cost. `open_loss` and `open_gain` are what the open orders lose and gain against the mark if they fill at the
        worst price. A sale has negative lots, so that its terms are subtracted.
        """
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
        """Copy the positions of the ledger's book, in signed lots."""
        book: Book = self.book
        lots: Ints = book.held
        held: Floats = self.held
        for k in range(len(held)):
            held[k] = float(lots[k])

    def is_short(self) -> bool:
        any_short: bool = False
        for k in range(len(self.held)):
            any_short = any_short or self.held[k] < 0.0
        return any_short

    def weigh(self) -> None:
        """Write the book's positions at the last sample as fractions of equity into `weights`; 0 without equity."""
        held: Floats = self.held
        px: Floats = self.px
        out: Floats = self.weights
        scale: float = 1e6 / float(self.micro) if self.micro > 0 else 0.0
        for k in range(len(held)):
            out[k] = held[k] * px[k] * scale + 0.0  # adding 0.0 makes 0.0 of -0.0

    def losses(self, equity: int, day: int, week: int) -> int:
        """Measure the losses at `equity`, in micro-currency, and change nothing.

        `day` and `week` are the numbers of the present day and week. Returns TRIPS if a loss may move the kill switch,
        CROSSES if one may change its alert level, else CALM. A loss is a fraction, 0 for a gain; between `low` and
        `high` it keeps its level, and below `moves_at` it does not move the switch.
        """
        marks: Switch = self.marks
        # a new day or week begins at the last equity
        day_start: int = marks.day_open if day == marks.day_key else marks.last
        week_start: int = marks.week_open if week == marks.week_key else marks.last
        peak: int = max(marks.high_water, equity)
        outcome: int = CALM
        if day_start <= 0 or week_start <= 0:
            return TRIPS
        for k in range(LOSSES):
            # losses from the peak, since the begin of the day, and since the begin of the week
            reference: int = peak if k == 0 else day_start if k == 1 else week_start
            loss: float = max(1.0 - float(equity) / float(reference), 0.0)
            if not loss < self.moves_at[k]:
                return TRIPS
            if not self.low[k] < loss < self.high[k]:
                outcome = CROSSES
        return outcome

    def keeps_levels(self, holdings: Holdings, px: ReadFloats, ring: Ring) -> bool:
        """Whether every limit on positions certainly keeps its alert level.

        `holdings` is overwritten with the positions of the book. `px` are float64[N] prices of one lot by symbol, and
        `ring` has the newest returns.
        """
        bands: Bands = self.bands
        self.write_holdings(holdings, px)
        return bands.keep(holdings, ring)

    def doubts(self, holdings: Holdings, px: ReadFloats, ring: Ring) -> Any:
        """Return the limits on positions whose alert level may change, as (key, least value, largest value, bound).

        The values are NaN where only a measurement can tell; None means that all limits must be measured.
        """
        bands: Bands = self.bands
        self.write_holdings(holdings, px)
        return bands.doubts(holdings, ring)

    def write_holdings(self, holdings: Holdings, px: ReadFloats) -> None:
        """Write the positions as fractions of the book's equity, which must be positive."""
        holdings.value(self.held_view, px)
        holdings.weigh(float(self.micro) / 1e6)

    def keeps_realised(self) -> bool:
        """Whether the realised measures (such as volatility) of the last sample certainly keep their alert levels.

        A measure keeps its level between its `_low` and `_high`; both are infinite without a limit. The Sharpe ratio
        of returns with almost no deviation is left to the exact measurement.
        """
        returns: EquitySeries | None = self.returns
        if returns is None:
            return True
        status: int = returns.measure()
        if status != MEASURED:
            return status == TOO_FEW  # too few returns have no measure, and so no level
        volatility: float = returns.deviation * ROOT_OF_YEAR
        if not self.volatility_low < volatility < self.volatility_high:
            return False
        if self.sharpe_low == -inf and self.sharpe_high == inf:
            return True
        if not returns.deviation > LEAST_DEVIATION:
            return False
        excess: float = (returns.mean - RISK_FREE) / returns.deviation * ROOT_OF_YEAR
        return self.sharpe_low < excess < self.sharpe_high

    def observe(self, equity: int, day: int, week: int, earned: Any) -> None:
        """Update the reference equities of the losses with `equity` (micro), and extend a watched book's returns.

        `day` and `week` are the numbers of the present day and week. `earned` is the interest on cash since the last
        sample, as a fraction; None without a rate.
        """
        book: Book = self.book
        marks: Switch = self.marks
        returns: EquitySeries | None = self.returns
        marks.mark(equity, day, week)
        self.micro = equity
        if returns is None:
            return
        if earned is None:
            returns.append(equity, book.flows_micro)
        else:
            rated: Any = returns
            rated.add(equity, book.flows_micro, earned)


def take_lots(books: list[BookColumns]) -> None:
    """Read the lots of all books after a booking."""
    for number in range(len(books)):
        columns: BookColumns = books[number]
        columns.take_lots()
