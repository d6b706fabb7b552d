"""Risk parity: long-only weights of which each carries the same share of the portfolio's variance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from strategies.policies.inverse_volatility import VARIANCE_FLOOR
from strategies.policies.params import parse
from trading.market import Floats
from trading.view import Memory, View

TOLERANCE = 1e-10
"""Newton decrement squared at which a solution is exact for every purpose."""

ITERATIONS = 100

RIDGE = 1e-4
"""Added to the unit diagonal: without it a perfect hedge (returns that cancel) has no finite solution."""


class RiskParityParams(Struct, frozen=True):
    """`lookback` samples of returns; `invested` is the fraction of the book that is spread."""

    lookback: Annotated[int, Meta(ge=2, le=5000)] = 126
    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0


def equal_risk(correlation: Floats) -> Floats:
    """The x > 0, float64[n], with x_i (C x)_i = 1 / n for all i, C being `correlation` with RIDGE on its diagonal.

    The minimum of x' C x / 2 - sum(log x) / n, strictly convex and, times n, self-concordant: damped Newton
    (Spinu 2013) converges from anywhere, with whole steps once the decrement is small. `correlation` has a unit
    diagonal and is positive semi-definite.
    """
    n = len(correlation)
    budget = 1.0 / n
    x = np.full(n, (n / max(float(correlation.sum()), 1.0)) ** 0.5 * budget**0.5)
    correlation = correlation.copy()
    correlation.reshape(-1)[:: n + 1] += RIDGE
    for _ in range(ITERATIONS):
        barrier = budget / x
        gradient = correlation @ x - barrier
        hessian = correlation.copy()
        hessian.reshape(-1)[:: n + 1] += barrier / x
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step) * n
        if decrement < TOLERANCE:
            return x - step
        # far from the minimum the step is shortened by its own length, which keeps x positive
        x = x - (step / (1.0 + float(np.abs(step / x).max())) if decrement > 0.09 else step)
    return x


@dataclass(frozen=True, slots=True)
class RiskParity:
    """Equal risk contributions over the instruments whose whole `lookback` is known and which moved in it."""

    params: RiskParityParams

    @property
    def lookback(self) -> int:
        return self.params.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        returns = view.returns(self.params.lookback)
        k, size = returns.shape
        centred = returns - returns.sum(axis=0) / k
        variance = np.einsum("ij,ij->j", centred, centred)
        moved = variance > VARIANCE_FLOOR * (k - 1)
        if not moved.all():
            if not moved.any():
                return np.zeros(size), memory
            centred, variance = centred[:, moved], variance[moved]
        scale = 1.0 / np.sqrt(variance)
        standard = centred * scale
        x = equal_risk(standard.T @ standard) * scale
        x *= self.params.invested / x.sum()
        if len(x) == size:
            return x, memory
        weights = np.zeros(size)
        weights[moved] = x
        return weights, memory


def make_risk_parity(params: Mapping[str, object]) -> RiskParity:
    return RiskParity(parse("risk_parity", params, RiskParityParams))
