"""The next close of a universe is the one its sessions say: half days, weekends, coins and summer time included."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.stamps import Stamps, place
from quantd.adapters.feeds.live.closes import Closes
from tests.support.examples import examples
from tests.support.vendor import DAY_NS, MINUTE, calendars, market, ns, place_of, rows_of, universe

INTERVALS = st.sampled_from([MINUTE, 7 * MINUTE, 30 * MINUTE, 60 * MINUTE, 240 * MINUTE, DAY_NS])
INSTANTS = st.integers(ns("2024-02-20") // MINUTE, ns("2024-12-26") // MINUTE).map(lambda m: m * MINUTE)


@given(INTERVALS, INSTANTS, st.sampled_from([("SPY",), ("SPY", "BTC-USD")]), st.booleans())
@settings(max_examples=examples(25), deadline=None)
def test_close_after_close_they_are_the_ends_of_all_bars(
    interval: int, start: int, symbols: tuple[str, ...], by_clock: bool
) -> None:
    end = start + (4 * DAY_NS if interval >= 60 * MINUTE else DAY_NS)
    true = market(1, symbols, start, end, interval=interval, stamps="close", by_clock=by_clock)
    closes = Closes(true.universe, true.sessions, interval)
    history = market(1, symbols, start - 5 * DAY_NS, start, interval=interval, stamps="close", by_clock=by_clock)
    if interval < DAY_NS:
        rows = rows_of(history, history.bars)
        closes.learn(rows.column, place_of(history, rows))
    columns_by_close: dict[int, list[int]] = {}
    at = start
    while (due := closes.after(at)) is not None and due[0] <= end:
        at = due[0]
        columns_by_close[at] = np.flatnonzero(due[1]).tolist()
    wanted: dict[int, list[int]] = {}
    for bar in true.bars:
        wanted.setdefault(bar.event, []).append(bar.column)
    assert columns_by_close == wanted


@given(INTERVALS, INSTANTS, st.integers(1, 300), st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_going_back_reaches_at_least_so_many_closes(interval: int, ts: int, bars: int, coins: bool) -> None:
    closes = Closes(universe("SPY", "BTC-USD") if coins else universe("SPY"), calendars(), interval)
    at, count = closes.back(ts, bars), 0
    while (due := closes.after(at)) is not None and due[0] <= ts:
        at = due[0]
        count += bool(due[1][0])
    assert count >= min(bars, 280), "the calendars begin 280 sessions before the first of the instants"


@given(INTERVALS, INSTANTS, st.sampled_from(["open", "close", "session"]))
@example(DAY_NS, ns("2024-02-20"), "open")  # a day of 24 hours that is stamped before its session opens
@settings(max_examples=examples(60), deadline=None)
def test_no_bar_of_after_an_instant_is_stamped_before_what_is_asked_for(interval: int, ts: int, stamps: Stamps) -> None:
    if stamps == "session" and interval < DAY_NS:
        stamps = "open"
    names, cal = universe("SPY", "BTC-USD"), calendars()
    asked = Closes(names, cal, interval).stamp_after(ts, stamps)
    step = DAY_NS if stamps == "session" else 15 * MINUTE
    stamped = np.arange(asked - asked % step - 6 * DAY_NS, asked, step, dtype=np.int64)
    stamped = stamped[stamped < asked]
    for calendar in ("XNYS", "24/7"):
        placed = place(stamped, cal[calendar], stamps, interval)
        late = placed.inside & (placed.ts_event > ts)
        # a daily bar of a half day may carry the hour of an ordinary close, or of after it: that bar is older
        assert not late.any()


def test_beyond_the_calendar_there_is_no_close() -> None:
    closes = Closes(universe("SPY"), calendars(2024, 2024), MINUTE)
    assert closes.after(ns("2024-12-31 21:00")) is None
    assert closes.open_after(ns("2024-12-31 21:00")) is None
    assert closes.open_after(ns("2024-12-30 21:00")) == ns("2024-12-31 14:30")
