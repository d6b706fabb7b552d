"""Upper bounds of limit values, which settle most levels without a measurement.

Exposures, weights and families are exact. `quantd.trading.history.RunningSums` bounds VaR, CVaR and volatility. No
pair of instruments weighs more than the two heaviest positions together. Where a bound does not settle a level, the
losses of the book do. Where a value is within rounding of an edge, or returns are missing, the level is not settled.
"""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Final, NamedTuple

import numpy as np

from quantd.risk.limits.catalogue import FLOORS
from quantd.risk.limits.context import Floats
from quantd.risk.limits.correlation import joint_bound
from quantd.risk.limits.record import Held
from quantd.risk.limits.ruleset import Rules
from quantd.risk.limits.values import pairs_small
from quantd.risk.measures.portfolio import herfindahl, least, most, tail_count, total
from quantd.risk.monitor.levels import NONE, UNWATCHED, band
from quantd.trading.history import Ring

LEFT_OUT: Final = UNWATCHED | {"max_turnover"}
"""Limits without a level between trades."""


class _Tail(NamedTuple):
    """A limit over the returns of a lookback: a value between `low` and `high` keeps its level. Of the mean or the
    least of the worst losses at `confidence`; without one, the deviation."""

    low: float
    high: float
    scale: float
    confidence: float = 0.0
    mean: bool = False

    def ceiling(self, rows: int) -> float:
        """Norm of the losses below which the level surely stays."""
        if self.low > -inf:
            return -inf
        count = tail_count(rows, self.confidence) if self.confidence else rows - 1
        return self.high / self.scale * sqrt(max(count, 1))

    def keeps(self, losses: Floats) -> bool:
        """Whether float64[S] losses keep the level."""
        rows = len(losses)
        if not self.confidence:
            centred = losses - float(np.add.reduce(losses)) / rows
            value = sqrt(float(centred.dot(centred)) / (rows - 1))
        else:
            rank = rows - tail_count(rows, self.confidence)
            worst = np.partition(losses, rank)[rank:]
            value = float(np.add.reduce(worst)) / len(worst) if self.mean else float(worst[0])
        return self.low < value * self.scale < self.high


class Bands:
    """The values at which every limit of a book keeps its present level."""

    __slots__ = (
        "_ceilings",
        "_families",
        "_fixed",
        "_least",
        "_measures",
        "_pairs",
        "_tails",
        "levels",
        "open",
        "rules",
    )

    def __init__(self, rules: Rules, levels: Mapping[str, int]) -> None:
        self.rules: Final = rules
        self.levels: Final = dict(levels)
        limits, at = rules.limits, self.levels
        self._least = limits.min_history
        bounds = [(key, bound) for key, bound, _ in rules.held_measures] + [(t.key, t.bound) for t in rules.tails]
        self.open = (
            limits.min_diversification is not None
            or bool(rules.unmeasured)
            or rules.average is not None
            or any(k in FLOORS for k, _ in bounds)
        )
        """Whether a level can only be measured."""
        measures = [m for m in (*rules.held_measures, *rules.traded_measures) if m[0] not in LEFT_OUT]
        self._measures = [(measure, *band(key, at.get(key, NONE), bound)) for key, bound, measure in measures]
        self._families = [
            (f.labels, *band(f.key, at.get(f.key, NONE), f.settled_bound)) for f in rules.families if f.names
        ]
        self._pairs = inf
        if limits.correlation is not None:
            low, self._pairs = band("correlation", at.get("correlation", NONE), joint_bound(limits.correlation))
            self.open = self.open or low > -inf
        self._tails: dict[int, list[_Tail]] = {}
        self._fixed: list[tuple[Floats, float, float]] = []
        for tail in rules.tails:
            low, high = band(tail.key, at.get(tail.key, NONE), tail.bound)
            if tail.fixed is not None:
                self._fixed.append((tail.fixed.returns, low / tail.scale, high / tail.scale))
            elif tail.filtered:
                self.open = True
            else:
                own = _Tail(low, high, tail.scale, tail.confidence, tail.mean)
                self._tails.setdefault(tail.lookback, []).append(own)
        for quad in rules.quads:
            low, high = band(quad.key, at.get(quad.key, NONE), quad.settled_bound)
            if quad.key == "max_volatility":
                self._tails.setdefault(quad.lookback, []).append(_Tail(low, high, sqrt(quad.scale)))
            elif quad.spread is not None:
                self.open = True
        self._ceilings: dict[tuple[int, int], float] = {}

    def keep(self, weights: Floats, ring: Ring) -> bool:
        """Whether all levels surely stay, at float64[N] signed `weights` of a solvent book without open orders.

        `ring` has the synchronous returns.
        """
        if self.open:
            return False
        net = total(weights)
        if not isfinite(net):  # nothing counts that has no price
            weights = np.where(np.isfinite(weights), weights, 0.0)
            net = total(weights)
        if least(weights) >= 0.0:
            size, gross = weights, net
        else:
            size = np.abs(weights)
            gross = total(size)
        heaviest = most(size)
        book = Held(heaviest, net, gross, lambda: herfindahl(weights), 0.0)
        for measure, low, high in self._measures:
            if not low < measure(book) < high:
                return False
        for labels, low, high in self._families:
            if not low < max(np.bincount(labels, size)[1:].tolist(), default=0.0) < high:
                return False
        if not 2.0 * heaviest < self._pairs and not self._pairs_small(size):
            return False
        for lookback, tails in self._tails.items():
            known = ring.sums(lookback)
            norm, rows = known.norm(size), max(known.rows, self._least)
            ceiling = self._ceilings.get((lookback, rows))
            if ceiling is None:
                ceiling = self._ceilings[lookback, rows] = min(tail.ceiling(rows) for tail in tails)
            if not norm < ceiling and not _losses_keep(tails, ring.returns(lookback), weights):
                return False
        return all(low < -float(min(returns.dot(weights).tolist())) < high for returns, low, high in self._fixed)

    def _pairs_small(self, size: Floats) -> bool:
        spec = self.rules.limits.correlation
        return spec is None or pairs_small(size, spec, self._pairs)


def _losses_keep(tails: list[_Tail], returns: Floats, weights: Floats) -> bool:
    """Whether the losses of float64[N] weights keep all levels of `tails`; False where returns are missing."""
    losses = -returns.dot(weights)
    return isfinite(float(np.add.reduce(losses))) and all(tail.keeps(losses) for tail in tails)
