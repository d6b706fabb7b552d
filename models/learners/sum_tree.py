"""Priorities in a binary tree of their sums: written and drawn by in O(log n), many at a time (Schaul et al. 2016, appendix B)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class SumTree:
    """`size` leaves of 0 or more. Node i is the sum of nodes 2i and 2i + 1; node 1 is the sum of all."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a tree of {size} leaves: from 1 on")
        self.levels: Final = (size - 1).bit_length()
        self.size: Final = size
        self.nodes: Floats = np.zeros(2 << self.levels)

    @property
    def total(self) -> float:
        return float(self.nodes[1])

    def leaves(self, places: Places) -> Floats:
        return self.nodes[places + (1 << self.levels)]

    def write(self, places: Places, values: Floats | float) -> None:
        """Sets leaves int64[K]; where one is named twice, the last value stands. Their ancestors are summed again, not corrected by
        a difference, so that no error of rounding piles up."""
        node = places + (1 << self.levels)
        self.nodes[node] = values
        for _ in range(self.levels):
            node = node >> 1
            left = node << 1
            self.nodes[node] = self.nodes[left] + self.nodes[left + 1]

    def find(self, heights: Floats) -> Places:
        """int64[K]: the leaves in which heights of [0, total) fall, when the leaves lie one after another."""
        node = np.ones(len(heights), dtype=np.int64)
        left_over = heights.copy()
        for _ in range(self.levels):
            node <<= 1
            left = self.nodes[node]
            # a height that rounding pushed over the edge of the last leaf above 0 must not end in one of 0
            right = (left_over >= left) & (self.nodes[node + 1] > 0.0)
            left_over -= left * right
            node += right
        return node - (1 << self.levels)
