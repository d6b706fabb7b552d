"""Linked pairs of the gate, beside a search of all lots and plain formulas, in exact numbers."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.pretrade.pairs import LINKED, NOT_KNOWN, UNLINKED, Pairs
from quantd.risk.pretrade.standing import Basket, Standing
from tests.risk.pretrade.drawn_books import Rare, bounds_of, give, scene_of

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
