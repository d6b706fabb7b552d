"""Realised returns of a book, for the limits on volatility and Sharpe ratio."""

from math import sqrt

import numpy as np
from msgspec import Struct

from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.values import Values
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR, Floats
from quantd.risk.monitor.equity_series import KEPT, LEAST, EquitySeries
from quantd.trading.number_types import Floats as Buffer
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree, compounded, sharpe, time_weighted_returns


class FrozenReturns(Struct, frozen=True):
    """The state of `Realised` as plain values: arrays as little-endian float64."""

    equity: bytes
    flows: bytes
    grown: float | None = None
    """Growth of 1, 0 where all was lost; None in snapshots without it."""
    earned: bytes = b""
    """Interest on cash per sample; empty without a rate."""


class Realised(EquitySeries):
    """The equity of one book at its last samples, with the computations that its compiled base class leaves out."""

    __slots__ = ()

    def add(self, equity_micro: int, flows_micro: int, earned: float | None = None) -> None:
        """Add a sample: equity, the sum of all deposits less withdrawals, and in `earned` the interest on cash since
        the last sample as a fraction (None without a rate)."""
        rated = self.rated
        self.append(equity_micro, flows_micro)
        if earned is None:
            return
        # the samples so far had the fixed rate
        if not rated:  # no rate until now
            self._newest(self.earned)[:] = RISK_FREE_ANNUAL / SAMPLES_PER_YEAR
        self.earned[self.end - 1], self.rated = earned, True

    def begin(self, equity_micro: int, flows_micro: int) -> None:
        """Add the first sample. Growth is measured from this sample on, and earlier deposits do not count."""
        self.append(equity_micro, flows_micro)
        self.growth = 1.0

    def moved(self, amount_micro: int) -> None:
        """Register a deposit, or a withdrawal (negative), at the instant of the last sample and after its valuation.

        No earlier return includes the amount.
        """
        if self.count:
            self.equity[self.end - 1] += amount_micro
            self.flows[self.end - 1] += amount_micro

    def _newest(self, column: Buffer) -> Floats:
        """Return float64[count], a view of the newest elements of a column of the buffer."""
        return np.asarray(column)[self.end - self.count : self.end]

    def returns(self) -> Floats:
        """Return the returns per sample, at most KEPT, oldest first. A return that begins at a sample whose equity was
        not positive is left out.
        """
        equity, flows = self._newest(self.equity), self._newest(self.flows)
        return time_weighted_returns(equity, flows)[equity[:-1] > 0.0]

    @property
    def whole(self) -> bool:
        """Whether there are samples, and equity was positive at each."""
        return self.count > 0 and float(self._newest(self.equity).min()) > 0.0

    def risk_free_annual(self) -> RiskFree:
        """Return the annual risk-free rate for the result of `returns`: the default number, or float64[len(returns)] if
        an interest rate on cash is known.
        """
        if not self.rated:
            return RISK_FREE_ANNUAL
        free: Floats = self._newest(self.earned)[1:] * SAMPLES_PER_YEAR
        return free[self._newest(self.equity)[:-1] > 0.0]

    def wealth(self) -> Floats:
        """Return float64[T], what 1 has grown to after each return; empty before the first return."""
        returns = self.returns()
        return compounded(returns) if len(returns) else returns

    def values(self, limits: Limits) -> Values:
        """Return (value, bound) of the limits `max_realised_volatility` (annual) and `min_sharpe`, if they are set and
        at least LEAST returns are known.

        `quantd.trading.statistics` defines both. An undefined Sharpe ratio is omitted.
        """
        highest_volatility, lowest_sharpe = limits.max_realised_volatility, limits.min_sharpe
        if highest_volatility is None and lowest_sharpe is None:
            return {}
        returns = self.returns()
        if len(returns) < LEAST:
            return {}
        mean = float(np.add.reduce(returns)) / len(returns)
        centred = returns - mean
        deviation = sqrt(float(centred.dot(centred)) / (len(returns) - 1))
        values: Values = {}
        if highest_volatility is not None:
            values["max_realised_volatility"] = (deviation * sqrt(SAMPLES_PER_YEAR), highest_volatility)
        if lowest_sharpe is not None and deviation > 1e-15:
            risk_free = self.risk_free_annual()
            # one rate for all samples, or else a rate for each
            if isinstance(risk_free, float):
                ratio = (mean - risk_free / SAMPLES_PER_YEAR) / deviation * sqrt(SAMPLES_PER_YEAR)
            else:
                ratio = sharpe(returns, SAMPLES_PER_YEAR, risk_free)
            # an undefined ratio is NaN
            if ratio == ratio:
                values["min_sharpe"] = (ratio, lowest_sharpe)
        return values

    def copy(self) -> "Realised":
        """An independent copy."""
        return self.thaw(self.freeze())

    def freeze(self) -> FrozenReturns:
        """Return the newest samples as bytes, for a snapshot."""
        equity, flows, earned = (self._newest(column).tobytes() for column in (self.equity, self.flows, self.earned))
        return FrozenReturns(equity, flows, self.growth, earned if self.rated else b"")

    @classmethod
    def thaw(cls, frozen: FrozenReturns) -> "Realised":
        """Return the object that `freeze` stored, with at most the newest KEPT + 1 samples."""
        realised = cls()
        columns = (frozen.equity, frozen.flows, frozen.earned)
        equity, flows, earned = (np.frombuffer(column)[-KEPT - 1 :] for column in columns)
        realised.count = realised.end = len(equity)
        realised._newest(realised.equity)[:], realised._newest(realised.flows)[:] = equity, flows
        realised.rated = len(earned) > 0
        if realised.rated:
            realised._newest(realised.earned)[:] = earned
        if frozen.grown is not None:
            realised.growth = frozen.grown
        elif realised.count:
            # a snapshot without the growth: equity over all deposits since the start
            realised.growth = float(equity[-1] / flows[-1]) if flows[-1] > 0.0 else 1.0
        return realised
