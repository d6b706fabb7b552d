"""Prices, fees and sizes of single fills, in exact integers, and the fills of limit orders on a bar.

What can go wrong: a simulated fill that is better than a real one. Prices are therefore rounded against the owner of
the order (a purchase up, a sale down), and impact is rounded up. Costs never move a fill beyond its limit. Orders on
one bar share its volume: `LimitFills.take` gives each order what earlier orders have not used.

A result beyond `MOST` is returned as `MOST` + 1, which the ledger refuses.
"""

from math import inf, sqrt
from typing import Final

from quantd.trading.execution import MOST, RATE_ONE
from quantd.trading.instruments import NANO
from quantd.trading.integers import half_even, ratio
from quantd.trading.number_types import Ints, ReadIntRows, ReadRows, Whole, int_zeros

_BEYOND: Final = MOST + 1

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""

_TOO_HIGH: Final = 4611686018427388.0
"""The smallest amount in micro that is beyond MOST in nano."""


def bounded_ratio(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    """Return the quotient and remainder of a x b x numerator / divisor, or (MOST + 1, 0) for a quotient beyond MOST."""
    if float(a) * float(b) * float(numerator) < _SAFE * float(divisor):
        return ratio(a, b, numerator, divisor)
    try:
        return ratio(a, b, numerator, divisor)
    except OverflowError:
        return _BEYOND, 0


def fill_price(open_nano: int, limit_nano: int, buy: bool, rate: int, one: int = RATE_ONE) -> int:
    """Return the open with the cost `rate` / `one` added against the order, but not beyond the limit.

    The price is in nano-currency, rounded against the order (a purchase up, a sale down). The open itself must not be
    beyond the limit.
    """
    price: int
    remainder: int
    if buy:
        price, remainder = bounded_ratio(open_nano, one + rate, 1, one)
        if remainder != 0:
            price += 1
        return min(price, limit_nano)
    price, remainder = bounded_ratio(open_nano, one - rate if rate < one else 0, 1, one)
    return max(price, limit_nano)


def trades_through(limit_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded strictly beyond the limit, so that a limit order at the limit certainly filled."""
    extreme: int = nano_of(low if buy else high)
    return 0 < extreme < limit_nano if buy else extreme > limit_nano


def reaches(stop_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded at or beyond a stop: from above for a sale, from below for a purchase."""
    extreme: int = nano_of(high if buy else low)
    return extreme >= stop_nano > 0 if buy else 0 < extreme <= stop_nano


def nano_of(price: float) -> int:
    """Return a price in nano-currency, rounded half-even at 1e-6 as `quantd.trading.market.nano` does.

    A price that is not finite or not positive gives 0, and one beyond MOST gives MOST + 1.
    """
    if not 0.0 < price < inf:
        return 0
    micro: float = price * 1e6
    if micro >= _TOO_HIGH:
        return _BEYOND
    whole_micro: int = int(micro)
    fraction: float = micro - float(whole_micro)
    if fraction > 0.5 or (fraction == 0.5 and whole_micro & 1 == 1):
        whole_micro += 1
    return whole_micro * (NANO // 1_000_000)


def at_least(least_micro: int, charged_micro: int, fee_micro: int) -> int:
    """Return the fee to charge for a fill, so that its order has paid at least `least_micro` in all.

    `fee_micro` is the fill's commission without the minimum, `charged_micro` the sum of the order's earlier commissions
    without the minimum, -1 before the first fill."""
    before: int = max(least_micro, charged_micro)
    after: int = max(charged_micro, 0) + fee_micro
    return max(after, least_micro) - (before if charged_micro >= 0 else 0)


def impact_rate(impact_bp: float, lots: int, lot_nano: int, volume: float) -> int:
    """Return the square-root impact of unsigned `lots` on a bar of `volume` units > 0. The result is an integer rate,
    rounded up, and MOST at most."""
    # a product beyond 64 bits is computed with integers of any size
    exact: Whole = lots
    size: float = float(exact * lot_nano) if float(lots) * float(lot_nano) >= _SAFE else float(lots * lot_nano)
    rate: float = impact_bp * sqrt(size / (volume * float(NANO))) * float(RATE_ONE // 10_000)
    if not rate < _SAFE:
        return MOST
    whole_rate: int = int(rate)
    return whole_rate + 1 if rate > float(whole_rate) else whole_rate


def lots_to_be_had(volume: float, numerator: Whole, denominator: Whole) -> int:
    """Return the whole lots that a participation cap permits of a bar's volume, at most MOST + 1; 0 for zero or unknown
    volume.

    The cap numerator / denominator is the result of `Costs.participation_ratio`. Numbers that fit 64 bits are computed
    in 64 bits, which is faster; larger ones in integers of any size.
    """
    volume_nano: float = volume * float(NANO)
    if not 0.0 < volume_nano < inf:
        return 0
    if volume_nano < _SAFE and numerator <= MOST and denominator <= MOST:
        return bounded_share(volume_nano, numerator, denominator)
    whole_nano: Whole = int(volume_nano)
    lots: Whole = whole_nano * numerator // denominator
    return _BEYOND if lots > MOST else lots


def bounded_share(volume_nano: float, numerator: int, denominator: int) -> int:
    """Return the lots that a participation cap permits of a volume in nano-units; the cap is within 62 bits."""
    units: int = int(volume_nano)
    return bounded_ratio(units, numerator, 1, denominator)[0]


def commission_micro(lots: int, price_nano: int, numerator: Whole, denominator: Whole) -> int:
    """Return the commission on unsigned lots in whole micro, rounded half-even, MOST + 1 at most. The rate is numerator
    / denominator. A rate that fits 64 bits is computed in 64 bits, which is faster; a larger rate in integers of any
    size.
    """
    if numerator <= MOST and denominator <= MOST:
        return bounded_fee(lots, price_nano, numerator, denominator)
    exact: Whole = lots
    product: Whole = exact * price_nano * numerator
    fee_micro: Whole = product // denominator
    twice: Whole = 2 * (product - fee_micro * denominator)
    if twice > denominator or (twice == denominator and fee_micro & 1 == 1):
        fee_micro += 1
    return _BEYOND if fee_micro > MOST else fee_micro


def bounded_fee(lots: int, price_nano: int, numerator: int, denominator: int) -> int:
    """Return the commission on unsigned lots in micro, rounded half-even; the rate is within 62 bits."""
    quotient: int
    remainder: int
    quotient, remainder = bounded_ratio(lots, price_nano, numerator, denominator)
    return half_even(quotient, remainder, denominator)


_ALL: Final = 2**63 - 1
"""Lots that a bar with volume offers where no cap is set: no limit."""


class Columns:
    """The columns of a block of bars that the computation of fills needs; each is indexed by bar and symbol."""

    open_nano: ReadIntRows
    low: ReadRows
    high: ReadRows
    volume: ReadRows

    def __init__(self, open_nano: ReadIntRows, low: ReadRows, high: ReadRows, volume: ReadRows) -> None:
        self.open_nano, self.low, self.high, self.volume = open_nano, low, high, volume


class Terms:
    """Costs and sizes for the computation of fills; lists are by column (symbol) of the universe."""

    size: int
    lot_nano: list[int]
    commission: list[tuple[int, int]]
    """(numerator, denominator) of `commission_ratio`."""
    numerator: Ints
    denominator: Ints
    """`commission` as columns; the denominator is 0 where one of them needs more than 62 bits."""
    share: list[tuple[int, int]]
    """(numerator, denominator) of `Costs.participation_ratio`."""
    rate: int
    one: int
    """The fixed costs of a fill are the fraction rate / one of its price."""
    impact: float
    by_volume: bool
    """Whether the fills of a symbol share the volume of its bar."""
    capped: bool
    """Whether `share` caps the part of the volume that they get."""
    least_micro: int
    """The minimum commission of an order."""

    def __init__(self, commission: list[tuple[int, int]], share: list[tuple[int, int]], lot_nano: list[int]) -> None:
        """Write the commission of each column into arrays where both of its integers fit 62 bits, and set all other
        costs to 0.

        `commission` and `share` have a (numerator, denominator) by column: the commission rate, and the part of a bar's
        volume that orders may have. `lot_nano` is the size of a lot in 1e-9 units of the instrument."""
        self.size, self.commission, self.share, self.lot_nano = len(commission), commission, share, lot_nano
        self.numerator, self.denominator = int_zeros(self.size), int_zeros(self.size)
        for k in range(self.size):
            numerator: Whole = commission[k][0]
            denominator: Whole = commission[k][1]
            if numerator <= MOST and denominator <= MOST:
                self.numerator[k], self.denominator[k] = numerator, denominator
        self.rate, self.one, self.impact, self.least_micro = 0, 1, 0.0, 0
        self.by_volume = self.capped = False


class LimitFills:
    """Computes fills of orders on one bar, which the last call of `begin` selected."""

    terms: Terms
    columns: Columns
    t: int
    ts_open: int
    ts_event: int
    available: Ints
    """The lots that remain of the bar's volume, by column; -1 before the first order of the column."""

    def __init__(self, terms: Terms) -> None:
        self.terms, self.available = terms, int_zeros(terms.size)

    def begin(self, columns: Columns, t: int, ts_open: int, ts_event: int) -> None:
        """Select bar `t` of `columns`, which opens at `ts_open` and closes at `ts_event` (ns UTC), for the following
        calls."""
        self.columns, self.t, self.ts_open, self.ts_event = columns, t, ts_open, ts_event
        if self.terms.by_volume:
            for k in range(self.terms.size):
                self.available[k] = -1

    def opens(self, column: int, until: int) -> int:
        """Return the bar's open in nano-currency before costs, for an order that ends at `until` (ns UTC).

        Returns 0 if the order ended at the open or before, or if the bar has no price.
        """
        price: int = self.columns.open_nano[self.t, column]
        return price if self.ts_open < until and price > 0 else 0

    def inside(self, column: int, price: int, limit: int, buy: bool, until: int) -> int:
        """Return the price in nano-currency, before costs, of a fill that would happen at `price`.

        `until` is the end of the order (ns UTC). A `price` that the limit permits is returned. Beyond the limit, the
        order fills at the limit if the bar trades through the limit and the order lasts to the bar's end; otherwise
        the result is 0: no fill.
        """
        if price > limit if buy else price < limit:
            columns: Columns = self.columns
            t: int = self.t
            if until < self.ts_event or not trades_through(limit, buy, columns.low[t, column], columns.high[t, column]):
                return 0
            return limit
        return price

    def take(self, column: int, wanted: int) -> int:
        """Take up to `wanted` unsigned lots from the bar's remaining volume, and return the number of lots taken."""
        if not self.terms.by_volume:
            return wanted
        available: int = self.available[column]
        # the first order of this column at this bar
        if available < 0:
            volume: float = self.columns.volume[self.t, column]
            if self.terms.capped:
                numerator: Whole
                denominator: Whole
                numerator, denominator = self.terms.share[column]
                available = lots_to_be_had(volume, numerator, denominator)
            else:
                available = _ALL if volume > 0.0 else 0
        taken_lots: int = min(wanted, available)
        self.available[column] = available - taken_lots
        return taken_lots

    def rate(self, column: int, size: int) -> int:
        """Return the cost rate of a fill of `size` unsigned lots, with market impact; `terms.one` is 100 %."""
        terms: Terms = self.terms
        if terms.impact > 0.0:
            volume: float = self.columns.volume[self.t, column]
            return terms.rate + impact_rate(terms.impact, size, terms.lot_nano[column], volume)
        return terms.rate

    def moved(self, price: int, limit: int, buy: bool, rate: int) -> int:
        """Return a price in nano with costs added against the order, but not beyond the limit."""
        return fill_price(price, limit, buy, rate, self.terms.one) if rate != 0 else price

    def fee(self, column: int, size: int, price: int) -> int:
        """Return the commission in micro of a fill of `size` lots at `price` nano, without the minimum."""
        denominator: int = self.terms.denominator[column]
        if denominator > 0:
            return bounded_fee(size, price, self.terms.numerator[column], denominator)
        numerator: Whole
        divisor: Whole
        numerator, divisor = self.terms.commission[column]
        return commission_micro(size, price, numerator, divisor)

    def least(self, charged: int, fee: int) -> int:
        """Return the fee of a fill with the order's minimum commission applied.

        `charged` is the sum of the order's earlier commissions, -1 before its first fill.
        """
        return at_least(self.terms.least_micro, charged, fee) if self.terms.least_micro > 0 else fee
