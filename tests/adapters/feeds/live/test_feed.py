"""The live feed over a vendor who makes every mistake: no bar is lost, doubled or out of order, and time goes
forward."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.live.feed import SAFE_NS, Live
from quantd.adapters.feeds.source import PartialAnswer, Source, SourceError, Stream
from quantd.trading.events import Action
from quantd.trading.market import Jump, MarketSlice
from quantd.trading.ports import LiveFeed, Until
from tests.support.examples import examples
from tests.support.vendor import (
    DAY_NS,
    MINUTE,
    NANO,
    Bar,
    Clock,
    Faults,
    Got,
    Inside,
    InsideStream,
    Market,
    Remote,
    RemoteStream,
    Server,
    Vendor,
    collect,
    feed_of,
    market,
    ns,
    punctual,
    rows_of,
    scripted,
    truth,
    virtually,
)  # fmt: skip

SYMBOLS = tuple(f"S{k:02d}" for k in range(5))
GRACE = 20 * NANO
OPEN = ns("2024-07-02 13:30")


def run(
    true: Market,
    faults: Faults,
    *,
    begin: int,
    after: int,
    until: int,
    streamed: bool = True,
    grace: int = GRACE,
    **more: object,
) -> Got:
    """One session of the feed in virtual time, its order of time checked."""

    async def session() -> Got:
        clock, got = Clock(begin), Got()
        vendor = Vendor(true, faults)
        stream = InsideStream(vendor, clock) if streamed else None
        settings = {"beat_s": 1.0, **more}
        feed = feed_of(Inside(vendor, clock), stream, true, clock, got, grace, **settings)
        async with asyncio.timeout(40 * 86_400):
            return await collect(feed, clock, got, after, until)

    got = virtually(session())
    got.check_time(after)
    return got


def given_until(got: Got, until: int) -> list[tuple[int, int, tuple[int, ...]]]:
    return [bar for bar in got.bars() if bar[0] <= until]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_day_comes_as_it_was_history_first_then_what_happens(streamed: bool) -> None:
    true = market(1, SYMBOLS, OPEN - 3 * DAY_NS, OPEN + 20 * MINUTE)
    after, end = ns("2024-07-01 19:00"), OPEN + 15 * MINUTE
    got = run(true, punctual(true), begin=OPEN + 5 * MINUTE, after=after, until=end, streamed=streamed)
    assert given_until(got, end) == truth(true, after, end)
    assert [s.index for s in got.slices] == list(range(len(got.slices)))
    assert all(s.full for s in got.slices)
    assert got.aside == []
    live = [s for s in got.slices if s.ts_event > OPEN + 6 * MINUTE]
    assert all(s.ts_seen - s.ts_event < 4 * NANO for s in live), "it came when it was, not at the end of its grace"
    assert [why for _, why in got.troubles] == [""]


def faulty(seed: int) -> tuple[Market, Faults, int, int, int]:
    rng = random.Random(seed)
    start, end = OPEN - MINUTE, OPEN + rng.randint(15, 30) * MINUTE
    true = market(seed, SYMBOLS, start - 2 * DAY_NS, end + 5 * MINUTE, missing=rng.choice((0.0, 0.1)))
    return true, scripted(true, seed, GRACE, start, end), start + rng.randint(0, 9) * MINUTE, start, end


@pytest.mark.long
@pytest.mark.requirement("R-015")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "seeds", [range(5), pytest.param(range(1000, 1500), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_bar_is_lost_doubled_or_out_of_order_whatever_the_vendor_does(seeds: range) -> None:
    for seed in seeds:
        true, faults, begin, start, end = faulty(seed)
        got = run(true, faults, begin=begin, after=start - DAY_NS, until=end, streamed=seed % 3 > 0)
        assert given_until(got, end) == truth(true, start - DAY_NS, end), (seed, faults.kinds)
        assert {bar.reason for bar, _ in got.aside} <= {"corrected"}


@pytest.mark.long
@pytest.mark.parametrize("scripts", [4, pytest.param(10, marks=pytest.mark.slow)])
async def test_over_real_sockets_scripts_of_faults_lose_and_double_nothing(scripts: int) -> None:
    """Vendors and feeds at once, at 40 times the speed; the grace is long, for a loop that is this busy."""
    start, end, grace = OPEN - MINUTE, OPEN + 5 * MINUTE, 40 * NANO

    async def one(seed: int) -> None:
        true = market(seed, SYMBOLS, start - DAY_NS, end + 5 * MINUTE, missing=0.05)
        faults = scripted(true, seed, grace, start, end)
        clock, got = Clock(start, 40.0), Got()
        async with Server(Vendor(true, faults), clock) as server:
            remote = Remote(f"remote {seed}", server.port, true)
            stream = RemoteStream(remote) if seed % 4 else None
            feed = feed_of(remote, stream, true, clock, got, grace, beat_s=3.0)
            await collect(feed, clock, got, start - 3600 * NANO, end)
        got.check_time(start - 3600 * NANO)
        given_bars, wanted = given_until(got, end), truth(true, start - 3600 * NANO, end)
        lost, more = sorted(set(wanted) - set(given_bars)), sorted(set(given_bars) - set(wanted))
        assert given_bars == wanted, (seed, faults.kinds, lost, more, faults.failing, got.aside)

    await asyncio.gather(*(one(seed) for seed in range(scripts)))


def same(a: Got, b: Got) -> bool:
    def told(got: Got) -> list[object]:
        return [
            i if isinstance(i, Action) else (i.ts_open, i.ts_event, i.key, i.fresh.tolist(), i.open_nano.tolist())
            for i in got.items
            if not isinstance(i, Until)
        ]

    return told(a) == told(b) and a.bars() == b.bars()


def with_actions(true: Market) -> Market:
    """A dividend and a split of one day, and the bars of after it at half the price."""
    ex = ns("2024-07-02")
    halved = [
        replace(b, open=b.open // 2, high=b.high // 2 + 1, low=b.low // 2, close=b.close // 2)
        if b.column == 1 and b.day >= ex
        else b
        for b in true.bars
    ]
    listed = [ActionRow(ex, 1, "split", 2, 1, 0), ActionRow(ex, 1, "dividend", 1, 1, 250_000_000)]
    return replace(true, bars=halved, actions=listed)


RESTARTED = with_actions(market(7, SYMBOLS[:3], ns("2024-06-28 13:30"), OPEN + 30 * MINUTE, missing=0.05))
FRIDAY = ns("2024-06-28 19:50")
WHOLE = run(RESTARTED, punctual(RESTARTED), begin=OPEN + 25 * MINUTE, after=FRIDAY, until=OPEN + 28 * MINUTE)


@pytest.mark.long
@given(
    st.lists(st.integers(-900, 27 * 60), min_size=1, max_size=3, unique=True).map(sorted),
    st.booleans(),
    st.integers(0, 90),
)
@settings(max_examples=examples(8), deadline=None)
def test_any_cut_into_restarts_gives_what_one_run_gives(cuts: list[int], streamed: bool, down_s: int) -> None:
    """Each session ends after some time, the next begins later, after the last slice of the one before."""
    expected, parts, after, begin = WHOLE, Got(), FRIDAY, OPEN - 20 * MINUTE
    for cut in [*cuts, 28 * 60]:
        until = OPEN + cut * NANO
        got = run(RESTARTED, punctual(RESTARTED), begin=begin, after=after, until=until, streamed=streamed, beat_s=5)
        parts.items += got.items
        # a journal knows of both
        after = max([after, *(s.ts_event for s in got.slices[-1:]), *(a.ts for a in got.actions[-1:])])
        begin = max(begin, until) + down_s * NANO
    assert same(parts, expected)


def test_actions_come_at_the_open_of_their_day_once_the_dividend_first_and_before_its_bars() -> None:
    dividend, split = WHOLE.actions
    assert (dividend.ts, dividend.kind, split.ts, split.kind) == (OPEN, "dividend", OPEN, "split")
    at = WHOLE.items.index(dividend)
    before = [s.ts_event for s in WHOLE.items[:at] if isinstance(s, MarketSlice)]
    later = [s.ts_event for s in WHOLE.items[at:] if isinstance(s, MarketSlice)]
    assert before[-1] == ns("2024-07-01 20:00")
    assert later[0] == OPEN + MINUTE
    assert WHOLE.aside == [], "a split that is announced does not look like a bad price"


@pytest.mark.long
def test_a_split_announced_too_late_is_given_at_once_and_its_jump_came_before_the_new_price() -> None:
    true = with_actions(market(7, SYMBOLS[:3], ns("2024-06-28 13:30"), OPEN + 30 * MINUTE))
    announcement_ns = OPEN + 10 * MINUTE

    class Tardy(Inside):
        async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
            if ns("2024-07-02 13:00") < self._clock.now() < announcement_ns:
                raise SourceError("inside", "no actions today")
            return await super().actions(start_ns, end_ns)

    async def session() -> Got:
        clock, got = Clock(OPEN - 60 * MINUTE), Got()
        source = Tardy(Vendor(true, punctual(true)), clock)
        feed = feed_of(source, None, true, clock, got, GRACE, beat_s=5.0)
        feed_items = feed.items(ns("2024-07-01 13:30"))
        async for item in feed_items:
            got.items.append(item)
            if not got.troubles or got.troubles[-1][1] != feed.trouble:
                got.troubles.append((clock.now(), feed.trouble))
            if isinstance(item, Until) and item.ts >= OPEN + 20 * MINUTE:
                break
        await feed_items.aclose()
        return got

    got = virtually(session())
    got.check_time(ns("2024-07-01 13:30"))
    split = next(a for a in got.actions if a.kind == "split")
    assert announcement_ns - SAFE_NS <= split.ts, "given when it is told, at the moment the feed has come to by then"
    assert split.key == ns("2024-07-02")
    assert any("splits and dividends are not known" in why for _, why in got.troubles)
    jumps = [item for item in got.items if isinstance(item, Jump)]
    assert [(j.symbol, j.ts_open, j.numerator, j.denominator) for j in jumps] == [(1, OPEN, 2, 1)]
    following = got.items[got.items.index(jumps[0]) + 1]
    assert isinstance(following, MarketSlice)
    assert (following.ts_event, bool(following.fresh[1])) == (jumps[0].ts, True)
    assert jumps[0].ts < split.ts


@pytest.mark.long
def test_a_half_day_ends_early_and_its_last_bar_with_it_in_polls_too() -> None:
    opened, closes = ns("2024-07-03 13:30"), ns("2024-07-03 17:00")
    after_it = ns("2024-07-05 13:31")
    for streamed in (True, False):
        true = market(3, SYMBOLS[:2], opened - DAY_NS, after_it, interval=7 * MINUTE)
        got = run(
            true,
            punctual(true),
            begin=closes - 20 * MINUTE,
            after=opened,
            until=after_it,
            streamed=streamed,
            beat_s=30.0,
        )
        assert given_until(got, after_it) == truth(true, opened, after_it)
        assert closes in [s.ts_event for s in got.slices]
        assert 0 < max(s.ts_event - s.ts_open for s in got.slices) <= 7 * MINUTE


@pytest.mark.long
def test_daily_bars_of_bitcoin_and_funds_stand_side_by_side_over_a_weekend() -> None:
    true = market(5, ("SPY", "BTC-USD"), ns("2024-06-25"), ns("2024-07-04 21:00"), interval=DAY_NS, stamps="session")
    start, end = ns("2024-06-26 20:00"), ns("2024-07-04 00:00")
    got = run(
        true,
        punctual(true),
        begin=ns("2024-06-28 12:00"),
        after=start,
        until=end,
        streamed=False,
        grace=600 * NANO,
        beat_s=60.0,
    )
    assert given_until(got, end) == truth(true, start, end)
    closes = [(s.ts_event, s.key, s.fresh.tolist()) for s in got.slices]
    friday = ns("2024-06-28")
    assert (ns("2024-06-28 20:00"), friday, [True, False]) in closes
    for days in (1, 2, 3):
        assert (friday + days * DAY_NS, friday + (days - 1) * DAY_NS, [False, True]) in closes
    assert (ns("2024-07-03 17:00"), ns("2024-07-03"), [True, False]) in closes, "a half day"


def test_a_symbol_whose_bars_stop_is_not_fresh_and_the_others_go_on_after_their_grace() -> None:
    true = market(9, SYMBOLS[:3], OPEN - DAY_NS, OPEN + 20 * MINUTE)
    dies = OPEN + 5 * MINUTE
    true = replace(true, bars=[b for b in true.bars if b.column != 2 or b.event <= dies])
    got = run(true, punctual(true), begin=OPEN - MINUTE, after=OPEN - MINUTE, until=OPEN + 15 * MINUTE)
    assert given_until(got, OPEN + 15 * MINUTE) == truth(true, OPEN - MINUTE, OPEN + 15 * MINUTE)
    for s in got.slices:
        assert s.fresh.tolist() == [True, True, s.ts_event <= dies]
        assert np.isnan(s.close[2]) == (s.ts_event > dies)
    late = [w for s, w in zip(got.slices, got.waited_s, strict=True) if s.ts_event > dies]
    assert max(late) < 20 + 4
    assert min(late) >= 20


@pytest.mark.long
def test_who_is_only_asked_is_asked_once_more_when_the_grace_is_over_and_not_later() -> None:
    """The pauses between questions grow: one of them would end three seconds after the grace."""
    true = market(9, SYMBOLS[:3], OPEN - DAY_NS, OPEN + 20 * MINUTE)
    dies = OPEN + 5 * MINUTE
    true = replace(true, bars=[b for b in true.bars if b.column != 2 or b.event <= dies])
    got = run(
        true,
        punctual(true),
        begin=OPEN - MINUTE,
        after=OPEN - MINUTE,
        until=OPEN + 12 * MINUTE,
        streamed=False,
        beat_s=0.2,
    )
    late = [w for s, w in zip(got.slices, got.waited_s, strict=True) if s.ts_event > dies]
    assert late
    assert min(late) >= 20
    assert max(late) < 21


@pytest.mark.long
def test_a_stream_that_is_lost_right_after_a_close_does_not_say_that_the_others_have_no_bar() -> None:
    true = market(14, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 30 * MINUTE)
    faults = punctual(true)
    close, back = OPEN + 5 * MINUTE, OPEN + 9 * MINUTE + 30 * NANO
    # one symbol's bar comes in time, then the line is cut, and the vendor cannot be asked either
    first = [b for b in true.bars if b.event == close and b.column == 0]
    other_sends = [(at, [b for b in bars if b.event != close]) for at, bars in faults.sent]
    faults.sent = sorted([*((at, bars) for at, bars in other_sends if bars), (close + NANO, first)], key=lambda s: s[0])
    faults.away, faults.failing = [(close + 2 * NANO, back)], [(close + 1, back, 500)]
    got = run(true, faults, begin=OPEN, after=OPEN, until=OPEN + 12 * MINUTE, beat_s=0.2)
    assert given_until(got, OPEN + 12 * MINUTE) == truth(true, OPEN, OPEN + 12 * MINUTE)
    (only,) = [s for s in got.slices if s.ts_event == close]
    assert only.full
    assert only.ts_seen >= back


def test_a_market_that_falls_silent_gives_nothing_and_says_so() -> None:
    true = market(10, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 3 * MINUTE)
    got = run(true, punctual(true), begin=OPEN, after=OPEN, until=OPEN + 10 * MINUTE)
    assert [s.ts_event for s in got.slices][-1] == OPEN + 3 * MINUTE
    assert "no good bar of any symbol since 2024-07-02T13:33:00Z" in got.troubles[-1][1]


def test_a_vendor_that_is_gone_keeps_time_standing_says_why_and_all_comes_when_it_is_back() -> None:
    true = market(11, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 30 * MINUTE)
    faults = punctual(true)
    gone, back = OPEN + 4 * MINUTE + 30 * NANO, OPEN + 14 * MINUTE
    faults.away, faults.failing = [(gone, back)], [(gone, back, 500)]
    got = run(true, faults, begin=OPEN, after=OPEN, until=OPEN + 20 * MINUTE)
    assert given_until(got, OPEN + 20 * MINUTE) == truth(true, OPEN, OPEN + 20 * MINUTE)
    why = [w for t, w in got.troubles if gone < t < back and w]
    assert why
    assert "connection lost" in why[-1]
    assert "status 500" in why[-1]
    assert got.troubles[-1][1] == ""
    late = [s for s in got.slices if gone < s.ts_event < back]
    assert late
    assert all(s.ts_seen >= back for s in late)


@pytest.mark.requirement("R-015")
def test_a_stream_that_stays_connected_and_says_nothing_is_mended_and_connected_anew() -> None:
    true = market(12, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 30 * MINUTE)
    faults = punctual(true)
    faults.mute = [(OPEN + 5 * MINUTE, OPEN + 10 * MINUTE)]

    async def session() -> tuple[Got, int]:
        clock, got, vendor = Clock(OPEN), Got(), Vendor(true, faults)
        feed = feed_of(Inside(vendor, clock), InsideStream(vendor, clock), true, clock, got, GRACE, beat_s=1.0)
        return await collect(feed, clock, got, OPEN, OPEN + 15 * MINUTE), vendor.connected

    got, connected = virtually(session())
    assert given_until(got, OPEN + 15 * MINUTE) == truth(true, OPEN, OPEN + 15 * MINUTE)
    assert max(got.waited_s) < 20 + 1, "within the grace"
    assert connected > 1


def one_late(seconds: int, seed: int = 13) -> tuple[Market, Got, Bar]:
    """Minutes of three symbols; a bar of the fifth comes late by the stream, and the records never have it."""
    true = market(seed, SYMBOLS[:3], OPEN - DAY_NS, OPEN + 12 * MINUTE)
    late = next(b for b in true.bars if b.event == OPEN + 5 * MINUTE and b.column == 1)
    kept = replace(true, bars=[b for b in true.bars if b is not late])
    faults = punctual(kept)
    faults.sent = sorted([*faults.sent, (late.event + seconds * NANO, [late])], key=lambda s: s[0])
    return true, run(kept, faults, begin=OPEN, after=OPEN, until=OPEN + 8 * MINUTE), late


def test_a_bar_later_than_its_slice_comes_in_a_slice_of_its_own_while_its_instant_is_the_newest() -> None:
    true, got, late = one_late(30)
    assert sorted(given_until(got, OPEN + 8 * MINUTE)) == sorted(truth(true, OPEN, OPEN + 8 * MINUTE))
    two = [s.fresh.tolist() for s in got.slices if s.ts_event == late.event]
    assert two == [[True, False, True], [False, True, False]]
    assert got.aside == []


@pytest.mark.parametrize("seconds", [45, 70])
def test_a_bar_that_is_later_still_is_put_aside_as_late(seconds: int) -> None:
    _, got, late = one_late(seconds)
    assert (late.event, late.column, late.values) not in got.bars()
    ((bar, instead),) = got.aside
    assert (bar.reason, bar.symbol, bar.ts_event, instead) == ("late", "S01", late.event, None)
    assert bar.close == late.close / 100


def test_a_correction_of_a_bar_that_was_given_is_put_aside_with_both_values() -> None:
    true = market(14, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 12 * MINUTE)
    faults = punctual(true)
    bar = next(b for b in true.bars if b.event == OPEN + 4 * MINUTE and b.column == 0)
    corrected = replace(bar, close=bar.close + 2, high=bar.high + 2)
    faults.sent = sorted([*faults.sent, (bar.event + 90 * NANO, [corrected, bar])], key=lambda s: s[0])
    got = run(true, faults, begin=OPEN, after=OPEN, until=OPEN + 8 * MINUTE)
    assert given_until(got, OPEN + 8 * MINUTE) == truth(true, OPEN, OPEN + 8 * MINUTE)
    ((put, given_bar),) = got.aside
    assert given_bar is not None
    assert (put.reason, put.close, given_bar.close) == ("corrected", corrected.close / 100, bar.close / 100)


def test_a_bad_bar_is_put_aside_once_with_its_reason_and_nothing_stands_in_its_place() -> None:
    true = market(15, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 12 * MINUTE)
    bad = next(b for b in true.bars if b.event == OPEN + 4 * MINUTE and b.column == 0)
    worse = replace(bad, high=bad.high * 20, close=bad.close * 20)
    true = replace(true, bars=[worse if b is bad else b for b in true.bars])
    got = run(true, punctual(true), begin=OPEN, after=OPEN, until=OPEN + 8 * MINUTE, streamed=False)
    ((put, _),) = got.aside
    assert (put.reason, put.ts_event) == ("spike", bad.event)
    (only,) = [s for s in got.slices if s.ts_event == bad.event]
    assert only.fresh.tolist() == [False, True]


def test_a_process_that_slept_loses_nothing_of_what_came_meanwhile() -> None:
    true = market(16, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 30 * MINUTE)
    faults = punctual(true)
    for bar in true.bars:  # lies unread until the process wakes, and looks like a bar that is over by then
        if OPEN + 6 * MINUTE < bar.event < OPEN + 14 * MINUTE:
            faults.sent.append((bar.opens + NANO, [replace(bar, volume=1)]))
    faults.sent.sort(key=lambda s: s[0])

    class Sleepy(Clock):
        """A clock that leaps by ten minutes, as it looks to a process that was stopped."""

        def now(self) -> int:
            now = super().now()
            return now if now < OPEN + 5 * MINUTE + 2 * NANO // 3 else now + 10 * MINUTE

    async def session() -> Got:
        clock, got = Sleepy(OPEN), Got()
        vendor = Vendor(true, faults)
        feed = feed_of(Inside(vendor, clock), InsideStream(vendor, clock), true, clock, got, GRACE, beat_s=1.0)
        return await collect(feed, clock, got, OPEN, OPEN + 20 * MINUTE)

    got = virtually(session())
    assert given_until(got, OPEN + 20 * MINUTE) == truth(true, OPEN, OPEN + 20 * MINUTE)
    assert got.aside == []


def test_time_is_told_four_times_a_second_and_never_beyond_a_close_whose_bars_may_come() -> None:
    true = market(17, SYMBOLS[:2], OPEN - DAY_NS, OPEN + 12 * MINUTE)

    async def session() -> list[tuple[int, int, int]]:
        clock, got, log = Clock(OPEN), Got(), list[tuple[int, int, int]]()
        vendor = Vendor(true, punctual(true))
        feed: LiveFeed = feed_of(Inside(vendor, clock), InsideStream(vendor, clock), true, clock, got, GRACE)
        async for item in feed.items(OPEN):
            if isinstance(item, MarketSlice):
                got.items.append(item)
            if isinstance(item, Until):
                log.append((clock.now(), item.ts, got.slices[-1].ts_event if got.slices else OPEN))
            if clock.now() > OPEN + 3 * MINUTE:
                await feed.close()
        return log

    readings = virtually(session())
    gaps = np.diff([at for at, _, _ in readings])
    assert gaps.max() <= NANO // 4
    assert all(until < newest + MINUTE for _, until, newest in readings)
    awake = [at - until for at, until, newest in readings if newest + 10 * NANO < at < newest + 50 * NANO]
    assert max(awake) < NANO // 4, "between bars time is told as it is"


def test_the_end_of_its_calendars_is_trouble() -> None:
    true = market(18, SYMBOLS[:1], ns("2025-12-31 20:00"), ns("2025-12-31 21:00"))
    got = run(
        true, punctual(true), begin=ns("2025-12-31 20:50"), after=ns("2025-12-31 20:50"), until=ns("2025-12-31 21:05")
    )
    assert [s.ts_event for s in got.slices][-1] == ns("2025-12-31 21:00")
    assert "the calendars end today" in got.troubles[-1][1]


def test_close_ends_the_items_and_closes_vendor_and_tasks() -> None:
    true = market(18, SYMBOLS[:1], OPEN - DAY_NS, OPEN + 12 * MINUTE)

    async def session() -> tuple[int, int]:
        clock, got = Clock(OPEN), Got()
        vendor = Vendor(true, punctual(true))
        source = Inside(vendor, clock)
        feed = feed_of(source, InsideStream(vendor, clock), true, clock, got, GRACE)

        async def read() -> None:
            async for _ in feed.items(OPEN):
                pass

        reading = asyncio.create_task(read())
        await clock.until(OPEN + MINUTE)
        await feed.close()
        await reading
        return source.closed, len(asyncio.all_tasks()) - 1

    assert virtually(session()) == (1, 0)


def test_adjusted_prices_with_actions_are_refused() -> None:
    true = replace(RESTARTED)

    class Adjusted(Inside):
        adjusted = True

    async def session() -> None:
        clock, got = Clock(OPEN + MINUTE), Got()
        source: Source = Adjusted(Vendor(true, punctual(true)), clock)
        feed = feed_of(source, None, true, clock, got, GRACE)
        async for _ in feed.items(FRIDAY):
            pass

    with pytest.raises(FeedError, match="adjusted prices hold their splits"):
        virtually(session())


def test_what_cannot_be_dated_is_refused() -> None:
    true = market(1, SYMBOLS[:1], OPEN, OPEN + MINUTE)

    async def make(**wrong: object) -> None:
        clock = Clock(OPEN)
        source = Inside(Vendor(true, punctual(true)), clock)
        source.stamps = "session"
        feed_of(source, None, replace(true, **wrong), clock, Got(), GRACE)  # type: ignore[arg-type]

    with pytest.raises(FeedError, match="no sessions of XNYS"):
        virtually(make(sessions={}))
    with pytest.raises(FeedError, match="session dates cannot stamp"):
        virtually(make())


def test_a_vendor_that_hangs_is_given_up_and_asked_again() -> None:
    true = market(19, SYMBOLS[:1], OPEN - DAY_NS, OPEN + 12 * MINUTE)

    class Hanging(Inside):
        hangs = 2

        async def bars(self, start_ns: int, end_ns: int) -> Rows:
            if self.hangs:
                self.hangs -= 1
                await asyncio.Event().wait()
            return await super().bars(start_ns, end_ns)

    async def session() -> Got:
        clock, got = Clock(OPEN), Got()
        feed = feed_of(Hanging(Vendor(true, punctual(true)), clock), None, true, clock, got, GRACE)
        return await collect(feed, clock, got, OPEN, OPEN + 4 * MINUTE)

    got = virtually(session())
    assert given_until(got, OPEN + 4 * MINUTE) == truth(true, OPEN, OPEN + 4 * MINUTE)
    assert any("no answer within 60 s" in why for _, why in got.troubles)


def test_a_fault_of_ours_in_a_vendor_is_not_swallowed() -> None:
    true = market(20, SYMBOLS[:1], OPEN - DAY_NS, OPEN + 12 * MINUTE)

    class Broken:
        async def bars(self) -> AsyncGenerator[Rows, None]:
            yield rows_of(true, true.bars[:1])
            raise KeyError("a bug")

        async def close(self) -> None: ...

    async def session() -> None:
        clock = Clock(OPEN)
        stream: Stream = Broken()
        feed: Live = feed_of(Inside(Vendor(true, punctual(true)), clock), stream, true, clock, Got(), GRACE)
        async for _ in feed.items(OPEN):
            pass

    with pytest.raises(KeyError, match="a bug"):
        virtually(session())


def test_a_symbol_that_the_vendor_no_longer_has_stops_and_the_others_go_on() -> None:
    class Delisted(Inside):
        async def bars(self, start_ns: int, end_ns: int) -> Rows:
            rows = await super().bars(start_ns, end_ns)
            raise PartialAnswer("inside", rows.take(rows.column != 2), ["S02"], "delisted")

    true = market(4, SYMBOLS, OPEN - 2 * DAY_NS, OPEN + 12 * MINUTE)
    after, end = OPEN - DAY_NS, OPEN + 8 * MINUTE
    absent: list[tuple[str, ...]] = []

    async def session() -> Got:
        clock, got = Clock(OPEN + MINUTE), Got()
        vendor = Vendor(true, punctual(true))
        feed = feed_of(Delisted(vendor, clock), None, true, clock, got, GRACE, beat_s=1.0)
        async with asyncio.timeout(86_400):
            record = await collect(feed, clock, got, after, end)
        absent.append(feed.absent)
        return record

    got = virtually(session())
    assert given_until(got, end) == [bar for bar in truth(true, after, end) if bar[1] != 2]
    assert absent == [("S02",)]
    assert {why for _, why in got.troubles} == {""}
