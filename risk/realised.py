"""What a book's returns were: the limits on realised volatility and on the Sharpe ratio. For the monitor only."""

from array import array
from math import sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from risk.limits import Limits
from risk.measures import SAMPLES_PER_YEAR, Floats
from risk.standing import Values
from trading.statistics import RISK_FREE_ANNUAL

KEPT: Final = 252
"""Samples that count: a year."""

LEAST: Final = 60
"""Fewer returns say nothing of a year."""

_MOST: Final = 8 * KEPT


class FrozenReturns(Struct, frozen=True):
    """`Realised` as plain values; `series` is little-endian float64."""

    series: bytes
    equity_micro: int
    flows_micro: int


class Realised:
    """The returns of one book over its last samples, time-weighted: money that came or went between two samples is
    neither profit nor loss, and earns from the second on."""

    __slots__ = ("_equity_micro", "_flows_micro", "_series")

    def __init__(self) -> None:
        self._series = array("d")
        self._equity_micro = 0
        self._flows_micro = 0

    def add(self, equity_micro: int, flows_micro: int) -> None:
        """A sample: equity now, and the sum of all deposits less withdrawals so far."""
        before = self._equity_micro
        if before > 0:
            series = self._series
            series.append((equity_micro - (flows_micro - self._flows_micro)) / before - 1.0)
            if len(series) > _MOST:
                del series[:-KEPT]
        self._equity_micro, self._flows_micro = equity_micro, flows_micro

    def returns(self) -> Floats:
        """float64[<= KEPT] returns per sample, oldest first; a copy."""
        return np.array(self._series[-KEPT:], dtype=np.float64)

    def wealth(self) -> Floats:
        """float64[T] what 1 became, by these returns: an equity without deposits and withdrawals. Empty before the first
        return."""
        returns = self.returns()
        return np.cumprod(np.concatenate(((1.0,), 1.0 + returns))) if len(returns) else returns

    def values(self, limits: Limits) -> Values:
        """`max_realised_volatility` (a year) and `min_sharpe` where they are set and LEAST returns are known: value and
        bound. The definitions are those of `trading.statistics`; a Sharpe ratio that does not exist is left out."""
        most, least = limits.max_realised_volatility, limits.min_sharpe
        if (most is None and least is None) or len(self._series) < LEAST:
            return {}
        returns = self.returns()
        mean = float(np.add.reduce(returns)) / len(returns)
        centred = returns - mean
        deviation = sqrt(float(centred.dot(centred)) / (len(returns) - 1))
        found: Values = {}
        if most is not None:
            found["max_realised_volatility"] = (deviation * sqrt(SAMPLES_PER_YEAR), most)
        if least is not None and deviation > 1e-15:
            excess = mean - RISK_FREE_ANNUAL / SAMPLES_PER_YEAR
            found["min_sharpe"] = (excess / deviation * sqrt(SAMPLES_PER_YEAR), least)
        return found

    def freeze(self) -> FrozenReturns:
        return FrozenReturns(self._series[-KEPT:].tobytes(), self._equity_micro, self._flows_micro)

    @classmethod
    def thaw(cls, frozen: FrozenReturns) -> "Realised":
        new = cls()
        new._series.frombytes(frozen.series)
        new._equity_micro, new._flows_micro = frozen.equity_micro, frozen.flows_micro
        return new
