"""Weights to lots: sums to the bit of numpy's, and targets as numpy computes them."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.lots import Targets, truncated
from quantd.trading.number_types import read_floats

N = 12


def total(values: np.ndarray) -> float:
    return Targets(1).total(read_floats(values), 0, len(values))


def changed(
    weights: np.ndarray, held: np.ndarray, px: np.ndarray, age: np.ndarray, most_age: int, *terms: float
) -> tuple[float, list[float], int]:
    """The factor, the change and the number of symbols that change; `terms` are equity, both bounds and the least."""
    equity, gross, cash, least = terms
    targets = Targets(len(weights))
    scale = targets.factor(read_floats(weights), gross, cash)
    arrays = (read_floats(array) for array in (weights, held, px))
    targets.change_to(*arrays, age.data, most_age, scale * equity, least)
    return scale, list(targets.change), targets.changed


def test_a_sum_has_the_bits_of_numpy_for_every_number_of_values() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=20_000) * 10.0 ** rng.integers(-8, 8, 20_000)
    for size in (*range(400), 1000, 1023, 1024, 1025, 4099, 19_999, 20_000):
        expected = float(np.add.reduce(values[:size])) if size else 0.0
        assert total(values[:size]) == expected, size


@pytest.mark.parametrize("values", [[0.0, -0.0], [inf, 1.0], [inf, -inf] * 5, [nan] * 9])
def test_a_sum_of_what_is_not_finite_is_that_of_numpy(values: list[float]) -> None:
    given = np.array(values)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(total(given), np.add.reduce(given), equal_nan=True)


@pytest.mark.parametrize(
    "value", [0.0, 0.9, -0.9, 1.0, -1.0, 7.5, -7.5, 2.0**52 - 0.5, 0.5 - 2.0**52, 2.0**60, inf, -inf, nan]
)
def test_a_fraction_is_cut_towards_zero(value: float) -> None:
    assert np.array_equal(truncated(value), np.trunc(value), equal_nan=True)


@pytest.mark.parametrize(
    ("weights", "gross", "cash", "factor"),
    [
        ([0.5, 0.5], 2.0, 2.0, 1.0),
        ([0.5, -0.5], 0.5, 2.0, 0.5),
        ([0.75, -0.25], 2.0, 0.375, 0.5),
        ([-0.75, -0.25], 2.0, 0.0, 1.0),
        ([-0.75, 0.25], 0.75, 0.125, 0.5),
        ([-0.75, 0.25], 0.25, 0.2, 0.25),
        ([0.0, 0.0], 0.0, 0.0, 1.0),
    ],
)
def test_weights_are_scaled_to_the_tighter_of_gross_exposure_and_purchases(
    weights: list[float], gross: float, cash: float, factor: float
) -> None:
    assert Targets(2).factor(read_floats(np.array(weights)), gross, cash) == factor


@given(st.integers(0, 2**32 - 1))
def test_a_change_is_the_truncated_target_less_what_is_held(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(0.05, 0.1, N) * (rng.random(N) < 0.8)
    held = np.trunc(rng.normal(0.0, 30.0, N)) * (rng.random(N) < 0.7)
    px = rng.choice([0.0, nan, inf, -1.0, 0.5, 10.0, 50.0, 333.33], N, p=[0.05, 0.05, 0.05, 0.05, 0.2, 0.2, 0.2, 0.2])
    weights[rng.random(N) < 0.05] = rng.choice([nan, inf, -inf])
    age, most_age = rng.integers(0, 4, N), 2
    equity, gross, cash = 1e5, float(rng.uniform(0.2, 2.0)), float(rng.uniform(0.1, 1.0))
    least = float(rng.choice([0.0, 0.01])) * equity
    with np.errstate(all="ignore"):
        scale, out, count = changed(weights, held, px, age, most_age, equity, gross, cash, least)
        target = np.trunc(weights * (scale * equity * (1.0 + 1e-12)) / px)
        target[target * held < 0.0] = 0.0
        change = target - held
        change[(target != 0.0) & (np.abs(change) * px < least)] = 0.0
        change[~(np.isfinite(target) & (px > 0.0) & (px < inf) & (age <= most_age))] = 0.0
        bounds = [1.0, gross / np.abs(weights).sum(), cash / weights.clip(0.0).sum()]
    assert out == change.tolist()
    assert count == np.count_nonzero(change)
    if np.isfinite(weights).all() and weights.max() > 0.0:
        assert scale == pytest.approx(min(bounds))


@pytest.mark.parametrize(("target", "passes"), [(12.0, 0.0), (13.0, 3.0), (0.0, -10.0), (7.0, -3.0), (8.0, 0.0)])
def test_a_change_below_the_least_value_is_left_out_except_to_zero(target: float, passes: float) -> None:
    """10 lots are held of 100 each; a trade has a value of 300 at least."""
    for scale in (1.0, 1 / 1024):
        weight, px, age = np.array([target / 100.0]), np.array([100.0 * scale]), np.zeros(1, dtype=np.int64)
        outcome = changed(weight, np.array([10.0]), px, age, 0, 10_000.0 * scale, 9.0, 9.0, 300.0 * scale)
        assert outcome == (1.0, [passes], int(passes != 0.0))


@pytest.mark.parametrize("weight", [0.5, -0.5])
def test_a_target_beyond_all_floats_changes_nothing(weight: float) -> None:
    px, age = np.array([5e-324, 10.0]), np.zeros(2, dtype=np.int64)
    weights, held = np.array([weight, 0.25]), np.array([3.0 * weight, 0.0])
    assert changed(weights, held, px, age, 0, 10_000.0, 9.0, 9.0, 0.0) == (1.0, [0.0, 250.0], 1)
