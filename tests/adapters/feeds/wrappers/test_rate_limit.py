"""A pace is kept, also at the start, and a rate that allows nothing is refused."""

import asyncio
import itertools

import pytest

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.wrappers.rate_limit import Limited
from quantd.adapters.pace import Pace, Rate
from tests.support.memory_source import Recorded, market, same


async def test_no_window_holds_more_requests_than_the_rate() -> None:
    source = Recorded(market([1], [0]))
    limited = Limited(source, Rate(10, 0.4))
    loop = asyncio.get_running_loop()
    at = []

    async def ask() -> None:
        await limited.bars(0, 2)
        at.append(loop.time())

    await asyncio.gather(*(ask() for _ in range(8)))
    assert all(later - earlier >= 0.04 * 0.8 for earlier, later in itertools.pairwise(at)), "spaced from the first on"
    await limited.actions(0, 2)
    assert loop.time() - at[-1] >= 0.04 * 0.8


async def test_it_changes_nothing_else() -> None:
    source = Recorded(market([1], [0]), failing=[SourceError("recorded", "no")], adjusted=True, stamps="close")
    limited = Limited(source, Rate(1000))
    assert (limited.name, limited.stamps, limited.adjusted) == ("recorded", "close", True)
    with pytest.raises(SourceError, match="no"):
        await limited.bars(0, 2)
    assert same(await limited.bars(0, 2), source.rows)
    await limited.close()
    assert source.closed


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
