"""Limits on volatility, value at risk and expected shortfall."""

from collections.abc import Callable
from functools import lru_cache
from math import inf, sqrt
from typing import Final

import numpy as np

from quantd.risk.limits.case import SLACK
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.context import Floats, Scenarios, Spread
from quantd.risk.limits.kinds import Largest, Measure, Quad, TailLimit
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR
from quantd.risk.measures.stress import shock_returns
from quantd.risk.measures.tails import normal_quantile, normal_shortfall
from quantd.trading.instruments import Universe


def var_of(tail: Floats) -> Floats:
    """VaR of float64[..., m], the m worst losses, the least of them first."""
    return tail[..., 0]


def cvar_of(tail: Floats) -> Floats:
    """Expected shortfall of float64[..., m], the m worst losses."""
    return tail.dot(_equal_parts(tail.shape[-1]))


@lru_cache(maxsize=256)
def _equal_parts(m: int) -> Floats:
    return np.full(m, 1.0 / m)


def var_largest(base: Floats, adding: Floats, m: int, target: float, fall: float) -> float:
    """Largest f with VaR(base + f adding) <= target - f fall, in closed form.

    Scenario s keeps within up to t_s = (target - base_s) / (adding_s + fall); VaR is the m-th worst loss,
    so it keeps within as long as fewer than m scenarios do not: up to the m-th smallest t_s.
    """
    room, growth = target - base, adding + fall
    t = np.where(room >= 0.0, inf, -inf)
    np.divide(room, growth, out=t, where=growth > 0.0)
    nth = m - 1
    return float(np.partition(t, nth)[nth])


def cvar_largest(base: Floats, adding: Floats, m: int, target: float, fall: float) -> float:
    """Largest f <= 1 with CVaR(base + f adding) <= target - f fall.

    CVaR is the largest mean over m scenarios, each linear in f: Newton's method from f = 1 takes the set that
    is worst there and goes down to where that set complies, until no other set is worse. Each step is exact,
    the sets are finite (W. Dinkelbach, On nonlinear fractional programming, 1967).
    """
    f = 1.0
    while f > 0.0:
        losses = base + f * adding
        worst = np.argpartition(losses, len(losses) - m)[len(losses) - m :]
        room = target - float(base[worst].mean())
        growth = float(adding[worst].mean()) + fall
        step = room / growth if growth > 0.0 else (inf if room >= 0.0 else -inf)
        if step >= f * (1.0 - SLACK):
            return f
        f = step
    return 0.0


TAILS: Final[dict[str, tuple[Reason, Measure, Largest]]] = {
    "var": (Reason.VAR, var_of, var_largest),
    "cvar": (Reason.CVAR, cvar_of, cvar_largest),
}


def tail_limits(limits: Limits, universe: Universe) -> list[TailLimit]:
    found = []
    for key, (reason, measure, largest) in TAILS.items():
        spec = getattr(limits, key)
        if spec is not None and spec.method in ("historical", "filtered"):
            scale, again = sqrt(spec.horizon), spec.method == "filtered"
            found.append(
                TailLimit(key, reason, spec.confidence, spec.lookback, scale, spec.limit, measure, largest, again)
            )
    if limits.stress is not None:
        moves = shock_returns(limits.stress.shocks, universe)
        # an unknown move is refused by `shock_missing`: its value is never read
        fixed = Scenarios(np.where(np.isnan(moves), 0.0, moves))
        bound = limits.stress.limit
        found.append(TailLimit("stress", Reason.STRESS, 0.0, 0, 1.0, bound, var_of, var_largest, False, fixed))
    return found


SPREADS: Final[dict[str, Callable[[Scenarios], Spread]]] = {
    "parametric": lambda scenarios: scenarios.shrunk,
    "ewma": lambda scenarios: scenarios.weighted,
}
"""Method of a normal VaR -> its covariance."""


def volatility_quads(limits: Limits) -> list[Quad]:
    if limits.max_volatility is None:
        return []
    year, bound, rows = float(SAMPLES_PER_YEAR), limits.max_volatility, limits.volatility_lookback
    way = bound * (1.0 + limits.in_flight)
    return [Quad("max_volatility", Reason.VOLATILITY, rows, year, way, bound, lambda s: s.sample)]


def normal_quads(limits: Limits) -> list[Quad]:
    """VaR and CVaR of a normal book are so many of its deviations."""
    found = []
    for key, reason, deviations in (("var", Reason.VAR, normal_quantile), ("cvar", Reason.CVAR, normal_shortfall)):
        spec = getattr(limits, key)
        if spec is not None and spec.method in SPREADS:
            scale, way = deviations(spec.confidence) ** 2 * spec.horizon, spec.limit * (1.0 + limits.in_flight)
            found.append(Quad(key, reason, spec.lookback, scale, way, spec.limit, SPREADS[spec.method]))
    return found
