"""Exact division of products of integers.

What can go wrong: a product of lots, price and ratio that exceeds 64 bits and wraps around. The product is therefore
first estimated in float64. Below 4.6e18 the product is a C integer where the module is compiled; a larger product is a
Python integer, which is slower. Both give the same result. A quotient beyond `MOST` raises OverflowError, because no
column of int64 can store it.
"""

from typing import Final

from quantd.trading.execution import MOST
from quantd.trading.number_types import Whole

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""


def half_even(quotient: int, remainder: int, divisor: int) -> int:
    """Return quotient + remainder / divisor, 0 <= remainder < divisor, rounded to the nearest integer, ties to even."""
    complement: int = divisor - remainder
    return quotient + 1 if remainder > complement or (remainder == complement and quotient & 1 == 1) else quotient


def ratio(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    """Return the quotient and the remainder of a x b x numerator / divisor, exact for 0 <= a, b, numerator < 2**63 and
    0 < divisor < 2**63. Raises OverflowError for a quotient beyond MOST."""
    # the product surely fits 64 bits
    if numerator > 0 and float(a) * float(b) * float(numerator) < _SAFE:
        product: int = a * b * numerator
        quotient: int = product // divisor
        return quotient, product - quotient * divisor
    wide: Whole = a
    wide_quotient: Whole = wide * b * numerator // divisor
    if wide_quotient > MOST:
        raise OverflowError(f"{a} x {b} x {numerator} / {divisor} is beyond {MOST}")
    remainder: Whole = wide * b * numerator - wide_quotient * divisor
    return wide_quotient, remainder


def portion(amount: int, part: int, total: int) -> int:
    """Return amount x part / total rounded down, for integers above -2**63. Raises OverflowError for a result whose
    absolute value exceeds MOST, and ZeroDivisionError for a `total` of 0.
    """
    if abs(float(amount)) * abs(float(part)) < _SAFE:
        product: int = amount * part
        return product // total
    wide: Whole = amount
    quotient: Whole = wide * part // total
    if not -MOST <= quotient <= MOST:
        raise OverflowError(f"{amount} x {part} / {total} is beyond {MOST}")
    return quotient
