"""Convex quadratic programs with hinge costs by an interior-point method, for problems without a closed form.

What can go wrong: a solution that is not single, where a column repeats or is a mix of others. The system of a step
then becomes singular just before an iterate is exact. So the nearest iterate so far is kept, and returned where the
steps lose accuracy, if it is within `NEAR` of exact. Otherwise the program counts as infeasible.

All constraints are rows of one kind. Hard rows are bounds, caps and groups. Soft rows have a cost when violated: the
excess losses of a CVaR, and turnover with trading costs.
"""

from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.active_set import Infeasible
from quantd.trading.market import Bools, Floats

ITERATIONS: Final = 80

GAP: Final = 1e-11
"""Mean complementarity, relative to the objective's scale, at which a solution counts as exact."""

ERROR: Final = 1e-9
"""Largest error of a row, of the gradient and of the equalities, relative to the objective's scale, of an exact one."""

NEAR: Final = 1e3
"""Multiple of GAP and of ERROR at which the nearest iterate is taken where the steps lose accuracy.

Where a column repeats or is a mix of others, the solution is not single, and the system of a step becomes singular just
before an iterate is exact. The nearest one costs at most NEAR x GAP a row more than the best portfolio.
"""

LOST: Final = 1e6
"""Multiple of GAP and of ERROR beyond which an iterate has lost what was near."""

STEP: Final = 0.995
"""Fraction of the distance to the boundary that a step takes."""


class Program(Struct, frozen=True):
    """Minimise x' P x / 2 + q' x + sum(cost_t max(0, floor_t - rows_t x)) with `equal` x = `to`, x float64[n].

    `rows` is float64[m, n], `floor` and `cost` are float64[m]; a row of infinite cost is hard. Numbers should have
    similar scale, so returns are scaled to a deviation near 1.
    """

    quadratic: Floats
    linear: Floats
    rows: Floats
    floor: Floats
    cost: Floats
    equal: Floats
    to: Floats


def bounds(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return `rows` float64[2n, n] and `floor` float64[2n] that bound x between two vectors."""
    unit = np.eye(len(lower))
    return np.concatenate((unit, -unit)), np.concatenate((lower, -upper))


def solve(program: Program, start: Floats) -> Floats:
    """Return float64[n], the minimiser. `start` float64[n] need not be feasible.

    It is a primal-dual method with predictor and corrector (S. Mehrotra, On the implementation of a primal-dual
    interior point method, 1992). Rows are eliminated: each step solves one system of n + equalities unknowns. Where the
    steps lose accuracy near a solution that is not single, the nearest iterate is returned. Raises Infeasible when it
    does not converge, as where no x meets the hard rows.
    """
    soft = np.isfinite(program.cost)
    cost = np.where(soft, program.cost, 0.0)
    scale = 1.0 + float(np.abs(program.linear).max(initial=0.0)) + float(cost.max(initial=0.0))
    reach = program.rows.dot(start) - program.floor
    above = np.maximum(reach, 0.0) + 0.1
    at = _Point(
        start.astype(np.float64),
        np.zeros(len(program.to)),
        above,
        np.where(soft, cost / 2.0, scale / 10.0),
        np.where(soft, above - reach, 1.0),
        np.where(soft, cost / 2.0, 1.0),
    )
    nearest, best = np.inf, at.x
    for _ in range(ITERATIONS):
        gap = at.gap(soft)
        worst = max(float(np.abs(part).max(initial=0.0)) for part in _residuals(program, soft, at))
        if gap < GAP * scale and worst < ERROR * scale:
            return at.x
        distance = max(gap / GAP, worst / ERROR) / scale
        if distance < nearest:
            nearest, best = distance, at.x
        if not gap + worst < 1e100 or (nearest < NEAR and distance > LOST):
            break
        try:
            lines = _Lines(program, soft, cost, scale, at)
        except np.linalg.LinAlgError:
            break
        first = lines.direction(-at.s * at.y, -at.u * at.z)
        ahead = at.moved(first, min(1.0, at.longest(first)))
        aim = (ahead.gap(soft) / gap) ** 3 * gap
        step = lines.direction(aim - at.s * at.y - first.s * first.y, aim - at.u * at.z - first.u * first.z)
        at = at.moved(step, min(1.0, STEP * at.longest(step)))
    if nearest < NEAR:
        return best
    raise Infeasible("no portfolio was found that meets every constraint")


class _Point(NamedTuple):
    """An iterate: x float64[n], multipliers of the equalities, and values by row.

    `s` is the slack above the floor and `y` its multiplier; `u` is the violation and `z` its multiplier (soft rows
    only; 1 and constant elsewhere).
    """

    x: Floats
    price: Floats
    s: Floats
    y: Floats
    u: Floats
    z: Floats

    def moved(self, by: "_Point", length: float) -> "_Point":
        return _Point(*(value + length * step for value, step in zip(self, by, strict=True)))

    def longest(self, by: "_Point") -> float:
        """Return the largest step, at most 1 / STEP, that preserves positivity."""
        return min(_longest(value, step) for value, step in zip(self[2:], by[2:], strict=True))

    def gap(self, soft: Bools) -> float:
        """Return the mean complementarity."""
        return (float(self.s.dot(self.y)) + float((self.u * self.z)[soft].sum())) / (len(soft) + int(soft.sum()))


def _residuals(p: Program, soft: Bools, at: _Point) -> tuple[Floats, Floats, Floats]:
    """Return the errors of the rows, of the gradient and of the equalities."""
    missed = p.rows.dot(at.x) + np.where(soft, at.u, 0.0) - p.floor - at.s
    slope = p.quadratic.dot(at.x) + p.linear - p.rows.T.dot(at.y) - p.equal.T.dot(at.price)
    return missed, slope, p.equal.dot(at.x) - p.to


class _Lines:
    """The linearised conditions at one point, with their factored system."""

    def __init__(self, p: Program, soft: Bools, cost: Floats, scale: float, at: _Point) -> None:
        n = len(p.linear)
        self.p, self.soft, self.at = p, soft, at
        self.missed, self.slope, self.unequal = _residuals(p, soft, at)
        self.apart = np.where(soft, cost - at.y - at.z, 0.0)
        self.inverse = 1.0 / (at.s / at.y + np.where(soft, at.u / at.z, 0.0))
        self.system = np.zeros((n + len(p.to), n + len(p.to)))
        self.system[:n, n:], self.system[n:, :n] = -p.equal.T, p.equal
        self.system[:n, :n] = p.quadratic + (p.rows.T * self.inverse).dot(p.rows)
        self.system.reshape(-1)[: n * (n + len(p.to)) : n + len(p.to) + 1] += 1e-14 * scale
        self.factor = np.linalg.inv(self.system)

    def direction(self, to_s: Floats, to_u: Floats) -> _Point:
        """Return the step that moves s y by `to_s` and u z by `to_u`; each row's unknowns are expressed in x."""
        p, at, soft = self.p, self.at, self.soft
        residual = -self.missed - np.where(soft, (to_u - at.u * self.apart) / at.z, 0.0) + to_s / at.y
        right = np.concatenate((-self.slope + p.rows.T.dot(self.inverse * residual), -self.unequal))
        solution = self.factor.dot(right)
        # iterative refinement: near the end the system is ill-conditioned
        solution += self.factor.dot(right - self.system.dot(solution))
        n = len(p.linear)
        y = self.inverse * (residual - p.rows.dot(solution[:n]))
        z = np.where(soft, self.apart - y, 0.0)
        u = np.where(soft, (to_u - at.u * z) / at.z, 0.0)
        return _Point(solution[:n], solution[n:], (to_s - at.s * y) / at.y, y, u, z)


def _longest(values: Floats, step: Floats) -> float:
    down = step < 0.0
    return min(1.0 / STEP, float((values[down] / -step[down]).min())) if down.any() else 1.0 / STEP
