"""Merges the feed's slices and actions with the ticks in order of time.

All ticks of one instant are merged to one, which follows every slice of that instant. So an agent decides once an
instant, with all closes of the instant, and a schedule at the instant of a sample is part of that sample.

What can go wrong: a run stops or is saved in the middle of an instant, and loses its remaining items. Items are
therefore grouped by instant, and a run stops and is saved only between groups. A jump of a price is an event at the
open of its bar, before its slice. So trading in the symbol is stopped when its bar comes.

A tick of a recorded market lists the opens of bars in progress. An order that fills at such an open fills before the
tick's decision (docs/decisions/018).
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from typing import Final, Literal

from msgspec.structs import replace

from quantd.trading.events import Action, Flow, Tick
from quantd.trading.market import Jump, MarketSlice, PriceJumped
from quantd.trading.ports import LiveFeed, Until
from quantd.trading.sessions import DAY_NS, Sessions

Item = Action | PriceJumped | MarketSlice | Tick | Flow

SCHEDULE: Final = "schedule"
"""The sender of a deposit by a schedule. The timeline has such a deposit again in a replay; other cash flows come from
outside."""


def sample_ticks(
    house: Sessions, calendars: Sequence[Sessions], interval_ns: int, after: int, until: int, start_ns: int
) -> Iterator[Tick]:
    """A Tick for each sample in (after, until]: the close of each house session, or each bar interval in a session.

    `house` are the sessions of the account's calendar, `calendars` the sessions of all instruments. A tick's `final`
    is the instant when every calendar has closed for its date: the closes of the date are complete then. Samples before
    `start_ns` are the warm-up.
    """
    daily = interval_ns >= DAY_NS
    closes_by_day = [(calendar.row_of_day, calendar.close_ns) for calendar in calendars]
    for day, open_ns, close_ns in zip(house.day_ns, house.open_ns, house.close_ns, strict=True):
        if close_ns <= after:
            continue
        if open_ns > until:
            return
        if daily:
            if close_ns <= until:
                final = max(
                    (closes[row_of_day[day]] for row_of_day, closes in closes_by_day if day in row_of_day),
                    default=close_ns,
                )
                # True: the tick is a sample
                yield Tick(close_ns, True, day, max(final, close_ns), warmup=close_ns < start_ns)
            continue
        ts = open_ns
        while ts < close_ns:
            ts = min(ts + interval_ns, close_ns)
            if after < ts <= until:
                yield Tick(ts, True, ts, ts, warmup=ts < start_ns)


def next_sample(house: Sessions, interval_ns: int, after: int) -> int | None:
    """The first sample after `after` (ns) in a session of the account's calendar; None beyond the calendar."""
    if after >= house.close_ns[-1]:
        return None
    row = house.next_close(after)
    intervals = max(after - house.open_ns[row], 0) // interval_ns
    return min(house.open_ns[row] + (intervals + 1) * interval_ns, house.close_ns[row])


def with_due(samples: Iterator[Tick], due: Iterator[Tick]) -> Iterator[Tick]:
    """The ticks of samples and of schedules in order of time; ticks of one instant are merged into one."""
    for _, group in groupby(merge(samples, due, key=time_of), key=time_of):
        ticks = list(group)
        tick = next((candidate for candidate in ticks if candidate.sample), ticks[0])
        if len(ticks) > 1:
            agents = {agent for group_tick in ticks for agent in group_tick.due}
            jobs = tuple(job for group_tick in ticks for job in group_tick.jobs)
            tick = replace(tick, due=tuple(sorted(agents)), jobs=jobs)
        yield tick


def timeline(items: Iterator[Action | PriceJumped | MarketSlice], ticks: Iterator[Tick | Flow]) -> Iterator[Item]:
    """Feed items and ticks in order of time, at one instant the items first; no tick is later than the last item."""
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


def price_jumped(jump: Jump) -> PriceJumped:
    """The event of a price jump, at the open of its bar."""
    prices = jump.before_nano, jump.after_nano
    return PriceJumped(jump.ts_open, jump.symbol, *prices, jump.numerator, jump.denominator)


def with_jumps(
    items: Iterator[Action | MarketSlice], jumps: Iterable[Jump], how: Literal["stop", "real"] = "stop"
) -> Iterator[Action | PriceJumped | MarketSlice]:
    """Feed items with the event of each jump at the open of its bar, before the slice (bars of one instant) of that
    bar.

    `how` is `jumps` of [feed]: with "real" a jump is an ordinary move of the price and has no event.
    """
    if how == "real":
        return items
    return merge(items, sorted(map(price_jumped, jumps), key=time_of), key=time_of)


def due_ticks(
    instants: Iterator[tuple[int, int]], asks: Mapping[int, tuple[int, ...]], jobs: Mapping[int, str]
) -> Iterator[Tick]:
    """Yield the ticks of `instants`, which are (ts, index of the schedule).

    `asks` has the indices of the agents by schedule, `jobs` the job of each schedule without agents.
    """
    for ts, schedule in instants:
        yield Tick(ts, due=asks[schedule]) if schedule in asks else Tick(ts, jobs=(jobs[schedule],))


def with_deposits(paid: Iterator[Flow], ticks: Iterator[Tick]) -> Iterator[Tick | Flow]:
    """Deposits and ticks in order of time. A deposit precedes the tick of its instant, whose sample and decision have
    the money."""
    streams: tuple[Iterator[Tick | Flow], Iterator[Tick | Flow]] = (paid, ticks)
    return merge(*streams, key=time_of)


def time_of(item: Item) -> int:
    """The instant of an item, ns UTC."""
    return item.ts_event if isinstance(item, MarketSlice) else item.ts


def instants(items: Iterator[Item], after: int = 0) -> Iterator[list[Item]]:
    """The items later than `after`, grouped by instant: a run stops and is saved only between instants."""
    later = (item for item in items if time_of(item) > after)
    return (list(group) for _, group in groupby(later, key=time_of))


async def live_timeline(
    feed: LiveFeed,
    after: int,
    ticks: Iterator[Tick | Flow],
    dated: Callable[[Tick], Tick] = lambda tick: tick,
    *,
    holds: bool = True,
) -> AsyncIterator[list[Item]]:
    """Items of the feed later than `after`, each in a list with the ticks before it.

    An Until says that no item up to its instant is missing. `dated` adds other data than prices to a tick (cash rate,
    macro series). With `holds` a price jump stops trading in its symbol; otherwise it is an ordinary move.
    """
    next_tick = next(ticks, None)
    async for item in feed.items(after):
        if isinstance(item, Jump):
            if holds:
                yield [price_jumped(item)]
            continue
        ts = item.ts if isinstance(item, Until) else time_of(item)
        items: list[Item] = []
        while next_tick is not None and (next_tick.ts < ts or (isinstance(item, Until) and next_tick.ts == ts)):
            items.append(dated(next_tick) if isinstance(next_tick, Tick) else next_tick)
            next_tick = next(ticks, None)
        if not isinstance(item, Until):
            items.append(item)
        if items:
            yield items
