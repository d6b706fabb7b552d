"""What a book's returns were: the limits on realised volatility and on the Sharpe ratio. For the monitor only."""

from array import array
from collections.abc import Mapping
from math import sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.values import Values
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR, Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree, compounded, sharpe, time_weighted_returns

KEPT: Final = 252
"""Returns that count: a year of samples."""

LEAST: Final = 60
"""Fewer returns say nothing of a year."""


class FrozenReturns(Struct, frozen=True):
    """`Realised` as plain values: little-endian float64."""

    equity: bytes
    flows: bytes
    grown: float = 0.0
    """What 1 became; 0 of snapshots that did not keep it."""
    earned: bytes = b""
    """What cash earned to each sample; empty where there is no rate."""


class Realised:
    """Equity of one book at its last samples, what was deposited by then, both in micro-currency, and what cash earned.
    Money that came or went between two samples is neither profit nor loss, and earns from the second on (time-weighted
    returns)."""

    __slots__ = ("_earned", "_equity", "_flows", "_grown")

    def __init__(self) -> None:
        self._grown = 1.0
        self._equity = array("d")
        self._flows = array("d")
        self._earned = array("d")

    def add(self, equity_micro: int, flows_micro: int, earned: float | None = None) -> None:
        """A sample: equity now, the sum of all deposits less withdrawals so far, and what cash earned since the sample
        before, as a fraction; None without a rate."""
        self._grown = self.grown(equity_micro, flows_micro)
        if earned is not None and not self._earned:
            self._earned.extend([RISK_FREE_ANNUAL / SAMPLES_PER_YEAR] * len(self._equity))  # no rate until now
        self._equity.append(equity_micro)
        self._flows.append(flows_micro)
        if earned is not None:
            self._earned.append(earned)
        elif self._earned:
            del self._earned[:]
        del self._equity[: -KEPT - 1], self._flows[: -KEPT - 1], self._earned[: -KEPT - 1]

    def grown(self, equity_micro: int, flows_micro: int) -> float:
        """What 1 became since the beginning, by an equity and deposits now: time-weighted over all samples."""
        if not self._equity:
            return equity_micro / flows_micro if flows_micro > 0 else 1.0
        before = self._equity[-1]
        return (
            self._grown * ((equity_micro - (flows_micro - self._flows[-1])) / before) if before > 0.0 else self._grown
        )

    def moved(self, amount_micro: int) -> None:
        """Money that came (or went, negative) at the very instant of the last sample, after it was valued: it earns
        from there on, and is in no return before."""
        if self._equity:
            self._equity[-1] += amount_micro
            self._flows[-1] += amount_micro

    def with_gains(self, gains: Mapping[int, int]) -> "Realised":
        """The same with `gains` in micro-currency in its equity, by how many samples ago (0 is the last)."""
        new = self.copy()
        for ago, gain in gains.items():
            if 0 <= ago < len(new._equity):
                new._equity[-1 - ago] += gain
        return new

    def returns(self) -> Floats:
        """float64[<= KEPT] returns per sample, oldest first; those of a book that had no equity are left out."""
        equity, flows = np.array(self._equity), np.array(self._flows)
        return time_weighted_returns(equity, flows)[equity[:-1] > 0.0]

    def risk_free_annual(self) -> RiskFree:
        """The risk-free rate of `returns`, a year: the usual one, or float64[len(returns)] where cash has a rate."""
        if not self._earned:
            return RISK_FREE_ANNUAL
        free: Floats = np.array(self._earned)[1:] * SAMPLES_PER_YEAR
        return free[np.array(self._equity)[:-1] > 0.0]

    def wealth(self) -> Floats:
        """float64[T] what 1 became, by these returns: an equity without deposits and withdrawals. Empty before the
        first return."""
        returns = self.returns()
        return compounded(returns) if len(returns) else returns

    def values(self, limits: Limits) -> Values:
        """`max_realised_volatility` (a year) and `min_sharpe` where they are set and LEAST returns are known: value and
        bound. The definitions are those of `quantd.trading.statistics`; a Sharpe ratio that does not exist is left
        out."""
        most, least = limits.max_realised_volatility, limits.min_sharpe
        if most is None and least is None:
            return {}
        returns = self.returns()
        if len(returns) < LEAST:
            return {}
        mean = float(np.add.reduce(returns)) / len(returns)
        centred = returns - mean
        deviation = sqrt(float(centred.dot(centred)) / (len(returns) - 1))
        found: Values = {}
        if most is not None:
            found["max_realised_volatility"] = (deviation * sqrt(SAMPLES_PER_YEAR), most)
        if least is not None and deviation > 1e-15:
            free = self.risk_free_annual()
            if isinstance(free, float):
                excess = (mean - free / SAMPLES_PER_YEAR) / deviation * sqrt(SAMPLES_PER_YEAR)
            else:
                excess = sharpe(returns, SAMPLES_PER_YEAR, free)
            if excess == excess:
                found["min_sharpe"] = (excess, least)
        return found

    def copy(self) -> "Realised":
        return self.thaw(self.freeze())

    def freeze(self) -> FrozenReturns:
        return FrozenReturns(self._equity.tobytes(), self._flows.tobytes(), self._grown, self._earned.tobytes())

    @classmethod
    def thaw(cls, frozen: FrozenReturns) -> "Realised":
        new = cls()
        new._equity.frombytes(frozen.equity)
        new._flows.frombytes(frozen.flows)
        new._earned.frombytes(frozen.earned)
        new._grown = frozen.grown
        if not frozen.grown and new._equity:
            new._grown = new._equity[-1] / new._flows[-1] if new._flows[-1] > 0.0 else 1.0
        return new
