"""Slices form by what is said and by who can be believed. The whole way is in test_live; here are its single rules."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.live.slice_builder import LiveMarket, SliceBuilder
from quantd.trading.events import Action
from quantd.trading.market import Jump, MarketSlice
from quantd.trading.ports import Until
from tests.support.vendor import DAY_NS, MINUTE, NANO, Bar, Market, market, ns, rows_of

OPEN = ns("2024-07-02 13:30")
GRACE = 20 * NANO


def forming(true: Market, after: int, aside: list[BadBar] | None = None, late: int = 0) -> SliceBuilder:
    """One that has its history: asked once, at `after`."""
    put = aside if aside is not None else []
    out = SliceBuilder(
        after,
        LiveMarket(
            universe=true.universe, sessions=true.sessions, stamps=true.stamps, interval_ns=true.interval,
            grace_ns=GRACE, late_ns=late, put_aside=lambda bar, _: put.append(bar),
        ),
        safe_ns=0,
        stall_ns=10**18,
    )  # fmt: skip
    out.announce(true.actions, after)
    out.answer(rows_of(true, [b for b in true.bars if b.event <= after]), after, after)
    return out


def minutes(count: int = 10, symbols: int = 3) -> Market:
    return market(1, [f"S{k}" for k in range(symbols)], OPEN - DAY_NS, OPEN + count * MINUTE)


def of_minute(true: Market, minute: int) -> list[Bar]:
    return [b for b in true.bars if b.event == OPEN + minute * MINUTE]


def slices(items: Sequence[object]) -> list[MarketSlice]:
    return [i for i in items if isinstance(i, MarketSlice)]


def said(items: Sequence[object]) -> int:
    (only,) = [i.ts for i in items if isinstance(i, Until)]
    return only


def test_what_lies_in_no_session_or_in_the_future_is_put_aside_once_and_extended_hours_are_passed_over() -> None:
    true, aside = minutes(), list[BadBar]()
    it = forming(true, OPEN, aside)
    now = OPEN + 3 * MINUTE
    bar = of_minute(true, 1)[0]
    night = replace(bar, opens=ns("2024-06-30 12:00"))
    early = replace(bar, opens=OPEN - 60 * MINUTE)
    future = replace(bar, opens=now + 5 * MINUTE)
    for _ in range(2):
        it.answer(rows_of(true, [night, early, future]), now, now)
    assert [b.reason for b in aside] == ["session", "future"]
    assert slices(it.give(now)) == []


def halved(true: Market) -> Market:
    """The same market, but symbol 0 opens at half its price on 2024-07-02."""
    bars = [
        replace(b, open=b.open // 2, high=b.high // 2 + 1, low=b.low // 2, close=b.close // 2, volume=2 * b.volume)
        if b.column == 0 and b.event > OPEN
        else b
        for b in true.bars
    ]
    return replace(true, bars=bars)


def multiplied(true: Market, factor: int) -> Market:
    """The same market, but symbol 0 opens at `factor` times its price on 2024-07-02 and stays there."""
    bars = [
        replace(b, open=b.open * factor, high=b.high * factor, low=b.low * factor, close=b.close * factor)
        if b.column == 0 and b.event > OPEN
        else b
        for b in true.bars
    ]
    return replace(true, bars=bars)


@pytest.mark.parametrize("factor", [9, 35, 190])
def test_a_level_out_of_all_proportion_is_left_out_twice_and_a_jump_with_its_third_bar(factor: int) -> None:
    true, aside = multiplied(minutes(), factor), list[BadBar]()
    it, given = forming(true, OPEN, aside), list[object]()
    for minute in range(1, 5):
        close = OPEN + minute * MINUTE
        it.take(rows_of(true, of_minute(true, minute)), close + NANO)
        given += [item for item in it.give(close + NANO) if not isinstance(item, Until)]
    assert [type(item) for item in given] == [MarketSlice, MarketSlice, Jump, MarketSlice, MarketSlice]
    fresh = [bool(item.fresh[0]) for item in given if isinstance(item, MarketSlice)]
    assert fresh == [False, False, True, True]
    assert [(bar.symbol, bar.reason) for bar in aside] == [(true.universe.symbols[0], "spike")] * 2
    (jump,) = [item for item in given if isinstance(item, Jump)]
    assert (jump.ts, jump.symbol, jump.numerator) == (OPEN + 3 * MINUTE, 0, 1)
    assert jump.denominator == pytest.approx(factor, rel=0.03)


def test_a_level_that_a_person_calls_real_is_given_from_the_next_bar_on() -> None:
    true, aside = multiplied(minutes(), 35), list[BadBar]()
    it, given = forming(true, OPEN, aside), list[object]()
    for minute in range(1, 5):
        close = OPEN + minute * MINUTE
        it.take(rows_of(true, of_minute(true, minute)), close + NANO)
        given += [item for item in it.give(close + NANO) if not isinstance(item, Until)]
        it.accept_price(0)
        it.accept_price(1)
    assert [type(item) for item in given] == [MarketSlice] * 4
    assert [bool(item.fresh[0]) for item in given if isinstance(item, MarketSlice)] == [False, True, True, True]
    assert len(aside) == 1


def test_a_jump_before_a_restart_is_not_reported_again_and_one_while_it_was_away_is() -> None:
    true, close = halved(minutes()), OPEN + 6 * MINUTE
    it = forming(true, OPEN + 5 * MINUTE)
    it.take(rows_of(true, of_minute(true, 6)), close + NANO)
    (market, _) = it.give(close + NANO)
    assert isinstance(market, MarketSlice)
    away = forming(true, OPEN)
    away.answer(rows_of(true, [b for b in true.bars if b.event <= close]), close + GRACE, close + GRACE)
    kinds = [type(item) for item in away.give(close + GRACE)]
    assert kinds == [Jump, *[MarketSlice] * 6, Until]


EX = ns("2024-07-02")


def dividend(cash: int) -> ActionRow:
    return ActionRow(EX, 0, "dividend", 1, 1, cash)


def told(*lists: list[ActionRow], given_after: int) -> list[int]:
    """The dividends given when a vendor lists these, one list after the other; the first `given_after` before
    the open."""
    true = minutes()
    it = forming(replace(true, actions=[]), OPEN - MINUTE)
    items: list[object] = []
    for k, listed in enumerate(lists):
        if k == given_after:
            items += it.give(OPEN)
        it.announce(listed, OPEN + DAY_NS)
    it.answer(rows_of(true, []), OPEN + 2 * MINUTE, OPEN + 2 * MINUTE)
    items += it.give(OPEN + 2 * MINUTE)
    return [i.cash_nano for i in items if isinstance(i, Action)]


def test_an_action_is_given_once_however_often_it_is_listed() -> None:
    assert told([dividend(5)], [dividend(5)], given_after=2) == [5]
    assert told([dividend(5)], [dividend(5)], given_after=1) == [5]


def test_an_action_corrected_before_it_was_given_counts_as_corrected_and_later_not_at_all() -> None:
    assert told([dividend(5)], [dividend(6)], given_after=2) == [6]
    assert told([dividend(5)], [dividend(6)], given_after=1) == [5]


def test_two_dividends_of_one_day_are_two_also_when_the_second_is_listed_later() -> None:
    assert told([dividend(5), dividend(5)], given_after=1) == [5, 5]
    assert told([dividend(5)], [dividend(5), dividend(2)], given_after=1) == [5, 2]


def test_time_stops_before_an_open_whose_actions_nobody_was_asked_for() -> None:
    true = minutes()
    it = forming(true, OPEN - MINUTE)
    assert said(it.give(OPEN + NANO)) == OPEN - 1
    assert said(it.give(OPEN + GRACE)) == OPEN + GRACE, "not for longer than the grace"
    other = forming(true, OPEN - MINUTE)
    other.announce([], OPEN)
    assert said(other.give(OPEN + NANO)) == OPEN + NANO


def test_bars_that_wait_are_queued_once_however_often_they_are_answered() -> None:
    """Time stops before an open without known actions; each answer then has every bar since the last slice."""
    true = minutes()
    it = forming(true, OPEN - MINUTE)
    bars = [bar for bar in true.bars if bar.event > OPEN]
    for k in range(50):
        it.answer(rows_of(true, bars), OPEN + 10 * MINUTE, OPEN + 10 * MINUTE + k)
    assert sum(len(rows) for rows, _, _ in it._waiting) == len(bars)
    it.announce([], OPEN + DAY_NS)
    given = slices(it.give(OPEN + 11 * MINUTE))
    assert [market.ts_event for market in given] == sorted({bar.event for bar in bars})
