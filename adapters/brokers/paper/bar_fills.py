"""Fills of the rows of a basket on one bar, row by row."""

from collections.abc import Callable, Sequence
from typing import Final

from quantd.adapters.brokers.paper.orders import NEVER, Resting
from quantd.trading.execution import MOST
from quantd.trading.fill_prices import (
    at_least,
    bounded_fee,
    commission_micro,
    fill_price,
    impact_rate,
    lots_to_be_had,
    reaches,
    trades_through,
)
from quantd.trading.number_types import Ints, ReadIntRows, ReadRows, Whole, int_zeros

PART_FILL: Final = 1
LAST_FILL: Final = 2
"""`Cause` of the fills."""


class Columns:
    """The columns of a block of bars that orders need, by bar and symbol."""

    open_nano: ReadIntRows
    low: ReadRows
    high: ReadRows
    volume: ReadRows

    def __init__(self, open_nano: ReadIntRows, low: ReadRows, high: ReadRows, volume: ReadRows) -> None:
        self.open_nano, self.low, self.high, self.volume = open_nano, low, high, volume


class Terms:
    """Costs and sizes of fills; lists are by column of the universe."""

    size: int
    lot_nano: list[int]
    commission: list[tuple[int, int]]
    """`commission_ratio`."""
    numerator: Ints
    denominator: Ints
    """The same within 62 bits; a denominator of 0 is beyond."""
    share: list[tuple[int, int]]
    """`Costs.participation_ratio`."""
    rate: int
    one: int
    """A fill costs rate / one."""
    impact: float
    by_volume: bool
    """Whether the fills of a symbol share the volume of its bar."""
    capped: bool
    """Whether `share` of it is all that they get."""
    least_micro: int
    """The minimum commission of an order."""

    def __init__(self, commission: list[tuple[int, int]], share: list[tuple[int, int]], lot_nano: list[int]) -> None:
        self.size, self.commission, self.share, self.lot_nano = len(commission), commission, share, lot_nano
        self.numerator, self.denominator = int_zeros(self.size), int_zeros(self.size)
        for k in range(self.size):
            numerator: Whole = commission[k][0]
            denominator: Whole = commission[k][1]
            if numerator <= MOST and denominator <= MOST:
                self.numerator[k], self.denominator[k] = numerator, denominator
        self.rate, self.one, self.impact, self.least_micro = 0, 1, 0.0, 0
        self.by_volume = self.capped = False


class BarFills:
    """Fills on the bar of the last `begin`, of the basket of the last `take`, in lists by fill."""

    terms: Terms
    rates: Callable[[Resting, int, int, float], int] | None
    """The rate of a fill by basket, row, lots and the bar's volume, where it is not that of the terms."""
    columns: Columns
    t: int
    fresh: list[bool]
    """Which columns have a bar; empty if all have one."""
    ts_open: int
    ts_event: int
    left: Ints
    """The lots left of the bar's volume by column, -1 before an order asks."""
    resting: Resting
    sym: list[int]
    lots: list[int]
    limits: list[int]
    after: list[int]
    until: list[int]
    cum: list[int]
    charged: list[int]
    row: list[int]
    filled: list[int]
    size: list[int]
    price: list[int]
    fee: list[int]
    cause: list[int]
    ended: int
    """Number of rows that are filled whole."""

    def __init__(self, terms: Terms, rates: Callable[[Resting, int, int, float], int] | None) -> None:
        self.terms, self.rates, self.left = terms, rates, int_zeros(terms.size)

    def begin(self, columns: Columns, t: int, fresh: list[bool], ts_open: int, ts_event: int) -> None:
        """Turn to a bar."""
        self.columns, self.t, self.fresh, self.ts_open, self.ts_event = columns, t, fresh, ts_open, ts_event
        if self.terms.by_volume:
            for k in range(self.terms.size):
                self.left[k] = -1

    def take(self, resting: Resting) -> None:
        """Turn to a basket, with no fills."""
        self.resting = resting
        self.sym, self.lots, self.limits = resting.sym, resting.lots, resting.worst_nano
        self.after, self.until, self.cum, self.charged = (
            resting.after, resting.until, resting.cum, resting.charged_micro,
        )  # fmt: skip
        self.row, self.filled, self.size, self.price, self.fee, self.cause = [], [], [], [], [], []
        self.ended = 0

    def limit_orders(self, rows: Sequence[int], stops: Sequence[int], triggered: list[int]) -> None:
        """Fill the limit orders of a basket, and its stop orders where there are `stops`: those that the bar triggers,
        which are added to `triggered`, and those of earlier bars."""
        columns: Columns = self.columns
        t: int = self.t
        ts_open: int = self.ts_open
        ts_event: Whole = self.ts_event
        partial: bool = len(self.fresh) > 0
        for each in rows:
            row: int = each
            column: int = self.sym[row]
            start: int = self.after[row]
            if ts_open < start or (partial and not self.fresh[column]):
                continue
            self.after[row] = ts_event
            until: int = self.until[row]
            price: int = columns.open_nano[t, column]
            if ts_open >= until or price <= 0:
                continue
            limit: int = self.limits[row]
            total: int = self.lots[row]
            buy: bool = total > 0
            through: bool = until >= self.ts_event
            if len(stops) > 0 and row not in triggered:
                stop: int = stops[row]
                if price < stop if buy else price > stop:
                    # trades at the trigger fill a sale and a purchase at it, from the other side
                    if not through or not reaches(stop, buy, columns.low[t, column], columns.high[t, column]):
                        continue
                    price = stop
                triggered.append(row)
            if price > limit if buy else price < limit:
                if not through or not trades_through(limit, buy, columns.low[t, column], columns.high[t, column]):
                    continue
                price = limit
            self.fill(row, price)

    def fill(self, row: int, price: int) -> None:
        """Fill a row at a price plus costs, inside its limit, up to the lots that the bar's volume allows."""
        terms: Terms = self.terms
        column: int = self.sym[row]
        total: int = self.lots[row]
        whole: int = abs(total)
        done: int = self.cum[row]
        size: int = whole - done
        if terms.by_volume:
            size = self._within_volume(column, size)
            if size == 0:
                return
        rate: int = terms.rate
        if self.rates is not None:
            rate = self.rates(self.resting, row, size, self.columns.volume[self.t, column])
        elif terms.impact > 0.0:
            rate += impact_rate(terms.impact, size, terms.lot_nano[column], self.columns.volume[self.t, column])
        if rate != 0:
            price = fill_price(price, self.limits[row], total > 0, rate, terms.one)
        fee: int = self._fee(column, size, price)
        if terms.least_micro > 0:
            charged: int = self.charged[row]
            self.charged[row] = max(charged, 0) + fee
            fee = at_least(terms.least_micro, charged, fee)
        done += size
        self.cum[row] = done
        self.row.append(row)
        self.filled.append(done)
        self.size.append(size)
        self.price.append(price)
        self.fee.append(fee)
        if done == whole:
            self.ended += 1
            self.cause.append(LAST_FILL)
        else:
            self.cause.append(PART_FILL)

    def _fee(self, column: int, size: int, price: int) -> int:
        """The commission of a fill before the minimum."""
        denominator: int = self.terms.denominator[column]
        if denominator > 0:
            return bounded_fee(size, price, self.terms.numerator[column], denominator)
        numerator: Whole
        divisor: Whole
        numerator, divisor = self.terms.commission[column]
        return commission_micro(size, price, numerator, divisor)

    def _within_volume(self, column: int, wanted: int) -> int:
        """Take up to `wanted` lots from the bar's volume; returns their number."""
        left: int = self.left[column]
        if left < 0:
            volume: float = self.columns.volume[self.t, column]
            if self.terms.capped:
                numerator: Whole
                denominator: Whole
                numerator, denominator = self.terms.share[column]
                left = lots_to_be_had(volume, numerator, denominator)
            else:
                left = NEVER if volume > 0.0 else 0
        taken: int = min(wanted, left)
        self.left[column] = left - taken
        return taken

    def working(self, rows: Sequence[int]) -> list[int]:
        """Those of some rows that are not filled whole."""
        found: list[int] = []
        for each in rows:
            row: int = each
            done: int = self.cum[row]
            whole: int = self.lots[row]
            if done != abs(whole):
                found.append(row)
        return found
