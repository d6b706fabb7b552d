"""Exact division of products of integers.

A product within 62 bits is a C integer where the module is compiled; a larger one is an integer of Python. A result is
the same both ways.
"""

from typing import Final

from quantd.trading.execution import MOST
from quantd.trading.number_types import Whole

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""


def half_even(whole: int, rest: int, divisor: int) -> int:
    """Return whole + rest / divisor rounded to the nearest integer, ties to even, for 0 <= rest < divisor."""
    left: int = divisor - rest
    return whole + 1 if rest > left or (rest == left and whole & 1 == 1) else whole


def ratio(a: int, b: int, numerator: int, divisor: int) -> tuple[int, int]:
    """Return the quotient and the remainder of a x b x numerator / divisor, exact for 0 <= a, b, numerator < 2**63 and
    0 < divisor < 2**63. Raises OverflowError for a quotient beyond MOST."""
    if numerator > 0 and float(a) * float(b) * float(numerator) < _SAFE:
        product: int = a * b * numerator
        quotient: int = product // divisor
        return quotient, product - quotient * divisor
    wide: Whole = a
    whole: Whole = wide * b * numerator // divisor
    if whole > MOST:
        raise OverflowError(f"{a} x {b} x {numerator} / {divisor} is beyond {MOST}")
    rest: Whole = wide * b * numerator - whole * divisor
    return whole, rest


def portion(amount: int, part: int, whole: int) -> int:
    """Return amount x part / whole rounded down, for integers above -2**63. Raises OverflowError for a result beyond
    MOST in size, and ZeroDivisionError."""
    if abs(float(amount)) * abs(float(part)) < _SAFE:
        product: int = amount * part
        return product // whole
    wide: Whole = amount
    found: Whole = wide * part // whole
    if not -MOST <= found <= MOST:
        raise OverflowError(f"{amount} x {part} / {whole} is beyond {MOST}")
    return found
