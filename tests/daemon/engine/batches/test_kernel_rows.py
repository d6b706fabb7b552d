"""The functions of the kernel over rows of scenarios, and their loops, beside plain formulas on whole numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quantd.trading.jit import LOOPS

from quantd.daemon.engine.batches import gate_kernel as kernel

Floats = NDArray[np.float64]
SEEDS = range(60)


FORMS = pytest.mark.parametrize("looped", [False, True], ids=["vector", "loop"])


def form(function: Callable[..., Any], looped: bool) -> Callable[..., Any]:
    """A vector function, or the loop that is compiled in its place."""
    return LOOPS[function] if looped else function


def few(rng: np.random.Generator, *shape: int) -> Floats:
    """Small whole numbers, of which many are equal: every sum of them is exact."""
    return rng.integers(-3, 4, shape).astype(np.float64)


@FORMS
def test_the_element_of_a_rank_is_that_of_the_sorted_row(looped: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row = few(rng, int(rng.integers(1, 12)))
        nth = form(kernel.nth, looped)
        for rank in range(len(row)):
            assert nth(row, np.full(len(row), np.nan), rank) == sorted(row)[rank]


@FORMS
def test_what_exceeds_an_edge_is_added_up(looped: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row, edge = few(rng, int(rng.integers(1, 12))), float(rng.integers(-4, 5))
        assert form(kernel.sum_above, looped)(row, edge) == sum(x - edge for x in row if x > edge)


@FORMS
def test_the_worst_scenarios_are_the_largest_losses_and_of_equal_ones_the_first(looped: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        values, losses, m = rng.permutation(2.0 ** np.arange(n)), few(rng, n), int(rng.integers(1, n + 1))
        worst = sorted(range(n), key=lambda k: -losses[k])[:m]
        found = form(kernel.sum_worst, looped)(values, losses, losses[worst[-1]], m)
        assert found == values[worst].sum()


@FORMS
def test_a_scenario_loses_what_each_symbol_loses_in_it(looped: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, scenarios, first = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(0, 3))
        returns, fall, rise = few(rng, n, first + scenarios + 2), few(rng, n), np.abs(few(rng, n))
        out = np.full(scenarios, np.nan)
        form(kernel.losses, looped)(out, returns, first, fall, rise)
        for s in range(scenarios):
            r = returns[:, first + s]
            assert out[s] == sum(r[k] * fall[k] + max(r[k], 0.0) * rise[k] for k in range(n))


@FORMS
def test_the_symbols_of_one_scenario_are_added_in_their_order(looped: bool) -> None:
    rng = np.random.default_rng(1)
    returns, fall, rise = rng.normal(size=(50, 1)), rng.normal(size=50), np.abs(rng.normal(size=50))
    expected = 0.0
    for r, own, gain in zip(returns[:, 0].tolist(), fall.tolist(), rise.tolist(), strict=True):
        expected += r * own + max(r, 0.0) * gain
    out = np.empty(1)
    form(kernel.losses, looped)(out, returns, 0, fall, rise)
    assert out[0] == expected


@FORMS
def test_the_factor_of_a_scenario_is_room_by_growth_or_no_bound_where_nothing_grows(looped: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        base, adding, target, fall = few(rng, 9), few(rng, 9), float(rng.integers(-2, 3)), float(rng.integers(0, 2))
        out = np.full(9, np.nan)
        form(kernel.factors, looped)(out, base, adding, target, fall)
        for s in range(9):
            room, growth = target - base[s], adding[s] + fall
            assert out[s] == (room / growth if growth > 0 else np.inf if room >= 0 else -np.inf)


@FORMS
@pytest.mark.parametrize("sided", [0, 1])
def test_the_worst_corners_take_gains_on_like_sides_and_losses_on_unlike_ones(looped: bool, sided: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, place = int(rng.integers(1, 5)), int(rng.integers(0, 3))
        matrices = few(rng, place + n + 1, n)
        outer, added, offset = (np.abs(few(rng, 2 * n)) * (rng.random(2 * n) < 0.5) for _ in range(3))
        rows = np.full((6, n + 1), np.nan)
        form(kernel.corners, looped)(rows, matrices, place, outer, added, offset, sided)
        like = matrices[place : place + n].clip(0.0)
        unlike = (-matrices[place : place + n]).clip(0.0)
        worst = np.block([[like, unlike], [unlike, like]])
        best = np.block([[unlike, like], [like, unlike]])
        for at, found in ((0, outer @ worst), (2, added @ worst), (4, offset @ best)):
            assert rows[at, :n].tolist() == (sided * found[:n]).tolist()
            assert rows[at + 1, :n].tolist() == found[n:].tolist()
