"""The loops of the gate beside plain formulas on whole numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.standing import Basket

Floats = NDArray[np.float64]
SEEDS = range(60)
LOOPS = Loops()
NAMES = ("shorts", "longs", "less", "more", "under", "over")


def few(rng: np.random.Generator, *shape: int) -> Floats:
    """Small whole numbers, of which many are equal: every sum of them is exact."""
    return rng.integers(-3, 4, shape).astype(np.float64)


def sides(rng: np.random.Generator, n: int) -> Sides:
    """Sizes that are not negative, many of them 0."""
    drawn_sides = Sides(n)
    for name in NAMES:
        np.asarray(getattr(drawn_sides, name))[:] = np.abs(rng.normal(size=n)) * (rng.random(n) < 0.6)
    return drawn_sides


def test_rows_are_copied_cleared_scaled_and_multiplied_as_by_numpy() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        row, other, out = few(rng, n + 1), few(rng, n + 1), few(rng, n + 1)
        beyond = float(out[n])
        LOOPS.copy(out.data, row.data, n)
        assert out.tolist() == [*row[:n], beyond]
        LOOPS.add_scaled(out.data, row.data, other.data, n, 0.5)
        assert out.tolist() == [*(row + other * 0.5)[:n], beyond]
        LOOPS.clear(out.data, n)
        assert out.tolist() == [0.0] * n + [beyond]
        assert LOOPS.dot(row.data, other.data, n) == row[:n] @ other[:n]
        matrix = few(rng, n, n)
        LOOPS.product(out.data, matrix.data, row.data, n)
        assert out[:n].tolist() == (row[:n] @ matrix).tolist()


@pytest.mark.parametrize("buys", [True, False])
def test_an_order_loses_what_it_loses_if_it_fills_and_no_gain_counts(buys: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        returns, before, value = few(rng, 3, 9), few(rng, 9), float(rng.integers(0, 4))
        out = before.copy()
        LOOPS.add_order(out.data, 8, returns.data, 1, value, buys)
        loss = (-returns[1] if buys else returns[1]) * value
        assert out.tolist() == [*(before + np.maximum(loss, 0.0))[:8], before[8]]


def test_a_basket_begins_without_cuts_and_ends_with_what_passed() -> None:
    asked, lots = np.array([2.0, -3.0, np.nan]), np.array([0.0, 7.5, -1.0])
    basket, out, reason = Basket(3), np.full(3, np.nan), np.array([0, 5, 0], dtype=np.int8)
    for name in ("up", "down"):
        np.asarray(getattr(basket, name))[:] = 1.0
    LOOPS.begin(basket, asked.data, lots.data, reason.data)
    assert [basket.up[k] + basket.down[k] for k in range(3)] == [0.0, 0.0, 0.0]
    np.asarray(basket.size)[:] = [1.0, 2.0, 0.0]
    np.asarray(basket.reason)[2] = 9
    LOOPS.finish(basket, out.data, reason.data)
    assert np.array_equal([basket.wish[k] for k in range(3)], asked, equal_nan=True)
    assert [basket.lots[k] for k in range(3)] == lots.tolist()
    assert (out.tolist(), reason.tolist()) == ([1.0, -2.0, 0.0], [0, 5, 9])


def test_the_element_of_a_rank_is_that_of_the_sorted_row() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row = few(rng, int(rng.integers(1, 12)))
        for rank in range(len(row)):
            assert LOOPS.nth(row.data, np.full(len(row), np.nan).data, len(row), rank) == sorted(row)[rank]


def test_what_exceeds_an_edge_is_added_up_and_counted() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row, edge = few(rng, int(rng.integers(1, 12))), float(rng.integers(-4, 5))
        assert LOOPS.sum_above(row.data, len(row), edge) == sum(x - edge for x in row if x > edge)
        assert LOOPS.count_above(row.data, len(row), edge) == sum(x > edge for x in row)
    assert LOOPS.count_above(np.array([np.nan, 1.0]).data, 2, 1.0) == 1


def test_the_worst_scenarios_are_the_largest_losses_and_of_equal_ones_the_first() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        values, losses, m = rng.permutation(2.0 ** np.arange(n)), few(rng, n), int(rng.integers(1, n + 1))
        worst = sorted(range(n), key=lambda k: -losses[k])[:m]
        assert LOOPS.sum_worst(values.data, losses.data, n, losses[worst[-1]], m) == values[worst].sum()


def test_a_scenario_loses_what_each_symbol_loses_in_it() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, scenarios = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        returns, fall, rise = few(rng, n, scenarios + 2), few(rng, n), np.abs(few(rng, n))
        out = np.full(scenarios, np.nan)
        LOOPS.losses(out.data, scenarios, returns.data, fall.data, rise.data)
        for s in range(scenarios):
            r = returns[:, s]
            assert out[s] == sum(r[k] * fall[k] + max(r[k], 0.0) * rise[k] for k in range(n))


def test_the_symbols_of_one_scenario_are_added_in_their_order() -> None:
    rng = np.random.default_rng(1)
    returns, fall, rise = rng.normal(size=(50, 1)), rng.normal(size=50), np.abs(rng.normal(size=50))
    expected = 0.0
    for r, loss, gain in zip(returns[:, 0].tolist(), fall.tolist(), rise.tolist(), strict=True):
        expected += r * loss + max(r, 0.0) * gain
    out = np.empty(1)
    LOOPS.losses(out.data, 1, returns.data, fall.data, rise.data)
    assert out[0] == expected


def test_the_factor_of_a_scenario_is_room_by_growth_or_no_bound_where_nothing_grows() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        base, adding, target, fall = few(rng, 9), few(rng, 9), float(rng.integers(-2, 3)), float(rng.integers(0, 2))
        out = np.full(9, np.nan)
        LOOPS.factors(out.data, base.data, adding.data, 9, target, fall)
        for s in range(9):
            room, growth = target - base[s], adding[s] + fall
            assert out[s] == (room / growth if growth > 0 else np.inf if room >= 0 else -np.inf)


@pytest.mark.parametrize("sided", [False, True])
def test_the_worst_corners_take_gains_on_like_sides_and_losses_on_unlike_ones(sided: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        matrix, of, out = few(rng, n, n), Sides(n), Sides(n)
        given = {name: np.abs(few(rng, n)) * (rng.random(n) < 0.5) for name in NAMES}
        for name in NAMES:
            np.asarray(getattr(of, name))[:] = given[name]
            np.asarray(getattr(out, name))[:] = np.nan
        LOOPS.corners(out, matrix.data, of, n, sided)
        like, unlike = matrix.clip(0.0), (-matrix).clip(0.0)
        worst, best = np.block([[like, unlike], [unlike, like]]), np.block([[unlike, like], [like, unlike]])
        for short, long, signs in (("shorts", "longs", worst), ("less", "more", worst), ("under", "over", best)):
            expected = np.concatenate((given[short], given[long])) @ signs
            assert list(getattr(out, short)) == (sided * expected[:n]).tolist()
            assert list(getattr(out, long)) == expected[n:].tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda loops, row: loops.nth(row, row, 4, 4),
        lambda loops, row: loops.nth(row, row, 0, 0),
        lambda loops, row: loops.sum_above(row, 0, 0.0),
    ],
)
def test_a_rank_beyond_the_row_and_a_row_without_elements_are_refused(call: Callable[[Loops, Any], Any]) -> None:
    with pytest.raises(IndexError):
        call(LOOPS, np.zeros(5).data)


@pytest.mark.parametrize(
    "call",
    [
        lambda loops, out: loops.losses(out, 4, np.ones((2, 3)).data, np.ones(2).data, np.ones(2).data),
        lambda loops, out: loops.add_order(out, 4, np.ones((2, 3)).data, 0, 1.0, False),
        lambda loops, out: loops.add_order(out, 4, np.ones((2, 4)).data, 2, 1.0, False),
        lambda loops, out: loops.product(out, np.ones((4, 3)).data, np.ones(4).data, 4),
    ],
)
def test_nothing_is_added_of_a_row_that_is_too_short_or_missing(call: Callable[[Loops, Any], Any]) -> None:
    out = np.zeros(5)
    with pytest.raises(IndexError):
        call(LOOPS, out.data)
    assert not out.any()
