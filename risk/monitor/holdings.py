"""The positions of a book as fractions of its equity, and measures of them."""

from math import sqrt
from typing import Any

import numpy as np

from quantd.trading.number_types import FloatRows, Floats, Ints, ReadFloats, float_zeros


class Holdings:
    """Weights of `n` positions, for one book after another: the caller sets `values` in account currency, then calls
    `weigh`.

    `weights` are signed; a position without a price, whose value is not finite, has weight 0. `size` has their absolute
    values, of which `heaviest` is the largest. `gross` is the sum of `size`, `net` the sum of `weights`. After `lose`,
    `lost` are the losses of the book over `rows` rows of returns, as fractions of equity.
    """

    n: int
    values: Any
    weights: Any
    """float64[N] arrays."""
    size: Floats
    heaviest: float
    net: float
    gross: float
    _values: Floats
    _weights: Floats
    _second: float
    rows: int
    lost: Floats
    worst: Floats
    """Scratch for the worst losses."""

    def __init__(self, n: int) -> None:
        self.n, self.values, self.weights = n, np.zeros(n), np.zeros(n)
        self._values, self._weights = self.values.data, self.weights.data
        self.size = float_zeros(n)
        self.heaviest = self._second = self.net = self.gross = 0.0
        self.rows, self.lost, self.worst = 0, float_zeros(0), float_zeros(0)

    def weigh(self, equity: float) -> None:
        """Compute weights and sums from the values. Raises ValueError for an equity that is not above 0."""
        if not equity > 0.0 or self.n > len(self._values) or self.n > len(self._weights) or self.n > len(self.size):
            raise ValueError(f"equity {equity} must be above 0, and {self.n} values must fit into the columns")
        self._weigh(1.0 / equity)

    def _weigh(self, share: float) -> None:
        """Compute the weights from the values of the positions in account currency, their sums and the two largest
        sizes. `share` is 1 / equity."""
        heaviest: float = 0.0
        second: float = 0.0
        net: float = 0.0
        gross: float = 0.0
        for k in range(self.n):
            weight: float = self._values[k] * share
            # a weight that is not finite counts as 0
            if weight - weight != 0.0:
                weight = 0.0
            size: float = weight if weight > 0.0 else -weight
            self._weights[k] = weight
            self.size[k] = size
            net += weight
            gross += size
            if size > second:
                if size > heaviest:
                    second = heaviest
                    heaviest = size
                else:
                    second = size
        self.heaviest, self._second, self.net, self.gross = heaviest, second, net, gross

    def value(self, lots: ReadFloats, px: ReadFloats) -> None:
        """Write the values of signed `lots` at the prices `px` of one lot."""
        for k in range(self.n):
            self._values[k] = lots[k] * px[k]

    def lose(self, returns: FloatRows, first: int, rows: int) -> bool:
        """Compute the losses over `rows` rows of returns from the row `first` on; returns whether all are finite."""
        if rows > len(self.lost):
            self.lost, self.worst = float_zeros(rows), float_zeros(rows)
        self.rows = rows
        total: float = 0.0
        for row in range(rows):
            loss: float = 0.0
            for k in range(self.n):
                loss -= returns[first + row, k] * self._weights[k]
            self.lost[row] = loss
            total += loss
        # the difference is NaN if any loss is NaN or infinite
        return total - total == 0.0

    def deviation(self) -> float:
        """Return the sample standard deviation of the losses that `lose` computed."""
        total: float = 0.0
        for row in range(self.rows):
            total += self.lost[row]
        mean: float = total / float(self.rows)
        squares: float = 0.0
        for row in range(self.rows):
            centred: float = self.lost[row] - mean
            squares += centred * centred
        return sqrt(squares / float(self.rows - 1))

    def tail(self, count: int, mean: bool) -> float:
        """Return the mean of the `count` worst losses that `lose` computed, or without `mean` the smallest of these."""
        worst: Floats = self.worst
        kept_count: int = 0
        for row in range(self.rows):
            loss: float = self.lost[row]
            if kept_count == count and loss <= worst[0]:
                continue
            # `worst` ascends: a new loss is inserted, and when `worst` is full the smallest loss is dropped
            place: int = 0
            if kept_count < count:
                place = kept_count
                while place > 0 and worst[place - 1] > loss:
                    worst[place] = worst[place - 1]
                    place -= 1
                kept_count += 1
            else:
                while place < count - 1 and worst[place + 1] < loss:
                    worst[place] = worst[place + 1]
                    place += 1
            worst[place] = loss
        if not mean:
            return worst[0]
        total: float = 0.0
        for k in range(count):
            total += worst[k]
        return total / float(count)

    def same_side(self, one: int, other: int) -> bool:
        """Whether the positions with indices `one` and `other` are both long or both short."""
        return self._weights[one] * self._weights[other] > 0.0

    def second(self) -> float:
        """Return the second largest absolute weight."""
        return self._second

    def heaviest_group(self, labels: Ints, sums: Floats) -> float:
        """Return the largest gross weight of a group. `labels` has the group of each symbol, from 1 on, 0 for none;
        `sums` is memory for intermediate results, with an element for each group and for 0."""
        for k in range(len(sums)):
            sums[k] = 0.0
        for k in range(self.n):
            sums[labels[k]] += self.size[k]
        heaviest: float = 0.0
        for k in range(1, len(sums)):
            if sums[k] > heaviest:
                heaviest = sums[k]
        return heaviest

    def herfindahl(self) -> float:
        """Return the sum of squared weights (O. Herfindahl, 1950)."""
        sum_of_squares: float = 0.0
        for k in range(self.n):
            sum_of_squares += self.size[k] * self.size[k]
        return sum_of_squares
