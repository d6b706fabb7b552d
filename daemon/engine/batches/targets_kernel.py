"""Weights to lots, for the kernels of batches."""

from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.jit import inner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


STACK: Final = 128
"""Numbers of scratch of `total`."""

WHOLE: Final = 4503599627370496.0
"""From 2**52 on every float is whole."""


@inner
def truncated(value: float) -> float:
    """A float without its fraction; infinity and NaN as they are."""
    return float(int(value)) if -WHOLE < value < WHOLE else value


@inner
def block_total(values: Floats, start: int, size: int) -> float:
    """The sum of at most 128 numbers in the order of numpy: eight sums, then pairs of them, then the rest."""
    if size < 8:
        found = 0.0
        for k in range(size):
            found += values[start + k]
        return found
    a, b, c, d = values[start], values[start + 1], values[start + 2], values[start + 3]
    e, f, g, h = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    at, end = 8, size - size % 8
    while at < end:
        a += values[start + at]
        b += values[start + at + 1]
        c += values[start + at + 2]
        d += values[start + at + 3]
        e += values[start + at + 4]
        f += values[start + at + 5]
        g += values[start + at + 6]
        h += values[start + at + 7]
        at += 8
    found = ((a + b) + (c + d)) + ((e + f) + (g + h))
    while at < size:
        found += values[start + at]
        at += 1
    return found


@inner
def total(values: Floats, size: int, stack: Floats) -> float:
    """The sum of the first `size` numbers, to the bit that of `numpy.add.reduce`: halves until they are one block.

    `stack` float64[STACK] is scratch: sizes that wait (-1: add the last two sums), then sums.
    """
    stack[0], waiting, sums, start = float(size), 1, STACK // 2, 0
    while waiting > 0:
        waiting -= 1
        part = int(stack[waiting])
        if part < 0:
            sums -= 1
            stack[sums - 1] = stack[sums - 1] + stack[sums]
        elif part <= 128:
            stack[sums] = block_total(values, start, part)
            sums += 1
            start += part
        else:
            half = part // 2
            half -= half % 8
            stack[waiting], stack[waiting + 1], stack[waiting + 2] = -1.0, float(part - half), float(half)
            waiting += 3
    return stack[STACK // 2]


@inner
def factor_of(weights: Floats, numbers: Floats, scratch: Floats, stack: Floats) -> float:
    """The factor, at most 1, with which gross exposure is at most numbers[1] and the sum of purchases numbers[2]."""
    size, factor = len(weights), 1.0
    for k in range(size):
        scratch[k] = abs(weights[k])
    gross = total(scratch, size, stack)
    if gross > 0.0:
        factor = min(factor, numbers[1] / gross)
        for k in range(size):
            scratch[k] = 0.0 if weights[k] < 0.0 else weights[k]
        long = total(scratch, size, stack)
        if long > 0.0:
            factor = min(factor, numbers[2] / long)
    return factor


@inner
def change_of(
    weights: Floats, held: Floats, px: Floats, age: Ints, most_age: int, numbers: Floats, out: Floats, stack: Floats
) -> float:
    """Write float64[N] signed lots to trade into `out`; returns the factor of the weights.

    The target is factor x weight x equity / value of a lot `px`, truncated to lots. `numbers` are equity, the bounds of
    `factor_of`, and the least value of a trade; the number of symbols that change is added. A symbol without a price or
    with an old one keeps its lots. A position never crosses zero.
    """
    factor = factor_of(weights, numbers, out, stack)
    # the last factor prevents the loss of a lot by rounding when a weight equals the position
    value, least, changed = factor * numbers[0] * (1.0 + 1e-12), numbers[3], 0.0
    for k in range(len(weights)):
        out[k] = 0.0
        price = px[k]
        if not 0.0 < price < inf or age[k] > most_age:
            continue
        target = truncated(weights[k] * value / price)
        if not -inf < target < inf:
            continue
        if target * held[k] < 0.0:
            target = 0.0
        change = target - held[k]
        if least > 0.0 and target != 0.0 and abs(change) * price < least:
            change = 0.0
        out[k] = change
        if change != 0.0:
            changed += 1.0
    numbers[4] = changed
    return factor
