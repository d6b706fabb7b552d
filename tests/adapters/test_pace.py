"""A pace is kept, also at the start, and a rate that allows nothing is refused."""

import asyncio
import itertools

import pytest

from quantd.adapters.pace import Pace, Rate


async def test_requests_are_evenly_spaced_from_the_first_on() -> None:
    pace, loop = Pace(Rate(10, 0.4)), asyncio.get_running_loop()
    at = []

    async def ask() -> None:
        await pace.turn()
        at.append(loop.time())

    await asyncio.gather(*(ask() for _ in range(8)))
    assert all(later - earlier >= 0.04 * 0.8 for earlier, later in itertools.pairwise(at))


async def test_without_a_rate_there_is_no_waiting() -> None:
    loop = asyncio.get_running_loop()
    pace, began = Pace(None), loop.time()
    for _ in range(1000):
        await pace.turn()
    assert loop.time() - began < 0.2


@pytest.mark.parametrize(("calls", "per_s"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_of_nothing_is_refused(calls: float, per_s: float) -> None:
    with pytest.raises(ValueError, match="allows nothing"):
        Rate(calls, per_s)
