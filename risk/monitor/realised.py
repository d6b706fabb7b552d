"""Realised returns of a book, for the limits on volatility and Sharpe ratio."""

from array import array
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.values import Values
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR, Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree, compounded, sharpe, time_weighted_returns

KEPT: Final = 252
"""Returns that count: one year of samples."""

LEAST: Final = 60
"""Least returns for an annual figure."""


class FrozenReturns(Struct, frozen=True):
    """`Realised` as plain values: little-endian float64."""

    equity: bytes
    flows: bytes
    grown: float = 0.0
    """Growth of 1; 0 in snapshots without it."""
    earned: bytes = b""
    """Interest on cash per sample; empty without a rate."""


class Realised:
    """Equity of one book at its last samples, cumulated deposits, both in micro-currency, and interest on cash.
    Deposits and withdrawals between two samples are no profit or loss (time-weighted returns)."""

    __slots__ = ("_earned", "_equity", "_flows", "_grown")

    def __init__(self) -> None:
        self._grown = 1.0
        self._equity = array("d")
        self._flows = array("d")
        self._earned = array("d")

    def add(self, equity_micro: int, flows_micro: int, earned: float | None = None) -> None:
        """Adds a sample: equity, the sum of all deposits less withdrawals, and interest on cash since the last sample
        as a fraction; None without a rate."""
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
        """Growth of 1 since the start, time-weighted, at a present equity and deposits."""
        if not self._equity:
            return equity_micro / flows_micro if flows_micro > 0 else 1.0
        before = self._equity[-1]
        return (
            self._grown * ((equity_micro - (flows_micro - self._flows[-1])) / before) if before > 0.0 else self._grown
        )

    def basis(self, flows_micro: int) -> tuple[float, float, float]:
        """Growth of 1 until the last sample, equity there, and deposits since, given those of now; equity 0 before the
        first sample."""
        if not self._equity:
            return self._grown, 0.0, 0.0
        return self._grown, self._equity[-1], flows_micro - self._flows[-1]

    def extend(self, equity_micro: Sequence[int], flows_micro: int, grown: float) -> None:
        """Adds samples without interest on cash and without deposits between them, after which 1 has become `grown`."""
        self._grown = grown
        self._equity.extend(equity_micro)
        self._flows.extend([flows_micro] * len(equity_micro))
        del self._equity[: -KEPT - 1], self._flows[: -KEPT - 1], self._earned[:]

    def moved(self, amount_micro: int) -> None:
        """A deposit (or negative, a withdrawal) at the instant of the last sample, after its valuation: no earlier
        return includes it."""
        if self._equity:
            self._equity[-1] += amount_micro
            self._flows[-1] += amount_micro

    def with_gains(self, gains: Mapping[int, int]) -> "Realised":
        """A copy with `gains` in micro-currency added to equity, by samples ago (0 is the last)."""
        new = self.copy()
        for ago, gain in gains.items():
            if 0 <= ago < len(new._equity):
                new._equity[-1 - ago] += gain
        return new

    def returns(self) -> Floats:
        """float64[<= KEPT] returns per sample, oldest first, without those from a book without equity."""
        equity, flows = np.array(self._equity), np.array(self._flows)
        return time_weighted_returns(equity, flows)[equity[:-1] > 0.0]

    @property
    def whole(self) -> bool:
        """Whether there is a sample, and every one had equity."""
        return bool(self._equity) and min(self._equity) > 0.0

    def risk_free_annual(self) -> RiskFree:
        """Annual risk-free rate of `returns`: the default, or float64[len(returns)] where cash has a rate."""
        if not self._earned:
            return RISK_FREE_ANNUAL
        free: Floats = np.array(self._earned)[1:] * SAMPLES_PER_YEAR
        return free[np.array(self._equity)[:-1] > 0.0]

    def wealth(self) -> Floats:
        """float64[T] growth of 1 by these returns; empty before the first."""
        returns = self.returns()
        return compounded(returns) if len(returns) else returns

    def values(self, limits: Limits) -> Values:
        """`max_realised_volatility` (annual) and `min_sharpe` where set and LEAST returns are known: value and bound.
        Definitions are those of `quantd.trading.statistics`; an undefined Sharpe ratio is left out."""
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
