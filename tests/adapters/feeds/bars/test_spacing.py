"""Bars at another distance than their interval are shown with the right one; thin markets are not."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.spacing import Spacing, wrong_spacings
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns, place
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.examples import examples

CALENDARS = {name: sessions(name, date(2023, 1, 1), date(2025, 12, 31)) for name in ("XNYS", "XTKS", "24/7")}
M = 60_000_000_000


def intraday(calendar: Sessions, step: int, days: int = 10) -> Ints:
    """Stamps at every `step` ns from the open to the close, on the first `days` sessions."""
    hours = zip(calendar.open_ns[:days], calendar.close_ns[:days], strict=True)
    return np.concatenate([np.arange(opened, closed, step) for opened, closed in hours])


def wrong(
    ts: Ints, interval: str, calendar: str = "XNYS", stamps: Stamps = "open", column: Ints | None = None
) -> list[Spacing]:
    columns = np.zeros(len(ts), dtype=np.int64) if column is None else column
    universe = Universe(tuple(Instrument(f"S{k}", calendar=calendar) for k in range(int(columns.max()) + 1)))
    length = interval_ns(interval)
    placed = place(ts, CALENDARS[calendar], stamps, length)
    return wrong_spacings(ts, columns, placed, universe, CALENDARS, length)


@pytest.mark.parametrize("calendar", ["XNYS", "XTKS", "24/7"])
@pytest.mark.parametrize(
    ("actual", "read"),
    [
        ("5m", "1m"), ("1h", "1m"), ("15m", "5m"), ("30m", "15m"), ("1h", "30m"), ("30s", "5s"), ("10m", "1m"),
        ("1m", "5m"), ("5m", "15m"), ("5m", "1h"), ("30s", "1m"), ("15m", "30m"), ("1m", "1h"), ("7m", "1m"),
        ("5m", "1d"), ("1h", "1d"), ("1m", "1d"),
    ],
)  # fmt: skip
def test_bars_inside_a_session_at_another_distance_are_shown_with_the_right_interval(
    actual: str, read: str, calendar: str
) -> None:
    ts = intraday(CALENDARS[calendar], interval_ns(actual))
    assert wrong(ts, actual, calendar) == []
    assert [spacing.text for spacing in wrong(ts, read, calendar)] == [actual]


def daily(every: str, calendar: str) -> Ints:
    """Session dates of each week, month and so on: the last session of each, as vendors date them."""
    days = CALENDARS[calendar].days
    dates = days.astype("datetime64[ns]").astype("datetime64[D]")
    unit = {"week": (dates.astype(int) + 3) // 7, "month": dates.astype("datetime64[M]").astype(int)}
    unit["quarter"] = unit["month"] // 3
    unit["two sessions"], unit["three sessions"] = np.arange(len(days)) // 2, np.arange(len(days)) // 3
    last = np.flatnonzero(np.diff(unit[every], append=-1))
    return days[last]


@pytest.mark.parametrize("calendar", ["XNYS", "XTKS", "24/7"])
@pytest.mark.parametrize(
    ("every", "text"),
    [
        ("week", "7 days"),
        ("month", "a month"),
        ("quarter", "92 days"),
        ("two sessions", "2 "),
        ("three sessions", "3 "),
    ],
)
def test_weeks_and_months_that_are_read_as_days_are_shown(every: str, text: str, calendar: str) -> None:
    (spacing,) = wrong(daily(every, calendar), "1d", calendar, "session")
    assert spacing.text.startswith(text) or (text == "92 days" and spacing.step >= 85 * DAY_NS)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([0.01, 0.03, 0.1, 0.3, 0.6, 0.9]),
    st.sampled_from(["1m", "5m", "1h", "1d"]), st.sampled_from(["XNYS", "24/7"]),
)  # fmt: skip
def test_a_thin_market_is_no_fault(seed: int, share: float, interval: str, calendar: str) -> None:
    """Of the bars of 20 symbols each is there with the same chance."""
    draw, length = np.random.default_rng(seed), interval_ns(interval)
    all_stamps = CALENDARS[calendar].days[:400] if length == DAY_NS else intraday(CALENDARS[calendar], length, 20)
    parts = [all_stamps[draw.random(len(all_stamps)) < share] for _ in range(20)]
    column = np.concatenate([np.full(len(part), k) for k, part in enumerate(parts)])
    if len(column):
        stamps: Stamps = "session" if length == DAY_NS else "open"
        assert wrong(np.concatenate(parts), interval, calendar, stamps, column) == []


@pytest.mark.parametrize("hours", [1, 2, 4])
@pytest.mark.parametrize("stamps", ["open", "close"])
def test_the_last_bar_of_a_session_may_be_cut(hours: int, stamps: Stamps) -> None:
    calendar = CALENDARS["XNYS"]
    ts = intraday(calendar, hours * 60 * M, 30)
    if stamps == "close":
        row = np.searchsorted(calendar.closes, ts, side="right")
        ts = np.minimum(ts + hours * 60 * M, calendar.closes[row])
    assert wrong(ts, f"{hours}h", stamps=stamps) == []


def test_only_the_symbol_with_other_bars_is_shown_and_few_bars_show_nothing() -> None:
    calendar = CALENDARS["XNYS"]
    minutes, fives = intraday(calendar, M), intraday(calendar, 5 * M)
    column = np.repeat([0, 1], [len(minutes), len(fives)])
    assert wrong(np.concatenate([minutes, fives]), "1m", column=column) == [Spacing(1, 5 * M)]
    assert wrong(fives[:5], "1m") == []
    assert wrong(fives[:6], "1m") == [Spacing(0, 5 * M)]
