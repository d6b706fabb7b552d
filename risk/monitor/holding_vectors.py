"""The positions of a book by numpy, for an engine that is not compiled."""

import numpy as np

from quantd.risk.measures.portfolio import FEW, herfindahl, most, total
from quantd.risk.monitor.holdings import Holdings
from quantd.trading.history.row_vectors import INTERPRETED
from quantd.trading.number_types import Floats, Ints


class HoldingVectors(Holdings):
    """Each function as in `Holdings`, but for the order of sums."""

    def weigh(self, equity: float) -> None:
        weights, size = self.weights, np.asarray(self.size)
        np.divide(self.values, equity, out=weights)
        net = total(weights)
        if net - net != 0.0:
            weights[~np.isfinite(weights)] = 0.0
            net = total(weights)
        np.abs(weights, out=size)
        self.net, self.gross, self.heaviest = net, total(size), most(size)
        if self.n <= FEW:
            self.second = sorted([0.0, 0.0, *size.tolist()])[-2]
        else:
            self.second = float(np.partition(size, self.n - 2)[self.n - 2])

    def heaviest_group(self, labels: Ints, sums: Floats) -> float:
        return max(np.bincount(np.asarray(labels), np.asarray(self.size))[1:].tolist(), default=0.0)

    def herfindahl(self) -> float:
        return herfindahl(self.weights)


def quickest(n: int) -> Holdings:
    """The class where it is compiled, else the same by numpy."""
    return HoldingVectors(n) if INTERPRETED else Holdings(n)
