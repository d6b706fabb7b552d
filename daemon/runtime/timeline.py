"""One order of time for a replayed market: the feed's slices and actions, and the ticks between them.

All Ticks of one instant are one event, after every slice of that instant.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from heapq import merge

from msgspec import Struct

from quantd.trading.events import Action, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.ports import LiveFeed, Until
from quantd.trading.sessions import DAY_NS, Sessions

Item = Action | MarketSlice | Tick


class Due(Struct, frozen=True):
    """What a schedule says at one instant: agents (by number) to ask, names of other jobs."""

    ts: int
    agents: tuple[int, ...] = ()
    jobs: tuple[str, ...] = ()


def sample_ticks(
    house: Sessions, calendars: Sequence[Sessions], interval_ns: int, after: int, until: int, start_ns: int
) -> Iterator[Tick]:
    """One Tick for each house session close in (after, until]; with shorter bars one for each interval of a session.

    The synchronous row of a session is final once every calendar has closed for that date. Samples before
    `start_ns` are the warm-up.
    """
    daily = interval_ns >= DAY_NS
    rows = [(c.row_of_day, c.close_ns) for c in calendars]
    for day, open_ns, close_ns in zip(house.day_ns, house.open_ns, house.close_ns, strict=True):
        if close_ns <= after:
            continue
        if open_ns > until:
            return
        if daily:
            if close_ns <= until:
                final = max((closes[of[day]] for of, closes in rows if day in of), default=close_ns)
                yield Tick(close_ns, True, day, max(final, close_ns), warmup=close_ns < start_ns)
            continue
        ts = open_ns + interval_ns
        while True:
            ts = min(ts, close_ns)
            if after < ts <= until:
                yield Tick(ts, True, ts, ts, warmup=ts < start_ns)
            if ts >= close_ns:
                break
            ts += interval_ns


def with_due(samples: Iterator[Tick], due: Iterator[Due]) -> Iterator[Tick]:
    """The ticks of both, those of one instant merged into one."""
    held: Tick | None = None
    asked = (Tick(d.ts, due=d.agents, jobs=d.jobs) for d in due)
    for tick in merge(samples, asked, key=lambda t: t.ts):
        if held is not None and held.ts == tick.ts:
            first, second = (held, tick) if held.sample else (tick, held)
            held = Tick(
                first.ts,
                first.sample,
                first.key,
                first.final,
                tuple(sorted({*first.due, *second.due})),
                (*first.jobs, *second.jobs),
                first.warmup,
            )
            continue
        if held is not None:
            yield held
        held = tick
    if held is not None:
        yield held


def timeline(items: Iterator[Action | MarketSlice], ticks: Iterator[Tick]) -> Iterator[Item]:
    """Feed items and ticks in one order of time. Ends with the ticks due at the instant of the last slice."""
    next_tick = next(ticks, None)
    ts = 0
    for item in items:
        ts = time_of(item)
        while next_tick is not None and next_tick.ts < ts:
            yield next_tick
            next_tick = next(ticks, None)
        yield item
    while next_tick is not None and next_tick.ts <= ts:
        yield next_tick
        next_tick = next(ticks, None)


def due_agents(
    instants: Iterator[tuple[int, int]], asks: Mapping[int, tuple[int, ...]], jobs: Mapping[int, str]
) -> Iterator[Due]:
    """Schedule instants (ts, schedule number) as what is due: `asks` by schedule, `jobs` the names of the others."""
    for ts, schedule in instants:
        if schedule in asks:
            yield Due(ts, asks[schedule])
        else:
            yield Due(ts, (), (jobs[schedule],))


def time_of(item: Item) -> int:
    """The instant of an item, ns UTC."""
    return item.ts_event if isinstance(item, MarketSlice) else item.ts


def instants(items: Iterator[Item], after: int = 0) -> Iterator[list[Item]]:
    """The items later than `after`, those of one instant together: a run stops and is kept only between instants."""
    held: list[Item] = []
    ts = 0
    for item in items:
        at = time_of(item)
        if at <= after:
            continue
        if held and at != ts:
            yield held
            held = []
        ts = at
        held.append(item)
    if held:
        yield held


async def live_timeline(
    feed: LiveFeed, after: int, ticks: Iterator[Tick], dated: Callable[[Tick], Tick] = lambda tick: tick
) -> AsyncIterator[list[Item]]:
    """Items of the feed later than `after`, each with the ticks before it; a tick once everything up to it is known.
    `dated` adds what is known beside the market at that moment."""
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
