"""Compiled classes have views of memory that belongs to an array beside them. Whatever replaces the array replaces the
view too: through rewinds, a split, a delisting, other limits, a restore and a carry-over each view has the memory of
the array that its owner has now."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.eventful_year import Year
from tests.support.reachable import CONTAINERS, LEAVES, buffered, fields, things, within

DEPTH = 3
"""Attributes between an owner and a view of its array: `.gate.basket.wish` of a desk has 3."""


class Pair(NamedTuple):
    """An attribute of a class that is an array, and the way from its owner to a view of memory."""

    owner: str
    array: str
    way: str


def flat(value: Any) -> Iterator[Any]:
    """A value, or all that is in a container and in those within it."""
    if not isinstance(value, CONTAINERS):
        yield value
        return
    for member in within(value):
        yield from flat(member)


def views(owner: Any, depth: int, way: str = "") -> Iterator[tuple[str, Any]]:
    """The views of memory within some attributes of an owner, with their way."""
    for name, value in fields(owner):
        for member in flat(value):
            if isinstance(member, (*LEAVES, np.ndarray)):
                continue
            if buffered(member):
                yield f"{way}{name}", member
            elif depth > 1:
                yield from views(member, depth - 1, f"{way}{name}.")


def pairs(root: Any) -> Iterator[tuple[Pair, bool]]:
    """Each array with each view that is near to it, and whether they have the same memory."""
    for owner in things(root):
        arrays = [(name, value) for name, value in fields(owner) if isinstance(value, np.ndarray)]
        if not arrays:
            continue
        for way, view in views(owner, DEPTH):
            for name, array in arrays:
                yield Pair(type(owner).__name__, name, way), np.may_share_memory(np.asarray(view), array)


class Pairs:
    """The pairs that had the same memory at some moment, and those that did not at another."""

    def __init__(self) -> None:
        self.shared: Counter[Pair] = Counter()
        self.apart: dict[Pair, str] = {}

    def look(self, root: Any, moment: str) -> None:
        for pair, shares in pairs(root):
            if shares:
                self.shared[pair] += 1
            else:
                self.apart.setdefault(pair, moment)

    def broken(self) -> dict[Pair, str]:
        """Pairs that were apart after some moment."""
        return {pair: moment for pair, moment in self.apart.items() if pair in self.shared}


@pytest.mark.long
def test_each_view_of_memory_has_that_of_the_array_which_its_owner_has_now() -> None:
    year, view_pairs = Year(), Pairs()
    for number, moment in enumerate(year.moments()):
        if moment or number % 80 in (0, 79):
            view_pairs.look(year.state, moment or f"sample {number}")
    assert view_pairs.broken() == {}
    assert {pair.owner for pair in view_pairs.shared} >= {"Ring", "RunningSums"}
