"""All items of a world in order of time."""

import random
from bisect import bisect_left
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.events import Action, Flow, Started, Tick
from quantd.trading.execution import RATE_ONE
from quantd.trading.market import JumpExplained, MarketSlice, PriceJumped
from quantd.trading.sessions import DAY_NS, Sessions

from .engine import Rules
from .market import HOUR_NS, MINUTE_NS, Market
from .rules import Kind
from .stories import AGAINST_HOUSE, BUST, CARRY, STORIES, THAW, outside_stories, story, usual_story

JOBS = ("reallocate", "promote", "snapshot", "flatten", "before_open", "after_close")
"""Jobs of schedules."""


class Timeline:
    """Items with their instants; of one instant: bars, actions, ticks, other events."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int, int, Any]] = []

    def add(self, ts: int, rank: int, item: Any) -> None:
        if rank > 2 and isinstance(item, Struct) and hasattr(item, "ts"):
            item = replace(item, ts=ts)
        self._found.append((ts, rank, len(self._found), item))

    def items(self) -> list[Any]:
        """The items in order, with the ticks of one instant as one."""
        seen: set[int] = set()
        kept = []
        for *_, item in sorted(self._found, key=lambda entry: entry[:3]):
            if type(item) is Tick:
                if item.ts in seen:
                    continue
                seen.add(item.ts)
            kept.append(item)
        return kept


def items_of(draw: random.Random, market: Market, rules: Rules, kind: Kind) -> list[Any]:
    """All items of a world: a start, then the market with its ticks, stories, restarts and busts."""
    line, block, calm = Timeline(), market.block, kind.calm
    last = int(block.ts_event[-1])
    for row in range(len(block)):
        line.add(block.ts_event[row], 0, MarketSlice(block, row))
    for action in market.actions:
        line.add(action.ts, 1, action)
        if rules.venue_pays and action.kind != "split":
            paid = Flow(0, 1_000_000, kind="dividend", id=f"v{action.ts}", symbol=action.symbol)
            line.add(action.ts + 2 * DAY_NS, 3, paid)
    samples = _sample_times(market.house, rules, market.interval, last)
    warm = draw.choice((0, 0, 10, 30))
    first, last = samples[0][0], max(last, samples[0][0] + 1)
    _add_samples(draw, line, market, rules, kind, samples, warm)
    if not calm and draw.random() < 0.3:  # decisions and timers between samples
        asked = _asked(rules)
        taken = {sample[0] for sample in samples}
        for _ in range(draw.randint(5, 40)):
            ts = draw.randrange(first, last)
            ts -= ts % MINUTE_NS
            if ts not in taken:
                line.add(ts, 2, Tick(ts, due=asked if draw.random() < 0.5 else ()))
    _add_jumps(draw, line, market)
    _add_stories(draw, line, rules, kind, samples[min(warm, len(samples) - 1)][0], last)
    for _ in range(draw.choice((0, 0, 1, 3))):
        line.add(draw.randrange(first, last) // DAY_NS * DAY_NS + 12 * HOUR_NS, 4, THAW)
    if draw.random() < 0.1:
        line.add(draw.randrange(first, last), 3, BUST)
    started = Started(
        ts=int(block.ts_open[0]), run="r", version="", lock="", config="", feed="", symbols=rules.universe.symbols,
        artifacts=dict.fromkeys(rules.names(), "1"), blas="",
    )  # fmt: skip
    return [started, *line.items()]


def _asked(rules: Rules) -> tuple[int, ...]:
    """Numbers of the policies that are asked: not those of places."""
    places = {number for number, agent in enumerate(rules.agents) if agent.place}
    return tuple(k for k in range(len(rules.agents) + len(rules.shadows)) if k not in places)


def _add_samples(
    draw: random.Random,
    line: Timeline,
    market: Market,
    rules: Rules,
    kind: Kind,
    samples: list[tuple[int, int, int]],
    warm: int,
) -> None:
    """A tick at each sample, with the policies and the jobs that are due; `warm` of them are the warm-up."""
    often = (1, 2) if kind.tour else (1, 2, 5, 21) if kind.bare else (5, 21, 21) if kind.calm else (1, 2, 5, 5, 10, 21)
    every = {number: draw.choice(often) for number in _asked(rules)}
    earns = not kind.calm and draw.random() < 0.4
    chance = (
        0.0 if kind.calm else 0.05 if kind.tour else 0.05 if rules.capital is not None else draw.choice((0.0, 0.05))
    )
    likely = {"flatten": 0.1, "reallocate": 3.0, "promote": 3.0}
    opens = not kind.calm and draw.random() < 0.5
    for k, (ts, key, final) in enumerate(samples):
        due = tuple(number for number, interval in every.items() if k % interval == 0)
        named = tuple(job for job in JOBS if draw.random() < chance * likely.get(job, 1.0))
        rate = round(draw.choice((0.03, -0.01)) * RATE_ONE) if earns else None
        macro = tuple(draw.uniform(10.0, 40.0) for _ in rules.macro)
        coming = ("rebalance 14:30",) if draw.random() < 0.5 else ()
        opened = market.opened(ts) if opens and k >= warm else ()
        line.add(ts, 2, Tick(ts, True, key, final, due, named, k < warm, macro, rate, coming, opened))


def _add_jumps(draw: random.Random, line: Timeline, market: Market) -> None:
    """The jumps of prices, each before its bar, and their explanations by an operator, by the feed, or by none."""
    rows = [span[0] for span in market.order]
    for jump in market.price_jumps():
        row = next(t for t in range(len(rows)) if market.order[t][1] == jump.ts and market.block.fresh[t, jump.symbol])
        line.add(jump.ts, 1, jump)
        ts = rows[row] + draw.randint(0, 6) * DAY_NS + HOUR_NS
        split = jump.numerator, jump.denominator
        how = draw.choice(("split", "real", "feed", "other", "none"))
        if how in ("split", "real"):
            ratio = split if how == "split" else (1, 1)
            line.add(ts, 3, JumpExplained(ts, jump.symbol, "test", "ops", *ratio))
        elif how != "none":
            ratio = split if how == "feed" else (5, 4)
            sessions = market.sessions[market.calendar[jump.symbol]]
            at = min(bisect_left(sessions.open_ns, ts), len(sessions.open_ns) - 1)
            line.add(
                sessions.open_ns[at], 1, Action(sessions.open_ns[at], sessions.day_ns[at], jump.symbol, "split", *ratio)
            )
        if draw.random() < 0.3:
            line.add(jump.ts + DAY_NS, 1, replace(jump, ts=jump.ts + DAY_NS))


def _add_stories(draw: random.Random, line: Timeline, rules: Rules, kind: Kind, first: int, last: int) -> None:
    """Stories at random instants from `first` on; on a tour each of them, one after another."""
    last = max(last, first + 1)
    if kind.tour:
        numbers = draw.sample(range(len(STORIES)), len(STORIES))
        starts = [first + (last - first) * k // len(numbers) for k in range(len(numbers))]
        wait = max((last - first) // len(numbers), DAY_NS)
    else:
        count = 0 if kind.bare else draw.choice((0, 0, 1) if kind.calm else (0, 1, 2, 4, 6, 12))
        numbers = [usual_story(draw, rules) for _ in range(count)]
        if kind.calm:
            numbers += outside_stories(rules)
        numbers += [number for number in AGAINST_HOUSE if kind.strict == "house" and draw.random() < 0.7]
        starts = [draw.randrange(first, last) for _ in numbers]
        wait = 0
    for number, ts in zip(numbers, starts, strict=True):
        for shift, item in story(draw, rules, ts, wait or draw.randint(1, 20) * DAY_NS, number):
            line.add(ts + shift, 4 if item in (THAW, CARRY) else 3, item)


def _sample_times(house: Sessions, rules: Rules, interval: int, last: int) -> list[tuple[int, int, int]]:
    """(instant, key, final) of each sample."""
    times = []
    for day, opens, closes in zip(house.day_ns, house.open_ns, house.close_ns, strict=True):
        if closes > last:
            break
        if interval >= DAY_NS:
            final = max(
                sessions.close_ns[sessions.row_of_day[day]] for sessions in rules.sessions if day in sessions.row_of_day
            )
            times.append((closes, day, max(final, closes)))
            continue
        ts = opens
        while ts < closes:
            ts = min(ts + interval, closes)
            times.append((ts, ts, ts))
    return times


def is_market(item: Any) -> bool:
    """Whether an item goes to the venues before the engine."""
    return type(item) in (MarketSlice, Tick, Action, PriceJumped)
