"""Trading costs and fill prices for the paper broker, the ledger and the simulator.

Every amount is an integer. A rate in basis points is converted once to an integer, with `RATE_ONE` as 100 %. Functions
marked `inner` are called by kernels too. `MOST` bounds the integers that they store.
"""

from fractions import Fraction
from functools import cached_property, lru_cache
from math import ceil, gcd, isfinite, sqrt
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.instruments import ATTO_PER_MICRO, NANO
from quantd.trading.jit import Entry, Floats, inner, vector

Ints = NDArray[np.int64]

MOST: Final = 2**62 - 1
"""The largest amount in micro, number of lots and price in nano that the ledger and the fills hold, in either
direction. In currency: 4.6e12 of money, 4.6e9 for the price of a unit."""

ANY_SALE, ANY_BUY = UNLIMITED = 1, MOST
"""Limit prices in nano of orders without a collar: a sale and a purchase that fill at any price."""

_TOO_MANY: Final = MOST + 1
_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""

_SHORT: Final = 2**44
"""A divisor below this leaves remainders that can be multiplied by 18 bits within 62."""

RATE_ONE: Final = 10**13
"""The integer for 100 % (10,000 bp); one unit is 1e-9 bp."""

YEAR_DAYS: Final = 365
"""Borrow fees and cash interest accrue by calendar days over 365, as at brokers (Actual/365 Fixed)."""

_HALF_MICRO: Final = ATTO_PER_MICRO // 2


@lru_cache(maxsize=256)
def rate_of_bp(bp: float) -> int:
    """Convert basis points to an integer rate, with RATE_ONE as 100 %.

    The float is read as its printed decimal, so that 0.1 is exactly one tenth. The result is exact up to nine decimals
    of a basis point and rounded half-even beyond.
    """
    return round(Fraction(repr(float(bp))) * (RATE_ONE // 10_000))


class FittedCost(Struct, frozen=True):
    """The costs of fills of one symbol (empty: of all) in one hour of its exchange's clock (None: at all hours).

    `fixed_bp` is half the spread and slippage, `impact` as in `Costs`. `error_bp` is the standard error of the former.
    """

    symbol: str
    hour: int | None
    fixed_bp: float
    impact: float
    fills: int = 0
    error_bp: float | None = None


class CostTable(Struct, frozen=True, dict=True):
    """Costs by symbol and hour, fitted to fills."""

    rows: tuple[FittedCost, ...]

    @cached_property
    def _known(self) -> dict[tuple[str, int | None], FittedCost]:
        return {(row.symbol, row.hour): row for row in self.rows}

    def at(self, symbol: str, hour: int) -> FittedCost | None:
        """Return the costs of a symbol in an hour, else at all hours, else of all symbols; None without any."""
        keys = (symbol, hour), (symbol, None), ("", None)
        return next((row for key in keys if (row := self._known.get(key)) is not None), None)


class Costs(Struct, frozen=True, dict=True):
    """Cost and liquidity model of fills; all zero means no cost and no volume cap.

    `spread_bp` is the full spread (half is paid), and `slippage_bp` is added to it. `slippage_noise` (0 to 1) makes
    each fill's slippage uniform in slippage x (1 ± noise), drawn from (`seed`, decision, n). `impact` is the
    coefficient of the square-root law in bp at participation 1: impact x sqrt(lots / bar volume in lots) (Almgren et
    al. 2005; Tóth et al. 2011). `participation` caps fills at a fraction of a bar's volume; 0 is no cap. With `impact`
    or `participation`, a bar of zero or unknown volume fills nothing. `commission_min_micro` is the minimum commission
    of an *order* with at least one fill. `table` replaces spread, slippage and impact of the symbols and hours that it
    has. Raises ValueError for a negative or non-finite value.
    """

    commission_bp: float = 0.0
    slippage_bp: float = 0.0
    spread_bp: float = 0.0
    impact: float = 0.0
    participation: float = 0.0
    borrow_bp_annual: float = 0.0
    latency_ns: int = 0
    seed: int = 0
    commission_min_micro: int = 0
    slippage_noise: float = 0.0
    table: CostTable | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name not in ("seed", "table") and not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value}: a cost is a finite number, 0 or more")
        for name in ("participation", "slippage_noise"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} = {getattr(self, name)}: a fraction, 1 at most")

    @cached_property
    def slippage_rate(self) -> int:
        return rate_of_bp(self.slippage_bp)

    @cached_property
    def fixed_rate(self) -> int:
        """Half spread plus slippage, charged on every fill at the open; an odd last digit is rounded up."""
        return -(-rate_of_bp(self.spread_bp) // 2) + self.slippage_rate

    @cached_property
    def commission_rate(self) -> int:
        return rate_of_bp(self.commission_bp)

    def participation_ratio(self, lot_nano: int) -> tuple[int, int]:
        """Return the cap as a fraction in lowest terms: bar volume in nano-units x fraction = lots. The result is exact
        for nine decimals of `participation`."""
        return lowest(round(Fraction(repr(float(self.participation))) * NANO), NANO * lot_nano)

    @property
    def needs_volume(self) -> bool:
        """Whether a fill depends on the bar's volume."""
        table = self.table
        return self.participation > 0 or self.impact > 0 or (table is not None and any(r.impact for r in table.rows))


def lowest(numerator: int, denominator: int) -> tuple[int, int]:
    """Reduce a fraction to lowest terms, for fast exact arithmetic with small integers."""
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, ties to even. Raises ZeroDivisionError."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    rest *= 2
    if rest > denominator or (rest == denominator and quotient & 1):
        return quotient + 1
    return quotient


@inner
def _divide(a: int, b: int, divisor: int) -> tuple[int, int]:
    """Return the quotient and the remainder of a x b / divisor, for 0 <= a, b and a quotient below 2**63."""
    if float(a) * float(b) < _SAFE:
        whole = a * b
        return whole // divisor, whole % divisor
    quotient, rest = a * (b // divisor), b % divisor
    part = left = 0  # of the digits of `a` so far, times `rest`
    width = 18 if divisor < _SHORT else 12 if divisor < _SHORT * 64 else 6 if divisor < _SHORT * 4096 else 0
    if width > 0:
        shift = 62 // width * width
        while shift > 0 and a >> shift == 0:
            shift -= width
        one = 1 << width
        while shift >= 0:
            digits = left * one + rest * ((a >> shift) & (one - 1))
            part = part * one + digits // divisor
            left = digits % divisor
            shift -= width
        return quotient + part, left
    for bit in range(62, -1, -1):
        part += part
        if left >= divisor - left:
            left -= divisor - left
            part += 1
        else:
            left += left
        if (a >> bit) & 1:
            if left >= divisor - rest:
                left -= divisor - rest
                part += 1
            else:
                left += rest
    return quotient + part, left


def _ratio_loop(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    if a < 0 or b < 0 or float(a) * float(b) * float(numerator) / float(divisor) > 4.8e18:
        return _TOO_MANY, 0  # the size of -2**63 is negative
    if a == 0:
        return 0, 0
    quotient, rest = 0, b
    if numerator != 1:
        quotient, rest = _divide(b, numerator, divisor)
        quotient *= a
    more, rest = _divide(a, rest, divisor)
    quotient += more
    return (_TOO_MANY, 0) if quotient > MOST else (quotient, rest)


@vector(_ratio_loop)
def ratio(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    """Return the quotient and the remainder of a x b x numerator / divisor, exact for 0 <= a, b, numerator < 2**63 and
    0 < divisor < 2**63. A quotient beyond MOST is (2**62, 0)."""
    quotient, rest = divmod(a * b * numerator, divisor)
    return (_TOO_MANY, 0) if quotient > MOST else (quotient, rest)


def _portion_loop(amount: int, part: int, whole: int) -> int:
    quotient, rest = ratio(abs(amount), abs(part), 1, abs(whole))
    if ((amount < 0) != (part < 0)) != (whole < 0):
        return -quotient - (1 if rest else 0)
    return quotient


@vector(_portion_loop)
def portion(amount: int, part: int, whole: int) -> int:
    """Return amount x part / whole rounded down, for integers above -2**63. A result beyond MOST is 2**62 in size."""
    found = amount * part // whole
    return found if -MOST <= found <= MOST else _TOO_MANY if found > 0 else -_TOO_MANY


def with_remainder(total: int, parts: list[int]) -> list[int]:
    """Return `parts` and the remainder of `total`: amounts are rounded once for the whole, and the last part adapts."""
    return [*parts, total - sum(parts)]


def notional_atto(lots: int, lot_nano: int, price_nano: int) -> int:
    """Return the value of signed lots, exact in atto (1e-18). Python integers only: int64 would overflow silently."""
    return lots * lot_nano * price_nano


def round_micro(atto: int) -> tuple[int, int]:
    """Round atto to micro, half-even: (micro, residue in atto) with micro x 1e12 + residue = atto. The residue is at
    most half a micro in either direction."""
    micro, rest = divmod(atto, ATTO_PER_MICRO)
    if rest > _HALF_MICRO or (rest == _HALF_MICRO and micro & 1):
        return micro + 1, rest - ATTO_PER_MICRO
    return micro, rest


@inner
def fill_price(open_nano: int, limit_nano: int, buy: bool, rate: int, one: int = RATE_ONE) -> int:
    """Return the open moved by rate / one to the adverse side, rounded adversely to a nano, and capped at the limit.
    The open itself must not be beyond the limit (see `trades_through`)."""
    if buy:
        price, rest = ratio(open_nano, one + rate, 1, one)
        if rest:
            price += 1
        return price if price < limit_nano else limit_nano
    price, _ = ratio(open_nano, one - rate if rate < one else 0, 1, one)
    return price if price > limit_nano else limit_nano


@inner
def trades_through(limit_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded strictly beyond the limit, so that a limit order there certainly filled."""
    extreme = _nano(low if buy else high)
    return 0 < extreme < limit_nano if buy else extreme > limit_nano


@inner
def reaches(stop_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded at or beyond a stop: from above for a sale, from below for a purchase."""
    extreme = _nano(high if buy else low)
    return extreme >= stop_nano > 0 if buy else 0 < extreme <= stop_nano


@inner
def _nano(price: float) -> int:
    """Round a price to six decimals, as `quantd.trading.market.nano` does; 0 where it is not finite."""
    return round(price * 1e6) * (NANO // 1_000_000) if isfinite(price) else 0


@inner
def at_least(least_micro: int, charged_micro: int, fee_micro: int) -> int:
    """Return the fee of a fill, with which its order has paid at least `least_micro` from its first fill on.
    `charged_micro` are the order's commissions before the minimum so far, -1 before the first fill."""
    before = least_micro if least_micro > charged_micro else charged_micro
    after = (charged_micro if charged_micro > 0 else 0) + fee_micro
    return (after if after > least_micro else least_micro) - (before if charged_micro >= 0 else 0)


@inner
def impact_rate(impact_bp: float, lots: int, lot_nano: int, volume: float) -> int:
    """Return the square-root impact of unsigned `lots` on a bar of `volume` units > 0. The result is an integer rate,
    rounded up."""
    rate = impact_bp * sqrt(lots * lot_nano / (volume * NANO)) * (RATE_ONE // 10_000)
    return ceil(rate) if rate < _SAFE else MOST


@inner
def lots_to_be_had(volume: float, numerator: int, denominator: int) -> int:
    """Return the whole lots that a participation cap permits of a bar's volume; 0 for zero or unknown volume. The
    fraction is `Costs.participation_ratio`."""
    volume_nano = volume * NANO
    if not (volume_nano > 0.0 and isfinite(volume_nano)):
        return 0
    return ratio(int(volume_nano), numerator, 1, denominator)[0]


def commission_ratio(lot_nano: int, rate: int) -> tuple[int, int]:
    """Return the commission rate as (numerator, denominator): lots x price_nano x ratio is the commission in micro. The
    fraction is in lowest terms, because small numbers are fast: one basis point on whole shares is 1 / 10,000,000."""
    return lowest(lot_nano * rate, RATE_ONE * ATTO_PER_MICRO)


@inner
def commission_micro(lots: int, price_nano: int, numerator: int, denominator: int) -> int:
    """Return the commission on unsigned lots in whole micro, rounded half-even. The fraction is `commission_ratio`."""
    whole, rest = ratio(lots, price_nano, numerator, denominator)
    left = denominator - rest
    return whole + 1 if rest > left or (rest == left and whole & 1) else whole


def borrow_micro(short_atto: int, rate_annual: int, days: int) -> int:
    """Return the borrow fee on a short position's value over calendar days, in micro, rounded half-even."""
    return divide_half_even(abs(short_atto) * rate_annual * days, RATE_ONE * YEAR_DAYS * ATTO_PER_MICRO)


def interest_micro(cash_micro: int, rate_annual: int, days: int) -> int:
    """Return the interest on cash over calendar days, in micro, rounded half-even. It is negative if either the cash or
    the rate is negative."""
    return divide_half_even(cash_micro * rate_annual * days, RATE_ONE * YEAR_DAYS)


def truncate(value: int, numerator: int, denominator: int) -> int:
    """Return value x numerator / denominator, truncated towards zero."""
    whole = abs(value) * numerator // denominator
    return whole if value >= 0 else -whole


def split_row(lots: int, filled: int, worst_nano: int, numerator: int, denominator: int) -> tuple[int, int, int]:
    """Adjust an open order for a split into `numerator` new shares for `denominator` old ones.

    Returns signed lots, unsigned filled lots and the limit price. Lots are truncated towards zero. The limit is rounded
    to the owner's favour (a buy's down, a sell's up); that of an order without a collar stays. Nothing remains open
    when filled == abs(lots).
    """
    scaled = worst_nano * denominator
    worst = scaled // numerator if lots > 0 else -(-scaled // numerator)
    worst = worst_nano if worst_nano == UNLIMITED[lots > 0] else worst
    return truncate(lots, numerator, denominator), filled * numerator // denominator, worst


def split_stop(stop_nano: int, buy: bool, numerator: int, denominator: int) -> int:
    """Adjust a stop's trigger price for a split into `numerator` new shares for `denominator` old ones. The price is
    rounded so that the stop never triggers later (a sale's up, a purchase's down)."""
    scaled = stop_nano * denominator
    return scaled // numerator if buy else -(-scaled // numerator)


FILLED: Final = 4
"""Columns of the report of `fill_limits`."""

_NEVER: Final = 2**63 - 1


@inner
def fill_limits(
    orders: Ints,
    rows: int,
    ts_open: int,
    ts_event: int,
    fresh: Any,
    open_nano: Ints,
    low: Floats,
    high: Floats,
    volume: Floats,
    terms: Ints,
    rate: int,
    one: int,
    least_micro: int,
    capped: bool,
    impact_bp: float,
    left: Ints,
    out: Ints,
) -> int:
    """Fill limit orders on one bar. Returns the number of fills; -1 where an amount is beyond 64 bits.

    `orders` are columns of `rows` integers: the symbols' columns, signed lots, limit prices, ends and starts of the
    windows; and, unless no order has a fill or a minimum commission, filled lots and charged commissions. Starts and
    commissions are written. `fresh`, `open_nano`, `low`, `high` and `volume` are the bar's, by column. `terms` are the
    numerators, then the denominators of `commission_ratio`, the same of `Costs.participation_ratio`, and the lot sizes
    in nano-units. A fill costs `rate` / `one`, and the impact of its lots. `left` are the lots left of the bar's volume
    by column, -1 where no order has asked. `out` are columns of `rows` integers, by fill: new lots, price, fee, the
    order's row; and at the end the number of orders that are filled whole.
    """
    columns, begun = len(open_nano), len(orders) > 5 * rows
    made = ended = 0
    for row in range(rows):
        column, lots, limit, until = orders[row], orders[rows + row], orders[2 * rows + row], orders[3 * rows + row]
        if ts_open < orders[4 * rows + row] or not fresh[column]:
            continue
        orders[4 * rows + row] = ts_event
        price, buy = open_nano[column], lots > 0
        if ts_open >= until or price <= 0:
            continue
        if price > limit if buy else price < limit:
            if until < ts_event or not trades_through(limit, buy, low[column], high[column]):
                continue
            price = limit
        remaining = lots if buy else -lots
        if begun:
            remaining -= orders[5 * rows + row]
        wanted, moved = remaining, rate
        if capped or impact_bp > 0.0:
            if not float(volume[column]) * NANO < _SAFE:
                return -1
            allowed = left[column]
            if allowed < 0:
                if capped:
                    numerator, denominator = terms[2 * columns + column], terms[3 * columns + column]
                    allowed = lots_to_be_had(volume[column], numerator, denominator)
                else:
                    allowed = _NEVER if volume[column] > 0.0 else 0
            wanted = wanted if wanted <= allowed else allowed
            left[column] = allowed - wanted
            if wanted == 0:
                continue
            if impact_bp > 0.0:
                lot_nano = terms[4 * columns + column]
                if not float(wanted) * float(lot_nano) < _SAFE:
                    return -1
                moved += impact_rate(impact_bp, wanted, lot_nano, volume[column])
        if moved > 0:
            price = fill_price(price, limit, buy, moved, one)
        fee = commission_micro(wanted, price, terms[column], terms[columns + column])
        if fee > MOST:
            return -1
        if least_micro > 0:
            charged = orders[6 * rows + row]
            orders[6 * rows + row] = (charged if charged > 0 else 0) + fee
            fee = at_least(least_micro, charged, fee)
        out[made], out[rows + made], out[2 * rows + made], out[3 * rows + made] = wanted, price, fee, row
        made += 1
        if wanted == remaining:
            ended += 1
    out[4 * rows] = ended
    return made


FILL_LIMITS: Final = Entry(fill_limits)
