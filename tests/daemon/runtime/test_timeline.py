"""Jumps of the price in the order of a market's items."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from quantd.daemon.runtime.timeline import live_timeline, price_jumped, sample_ticks, time_of, timeline, with_jumps
from quantd.trading.events import Tick
from quantd.trading.market import Jump, MarketSlice, PriceJumped
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS
from tests.support.engine import START, block, sessions, walk

DAYS = 5
BARS = block(walk(DAYS, 2, 3))
SLICES = [MarketSlice(BARS, row) for row in range(DAYS)]
JUMP = Jump(
    ts=int(BARS.ts_event[3]), ts_open=int(BARS.ts_open[3]), symbol=1, before_nano=100 * 10**9, after_nano=50 * 10**9,
    numerator=2, denominator=1,
)  # fmt: skip


class Feed:
    """A live feed of the slices, with the jump immediately before its slice."""

    async def items(self, after: int) -> AsyncIterator[object]:
        for market in SLICES:
            if market.ts_event == JUMP.ts:
                yield JUMP
            yield market
            yield Until(market.ts_event)


def ticks() -> list[Tick]:
    market_sessions = sessions(DAYS)
    return list(sample_ticks(market_sessions, [market_sessions], DAY_NS, START, int(BARS.ts_event[-1]), START))


def kinds(items: list[object]) -> list[str]:
    return [type(item).__name__ for item in items]


def test_a_jump_comes_at_the_open_of_its_bar_after_the_tick_before() -> None:
    events = list(timeline(with_jumps(iter(SLICES), [JUMP]), iter(ticks())))
    assert kinds(events)[4:9] == ["MarketSlice", "Tick", "PriceJumped", "MarketSlice", "Tick"]
    assert events[6] == PriceJumped(JUMP.ts_open, 1, 100 * 10**9, 50 * 10**9, 2, 1) == price_jumped(JUMP)
    assert np.all(np.diff([time_of(item) for item in events]) >= 0)


def test_a_jump_that_is_taken_as_real_is_no_event() -> None:
    assert list(with_jumps(iter(SLICES), [JUMP], "real")) == SLICES


@pytest.mark.parametrize("holds", [True, False])
async def test_a_live_jump_precedes_its_slice_unless_jumps_are_real(holds: bool) -> None:
    live = live_timeline(Feed(), 0, iter(ticks()), holds=holds)  # type: ignore[arg-type]
    events: list[object] = [item async for items in live for item in items]
    at = kinds(events).index("PriceJumped") if holds else -1
    assert ("PriceJumped" in kinds(events)) == holds
    if holds:
        assert events[at] == price_jumped(JUMP)
        assert events[at + 1] is SLICES[3]
