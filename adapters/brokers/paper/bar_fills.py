"""Fills of the rows of a basket on one bar, row by row.

What can go wrong. A bar fills an order (a row of a basket) twice, or a stop at a price that its limit excludes. Rows of
one symbol together fill more than the bar's volume.

What the order of the steps guarantees. `after`, the start of the time in which a row may fill, moves to the close of
the bar before fills are decided: a bar that did not fill the row cannot fill it later. A stop is marked as triggered
before its limit is checked, because a triggered row is a limit order from then on, also where this bar does not fill
it. Rows take volume in order of arrival. The build compiles this file, so that locals have declared types.
"""

from collections.abc import Callable, Sequence
from typing import Final

from quantd.adapters.brokers.paper.orders import Resting
from quantd.trading.fill_prices import Columns, LimitFills, Terms, reaches
from quantd.trading.number_types import Whole

PART_FILL: Final = 1
LAST_FILL: Final = 2
"""`Cause` of the fills."""


class BarFills:
    """The fills of one basket on one bar. `take` selects the basket, `begin` the bar.

    The lists from `sym` to `charged` have an entry for each row of the basket, the lists from `row` to `cause` one for
    each fill.
    """

    bar: LimitFills
    rates: Callable[[Resting, int, int, float], int] | None
    """Cost rate of a fill by basket, row, lots and the bar's volume; None where the rate of the terms applies."""
    fresh: list[bool]
    """Which columns have a bar; empty if all have one."""
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
    """Number of rows that this bar filled completely."""

    def __init__(self, terms: Terms, rates: Callable[[Resting, int, int, float], int] | None) -> None:
        self.bar, self.rates = LimitFills(terms), rates

    def begin(self, columns: Columns, t: int, fresh: list[bool], ts_open: int, ts_event: int) -> None:
        """Select slice `t` of the columns: the bars of one instant, from `ts_open` to `ts_event` (ns UTC). `fresh` is
        True for each symbol with a new bar, and empty if all symbols have one."""
        self.fresh = fresh
        self.bar.begin(columns, t, ts_open, ts_event)

    def take(self, resting: Resting) -> None:
        """Select a basket, and clear the lists of fills."""
        self.resting = resting
        self.sym, self.lots, self.limits = resting.sym, resting.lots, resting.worst_nano
        self.after, self.until, self.cum, self.charged = (
            resting.after, resting.until, resting.cum, resting.charged_micro,
        )  # fmt: skip
        self.row, self.filled, self.size, self.price, self.fee, self.cause = [], [], [], [], [], []
        self.ended = 0

    def limit_orders(self, rows: Sequence[int], stops: Sequence[int], triggered: list[int]) -> None:
        """Fill the limit orders of a basket.

        If `stops` has trigger prices by row, the rows are stop orders. Rows that the bar triggers are added to
        `triggered`, and triggered rows fill like limit orders.

        A row can fill from `after` until `until` (ns UTC). `fresh` has the symbols with a new bar; it is empty if all
        have one.

        A price of 0 means that the row does not fill. Prices are in nano-currency, `lots` are negative for a sale.
        """
        bar: LimitFills = self.bar
        columns: Columns = bar.columns
        bar_row: int = bar.t
        ts_open: int = bar.ts_open
        ts_event: Whole = bar.ts_event
        partial: bool = len(self.fresh) > 0  # some symbols have no bar
        for row_number in rows:
            row: int = row_number
            column: int = self.sym[row]
            start: int = self.after[row]
            if ts_open < start or (partial and not self.fresh[column]):
                continue
            # before the fill is decided: a bar that does not fill the row must not be tried again
            self.after[row] = ts_event
            until: int = self.until[row]
            price: int = bar.opens(column, until)
            if price == 0:
                continue
            total: int = self.lots[row]
            buy: bool = total > 0
            if len(stops) > 0 and row not in triggered:
                stop: int = stops[row]
                if price < stop if buy else price > stop:
                    # the bar opened on the near side of the trigger, and fills at it if it trades there later
                    low: float = columns.low[bar_row, column]
                    # a row that ends inside the bar fills at its open only, because the time of the low and the high is
                    # not known
                    if until < bar.ts_event or not reaches(stop, buy, low, columns.high[bar_row, column]):
                        continue
                    price = stop
                # before the limit is checked: a triggered row that its limit does not fill keeps working as a limit
                # order
                triggered.append(row)
            price = bar.inside(column, price, self.limits[row], buy, until)
            if price > 0:
                self.fill(row, price)

    def fill(self, row: int, price: int) -> None:
        """Fill a row at a price plus costs, inside its limit, up to the lots that the bar's volume allows.

        If the function `rates` is set, it returns the rate of costs, which then depends on more than the bar. Prices
        are in nano-currency, fees in micro-currency.
        """
        bar: LimitFills = self.bar
        column: int = self.sym[row]
        total: int = self.lots[row]
        order_lots: int = abs(total)
        cum: int = self.cum[row]
        size: int = bar.take(column, order_lots - cum)
        if size == 0:
            return
        rate: int
        if self.rates is not None:
            rate = self.rates(self.resting, row, size, bar.columns.volume[bar.t, column])
        else:
            rate = bar.rate(column, size)
        price = bar.moved(price, self.limits[row], total > 0, rate)
        fee: int = bar.fee(column, size, price)
        if bar.terms.least_micro > 0:
            # the fee of the order so far, -1 before its first fill: the least fee is charged once for an order
            charged: int = self.charged[row]
            self.charged[row] = max(charged, 0) + fee
            fee = bar.least(charged, fee)
        cum += size
        self.cum[row] = cum
        self.row.append(row)
        self.filled.append(cum)
        self.size.append(size)
        self.price.append(price)
        self.fee.append(fee)
        if cum == order_lots:
            self.ended += 1
            self.cause.append(LAST_FILL)
        else:
            self.cause.append(PART_FILL)

    def working(self, rows: Sequence[int]) -> list[int]:
        """Return the `rows` (orders of the basket) that still have lots to fill."""
        open_rows: list[int] = []
        for row_number in rows:
            row: int = row_number
            cum: int = self.cum[row]
            order_lots: int = self.lots[row]
            if cum != abs(order_lots):
                open_rows.append(row)
        return open_rows
