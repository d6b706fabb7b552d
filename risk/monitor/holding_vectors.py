"""The functions of `holdings` with numpy, for an engine that is not compiled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantd.risk.measures.portfolio import herfindahl, most, total
from quantd.risk.monitor.holdings import Holdings
from quantd.trading.history.row_vectors import INTERPRETED
from quantd.trading.number_types import FloatRows, Floats, Ints


def _row(buffer: Any) -> NDArray[np.float64]:
    return np.frombuffer(buffer, np.float64)


class HoldingVectors(Holdings):
    """`Holdings` with numpy: each method gives the same result, except for the order of sums."""

    def weigh(self, equity: float) -> None:
        weights, size = self.weights, _row(self.size)
        np.divide(self.values, equity, out=weights)
        net = total(weights)
        if net - net != 0.0:
            weights[~np.isfinite(weights)] = 0.0
            net = total(weights)
        np.abs(weights, out=size)
        self.net, self.gross, self.heaviest = net, total(size), most(size)

    def lose(self, returns: FloatRows, first: int, rows: int) -> bool:
        newest = np.asarray(returns)[first : first + rows]
        self.losses: NDArray[np.float64] = -newest.dot(self.weights)
        sum_of_losses = total(self.losses)
        return sum_of_losses - sum_of_losses == 0.0

    def deviation(self) -> float:
        return float(self.losses.std(ddof=1))

    def tail(self, count: int, mean: bool) -> float:
        worst = np.partition(self.losses, len(self.losses) - count)[len(self.losses) - count :]
        return float(worst.mean()) if mean else float(worst[0])

    def second(self) -> float:
        return float(np.partition([0.0, *self.size], self.n - 1)[self.n - 1])

    def heaviest_group(self, labels: Ints, sums: Floats) -> float:
        return max(np.bincount(np.asarray(labels), _row(self.size))[1:].tolist(), default=0.0)

    def herfindahl(self) -> float:
        return herfindahl(self.weights)


def quickest(n: int) -> Holdings:
    """Return `Holdings` for `n` symbols: the compiled class, or the numpy version where the engine is not compiled."""
    return HoldingVectors(n) if INTERPRETED else Holdings(n)
