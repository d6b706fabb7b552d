"""One order of time for a market that goes on: what its feed brings, and the ticks that are due by what it knows."""

from collections.abc import AsyncIterator, Callable, Iterator

from quantd.daemon.timeline import Item, time_of
from quantd.trading.events import Tick
from quantd.trading.ports import LiveFeed, Until


async def live_timeline(
    feed: LiveFeed, after: int, ticks: Iterator[Tick], dated: Callable[[Tick], Tick] = lambda tick: tick
) -> AsyncIterator[list[Item]]:
    """Items of the feed later than `after`, each with the ticks before it; a tick once everything up to it is known. `dated`
    adds what is known beside the market at that moment."""
    next_tick = next(ticks, None)
    async for item in feed.items(after):
        ts = item.ts if isinstance(item, Until) else time_of(item)
        found: list[Item] = []
        while next_tick is not None and (next_tick.ts < ts or (isinstance(item, Until) and next_tick.ts == ts)):
            found.append(dated(next_tick))
            next_tick = next(ticks, None)
        if not isinstance(item, Until):
            found.append(item)
        if found:
            yield found
