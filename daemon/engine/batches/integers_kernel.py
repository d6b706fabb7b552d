"""Exact division of products of integers, for the kernels of batches."""

from typing import Final

from quantd.trading.execution import MOST
from quantd.trading.jit import inner, vector

_TOO_MANY: Final = MOST + 1

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""

_SHORT: Final = 2**44
"""A divisor below this leaves remainders that can be multiplied by 18 bits within 62."""


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
