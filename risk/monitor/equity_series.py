"""The equity of one book at its last samples. The engine's event handlers and its fast loop (fold) append to it."""

from math import sqrt
from typing import Final

from quantd.trading.number_types import Floats, Whole, float_zeros

KEPT: Final = 252
"""The largest number of returns that count: one year of samples."""

ROOM: Final = 2 * (KEPT + 1)
"""Length of the buffers: samples are moved to the beginning only once per KEPT samples."""

LEAST: Final = 60
"""The smallest number of returns for an annual figure."""

TOO_FEW: Final = 0
"""There are fewer than LEAST returns."""
MEASURED: Final = 1
OTHER: Final = 2
"""Only Python can measure: cash has a rate, or equity was not positive at a sample."""


class EquitySeries:
    """The equity of one book at its last samples, with cumulated deposits less withdrawals and interest on cash.

    Equity and deposits are in micro-currency. Deposits and withdrawals between two samples are no profit or loss
    (time-weighted returns).

    The newest `count` samples, KEPT + 1 at most, are the elements before `end`. A full buffer moves them to its
    beginning.
    """

    growth: float
    """Growth of 1 from the start until the last sample."""
    count: int
    end: int
    equity: Floats
    flows: Floats
    earned: Floats
    """Interest on cash since the previous sample, as a fraction; without meaning unless `rated`."""
    rated: bool
    """Whether cash has a rate."""
    mean: float
    deviation: float
    """Mean and sample deviation of the returns, after `measure`."""

    def __init__(self) -> None:
        self.growth, self.count, self.end, self.rated = 1.0, 0, 0, False
        self.mean = self.deviation = 0.0
        self.equity, self.flows, self.earned = float_zeros(ROOM), float_zeros(ROOM), float_zeros(ROOM)

    def grown(self, equity_micro: Whole, flows_micro: Whole) -> float:
        """Return the time-weighted growth of 1 since the start, given the present equity and the sum of deposits
        less withdrawals."""
        if self.count == 0:
            # no sample yet: all deposits count as invested at the start
            start: float = equity_micro / flows_micro if flows_micro > 0 else 1.0
            return start
        before: float = self.equity[self.end - 1]
        if before <= 0.0:
            return self.growth
        moved: float = float(flows_micro) - self.flows[self.end - 1]
        return self.growth * ((float(equity_micro) - moved) / before)

    def append(self, equity_micro: Whole, flows_micro: Whole) -> None:
        """Add a sample: equity, and the sum of all deposits less withdrawals; no interest rate on cash is recorded."""
        self.growth = self.grown(equity_micro, flows_micro)
        if self.end == ROOM:
            self._rewind()
        self.equity[self.end], self.flows[self.end] = float(equity_micro), float(flows_micro)
        self.end += 1
        self.count = min(self.count + 1, KEPT + 1)
        self.rated = False

    def measure(self) -> int:
        """Compute mean and sample standard deviation of the time-weighted returns, added up in order of time.

        Returns MEASURED, TOO_FEW, or OTHER where cash earns interest or equity was not positive: `Realised` computes
        these cases. With TOO_FEW and OTHER nothing is computed. Deposits and withdrawals (`flows`) are no returns.
        """
        first: int = self.end - self.count
        rows: int = self.count - 1
        equity: Floats = self.equity
        flows: Floats = self.flows
        if rows < LEAST:
            return TOO_FEW
        if self.rated:
            return OTHER
        total: float = 0.0
        for k in range(first, first + rows):
            if not equity[k] > 0.0:
                return OTHER
            total += (equity[k + 1] - (flows[k + 1] - flows[k])) / equity[k] - 1.0
        mean: float = total / float(rows)
        squares: float = 0.0
        for k in range(first, first + rows):
            centred: float = (equity[k + 1] - (flows[k + 1] - flows[k])) / equity[k] - 1.0 - mean
            squares += centred * centred
        self.mean, self.deviation = mean, sqrt(squares / float(rows - 1))
        return MEASURED

    def _rewind(self) -> None:
        """Move the newest KEPT samples to the beginning of the buffer."""
        first: int = self.end - KEPT
        for k in range(KEPT):
            self.equity[k], self.flows[k] = self.equity[first + k], self.flows[first + k]
            self.earned[k] = self.earned[first + k]
        self.end = KEPT
