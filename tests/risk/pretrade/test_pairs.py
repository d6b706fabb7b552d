"""Linked pairs of the gate, beside a search of all lots and plain formulas, in exact numbers."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from quantd.risk.pretrade.pairs import LINKED, NOT_KNOWN, UNLINKED, Pairs
from quantd.risk.pretrade.standing import Basket, Standing
from tests.risk.pretrade.drawn_books import Floats, Rare, bounds_of, give, scene_of
from tests.risk.pretrade.drawn_books import stands as standing_of

CORRELATION = 9
UNKNOWN = 3.0


def test_sides_are_linked_alike_against_or_either_way() -> None:
    pairs = Pairs(Basket(5))
    links = np.zeros((5, 5))
    links[0, 1:], links[0, 0] = [1.0, -1.0, 2.0, UNKNOWN], 2.0
    pairs.scene = scene_of(pairs.basket, Rare())
    give(pairs.scene, links=links)
    like = [pairs.linked(0, other) for other in range(5)]
    unlike = [pairs.linked(0, other) for other in range(5, 10)]
    assert like == [UNLINKED, LINKED, UNLINKED, LINKED, NOT_KNOWN]
    assert unlike == [UNLINKED, UNLINKED, LINKED, LINKED, NOT_KNOWN]
    assert [pairs.linked(5, other) for other in range(10)] == unlike + like
    assert pairs.linked(1, 2) == UNLINKED


@pytest.mark.parametrize("link", [UNKNOWN, None])
def test_links_are_asked_for_once(link: Any) -> None:
    """A quarter of the equity on both long sides: only links decide."""
    basket = Basket(2)
    state, rare, pairs = Standing(basket, False), Rare(), Pairs(basket)
    one = np.ones(2)
    give(basket, px=one * 4.0, size=one, wish=one, near=0.0, changes=0, reason=np.zeros(2, dtype=np.int64))
    give(state, shorts=one * 0.0, longs=one * 0.0, equity=16.0, slip=0.0, wider=1.0, fresh=-1)
    rare.links, scene = np.zeros((2, 2)), scene_of(basket, rare)
    if link is not None:
        give(scene, links=np.full((2, 2), link), has_links=True)
    pairs.begin(bounds_of(least=0.0, joint=0.25, correlation=CORRELATION, names=np.arange(2)), scene)
    for final in (False, True):
        pairs.clip(state, final)
    assert rare.asked == [[2, 3]]
    assert (list(basket.size), pairs.binding) == ([1.0, 1.0], False)


def linked_by(links: Floats, one: int, other: int) -> bool:
    """1 moves alike, -1 against, 2 either way. A symbol makes no pair with itself."""
    n = len(links)
    link = links[one % n, other % n]
    return one % n != other % n and bool(link == 2.0 or link == (1.0 if one // n == other // n else -1.0))


def symmetric(rng: np.random.Generator, n: int, values: list[float], p: list[float]) -> Floats:
    links = np.full((n, n), 2.0)
    for a, b in combinations(range(n), 2):
        links[a, b] = links[b, a] = rng.choice(values, p=p)
    return links


@pytest.mark.parametrize("settled", [False, True])
def test_pairs_need_the_equity_at_which_all_comply_that_do_not_breach_already(settled: bool) -> None:
    needed = breaches = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        need, breached = _needed_as_by_pairs(rng, int(rng.integers(2, 4)), settled)
        needed, breaches = needed + (need > 0.0), breaches + breached
    assert min(needed, breaches) > 30


def _needed_as_by_pairs(rng: np.random.Generator, n: int, settled: bool) -> tuple[float, int]:
    state = Standing(Basket(n), settled)
    basket, rare = state.basket, Rare()
    held, near = rng.integers(-4, 5, n) * 1.0, float(rng.choice([0.0, 0.5]))
    other = np.full(n, np.nan)
    give(basket, lots=other if settled else held, px=np.ones(n), near=near)
    sides = np.concatenate((-held, held)).clip(0.0) + rng.choice([0.0, 0.0, 0.5, 2.0], 2 * n)
    now, equity_after, wider = float(rng.integers(2, 40)), float(rng.integers(2, 40)), float(rng.choice([1.0, 1.5]))
    give(state, shorts=sides[:n], longs=sides[n:], high=held if settled else other)
    give(state, now=now, equity_after=equity_after, wider=wider)
    bounds = bounds_of(least=rng.choice([0.0, 0.0625, 0.125]), joint=rng.choice([0.0, 0.125, 0.25], p=[0.1, 0.4, 0.5]))
    links = symmetric(rng, n, [0.0, 1.0, -1.0, 2.0], [0.2, 0.35, 0.35, 0.1])
    rare.links, pairs = links, Pairs(basket)
    pairs.begin(bounds, scene_of(basket, rare))
    need_of_pairs = pairs.equity(state)

    least, joint = bounds.least * wider, bounds.joint * wider
    present = np.concatenate((-standing_of(state), standing_of(state)))
    seen, need, breached = [side for side in range(2 * n) if sides[side] > least * equity_after], 0.0, 0
    for a, b in combinations(seen, 2):
        if not linked_by(links, a, b):
            continue
        grows = sides[a] > present[a] + near or sides[b] > present[b] + near
        enough = now + near
        if not grows and min(present[a], present[b]) > least * enough and present[a] + present[b] > joint * enough:
            breached += 1
            continue
        alone = min(sides[a], sides[b]) / least if least > 0.0 else np.inf
        together = (sides[a] + sides[b]) / joint if joint > 0.0 else np.inf
        need = max(need, min(alone, together))
    assert need_of_pairs == pytest.approx(need)
    assert rare.asked == [seen]
    return need, breached
