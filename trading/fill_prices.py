"""Prices, fees and sizes of single fills, in exact integers."""

from math import inf, sqrt
from typing import Final

from quantd.trading.execution import MOST, RATE_ONE
from quantd.trading.instruments import NANO
from quantd.trading.integers import half_even, ratio
from quantd.trading.number_types import Whole

_BEYOND: Final = MOST + 1

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""

_TOO_HIGH: Final = 4611686018427388.0
"""The first number of micro whose nano are beyond MOST."""


def bounded_ratio(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    """Return `quantd.trading.integers.ratio`; a quotient beyond MOST is MOST + 1, without a remainder."""
    if float(a) * float(b) * float(numerator) < _SAFE * float(divisor):
        return ratio(a, b, numerator, divisor)
    try:
        return ratio(a, b, numerator, divisor)
    except OverflowError:
        return _BEYOND, 0


def fill_price(open_nano: int, limit_nano: int, buy: bool, rate: int, one: int = RATE_ONE) -> int:
    """Return the open moved by rate / one to the adverse side, rounded adversely to a nano, and capped at the limit.
    The open itself must not be beyond the limit (see `trades_through`)."""
    price: int
    rest: int
    if buy:
        price, rest = bounded_ratio(open_nano, one + rate, 1, one)
        if rest != 0:
            price += 1
        return min(price, limit_nano)
    price, rest = bounded_ratio(open_nano, one - rate if rate < one else 0, 1, one)
    return max(price, limit_nano)


def trades_through(limit_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded strictly beyond the limit, so that a limit order there certainly filled."""
    extreme: int = nano_of(low if buy else high)
    return 0 < extreme < limit_nano if buy else extreme > limit_nano


def reaches(stop_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded at or beyond a stop: from above for a sale, from below for a purchase."""
    extreme: int = nano_of(high if buy else low)
    return extreme >= stop_nano > 0 if buy else 0 < extreme <= stop_nano


def nano_of(price: float) -> int:
    """Return a price in nano, rounded half-even at 1e-6 as `quantd.trading.market.nano` does. A price that is not
    finite or not positive is 0, and one beyond MOST is MOST + 1."""
    if not 0.0 < price < inf:
        return 0
    micro: float = price * 1e6
    if micro >= _TOO_HIGH:
        return _BEYOND
    whole: int = int(micro)
    rest: float = micro - float(whole)
    if rest > 0.5 or (rest == 0.5 and whole & 1 == 1):
        whole += 1
    return whole * (NANO // 1_000_000)


def at_least(least_micro: int, charged_micro: int, fee_micro: int) -> int:
    """Return the fee of a fill, with which its order has paid at least `least_micro` from its first fill on.
    `charged_micro` are the order's commissions before the minimum so far, -1 before the first fill."""
    before: int = max(least_micro, charged_micro)
    after: int = max(charged_micro, 0) + fee_micro
    return max(after, least_micro) - (before if charged_micro >= 0 else 0)


def impact_rate(impact_bp: float, lots: int, lot_nano: int, volume: float) -> int:
    """Return the square-root impact of unsigned `lots` on a bar of `volume` units > 0. The result is an integer rate,
    rounded up, and MOST at most."""
    exact: Whole = lots
    size: float = float(exact * lot_nano) if float(lots) * float(lot_nano) >= _SAFE else float(lots * lot_nano)
    rate: float = impact_bp * sqrt(size / (volume * float(NANO))) * float(RATE_ONE // 10_000)
    if not rate < _SAFE:
        return MOST
    whole: int = int(rate)
    return whole + 1 if rate > float(whole) else whole


def lots_to_be_had(volume: float, numerator: Whole, denominator: Whole) -> int:
    """Return the whole lots that a participation cap permits of a bar's volume, MOST + 1 at most; 0 for zero or unknown
    volume. The fraction is `Costs.participation_ratio`."""
    volume_nano: float = volume * float(NANO)
    if not 0.0 < volume_nano < inf:
        return 0
    if volume_nano < _SAFE and numerator <= MOST and denominator <= MOST:
        return bounded_share(volume_nano, numerator, denominator)
    whole: Whole = int(volume_nano)
    found: Whole = whole * numerator // denominator
    return _BEYOND if found > MOST else found


def bounded_share(volume_nano: float, numerator: int, denominator: int) -> int:
    """Return `lots_to_be_had` of a volume in nano-units, for integers within 62 bits."""
    units: int = int(volume_nano)
    return bounded_ratio(units, numerator, 1, denominator)[0]


def commission_micro(lots: int, price_nano: int, numerator: Whole, denominator: Whole) -> int:
    """Return the commission on unsigned lots in whole micro, rounded half-even, MOST + 1 at most. The fraction is
    `commission_ratio`."""
    if numerator <= MOST and denominator <= MOST:
        return bounded_fee(lots, price_nano, numerator, denominator)
    exact: Whole = lots
    product: Whole = exact * price_nano * numerator
    whole: Whole = product // denominator
    twice: Whole = 2 * (product - whole * denominator)
    if twice > denominator or (twice == denominator and whole & 1 == 1):
        whole += 1
    return _BEYOND if whole > MOST else whole


def bounded_fee(lots: int, price_nano: int, numerator: int, denominator: int) -> int:
    """Return `commission_micro` for a fraction of integers within 62 bits."""
    whole: int
    rest: int
    whole, rest = bounded_ratio(lots, price_nano, numerator, denominator)
    return half_even(whole, rest, denominator)
