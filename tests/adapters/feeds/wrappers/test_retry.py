"""Passing failures are asked again with pauses, lasting ones are not, and a deadline ends it."""

import asyncio

import pytest

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.wrappers.retry import Retried
from tests.support.memory_source import Recorded, market, same


def passing(count: int, after_s: float = 0.0) -> list[SourceError]:
    return [SourceError("recorded", f"failure {k}", after_s=after_s) for k in range(count)]


async def test_it_asks_until_there_is_an_answer() -> None:
    source = Recorded(market([1], [0]), failing=passing(3))
    retried = Retried(source, first_s=0.001)
    assert same(await retried.bars(0, 2), source.rows)
    assert len(source.asked) == 4
    source.failing = passing(2)
    assert await retried.actions(0, 2) == []


async def test_what_asking_again_cannot_help_is_asked_once() -> None:
    source = Recorded(market([1], [0]), failing=[SourceError("recorded", "wrong key", again=False)])
    with pytest.raises(SourceError, match="wrong key"):
        await Retried(source, first_s=0.001).bars(0, 2)
    assert len(source.asked) == 1


async def test_pauses_grow_and_differ_from_source_to_source() -> None:
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(3):
        source = Recorded(market([1], [0]), failing=passing(4))
        began = loop.time()
        await Retried(source, first_s=0.01, longest_s=0.04).bars(0, 2)
        waits.append(loop.time() - began)
    assert all(wait >= 0.5 * 0.11 for wait in waits), "10, 20, 40 and 40 ms, each halved at most"
    assert len({round(wait, 4) for wait in waits}) > 1, "jitter"


async def test_the_vendors_own_wait_is_honoured() -> None:
    loop = asyncio.get_running_loop()
    source, began = Recorded(market([1], [0]), failing=passing(1, after_s=0.15)), loop.time()
    await Retried(source, first_s=0.001).bars(0, 2)
    assert loop.time() - began >= 0.15


async def test_a_pause_that_ends_after_the_deadline_is_not_made() -> None:
    loop = asyncio.get_running_loop()
    source, began = Recorded(market([1], [0]), failing=passing(9, after_s=60.0)), loop.time()
    with pytest.raises(SourceError, match="failure 0"):
        await Retried(source, deadline_s=30.0).bars(0, 2)
    assert loop.time() - began < 25.0
    source = Recorded(market([1], [0]), failing=passing(10_000))
    with pytest.raises(SourceError):
        await Retried(source, deadline_s=0.1, first_s=0.01, longest_s=0.02).bars(0, 2)
    assert 3 <= len(source.asked) <= 20


async def test_a_cancelled_question_stays_cancelled() -> None:
    source = Recorded(market([1], [0]), failing=passing(100))
    task = asyncio.create_task(Retried(source, first_s=5.0).bars(0, 2))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
