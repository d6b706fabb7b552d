"""Weights to lots: sums to the bit of numpy's, and targets as numpy computes them."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.core.lots import Targets
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
    targets.change_to(*arrays, age.data, most_age, scale * equity, least, inf, inf)
    return scale, list(targets.change), targets.changed


def test_a_sum_has_the_bits_of_numpy_for_every_number_of_values() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=20_000) * 10.0 ** rng.integers(-8, 8, 20_000)
    for size in (*range(400), 1000, 1023, 1024, 1025, 4099, 19_999, 20_000):
        expected = float(np.add.reduce(values[:size])) if size else 0.0
        assert total(values[:size]) == expected, size


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
        known = np.isfinite(target) & (px > 0.0) & (px < inf) & (age <= most_age)
        small = known & (target != 0.0) & (np.abs(change) * px < least) & (change != 0.0)
        # small trades that add, or that reduce, are made while they exceed the others by `least`, the largest first
        adds, value = change * held >= 0.0, np.where(small, np.abs(change) * px, 0.0)
        excess, made = float(np.where(adds, value, -value).sum()), np.zeros(N, dtype=bool)
        for k in np.argsort(-value, kind="stable"):
            if abs(excess) >= least > 0.0 and value[k] > 0.0 and adds[k] == (excess > 0.0):
                made[k], excess = True, excess - (value[k] if adds[k] else -value[k])
        change = np.where((small & ~made) | ~known, 0.0, change)
        bounds = [1.0, gross / np.abs(weights).sum(), cash / weights.sum()]
    assert out == change.tolist()
    assert count == np.count_nonzero(change)
    if np.isfinite(weights).all() and weights.sum() > 0.0:
        assert scale == pytest.approx(min(bounds))


@pytest.mark.parametrize(
    ("weight", "held", "change"),
    [
        (0.30, 0, 299),  # a target at its limit leaves fees
        (0.30, 299, 0),
        (0.30, 300, -1),  # beyond what it aims at, and the trade is too small otherwise
        (0.30, 301, -2),
        (0.40, 0, 400),  # the gate cuts it, and names the limit
        (0.40, 280, 120),
        (0.40, 298, 0),  # at its limit: `kept` says so
        (0.40, 300, -1),
        (0.40, 360, -61),
        (0.20, 300, -100),
        (-0.30, 0, -299),
        (-0.40, -301, 2),
    ],
)
def test_a_position_beyond_its_limit_is_reduced_to_it_however_small_the_trade(weight, held, change):
    targets = Targets(1)
    arrays = [read_floats(np.array([number])) for number in (weight, float(held), 1.0)]
    targets.change_to(*arrays, np.zeros(1, np.int64).data, 0, 1000.0, 10.0, 300.0, 299.5)
    assert targets.change[0] == change
