"""Running sums: exact whatever the order of rows, and bounds that no measurement exceeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits.context import Scenarios, Window
from quantd.trading.history import Ring, RunningSums
from quantd.trading.history.row_loops import ENDLESS
from tests.support.examples import examples

SEEDS = st.integers(0, 2**32 - 1)


def prices_of(rng: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """float64[rows, size] prices: quiet, wild, constant and rising ones, with gaps and jumps in some worlds."""
    scale = rng.choice([0.0, 1e-9, 1e-4, 0.01, 0.3], size)
    returns = np.clip(rng.standard_t(3, (rows, size)) * scale + rng.choice([0.0, 0.0, 0.05], size), -0.9, 3.0)
    prices = 100.0 * np.cumprod(1.0 + returns, axis=0)
    if rng.random() < 0.4:
        prices[rng.random(prices.shape) < 0.02] = np.nan
    if rng.random() < 0.2:
        prices[rng.integers(rows), rng.integers(size)] *= 1e6
    return prices


def tell(sums: RunningSums, size: int) -> tuple[object, ...]:
    """What the sums say."""
    return (
        sums.rows, sums.count, sums.complete, sums.deviation().tobytes(), sums.mean_size().tobytes(),
        [sums.norm(unit) for unit in np.eye(size)],
    )  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS)
def test_the_sums_of_a_ring_are_those_of_its_window_however_often_they_were_asked_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, lookback = int(rng.integers(1, 7)), int(rng.integers(2, 30))
    ring, k = Ring(size, lookback), int(rng.integers(2, lookback + 1))
    asked = rng.random()
    for number, row in enumerate(prices_of(rng, 12 * lookback, size)):
        ring.append(row, [(0, 2.0, 0.3)] if rng.random() < 0.03 else None)
        if rng.random() < asked:
            ring.fill()
            fresh = RunningSums(k)
            fresh.update(ring)
            assert tell(ring.sums(k), size) == tell(fresh, size), number


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS)
def test_a_bound_is_never_below_what_it_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, k = 5, int(rng.choice([2, 20, 40]))
    ring = Ring(size, 40)
    for row in prices_of(rng, 120, size):
        ring.append(row)
        sums, window = ring.sums(k), ring.returns(k)
        mask = np.isfinite(window).all(axis=1)
        weights = rng.normal(size=size) * rng.choice([0.0, 1.0], size)
        held = np.isfinite(window[:, weights != 0.0]).all(axis=1)
        losses = np.nan_to_num(window[held]) @ weights
        assert sums.norm(np.abs(weights)) >= np.linalg.norm(losses) * (1.0 - 1e-12)
        assert sums.rows <= mask.sum()
        if sums.complete:
            exact = window.std(axis=0, ddof=1)
            assert (sums.deviation() >= exact * (1.0 - 1e-12)).all()
            assert (sums.mean_size() >= np.abs(window.mean(axis=0)) * (1.0 - 1e-12)).all()
            least, most = sums.alone(np.abs(weights).data)
            alone = float(exact @ np.abs(weights))
            assert least * (1.0 - 1e-12) <= alone <= most * (1.0 + 1e-12)
            assert most - least <= 1e-5 * (alone + np.abs(weights).sum() * (np.abs(window).max() + 0.1))
            # and not far above
            assert (sums.deviation() <= exact * (1.0 + 1e-6) + 4e-6 * (np.abs(window).max(axis=0) + 0.1)).all()


def test_a_return_that_no_whole_number_holds_bounds_nothing_until_it_has_left() -> None:
    ring = Ring(2, 10)
    for price in (1.0, 1.1, 1.2, 1e9, 1e9, 1.0):
        ring.append(np.array([price, 100.0]))
    assert ring.sums(4).norm(np.array([0.0, 1.0])) < 1e-6
    assert ring.sums(4).norm(np.array([1.0, 0.0])) == ENDLESS
    assert not ring.sums(4).complete
    for price in (1.0, 1.1, 1.2):
        ring.append(np.array([price, 100.0]))
    assert ring.sums(4).complete
    assert ring.sums(4).norm(np.array([1.0, 0.0])) < 1.1


def test_a_restored_ring_forgets_its_sums() -> None:
    ring = Ring(1, 4)
    for price in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0):
        ring.append(np.array([price]))
    before = ring.sums(3).norm(np.ones(1))
    ring.restore(np.full((4, 1), 5.0), np.zeros((4, 1)), ring.count)
    assert ring.sums(3).norm(np.ones(1)) < 1e-6 < before


def test_scenarios_of_an_earlier_sample_do_not_take_the_sums_of_a_later_one() -> None:
    ring = Ring(1, 6)
    for price in (1.0, 1.01, 1.02, 1.03, 1.02):
        ring.append(np.array([price]))
    rows = ring.returns(4)
    early: Scenarios = Window(rows, 2, ring.sums(4)).all
    ring.append(np.array([9.0]))
    ring.sums(4)
    assert early.most_deviation() == pytest.approx(rows.std(axis=0, ddof=1))
    assert early.mean_size() == pytest.approx(np.abs(rows.mean(axis=0)), rel=1e-6)
