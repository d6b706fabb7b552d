"""The loops of the gate and the same by numpy: equal bits, and plain formulas on whole numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.standing import Basket
from quantd.risk.pretrade.vectors import Vectors

Floats = NDArray[np.float64]
SEEDS = range(60)
BOTH = pytest.mark.parametrize("loops", [Loops(), Vectors()], ids=["loops", "vectors"])
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


RNG = np.random.default_rng(8)
ROW, OTHER = RNG.normal(size=97), RNG.normal(size=97)
TIES = np.round(ROW, 1) + 0.0
RETURNS = RNG.normal(size=(7, 97))
FALL = RNG.normal(size=7) * np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
RISE = np.abs(RNG.normal(size=7)) * np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0])
MATRIX = RNG.normal(size=(7, 7))

CALLS: dict[str, Callable[[Loops, Floats], Any]] = {
    "sum_above": lambda loops, out: loops.sum_above(ROW.data, 90, 0.3),
    "count_above": lambda loops, out: loops.count_above(np.append(ROW, np.nan).data, 98, 0.3),
    "dot": lambda loops, out: loops.dot(ROW.data, OTHER.data, 97),
    "nth": lambda loops, out: loops.nth(ROW.data, np.empty(97).data, 95, 90),
    "nth of equal ones": lambda loops, out: loops.nth(TIES.data, np.empty(97).data, 97, 50),
    "sum_worst": lambda loops, out: loops.sum_worst(OTHER.data, ROW.data, 97, float(np.sort(ROW)[92]), 5),
    "sum_worst of equal ones": lambda loops, out: loops.sum_worst(
        OTHER.data, TIES.data, 97, float(np.sort(TIES)[80]), 17
    ),
    "losses": lambda loops, out: loops.losses(out.data, 90, RETURNS.data, FALL.data, RISE.data),
    "losses of one scenario": lambda loops, out: loops.losses(
        out.data, 1, RETURNS[:, :1].copy().data, FALL.data, RISE.data
    ),
    "add_order of a buy": lambda loops, out: loops.add_order(out.data, 90, RETURNS.data, 3, 7.3, True),
    "add_order of a sale": lambda loops, out: loops.add_order(out.data, 90, RETURNS.data, 3, 7.3, False),
    "copy": lambda loops, out: loops.copy(out.data, ROW.data, 90),
    "clear": lambda loops, out: loops.clear(out.data, 90),
    "add_scaled": lambda loops, out: loops.add_scaled(out.data, ROW.data, OTHER.data, 90, 0.37),
    "factors": lambda loops, out: loops.factors(out.data, ROW.data, OTHER.data, 90, 0.5, 0.1),
    "product": lambda loops, out: loops.product(out.data, MATRIX.data, FALL.data, 7),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_loop_and_its_vector_form_give_the_same_bits(name: str) -> None:
    outs = [np.array(OTHER) for _ in range(2)]
    one, other = (CALLS[name](loops, out) for loops, out in zip((Loops(), Vectors()), outs, strict=True))
    assert (one is None) == (other is None)
    assert one is None or np.float64(one).tobytes() == np.float64(other).tobytes()
    assert np.array_equal(outs[0], outs[1])
    assert one is not None or not np.array_equal(outs[0], OTHER)


@pytest.mark.parametrize("sided", [True, False])
def test_the_corners_of_a_form_are_the_same_bits(sided: bool) -> None:
    of, corners = sides(np.random.default_rng(3), 7), []
    for loops in (Loops(), Vectors()):
        out = Sides(7)
        loops.corners(out, MATRIX.data, of, 7, sided)
        corners.append({name: np.array(getattr(out, name)) for name in NAMES})
    for name in NAMES:
        assert np.array_equal(corners[0][name], corners[1][name]), name
    like, unlike = np.maximum(MATRIX, 0.0), np.maximum(-MATRIX, 0.0)
    given = {name: np.array(getattr(of, name)) for name in NAMES}
    assert corners[0]["longs"] == pytest.approx(given["longs"] @ like + given["shorts"] @ unlike)
    assert corners[0]["over"] == pytest.approx(given["over"] @ unlike + given["under"] @ like)
    assert any(corners[0]["shorts"]) == sided


def test_a_basket_begins_and_ends_alike_in_both_forms() -> None:
    asked, lots, verdicts = np.array([2.0, -3.0, np.nan]), np.array([0.0, 7.5, -1.0]), []
    for loops in (Loops(), Vectors()):
        basket, out, reason = Basket(3), np.full(3, np.nan), np.array([0, 5, 0], dtype=np.int8)
        for name in ("up", "down"):
            np.asarray(getattr(basket, name))[:] = 1.0
        loops.begin(basket, asked.data, lots.data, reason.data)
        assert [basket.up[k] + basket.down[k] for k in range(3)] == [0.0, 0.0, 0.0]
        np.asarray(basket.size)[:] = [1.0, 2.0, 0.0]
        np.asarray(basket.reason)[2] = 9
        loops.finish(basket, out.data, reason.data)
        assert np.array_equal([basket.wish[k] for k in range(3)], asked, equal_nan=True)
        assert [basket.lots[k] for k in range(3)] == lots.tolist()
        verdicts.append((out.tolist(), reason.tolist()))
    assert verdicts[0] == verdicts[1] == ([1.0, -2.0, 0.0], [0, 5, 9])


def test_every_loop_is_compared() -> None:
    public = {name for name in vars(Loops) if not name.startswith("_")} - {
        "fits",
        "reaches",
        "corners",
        "begin",
        "finish",
    }
    assert public == {name.split(" ", maxsplit=1)[0] for name in CALLS}


@BOTH
def test_the_element_of_a_rank_is_that_of_the_sorted_row(loops: Loops) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row = few(rng, int(rng.integers(1, 12)))
        for rank in range(len(row)):
            assert loops.nth(row.data, np.full(len(row), np.nan).data, len(row), rank) == sorted(row)[rank]


@BOTH
def test_what_exceeds_an_edge_is_added_up_and_counted(loops: Loops) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        row, edge = few(rng, int(rng.integers(1, 12))), float(rng.integers(-4, 5))
        assert loops.sum_above(row.data, len(row), edge) == sum(x - edge for x in row if x > edge)
        assert loops.count_above(row.data, len(row), edge) == sum(x > edge for x in row)


@BOTH
def test_the_worst_scenarios_are_the_largest_losses_and_of_equal_ones_the_first(loops: Loops) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        values, losses, m = rng.permutation(2.0 ** np.arange(n)), few(rng, n), int(rng.integers(1, n + 1))
        worst = sorted(range(n), key=lambda k: -losses[k])[:m]
        assert loops.sum_worst(values.data, losses.data, n, losses[worst[-1]], m) == values[worst].sum()


@BOTH
def test_a_scenario_loses_what_each_symbol_loses_in_it(loops: Loops) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n, scenarios = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        returns, fall, rise = few(rng, n, scenarios + 2), few(rng, n), np.abs(few(rng, n))
        out = np.full(scenarios, np.nan)
        loops.losses(out.data, scenarios, returns.data, fall.data, rise.data)
        for s in range(scenarios):
            r = returns[:, s]
            assert out[s] == sum(r[k] * fall[k] + max(r[k], 0.0) * rise[k] for k in range(n))


@BOTH
def test_the_symbols_of_one_scenario_are_added_in_their_order(loops: Loops) -> None:
    rng = np.random.default_rng(1)
    returns, fall, rise = rng.normal(size=(50, 1)), rng.normal(size=50), np.abs(rng.normal(size=50))
    expected = 0.0
    for r, loss, gain in zip(returns[:, 0].tolist(), fall.tolist(), rise.tolist(), strict=True):
        expected += r * loss + max(r, 0.0) * gain
    out = np.empty(1)
    loops.losses(out.data, 1, returns.data, fall.data, rise.data)
    assert out[0] == expected


@BOTH
def test_the_factor_of_a_scenario_is_room_by_growth_or_no_bound_where_nothing_grows(loops: Loops) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        base, adding, target, fall = few(rng, 9), few(rng, 9), float(rng.integers(-2, 3)), float(rng.integers(0, 2))
        out = np.full(9, np.nan)
        loops.factors(out.data, base.data, adding.data, 9, target, fall)
        for s in range(9):
            room, growth = target - base[s], adding[s] + fall
            assert out[s] == (room / growth if growth > 0 else np.inf if room >= 0 else -np.inf)


@BOTH
@pytest.mark.parametrize("sided", [False, True])
def test_the_worst_corners_take_gains_on_like_sides_and_losses_on_unlike_ones(loops: Loops, sided: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        matrix, of, out = few(rng, n, n), Sides(n), Sides(n)
        given = {name: np.abs(few(rng, n)) * (rng.random(n) < 0.5) for name in NAMES}
        for name in NAMES:
            np.asarray(getattr(of, name))[:] = given[name]
            np.asarray(getattr(out, name))[:] = np.nan
        loops.corners(out, matrix.data, of, n, sided)
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
        call(Loops(), np.zeros(5).data)


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
        call(Loops(), out.data)
    assert not out.any()
