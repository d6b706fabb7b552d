"""Linked pairs of the gate, beside a search of all lots and plain formulas, in exact numbers."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from quantd.risk.pretrade.pairs import LINKED, NOT_KNOWN, UNLINKED, Pairs
from quantd.risk.pretrade.standing import Basket, Standing
from tests.risk.pretrade.drawn_books import Floats, Rare, added, bounds_of, drawn, give, one_order, outer, scene_of
from tests.risk.pretrade.drawn_books import stands as standing_of

CORRELATION = 9
UNKNOWN = 3.0


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


@pytest.mark.long
@pytest.mark.parametrize("final", [False, True])
def test_pairs_get_the_most_lots_in_the_order_of_their_values(final: bool) -> None:
    cut = 0
    for seed in range(800):
        rng = np.random.default_rng(seed)
        cut += _clipped_as_by_trial(rng, int(rng.integers(1, 5)), final)
    assert cut > 150


def _clipped_as_by_trial(rng: np.random.Generator, n: int, final: bool) -> bool:
    state = Standing(Basket(n), bool(rng.integers(2)))
    basket, rare = state.basket, Rare()
    drawn(rng, basket)
    unit, size = float(rng.choice([0.125, 1.0])), np.array(basket.size)
    # what has no order needs no price
    px = np.asarray(basket.px) * np.where(size > 0.0, unit, np.nan)
    give(basket, px=px, near=rng.choice([0.0, 0.5]) * unit)
    sides = rng.integers(0, 5, 2 * n) * unit
    equity, slip = float(rng.choice([8, 16, 17, 24, 32, 40])) * unit, float(rng.choice([0.0, 0.25]))
    wider = float(rng.choice([1.0, 1.0, 1.5]))
    give(state, shorts=sides[:n], longs=sides[n:], equity=equity, slip=slip, wider=wider, fresh=-1)
    names = rng.permutation(n).astype(np.int64)
    bounds = bounds_of(
        least=rng.choice([0.0, 0.0625, 0.125]), joint=rng.choice([0.25, 0.5]), correlation=CORRELATION, names=names
    )
    links = symmetric(rng, n, [0.0, 1.0, -1.0, 2.0], [0.3, 0.35, 0.3, 0.05])
    links_at_hand = np.where(symmetric(rng, n, [0.0, UNKNOWN], [0.95, 0.05]) == UNKNOWN, UNKNOWN, links)
    rare.links, pairs, scene = links, Pairs(basket), scene_of(basket, rare)
    at_hand = bool(rng.random() < 0.7)
    give(scene, links=links_at_hand, has_links=at_hand)
    pairs.begin(bounds, scene)
    least, joint, near = bounds.least * wider, bounds.joint * wider, basket.near
    full, low = outer(state) + added(basket), equity - slip * float(added(basket).sum())

    def complies(one: float, other: float, equity: float) -> bool:
        return min(one, other) <= least * equity + near or one + other <= joint * equity + near

    seen = [side for side in range(2 * n) if full[side] > least * low + near]
    beyond, asked = False, []
    if len(seen) > 1 and sum(sorted(full[seen])[-2:]) > joint * low + near:
        unknown = any(links_at_hand[a % n, b % n] == UNKNOWN and a % n != b % n for a, b in product(seen, seen))
        asked = [seen] if unknown or not at_hand else []
        beyond = any(linked_by(links, a, b) and not complies(full[a], full[b], low) for a, b in product(seen, seen))
    reason, held = np.zeros(n), outer(state)
    equity = low if final else equity
    slip = 0.0 if final else slip
    if beyond:
        for k in sorted(np.flatnonzero(size).tolist(), key=lambda k: (-size[k] * px[k], names[k])):
            side = n + k if basket.wish[k] > 0.0 else k
            lots = max([0.0, *(
                x for x in range(int(size[k]) + 1)
                if all(complies(held[side] + x * px[k], held[b], equity - slip * x * px[k])
                       for b in range(2 * n) if linked_by(links, side, b))
            )])  # fmt: skip
            reason[k] = CORRELATION if lots < size[k] else 0
            size[k] = lots
            held[side] += lots * px[k]
            equity -= slip * lots * px[k]
    pairs.clip(state, final)
    assert rare.asked == asked
    assert list(basket.size) == size.tolist()
    assert list(basket.reason) == reason.tolist()
    assert pairs.binding == beyond
    assert basket.changes == np.count_nonzero(reason)
    return bool(reason.any())


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


@pytest.mark.parametrize(("joint", "weighed"), [(0.5, False), (np.nextafter(0.5, 0.0), True)])
@pytest.mark.uncompiled
def test_no_pair_is_looked_for_where_the_heaviest_twice_complies(
    monkeypatch: pytest.MonkeyPatch, joint: float, weighed: bool
) -> None:
    state = Standing(Basket(1), False)
    one_order(state, 4.0)
    calls: list[Any] = []
    monkeypatch.setattr(Pairs, "weigh", lambda *given: calls.append(given) or 0)
    pairs = Pairs(state.basket)
    pairs.begin(bounds_of(least=0.0, joint=float(joint)), scene_of(state.basket, Rare()))
    pairs.clip(state, False)
    assert bool(calls) == weighed
