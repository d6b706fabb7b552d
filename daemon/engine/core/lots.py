"""Weights to lots: the change of position for a target.

What can go wrong: a sum in another order has other last bits, and a target that equals the position then loses a lot.
So `total` adds in the order of `numpy.add.reduce`, by halves and blocks of eight sums, and gives the same bits: the
same plan has the same lots by the fold (the compiled fast path), by `step` (in Python) and in a replay. The target has
a factor of 1 + 1e-12 against the loss of a lot by rounding.
"""

from math import inf
from typing import Final

from quantd.trading.number_types import Floats, ReadFloats, ReadInts, float_zeros

WHOLE: Final = 4503599627370496.0
"""2**52: every float of at least this size is a whole number."""

BLOCK: Final = 128
"""The largest count of numbers that numpy adds up without halving them first."""


def truncated(value: float) -> float:
    """Return a float without its fraction; infinity and NaN as they are."""
    return float(int(value)) if -WHOLE < value < WHOLE else value


def block_total(values: ReadFloats, start: int, size: int) -> float:
    """Return the sum of at most 128 numbers in the order of numpy: eight sums, then pairs of them, then the rest."""
    total: float = 0.0
    if size < 8:
        for k in range(size):
            total += values[start + k]
        return total
    a: float = values[start]
    b: float = values[start + 1]
    c: float = values[start + 2]
    d: float = values[start + 3]
    e: float = values[start + 4]
    f: float = values[start + 5]
    g: float = values[start + 6]
    h: float = values[start + 7]
    at: int = start + 8
    end: int = start + size - size % 8
    while at < end:
        a += values[at]
        b += values[at + 1]
        c += values[at + 2]
        d += values[at + 3]
        e += values[at + 4]
        f += values[at + 5]
        g += values[at + 6]
        h += values[at + 7]
        at += 8
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    while at < start + size:
        total += values[at]
        at += 1
    return total


class Targets:
    """Computes the changes of position for target weights of a book of `n` symbols."""

    n: int
    change: Floats
    """Signed lots to trade, of the last call of `change_to`."""
    changed: int
    """Number of symbols that change."""
    scratch: Floats

    def __init__(self, n: int) -> None:
        self.n, self.changed = n, 0
        self.change, self.scratch = float_zeros(n), float_zeros(n)

    def total(self, values: ReadFloats, start: int, size: int) -> float:
        """Return the sum of `size` numbers from the index `start` on, equal to the last bit to that of
        `numpy.add.reduce`.

        More than BLOCK numbers are split in two at a multiple of 8, and the sums of both parts are added.
        """
        if size <= BLOCK:
            return block_total(values, start, size)
        half: int = size // 2
        half -= half % 8
        return self.total(values, start, half) + self.total(values, start + half, size - half)

    def factor(self, weights: ReadFloats, gross: float, bought: float) -> float:
        """Return the factor, at most 1, by which all weights are scaled, so that gross exposure is at most `gross` and
        the sum of long weights at most `bought`."""
        scale: float = 1.0
        for k in range(self.n):
            self.scratch[k] = abs(weights[k])
        exposure: float = self.total(self.scratch, 0, self.n)
        if exposure > 0.0:
            scale = min(scale, gross / exposure)
            for k in range(self.n):
                self.scratch[k] = 0.0 if weights[k] < 0.0 else weights[k]
            long_sum: float = self.total(self.scratch, 0, self.n)
            if long_sum > 0.0:
                scale = min(scale, bought / long_sum)
        return scale

    def change_to(
        self,
        weights: ReadFloats,
        held: ReadFloats,
        px: ReadFloats,
        age: ReadInts,
        most_age: int,
        value: float,
        least: float,
    ) -> None:
        """Write the signed lots to trade into `change`.

        The target is weight x `value` / value of a lot `px`, truncated to lots. A symbol without a price or with one
        older than `most_age` keeps its lots. So does one whose trade is worth less than `least`, unless its target is
        zero. A position never changes its sign in one step: a target of the other sign becomes zero.
        """
        # the last factor prevents the loss of a lot by rounding when a weight equals the position
        budget: float = value * (1.0 + 1e-12)
        self.changed = 0
        for k in range(self.n):
            self.change[k] = 0.0
            price: float = px[k]
            if not 0.0 < price < inf or age[k] > most_age:
                continue
            target: float = truncated(weights[k] * budget / price)
            if not -inf < target < inf:
                continue
            if target * held[k] < 0.0:
                target = 0.0
            change: float = target - held[k]
            if least > 0.0 and target != 0.0 and abs(change) * price < least:
                change = 0.0
            self.change[k] = change
            if change != 0.0:
                self.changed += 1
