"""Bars out of trades and of finer bars: exact, and inside their sessions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.resample import Resampler
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.wrappers.interval import ResampledStream
from quantd.trading.market import Floats, Ints
from tests.support.examples import examples
from tests.support.vendor import (
    DAY_NS,
    MINUTE,
    NANO,
    calendars,
    market,
    ns,
    rows_of,
    universe,
)  # fmt: skip

HALF_DAY = ns("2024-07-03")
NAMES = universe("SPY", "QQQ", "BTC-USD")
CALENDARS = calendars()


def priced(ts: Ints, column: Ints, nano: Ints, size: Floats) -> Rows:
    """Trades: rows of one price."""
    return Rows(ts, column, *[nano / 1e9] * 4, size, nano, nano, np.zeros(len(ts), dtype=np.int64))


def trades(seed: int, count: int, start: int, end: int) -> Rows:
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(start, end, count))
    ts[rng.random(count) < 0.2] //= 60 * NANO  # some on the minute, many at one instant
    ts = np.sort(np.where(ts < start, ts * 60 * NANO, ts))
    nano = rng.integers(1, 10**13, count)
    return priced(ts, rng.integers(0, 3, count), nano, rng.integers(1, 1000, count).astype(np.float64))


def table(rows: Rows) -> list[tuple[object, ...]]:
    """All but the volume, exact."""
    names = ("ts", "column", "open", "high", "low", "close", "open_nano", "close_nano")
    return sorted(zip(*(getattr(rows, n).tolist() for n in names), strict=True))


def volumes(rows: Rows) -> list[float]:
    order = np.lexsort((rows.column, rows.ts))
    return rows.volume[order].tolist()


def by_hand(some: Rows, interval: int) -> list[tuple[object, ...]]:
    """The same with dictionaries, bar by bar."""
    bars: dict[tuple[int, int], list[int]] = {}
    for k in range(len(some)):
        s = CALENDARS[NAMES.instruments[some.column[k]].calendar]
        ts = int(some.ts[k])
        for opened, closed in zip(s.open_ns, s.close_ns, strict=True):
            last_bar = ts == closed and ts not in s.open_ns
            if opened <= ts < closed or last_bar:
                step = closed - opened if interval == DAY_NS else interval
                at = opened + (min(ts, closed - 1) - opened) // step * step
                bars.setdefault((at, int(some.column[k])), []).append(k)
    out: list[tuple[object, ...]] = []
    for (at, column), ks in bars.items():
        price, exact = some.close[ks].tolist(), some.close_nano[ks].tolist()
        out.append((at, column, price[0], max(price), min(price), price[-1], exact[0], exact[-1]))
    return sorted(out)


INTERVALS = st.sampled_from([MINUTE, 7 * MINUTE, 60 * MINUTE, DAY_NS])


@given(st.integers(0, 99), st.integers(0, 300), INTERVALS)
@settings(max_examples=examples(30), deadline=None)
def test_bars_of_trades_are_what_one_counts_by_hand(seed: int, count: int, interval: int) -> None:
    some = trades(seed, count, HALF_DAY + 12 * 60 * MINUTE, HALF_DAY + 30 * 60 * MINUTE)
    rows = Resampler(NAMES, CALENDARS, interval).whole(some)
    assert table(rows) == by_hand(some, interval)


@given(st.integers(0, 20), st.sampled_from([5, 15, 60, 240]), st.sampled_from(["open", "close"]))
@settings(max_examples=examples(15), deadline=None)
def test_of_finer_bars_they_are_the_same_as_of_minutes_in_two_steps(seed: int, minutes: int, stamps: str) -> None:
    true = market(seed, ("SPY", "BTC-USD"), HALF_DAY, HALF_DAY + DAY_NS, missing=0.3)
    fine = rows_of(replace(true, stamps=stamps), true.bars)
    names = true.universe
    at_once = Resampler(names, CALENDARS, minutes * MINUTE, stamps=stamps, finer_ns=MINUTE).whole(fine)
    fives = Resampler(names, CALENDARS, 5 * MINUTE, stamps=stamps, finer_ns=MINUTE).whole(fine)
    if minutes > 5:
        fives = Resampler(names, CALENDARS, minutes * MINUTE, stamps="open", finer_ns=5 * MINUTE).whole(fives)
    assert table(at_once) == table(fives)
    assert volumes(at_once) == volumes(fives)


def test_a_finer_bar_that_is_no_number_makes_a_bar_that_is_none() -> None:
    true = market(1, ("SPY",), ns("2024-07-02 13:30"), ns("2024-07-02 13:40"))
    rows = rows_of(true, true.bars)
    rows.high[2] = np.nan
    out = Resampler(true.universe, CALENDARS, 5 * MINUTE, finer_ns=MINUTE).whole(rows)
    assert np.isnan(out.high).tolist() == [True, False]


def test_intervals_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(FeedError, match="do not add up"):
        Resampler(NAMES, CALENDARS, 60 * MINUTE, finer_ns=7 * MINUTE)
    true = market(1, ("SPY",), ns("2024-07-02 13:30"), ns("2024-07-02 20:00"), interval=60 * MINUTE, by_clock=True)
    by_clock = replace(true, stamps="close")
    with pytest.raises(FeedError, match="cross the end of a bar"):
        Resampler(true.universe, CALENDARS, 180 * MINUTE, stamps="close", finer_ns=60 * MINUTE).whole(
            rows_of(by_clock, true.bars)
        )


def test_what_a_stream_hears_of_halts_is_heard_through_it_too() -> None:
    class Tape:
        told: list[object] = []

        def tell_halts(self, receiver: object) -> None:
            self.told.append(receiver)

    true = market(5, ("SPY",), ns("2024-07-02 13:30"), ns("2024-07-02 13:40"))
    for inner, heard in ((Tape(), [print]), (object(), [])):
        ResampledStream(inner, true.universe, true.sessions, 5 * MINUTE, MINUTE).tell_halts(print)
        assert getattr(inner, "told", []) == heard
