"""The common factor of losses in scenarios, beside its definition: a search of all sets of scenarios."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from quantd.risk.pretrade.gate_bounds import Tail
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import Losses
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from quantd.risk.pretrade.worst_losses import Tails
from tests.risk.pretrade.drawn_books import (
    Expected,
    Floats,
    Rare,
    added,
    bounds_of,
    give,
    one_order,
    outer,
    scene_of,
    stands,
    stated,
    wide,
)


def worst(returns: Floats, exposed: Floats) -> Floats:
    """The worst loss in each scenario of exposures in a range [-lowest | highest]."""
    n = len(returns)
    return np.maximum(returns * exposed[:n, None], -returns * exposed[n:, None]).sum(axis=0)


def measured(losses: Floats, m: int, mean: bool) -> float:
    """The m-th worst loss, or the mean of the m worst."""
    tail = np.sort(losses)[-m:]
    return float(tail.mean() if mean else tail[0])


def largest_factor(base: Floats, adding: Floats, m: int, mean: bool, target: float, fall: float) -> float:
    """The largest factor f with measure(base + f adding) <= target - f fall: a mean up to 1, by trial of every set of m
    scenarios, of which the worst is the mean."""
    if not mean:
        room, growth = target - base, adding + fall
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.where(growth > 0.0, room / growth, np.where(room >= 0.0, np.inf, -np.inf))
        return float(np.sort(factors)[m - 1])
    most = 1.0
    for chosen in map(list, combinations(range(len(base)), m)):
        room, growth = target - base[chosen].mean(), adding[chosen].mean() + fall
        if growth > 0.0:
            most = min(most, float(room / growth))
        elif room < 0.0:
            return 0.0
    return max(most, 0.0)


def tails_of(state: Standing, loops: Loops | None = None) -> tuple[Tails, Factor]:
    factor = Factor(state.basket.n)
    factor.begin()
    return Tails(state.basket, factor, loops or Loops()), factor


@pytest.mark.parametrize("mean", [False, True])
def test_the_factor_of_a_tail_is_the_largest_within_its_bound(mean: bool) -> None:
    inside = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        scenarios = int(rng.integers(1, 8))
        m = int(rng.choice([k for k in (1, 2, 4) if k <= scenarios]))
        base, adding = (rng.integers(low, 6, scenarios).astype(np.float64) for low in (-3, 0))
        target, fall = float(rng.integers(0, 8)), float(rng.choice([0.0, 0.25, 1.0]))
        tails, _ = tails_of(Standing(Basket(1), False))
        tails.widen(scenarios)
        give(tails, base=base)
        factor = tails.factor_of(mean, m, scenarios, target, fall, adding.data)
        expected = largest_factor(base, adding, m, mean, target, fall)
        assert factor == pytest.approx(expected, rel=1e-12, abs=1e-12)
        inside += 0.0 < expected < 1.0
    assert inside > 50


def test_a_measure_is_the_worst_loss_of_its_rank_or_the_mean_of_those() -> None:
    tails, _ = tails_of(Standing(Basket(1), False))
    tails.widen(9)
    for seed in range(60):
        losses = np.random.default_rng(seed).integers(-3, 4, 9) * 1.0
        for m in (1, 2, 4):
            for mean in (False, True):
                assert tails.measure(mean, m, losses.data, 9) == measured(losses, m, mean)


@pytest.mark.parametrize("settled", [False, True])
def test_a_tail_gives_the_largest_factor_within_its_bound_or_bars_what_adds_to_a_breach(settled: bool) -> None:
    cut = capped = asked = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rare, expected = _tails_as_by_hand(rng, int(rng.integers(1, 4)), settled)
        asked += len(rare.asked)
        cut, capped = cut + (expected.code != 0), capped + (expected.ceiling is not None)
    assert min(cut, capped, asked) > 10


def _tails_as_by_hand(rng: np.random.Generator, n: int, settled: bool) -> tuple[Rare, Expected]:
    state = Standing(Basket(n), settled)
    stated(rng, state, unpriced=settled)
    basket, rare, bounds = state.basket, Rare(), bounds_of()
    scene = scene_of(basket, rare)
    all_known = bool(rng.random() < 0.8)
    stored = rng.integers(-4, 5, (3, n, 6)).astype(np.float64) / 8.0
    sources = [
        (rng.choice([0.0, 0.125, 9.0], 2 * n, p=[0.2, 0.2, 0.6]), stored[k][:, :scenarios].copy())
        for k, scenarios in enumerate((4, 5, 6))
    ]
    for code in range(31, 31 + int(rng.integers(1, 5))):
        number = int(rng.integers(3))
        statistics, returns = sources[number]
        scenarios, m, mean = returns.shape[1], int(rng.choice([1, 2, 4])), bool(rng.integers(2))
        losses = Losses(
            statistics[:n].copy().data, statistics[n:].copy().data, float(rng.choice([0.5, 1.0])), scenarios, m, number
        )
        # a stress has its scenarios from the start
        if all_known or number == 2:
            give(losses, returns=returns, ready=True)
        scene.losses.append(losses)
        scene.width = max(scene.width, scenarios)
        rare.returns.append(returns)
        bound, scale = float(rng.choice([0.0625, 0.125, 0.25, 0.5])), float(rng.choice([1.0, 2.0]))
        bounds.tails.append(Tail(code, mean, bound, scale))
    expected = Expected(state)
    asked = _tails_by_hand(expected, bounds.tails, scene.losses, rare.returns)
    tails, factor = tails_of(state)
    tails.begin(bounds, scene)
    assert tails.scale(state) == (expected.ceiling is not None)
    assert rare.asked == asked
    expected.check(factor)
    return rare, expected


def _tails_by_hand(reference: Expected, tails: list[Tail], losses: list[Losses], sources: list[Floats]) -> list[str]:
    """Leaves in `reference` what the tails permit; returns what they ask for."""
    state, n, size = reference.state, reference.basket.n, np.asarray(reference.basket.size)
    full, adding_now = (outer(state) + added(reference.basket)).reshape(2, n).sum(axis=0), added(reference.basket)
    asked = []
    for tail, loss, returns in zip(tails, losses, sources, strict=True):
        bound, m, mean = tail.bound * state.wider / tail.scale, loss.worst, tail.mean
        if loss.beyond * (np.asarray(loss.deviation) @ full) + np.asarray(loss.mean) @ full <= bound * reference.left:
            continue
        if not loss.ready and not asked:
            asked = ["returns"]
        base, target = worst(returns, wide(state)), bound * reference.left + reference.near
        if measured(worst(returns, wide(state) + adding_now), m, mean) <= target:
            continue
        held = np.concatenate((-stands(state), stands(state)))
        adding, present = worst(returns, adding_now), measured(worst(returns, held), m, mean)
        if present <= bound * reference.now + reference.near:
            target, fall = bound * reference.equity + reference.near, bound * (reference.equity - reference.left)
            reference.take(largest_factor(base, adding, m, mean, target, fall), tail.code)
            continue
        present += reference.near
        ceiling = np.full(n, np.inf)
        for k in np.flatnonzero(size):
            order = np.where(np.arange(2 * n) % n == k, adding_now, 0.0)
            one = worst(returns, wide(state) + order / size[k])
            alone = largest_factor(base, worst(returns, order), m, mean, present, 0.0)
            ceiling[k] = max(alone * size[k], 0.0) if measured(one, m, mean) <= present else 0.0
        if reference.cap(np.where(np.floor(ceiling * (1.0 + 1e-12)) < size, ceiling, np.inf), tail.code):
            reference.ceiling = np.where(size > 0.0, ceiling, np.inf)
            return asked
        reference.take(largest_factor(base, adding, m, mean, present, 0.0), tail.code)
    return asked


class Counted(Loops):
    """Records what is computed."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def losses(self, *given: Any) -> None:
        self.calls.append("losses")
        super().losses(*given)

    def nth(self, *given: Any) -> float:
        self.calls.append("nth")
        return super().nth(*given)


def one_symbol(sources: list[int], bounds: list[float]) -> tuple[Tails, Factor, Standing, Rare]:
    """Nothing is held, and 4 are bought of an equity of 16, with one tail over each of these sources. It loses 2, and
    its reach is a quarter of 4 by deviations and as much by means."""
    state, rare = Standing(Basket(1), False), Rare()
    one_order(state, 4.0)
    tails, factor = tails_of(state, Counted())
    scene, quarter = scene_of(state.basket, rare), np.full(1, 0.25)
    scene.losses, scene.width = [Losses(quarter.data, quarter.data, 1.0, 2, 1, number) for number in sources], 2
    rare.returns = [np.array([[-0.5, 0.25]])] * len(sources)
    entries = [Tail(31 + t, bool(t % 2), bound, 1.0) for t, bound in enumerate(bounds)]
    tails.begin(bounds_of(tails=entries), scene)
    return tails, factor, state, rare


@pytest.mark.parametrize(("sources", "books"), [([0, 0, 0], 1), ([0, 1, 1], 2), ([0, 1, 0], 3)])
def test_losses_of_the_whole_book_in_the_same_scenarios_are_computed_once(sources: list[int], books: int) -> None:
    tails, factor, state, _ = one_symbol(sources, [0.0625, 0.03125, 0.015625])
    assert not tails.scale(state)
    assert (factor.value, factor.code) == (0.125, 33)
    # each tail binds: its book without orders, the orders and the present are computed too
    calls = tails.loops.calls  # type: ignore[attr-defined]
    assert calls.count("losses") == books + 3 * len(sources)


@pytest.mark.parametrize(("bound", "asked"), [(0.125, []), (np.nextafter(0.125, 0.0), ["returns"])])
def test_returns_are_asked_for_where_the_reach_of_losses_exceeds_the_bound_by_a_bit(
    bound: float, asked: list[str]
) -> None:
    tails, factor, state, rare = one_symbol([0], [float(bound)])
    assert not tails.scale(state)
    assert (rare.asked, factor.code) == (asked, 31 if asked else 0)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("loss", "measured"), [(7.0, False), (7.5, True)])
def test_no_scenario_is_put_in_order_where_a_count_or_a_sum_beyond_an_edge_complies(
    mean: bool, loss: float, measured: bool
) -> None:
    """Four scenarios of six lose as much, of which the worst two may lose 8 in the mean. Beyond three quarters of that
    they lose 1 each, and half of their sum is the last quarter. More than 8 in one of six is no value at risk."""
    state = Standing(Basket(1), False)
    one_order(state, 1.0)
    tails, factor = tails_of(state, Counted())
    scene, vast = scene_of(state.basket, Rare()), np.full(1, 99.0)
    losses = Losses(vast.data, vast.data, 1.0, 6, 2, 0)
    give(losses, returns=np.array([[-loss, -loss, 0.0, 0.0, -loss, -loss if mean else -9.0]]), ready=True)
    scene.losses, scene.width = [losses], 6
    tails.begin(bounds_of(tails=[Tail(31, mean, 0.5, 1.0)]), scene)
    assert not tails.scale(state)
    assert factor.value == 1.0
    assert ("nth" in tails.loops.calls) == (measured and mean)  # type: ignore[attr-defined]


def test_rows_are_made_wider_and_never_narrower() -> None:
    tails, _ = tails_of(Standing(Basket(1), False))
    scene = scene_of(tails.basket, Rare())
    for width, room in ((3, 3), (2, 3), (7, 7)):
        scene.width = width
        tails.begin(bounds_of(), scene)
        rows = (tails.lossy, tails.base, tails.adding, tails.now, tails.spare, tails.alone)
        assert [len(row) for row in rows] == [room] * 6
