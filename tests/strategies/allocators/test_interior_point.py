"""The interior point against linear programs solved by scipy, and against what has no solution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from quantd.strategies.allocators.active_set import Infeasible, bounded
from quantd.strategies.allocators.interior_point import Program, bounds, solve
from tests.support.examples import examples


def program(size: int, quadratic: np.ndarray, linear: np.ndarray, upper: float) -> Program:
    rows, floor = bounds(np.zeros(size), np.full(size, upper))
    return Program(quadratic, linear, rows, floor, np.full(2 * size, np.inf), np.ones((1, size)), np.ones(1))


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 25))
def test_it_agrees_with_the_pivoting_solver_on_quadratic_programs(seed: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(size + 5, size))
    matrix, linear = root.T @ root / size, draw.normal(size=size)
    upper = 2.5 / size
    x = solve(program(size, matrix, -linear, upper), np.full(size, 1.0 / size))
    y, _ = bounded(matrix, linear, np.zeros(size), np.full(size, upper), 1.0)
    np.testing.assert_allclose(x, y, atol=1e-6)


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 15), soft=st.integers(1, 40))
def test_hinge_costs_are_those_of_the_linear_program_that_spells_them_out(seed: int, size: int, soft: int) -> None:
    draw = np.random.default_rng(seed)
    rows, floor, cost = draw.normal(size=(soft, size)), draw.normal(size=soft), draw.uniform(0.01, 1.0, soft)
    linear = draw.normal(size=size)
    hard, at = bounds(np.zeros(size), np.ones(size))
    x = solve(
        Program(
            np.zeros((size, size)), linear, np.concatenate((rows, hard)), np.concatenate((floor, at)),
            np.concatenate((cost, np.full(2 * size, np.inf))), np.ones((1, size)), np.ones(1),
        ),
        np.full(size, 1.0 / size),
    )  # fmt: skip
    assert x.sum() == pytest.approx(1.0)
    assert x.min() > -1e-8
    oracle = linprog(
        np.concatenate((linear, cost)), A_ub=np.concatenate((-rows, -np.eye(soft)), axis=1), b_ub=-floor,
        A_eq=np.concatenate((np.ones(size), np.zeros(soft)))[None], b_eq=[1.0],
        bounds=[(0, 1)] * size + [(0, None)] * soft,
    )  # fmt: skip
    mine = linear @ x + cost @ np.maximum(0.0, floor - rows @ x)
    assert mine == pytest.approx(oracle.fun, abs=1e-7)


def test_what_no_point_meets_is_infeasible() -> None:
    with pytest.raises(Infeasible, match="every constraint"):
        solve(program(3, np.eye(3), np.zeros(3), 0.2), np.full(3, 1.0 / 3.0))
