"""The positions of a book as shares of its equity.

`quantd.risk.monitor.holding_vectors` does the same with numpy, for an engine that is not compiled.
"""

from typing import Any

import numpy as np

from quantd.trading.number_types import Floats, Ints, ReadFloats, float_zeros


class Holdings:
    """Weights of `n` positions, for one book after another: `values` in account currency, then `weigh`.

    `weights` are signed and 0 where a value is not finite: nothing counts that has no price. `size` has their absolute
    values, of which `heaviest` is the largest, `gross` and `net` are the sums.
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

    def __init__(self, n: int) -> None:
        self.n, self.values, self.weights = n, np.zeros(n), np.zeros(n)
        self._values, self._weights = self.values.data, self.weights.data
        self.size = float_zeros(n)
        self.heaviest = self._second = self.net = self.gross = 0.0

    def weigh(self, equity: float) -> None:
        """Derive everything from the values, at a positive equity."""
        if not equity > 0.0 or self.n > len(self._values) or self.n > len(self._weights) or self.n > len(self.size):
            raise ValueError(f"weights of {self.n} values at an equity of {equity}")
        self._weigh(1.0 / equity)

    def _weigh(self, share: float) -> None:
        heaviest: float = 0.0
        second: float = 0.0
        net: float = 0.0
        gross: float = 0.0
        for k in range(self.n):
            weight: float = self._values[k] * share
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
        """Write the values of lots."""
        for k in range(self.n):
            self._values[k] = lots[k] * px[k]

    def same_side(self, one: int, other: int) -> bool:
        """Whether two positions are both long or both short."""
        return self._weights[one] * self._weights[other] > 0.0

    def second(self) -> float:
        """The second largest absolute weight."""
        return self._second

    def heaviest_group(self, labels: Ints, sums: Floats) -> float:
        """The largest gross weight of a group. `labels` count from 1, 0 is for none; `sums` has room for each."""
        for k in range(len(sums)):
            sums[k] = 0.0
        for k in range(self.n):
            sums[labels[k]] += self.size[k]
        found: float = 0.0
        for k in range(1, len(sums)):
            if sums[k] > found:
                found = sums[k]
        return found

    def herfindahl(self) -> float:
        """Sum of squared weights (O. Herfindahl, 1950)."""
        found: float = 0.0
        for k in range(self.n):
            found += self.size[k] * self.size[k]
        return found
