"""Convex quadratic programs with hinge costs by an interior-point method, for problems without a closed form.

What can go wrong: a program with many solutions, because a column repeats or is a linear combination of others. The
system of a step then becomes singular just before an iterate is exact. So the iterate with the smallest error is
stored. If the steps lose accuracy, this iterate is returned, provided that its error is at most `NEAR`. Otherwise the
program counts as infeasible.

All constraints are rows of one matrix. Hard rows, which must hold, are bounds, caps and groups. Soft rows have a cost
when violated: the excess losses of a CVaR, and turnover with trading costs.
"""

from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.active_set import Infeasible
from quantd.trading.market import Bools, Floats

ITERATIONS: Final = 80

GAP: Final = 1e-11
"""Mean complementarity (slack times multiplier), relative to the objective's scale, below which a solution is exact."""

ERROR: Final = 1e-9
"""Largest error of a row, the gradient and the equalities in an exact solution, relative to the objective's scale."""

NEAR: Final = 1e3
"""Multiple of GAP and of ERROR up to which the best iterate is returned if the steps lose accuracy.

Such an iterate costs at most NEAR x GAP a row more than the best portfolio.
"""

LOST: Final = 1e6
"""Multiple of GAP and of ERROR beyond which the steps have lost accuracy, after an iterate within NEAR."""

STEP: Final = 0.995
"""Fraction of the distance to the boundary that a step takes."""


class Program(Struct, frozen=True):
    """Minimise x' P x / 2 + q' x + sum(cost_t max(0, floor_t - rows_t x)) with `equal` x = `to`, x float64[n].

    P is `quadratic` float64[n, n] and q is `linear` float64[n]. The m constraints have `rows` float64[m, n], and
    `floor` and `cost` float64[m]. A row of infinite cost is hard: it may not be violated. All numbers should have a
    similar scale: divide returns by their deviation.
    """

    quadratic: Floats
    linear: Floats
    rows: Floats
    floor: Floats
    cost: Floats
    equal: Floats
    to: Floats


def bounds(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return (rows float64[2n, n], floor float64[2n]) of a Program with `lower` <= x <= `upper`, both float64[n]."""
    unit = np.eye(len(lower))
    return np.concatenate((unit, -unit)), np.concatenate((lower, -upper))


def solve(program: Program, start: Floats) -> Floats:
    """Return float64[n], the minimiser. `start` float64[n] need not be feasible.

    The method is primal-dual with predictor and corrector (S. Mehrotra, On the implementation of a primal-dual interior
    point method, 1992). Rows (constraints) are eliminated: each step solves one system with as many unknowns as x and
    the equalities have. If the steps lose accuracy, the best iterate is returned where its error is at most NEAR.
    Raises Infeasible when the method does not converge, for example because no x meets the rows of infinite cost.
    """
    soft = np.isfinite(program.cost)
    cost = np.where(soft, program.cost, 0.0)
    scale = 1.0 + float(np.abs(program.linear).max(initial=0.0)) + float(cost.max(initial=0.0))
    row_values = program.rows.dot(start) - program.floor
    slacks = np.maximum(row_values, 0.0) + 0.1
    # x, multipliers of the equalities; by row the slack s, its multiplier y, the violation u, its multiplier z
    point = _Point(
        start.astype(np.float64),
        np.zeros(len(program.to)),
        slacks,
        np.where(soft, cost / 2.0, scale / 10.0),
        np.where(soft, slacks - row_values, 1.0),
        np.where(soft, cost / 2.0, 1.0),
    )
    nearest, best = np.inf, point.x
    for _ in range(ITERATIONS):
        gap = point.gap(soft)
        worst = max(float(np.abs(part).max(initial=0.0)) for part in _residuals(program, soft, point))
        if gap < GAP * scale and worst < ERROR * scale:
            return point.x
        distance = max(gap / GAP, worst / ERROR) / scale  # 1 is exact
        if distance < nearest:
            nearest, best = distance, point.x
        # a gap that overflows or is NaN ends the search, too
        if not gap + worst < 1e100 or (nearest < NEAR and distance > LOST):
            break
        try:
            newton = _NewtonSystem(program, soft, cost, scale, point)
        except np.linalg.LinAlgError:
            break
        predictor = newton.direction(-point.s * point.y, -point.u * point.z)
        # the predictor shows how far the gap can fall; the corrector aims at that gap (Mehrotra's cube)
        ahead = point.moved(predictor, min(1.0, point.longest(predictor)))
        gap_target = (ahead.gap(soft) / gap) ** 3 * gap
        corrector = newton.direction(
            gap_target - point.s * point.y - predictor.s * predictor.y,
            gap_target - point.u * point.z - predictor.u * predictor.z,
        )
        point = point.moved(corrector, min(1.0, STEP * point.longest(corrector)))
    if nearest < NEAR:
        return best
    raise Infeasible("no portfolio was found that meets every constraint")


class _Point(NamedTuple):
    """An iterate, or a step between iterates: x float64[n], multipliers `price` of equalities, and values by row.

    A row is a constraint. `s` float64[m] is its slack above the floor and `y` the multiplier. `u` is the violation of a
    soft row and `z` the multiplier of this violation; hard rows have constant placeholders in both.
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
        """Return the largest factor on the step `by`, at most 1 / STEP, at which none of s, y, u and z turns negative.

        s and u are the slacks and violations of the constraints, y and z the multipliers of s and u.
        """
        return min(_longest(value, step) for value, step in zip(self[2:], by[2:], strict=True))

    def gap(self, soft: Bools) -> float:
        """Return the mean complementarity: products s y of all constraints, and u z of the `soft` ones (bool[m])."""
        return (float(self.s.dot(self.y)) + float((self.u * self.z)[soft].sum())) / (len(soft) + int(soft.sum()))


def _residuals(p: Program, soft: Bools, at: _Point) -> tuple[Floats, Floats, Floats]:
    """Return the errors of the iterate `at`: of the rows (constraints), of the gradient and of the equalities."""
    missed = p.rows.dot(at.x) + np.where(soft, at.u, 0.0) - p.floor - at.s
    slope = p.quadratic.dot(at.x) + p.linear - p.rows.T.dot(at.y) - p.equal.T.dot(at.price)
    return missed, slope, p.equal.dot(at.x) - p.to


class _NewtonSystem:
    """The linearised optimality conditions at one point, with the inverse of their system of equations."""

    def __init__(self, p: Program, soft: Bools, cost: Floats, scale: float, at: _Point) -> None:
        """Factor the linear system of the Newton steps at the point `at`.

        `soft` bool[m] marks constraints of `p` with a finite `cost`. `scale` is the size of the objective's numbers.
        """
        n = len(p.linear)
        self.p, self.soft, self.at = p, soft, at
        self.missed, self.slope, self.unequal = _residuals(p, soft, at)
        self.cost_residual = np.where(soft, cost - at.y - at.z, 0.0)
        self.inverse = 1.0 / (at.s / at.y + np.where(soft, at.u / at.z, 0.0))
        self.system = np.zeros((n + len(p.to), n + len(p.to)))
        self.system[:n, n:], self.system[n:, :n] = -p.equal.T, p.equal
        self.system[:n, :n] = p.quadratic + (p.rows.T * self.inverse).dot(p.rows)
        # a tiny ridge on the first n entries of the diagonal: a repeated column would make the system singular
        self.system.reshape(-1)[: n * (n + len(p.to)) : n + len(p.to) + 1] += 1e-14 * scale
        self.factor = np.linalg.inv(self.system)

    def direction(self, to_s: Floats, to_u: Floats) -> _Point:
        """Return the step that changes the products s y by `to_s` and u z by `to_u`, float64[m] for m constraints.

        The slack s, the violation u and the multipliers y and z of a constraint are expressed in x, so that one small
        system remains. y belongs to the slack and z to the violation; only soft constraints have u and z.
        """
        p, at, soft = self.p, self.at, self.soft
        residual = -self.missed - np.where(soft, (to_u - at.u * self.cost_residual) / at.z, 0.0) + to_s / at.y
        right_side = np.concatenate((-self.slope + p.rows.T.dot(self.inverse * residual), -self.unequal))
        solution = self.factor.dot(right_side)
        # iterative refinement: near the end the system is ill-conditioned
        solution += self.factor.dot(right_side - self.system.dot(solution))
        n = len(p.linear)
        y = self.inverse * (residual - p.rows.dot(solution[:n]))
        z = np.where(soft, self.cost_residual - y, 0.0)
        u = np.where(soft, (to_u - at.u * z) / at.z, 0.0)
        return _Point(solution[:n], solution[n:], (to_s - at.s * y) / at.y, y, u, z)


def _longest(values: Floats, step: Floats) -> float:
    """Return the largest factor on `step`, at most 1 / STEP, at which none of `values` + factor x `step` is negative.

    A step goes the fraction STEP of the result, so that it is never longer than `step`.
    """
    down = step < 0.0
    return min(1.0 / STEP, float((values[down] / -step[down]).min())) if down.any() else 1.0 / STEP
