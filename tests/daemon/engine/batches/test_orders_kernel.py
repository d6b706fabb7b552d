"""Crossing and the agents' parts of an order are those of the ledger's functions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.orders_kernel import net_lots, part_of
from quantd.trading.ledger.shares import net, share

Ints = np.ndarray


def of_wanted(wanted: Ints) -> tuple[Ints, dict[int, int]]:
    """The integers of a batch with the wanted lots of its agents, all of them in the plan."""
    agents, size = wanted.shape
    at, ints = place.HEAD, np.zeros(place.HEAD + 9 * agents * size + 9 * agents, dtype=np.int64)
    for name, cells in (
        (place.A_WANTED, agents * size), (place.A_SURVIVING, agents * size), (place.A_TOTAL, size),
        (place.A_PART, agents), (place.A_GIVEN, agents), (place.A_PARTS, agents), (place.A_PAIRS, 2 * agents),
        (place.A_OWN, agents),
    ):  # fmt: skip
        ints[name] = at
        at += cells
    ints[place.SIZE], ints[place.AGENTS] = size, agents
    ints[ints[place.A_WANTED] :][: agents * size] = wanted.ravel()
    ints[ints[place.A_PART] :][:agents] = 1
    return ints, {name: int(ints[name]) for name in (place.A_SURVIVING, place.A_TOTAL, place.A_PAIRS)}


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(
    arrays(
        np.int64, SHAPES, elements=st.integers(-20, 20) | st.integers(-(10**8), 10**8) | st.integers(-(10**17), 10**17)
    )
)
def test_crossing_is_that_of_the_books(wanted):
    ints, at = of_wanted(wanted)
    net_lots(ints.data)
    _, surviving = net(wanted)
    assert ints[at[place.A_SURVIVING] :][: wanted.size].tolist() == surviving.ravel().tolist()
    assert ints[at[place.A_TOTAL] :][: wanted.shape[1]].tolist() == surviving.sum(axis=0).tolist()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.integers(0, 100), st.booleans())
def test_the_parts_of_an_order_are_those_of_the_books(left, percent, buys):
    whole = sum(left)
    lots = whole * percent // 100
    if not lots:
        return
    ints, at = of_wanted(np.array([[each] for each in left]))
    ints[at[place.A_SURVIVING] :][: len(left)] = left if buys else [-each for each in left]
    end = part_of(ints.data, 0, lots, at[place.A_PAIRS])
    pairs = ints[at[place.A_PAIRS] : end].tolist()
    held = [(agent, own) for agent, own in enumerate(left) if own]
    assert list(zip(pairs[::2], pairs[1::2], strict=True)) == share(lots, held)
