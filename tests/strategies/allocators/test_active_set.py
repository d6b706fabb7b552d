"""The pivoting solvers, held to the conditions that only the optimum meets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.allocators.active_set import FEW, MANY, Infeasible, bounded, grown, likely, nonnegative
from tests.support.examples import examples


def problem(seed: int, size: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(rank, size)) + draw.normal(size=(rank, 1)) * draw.uniform(-0.5, 2.0)
    matrix = root.T @ root
    deviation = np.sqrt(matrix.diagonal())
    matrix = matrix / np.outer(deviation, deviation) + 1e-6 * np.eye(size)
    return matrix, draw.normal(size=size) + draw.uniform(-1.0, 1.0)


@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(1, 70), more=st.integers(-5, 60))
def test_the_nonnegative_minimum_meets_the_conditions_of_karush_kuhn_and_tucker(
    seed: int, size: int, more: int
) -> None:
    matrix, linear = problem(seed, size, max(1, size + more))
    x = nonnegative(matrix, linear)
    slope = matrix @ x - linear
    assert (x >= 0.0).all()
    tolerance = 1e-7 * max(1.0, float(np.abs(linear).max()))
    assert (slope >= -tolerance).all()
    assert np.abs(slope[x > 0.0]).max(initial=0.0) < tolerance


@settings(max_examples=examples(150), deadline=None)
@given(
    seed=st.integers(0, 100_000),
    size=st.integers(1, 60),
    low=st.floats(0.0, 0.9),
    high=st.floats(1.1, 8.0),
    guess=st.booleans(),
)
def test_the_bounded_minimum_meets_the_same_conditions(
    seed: int, size: int, low: float, high: float, guess: bool
) -> None:
    matrix, linear = problem(seed, size, size + 10)
    lower, upper = np.full(size, low / size), np.full(size, high / size)
    start = np.random.default_rng(seed).uniform(0.0, 2.0 / size, size) if guess else None
    x, free = bounded(matrix, linear, lower, upper, 1.0, start)
    assert x.sum() == pytest.approx(1.0, abs=1e-9)
    assert ((x >= lower - 1e-12) & (x <= upper + 1e-12)).all()
    slope = matrix @ x - linear
    least, most = slope[x < upper].min(), slope[x > lower].max()
    # whoever may grow has a slope no less than whoever may shrink
    assert least >= most - 1e-7
    assert np.ptp(slope[free]) < 1e-7 if free.any() else True


def test_bounds_that_do_not_allow_the_sum_are_refused() -> None:
    matrix, linear = problem(1, 4, 8)
    with pytest.raises(Infeasible, match="no weights within their bounds"):
        bounded(matrix, linear, np.zeros(4), np.full(4, 0.2), 1.0)
    with pytest.raises(Infeasible, match="no weights within their bounds"):
        bounded(matrix, linear, np.full(4, 0.3), np.ones(4), 1.0)


def test_with_one_common_factor_the_start_is_the_solution() -> None:
    draw = np.random.default_rng(3)
    size = FEW + 20
    beta = draw.uniform(0.2, 0.9, size)
    matrix = np.outer(beta, beta)
    np.fill_diagonal(matrix, 1.0)
    linear = draw.uniform(0.5, 1.5, size)
    agree = likely(matrix, linear) == (nonnegative(matrix, linear) > 0.0)
    assert agree.mean() > 0.9


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 90), more=st.integers(0, 60))
def test_a_set_that_is_grown_gives_the_same_minimum(seed: int, size: int, more: int) -> None:
    matrix, linear = problem(seed, size, size + more)
    assert grown(matrix, linear) == pytest.approx(nonnegative(matrix, linear), abs=1e-7)


@settings(max_examples=examples(24), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(MANY + 1, 250), rank=st.integers(5, 60), most=st.booleans())
def test_far_fewer_samples_than_variables_meet_the_conditions_too(seed: int, size: int, rank: int, most: bool) -> None:
    matrix, linear = problem(seed, size, rank)
    x = nonnegative(matrix, linear)
    slope = matrix @ x - linear
    tolerance = 1e-6 * max(1.0, float(np.abs(linear).max()), float(np.abs(x).sum()) * 1e-3)
    assert (x >= 0.0).all()
    assert slope.min() > -tolerance
    assert np.abs(slope[x > 0.0]).max(initial=0.0) < tolerance
    lower, upper = np.full(size, 0.001 if most else 0.0), np.full(size, 0.05 if most else 1.0)
    w, _ = bounded(matrix, linear / 100, lower, upper, 1.0)
    assert w.sum() == pytest.approx(1.0)
    assert (w >= lower).all()
    assert (w <= upper).all()
    slope = matrix @ w - linear / 100
    # no weight can move from one entry to another with a gain
    assert slope[w > lower + 1e-9].max() - slope[w < upper - 1e-9].min() < 1e-6
