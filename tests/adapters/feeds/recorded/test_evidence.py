"""Bars by another clock or calendar than they are read by are shown, and the named settings give all of them."""

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_sound
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions

M, HOUR = 60_000_000_000, 3_600_000_000_000
NOON = {"XSHG": (120, 210), "XHKG": (150, 210), "XTKS": (150, 210)}
"""Calendar -> minutes after the open in which its exchange pauses."""

BEGIN, END = date(2022, 12, 1), date(2025, 2, 1)


def calendar(name: str) -> Sessions:
    return sessions(name, BEGIN, END)


def days(name: str, first: date, last: date) -> list[tuple[int, int]]:
    """Open and close of the sessions from `first` to `last`."""
    hours = sessions(name, first, last)
    return list(zip(hours.open_ns, hours.close_ns, strict=True))


def minutes(name: str, first: date, last: date, step: int = 5 * M, *, before: int = 0, after: int = 0) -> Ints:
    """Stamps in UTC at every `step` ns of the sessions without their breaks, and of extended hours around them."""
    parts = []
    for a, b in days(name, first, last):
        ts = np.arange(a - before, b + after, step)
        pause, end = (a + minute * M for minute in NOON.get(name, (0, 0)))
        parts.append(ts[(ts < pause) | (ts >= end)])
    return np.concatenate(parts)


def clock(ts: Ints, zone: str) -> pl.Series:
    """What the clock of a zone shows at instants: datetimes without an offset."""
    return pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)


def load(
    ts: pl.Series,
    symbol: str = "X",
    *,
    exchange: str = "XNYS",
    stamps: Stamps = "open",
    interval: str = "5m",
    zone: str = "",
    flat_weekends: bool = False,
    **more: Any,
) -> Replay:
    draw = np.random.default_rng(len(ts))
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.0005, len(ts))))
    reach = np.where(flat_weekends & (ts.dt.weekday().to_numpy() > 5), 0.0, 0.01)
    frame = pl.DataFrame({
        "ts": ts, "open": close, "high": close * (1 + reach), "low": close * (1 - reach), "close": close,
        "volume": draw.uniform(1e6, 2e6, len(ts)), "symbol": symbol,
    })  # fmt: skip
    universe = Universe((Instrument(symbol, calendar=exchange),), calendar=exchange)
    return Replay.load(
        BarFrame(frame), universe=universe, sessions={exchange: calendar(exchange)}, stamps=stamps, interval=interval,
        zone=zone, **more,
    )  # fmt: skip


def stop_of(ts: pl.Series, **more: Any) -> str:
    """The text of the stop: of the backtest, or of the reader where no bar is usable."""
    name = more.get("exchange", "XNYS")
    with pytest.raises((UnsoundPrices, FeedError)) as refused:
        require_sound(load(ts, **more), {name: calendar(name)})
    return str(refused.value)


def typed(text: str) -> dict[str, str]:
    """The settings that a stop names, as keywords of `load`."""
    settings = dict(re.findall(r'\[(?:feed|universe)\] (\w+) = "([^"]+)"', text))
    return {"exchange" if key == "calendar" else key: value for key, value in settings.items() if key != "holes"}


def require_all(feed: Replay, bars: int) -> None:
    require_sound(feed, {feed.universe.calendar: calendar(feed.universe.calendar)})
    assert (feed.count, feed.extended, feed.quarantined, feed.misfits) == (bars, 0, (), ())


JANUARY, JULY = (date(2024, 1, 2), date(2024, 1, 19)), (date(2024, 7, 1), date(2024, 7, 19))
YEAR = (BEGIN, date(2023, 12, 1))


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    ("exchange", "when"),
    [
        ("XNYS", JANUARY), ("XNYS", JULY), ("XLON", JULY), ("XLON", YEAR), ("XTKS", JANUARY), ("XETR", JANUARY),
        ("XETR", JULY), ("XHKG", JANUARY), ("XASX", JULY), ("XTSE", JULY), ("XBOM", JANUARY), ("XKRX", JULY),
        ("BVMF", JULY), ("XSWX", YEAR), ("XNZE", JANUARY),
    ],
)  # fmt: skip
@pytest.mark.parametrize("interval", ["5m", "1h"])
def test_times_of_the_exchanges_own_clock_stop_and_its_zone_reads_them(
    exchange: str, when: tuple[date, date], interval: str
) -> None:
    ts = minutes(exchange, *when, {"5m": 5 * M, "1h": HOUR}[interval])
    zone = calendar(exchange).zone
    text = stop_of(clock(ts, zone), exchange=exchange, interval=interval)
    settings = typed(text)
    assert ZoneInfo(settings["zone"]).utcoffset(None) == ZoneInfo(zone).utcoffset(None)
    assert settings == {"zone": zone}, text
    assert f"all fit {exchange} as {zone}, the exchange's own clock" in text
    feed = load(clock(ts, zone), exchange=exchange, interval=interval, zone=zone)
    require_all(feed, len(ts))
    assert feed.first_ts == ts[0] + {"5m": 5 * M, "1h": HOUR}[interval]


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    "zone",
    ["America/Chicago", "Europe/Berlin", "Europe/Athens", "America/Los_Angeles", "Asia/Kolkata", "Australia/Sydney",
     "Asia/Tokyo"],
)  # fmt: skip
@pytest.mark.parametrize("when", [JANUARY, JULY])
def test_times_of_the_clock_of_another_place_stop_and_the_named_zone_reads_them(
    zone: str, when: tuple[date, date]
) -> None:
    ts = minutes("XNYS", *when)
    settings = typed(stop_of(clock(ts, zone)))
    require_all(load(clock(ts, zone), **settings), len(ts))  # type: ignore[arg-type]
    assert settings.keys() == {"zone"}


@pytest.mark.parametrize("when", [JANUARY, JULY, YEAR])
@pytest.mark.parametrize("exchange", ["XNYS", "XLON", "XTKS", "24/7"])
@pytest.mark.parametrize("aware", [True, False])
def test_times_in_utc_pass_with_an_offset_and_without(exchange: str, when: tuple[date, date], aware: bool) -> None:
    ts = minutes(exchange, *when, HOUR)
    stamps = clock(ts, "UTC").dt.replace_time_zone("UTC") if aware else clock(ts, "UTC")
    require_all(load(stamps, exchange=exchange, interval="1h"), len(ts))


@pytest.mark.parametrize("when", [JANUARY, JULY])
@pytest.mark.parametrize("aware", [True, False])
def test_extended_hours_in_utc_pass(when: tuple[date, date], aware: bool) -> None:
    ts = minutes("XNYS", *when, before=5 * HOUR + HOUR // 2, after=4 * HOUR)
    stamps = clock(ts, "UTC").dt.replace_time_zone("UTC") if aware else clock(ts, "UTC")
    feed = load(stamps)
    assert feed.misfits == ()
    assert feed.extended > len(ts) // 2


def test_times_that_claim_utc_and_show_the_exchanges_clock_stop() -> None:
    ts = minutes("XNYS", *JANUARY)
    text = stop_of(clock(ts, "America/New_York").dt.replace_time_zone("UTC"))
    assert "72 of 312" not in text
    assert 'write them without it, and [feed] zone = "America/New_York"' in text


def test_a_few_bars_outside_hours_need_no_explanation() -> None:
    ts = minutes("XNYS", *JANUARY)
    late = np.sort(np.concatenate([ts, [b + HOUR for _, b in days("XNYS", *JANUARY)][:5]]))
    assert load(clock(late, "UTC")).misfits == ()


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize(
    ("symbol", "actual", "exchange"),
    [
        ("VUSA.L", "XLON", "XNYS"), ("SAP.DE", "XETR", "XNYS"), ("7203.T", "XTKS", "XNYS"), ("0700.HK", "XHKG", "XNYS"),
        ("BTC", "24/7", "XNYS"), ("EURUSD=X", "24/5", "XNYS"), ("BHP.AX", "XASX", "XNYS"), ("SPY", "XNYS", "XLON"),
        ("RY.TO", "XTSE", "XNYS"), ("NONE", "XLON", "XNYS"), ("NONE", "XTKS", "XETR"), ("600519.SS", "XSHG", "XNYS"),
        ("SAP.DE", "XETR", "XLON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("length", [120, 500])
def test_days_of_another_exchange_stop_and_the_named_calendar_holds_all(
    symbol: str, actual: str, exchange: str, length: int
) -> None:
    ts = np.array(sessions(actual, date(2023, 1, 2), END).day_ns[:length])
    text = stop_of(clock(ts, "UTC"), symbol=symbol, exchange=exchange, stamps="session", interval="1d")
    assert typed(text) == {"exchange": actual}, text
    outside = length - len(np.intersect1d(ts, calendar(exchange).days))
    assert f"{symbol}: {outside} bars lie on no session of {exchange}; all {length} fit {actual}" in text
    require_all(load(clock(ts, "UTC"), symbol=symbol, exchange=actual, stamps="session", interval="1d"), length)


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("holidays", [1, 3, 8])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_bars_on_holidays_and_missing_ones_show_no_other_calendar(holidays: int, share: float) -> None:
    draw = np.random.default_rng(holidays)
    ts = np.array(sessions("XNYS", date(2023, 1, 2), END).day_ns)
    weekdays = np.arange(ts[0], ts[-1], DAY_NS)
    closed = np.setdiff1d(weekdays[(weekdays // DAY_NS + 3) % 7 < 5], ts)
    kept = np.union1d(ts[draw.random(len(ts)) < share], draw.choice(closed, holidays, replace=False))
    assert load(clock(kept, "UTC"), stamps="session", interval="1d").misfits == ()


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    ("symbol", "actual"),
    [("VOD.L", "XLON"), ("SAP.DE", "XETR"), ("7203.T", "XTKS"), ("NONE", "24/7"), ("0700.HK", "XHKG")],
)
@pytest.mark.parametrize("aware", [True, False])
def test_intraday_bars_of_another_exchange_stop_and_the_named_settings_hold_all(
    symbol: str, actual: str, aware: bool
) -> None:
    ts = minutes(actual, *JULY)
    stamps = clock(ts, "UTC").dt.replace_time_zone("UTC") if aware else clock(ts, calendar(actual).zone)
    settings = typed(stop_of(stamps, symbol=symbol))
    assert settings["exchange"] == actual
    require_all(load(stamps, symbol=symbol, **settings), len(ts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exchange", "zone", "time_ns"),
    [
        ("XNYS", "UTC", 5 * HOUR), ("XNYS", "UTC", 21 * HOUR), ("XNYS", "UTC", 24 * HOUR - 10**9),
        ("XNYS", "America/New_York", 16 * HOUR - 10**9), ("24/7", "UTC", 24 * HOUR - 10**6),
    ],
)  # fmt: skip
def test_a_time_of_day_that_all_stamps_share_is_an_addition_to_their_dates(
    exchange: str, zone: str, time_ns: int
) -> None:
    """A half day closes hours before such a stamp, which is then in no session."""
    dates = np.array(sessions(exchange, date(2024, 1, 1), date(2024, 12, 31)).day_ns)
    stamps = clock(dates + time_ns, "UTC").dt.replace_time_zone(zone).dt.convert_time_zone("UTC")
    read = [load(ts, exchange=exchange, stamps="session", interval="1d") for ts in (stamps, clock(dates, "UTC"))]
    require_all(read[0], len(dates))
    assert read[0].columns.key.tolist() == read[1].columns.key.tolist()


@pytest.mark.parametrize("before_ns", [10**6, 10**9])
def test_a_stamp_a_second_before_the_end_is_the_end_of_its_bar(before_ns: int) -> None:
    ends = minutes("XNYS", *JULY) + 5 * M
    expected = load(clock(ends, "UTC"), stamps="close").columns.key.tolist()
    for stamps in ("open", "close"):
        assert load(clock(ends - before_ns, "UTC"), stamps=stamps).columns.key.tolist() == expected


@pytest.mark.parametrize(("wrong", "right"), [("close", "session"), ("open", "session"), ("session", "close")])
def test_days_with_another_kind_of_stamp_stop_and_the_right_one_is_named(wrong: Stamps, right: Stamps) -> None:
    hours = sessions("XNYS", date(2024, 1, 1), date(2024, 12, 31))
    ts = np.array({"session": hours.day_ns, "open": hours.open_ns, "close": hours.close_ns}[right])
    assert typed(stop_of(clock(ts, "UTC"), stamps=wrong, interval="1d")) == {"stamps": right}
    require_all(load(clock(ts, "UTC"), stamps=right, interval="1d"), len(ts))


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("hour", [5, 6, 4, 16, 23, 1])
@pytest.mark.parametrize("stamps", ["open", "close", "session"])
def test_days_of_a_coin_that_do_not_end_at_midnight_utc_stop(hour: int, stamps: Stamps) -> None:
    ts = np.array(sessions("24/7", date(2024, 1, 1), date(2024, 6, 30)).day_ns) + hour * HOUR
    text = stop_of(clock(ts, "UTC"), symbol="BTC-USD", exchange="24/7", stamps=stamps, interval="1d")
    assert f"its days begin or end at {hour:02d}:00 UTC" in text
    assert load(clock(ts - hour * HOUR, "UTC"), exchange="24/7", stamps="session", interval="1d").misfits == ()


EDGES = [
    ("XNYS", JANUARY), ("XNYS", JULY), ("XLON", JANUARY), ("XLON", JULY), ("XTKS", JANUARY), ("XETR", JULY),
]  # fmt: skip


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(("exchange", "when"), EDGES)
@pytest.mark.parametrize(("step", "interval"), [(M, "1m"), (5 * M, "5m"), (15 * M, "15m"), (HOUR // 2, "30m")])
def test_opens_read_as_closes_stop_and_the_named_setting_reads_them(
    exchange: str, when: tuple[date, date], step: int, interval: str
) -> None:
    """Each bar would be known one interval before its close."""
    opens = minutes(exchange, *when, step)
    text = stop_of(clock(opens, "UTC"), exchange=exchange, stamps="close", interval=interval)
    assert f"each bar would be known {interval} before its close" in text
    assert typed(text) == {"stamps": "open"}
    require_all(load(clock(opens, "UTC"), exchange=exchange, stamps="open", interval=interval), len(opens))
    assert load(clock(opens + step, "UTC"), exchange=exchange, stamps="close", interval=interval).misfits == ()


@pytest.mark.parametrize(("exchange", "when"), EDGES)
def test_closes_read_as_opens_stop_too(exchange: str, when: tuple[date, date]) -> None:
    closes = minutes(exchange, *when) + 5 * M
    text = stop_of(clock(closes, "UTC"), exchange=exchange, stamps="open")
    assert "each bar would be known 5m late" in text
    assert typed(text) == {"stamps": "close"}
    require_all(load(clock(closes, "UTC"), exchange=exchange, stamps="close"), len(closes))


def test_closes_of_a_year_with_padded_half_days_show_the_exchanges_own_clock() -> None:
    """As opens, these stamps have as few bars outside on a clock of New York's summer all year."""
    closes = np.concatenate([np.arange(a, a + 13 * HOUR // 2, 30 * M) for a, _ in days("XNYS", *YEAR)]) + 30 * M
    assert typed(stop_of(clock(closes, "America/New_York"), interval="30m"))["zone"] == "America/New_York"


@pytest.mark.parametrize("stamps", ["open", "close"])
@pytest.mark.parametrize("exchange", ["24/7", "24/5", "CMES"])
def test_a_market_without_a_pause_shows_no_end_of_a_bar(exchange: str, stamps: Stamps) -> None:
    assert load(clock(minutes(exchange, *JANUARY), "UTC"), exchange=exchange, stamps=stamps).misfits == ()


def test_hours_from_a_whole_hour_on_stop_if_their_opens_are_read_as_closes() -> None:
    """A broker's hour of 09:00 holds the trades from 09:30 on."""
    opens = np.concatenate([np.arange(a - HOUR // 2, b, HOUR) for a, b in days("XNYS", *JANUARY)])
    text = stop_of(clock(opens, "UTC"), stamps="close", interval="1h")
    assert typed(text) == {"stamps": "open"}
    assert load(clock(opens, "UTC"), stamps="open", interval="1h").misfits == ()
    assert load(clock(opens + HOUR, "UTC"), stamps="close", interval="1h").misfits == ()


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("stamps", ["open", "close"])
@pytest.mark.parametrize("when", [JANUARY, JULY])
def test_extended_hours_show_no_end_of_a_bar(when: tuple[date, date], stamps: Stamps) -> None:
    ts = minutes("XNYS", *when, before=5 * HOUR, after=4 * HOUR)
    assert load(clock(ts, "UTC"), stamps=stamps).misfits == ()


@pytest.mark.parametrize("hours", [5.5, 6.5])
def test_a_part_of_a_session_in_new_york_fills_no_session_with_a_break_at_noon(hours: float) -> None:
    opens = [a for a, _ in days("XNYS", date(2024, 3, 4), date(2024, 3, 8))]
    ts = np.concatenate([np.arange(a, a + int(hours * HOUR), 5 * M) for a in opens])
    for misfit in load(clock(ts, "America/New_York")).misfits:
        assert not re.search("XSHG|XHKG|XTKS", " ".join(misfit.remedies)), misfit


@pytest.mark.parametrize(("symbol", "actual"), [("RY", "XTSE"), ("SAP", "XETR"), ("NOKIA", "XHEL"), ("CDR", "XWAR")])
@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_a_calendar_that_the_symbol_does_not_name_is_one_of_several_answers(
    symbol: str, actual: str, interval: str
) -> None:
    """Each answer that is a value is tried on the same bars; a clock is none of them, because no clock fits."""
    when = date(2023, 6, 1), date(2024, 1, 31)
    ts = np.array(sessions(actual, *when).day_ns) if interval == "1d" else minutes(actual, *when)
    stamps: Stamps = "session" if interval == "1d" else "open"
    (misfit,) = load(clock(ts, "UTC").dt.replace_time_zone("UTC"), symbol, interval=interval, stamps=stamps).misfits
    assert not misfit.decided
    assert [remedy.split(" (")[0].split(": [")[0] for remedy in misfit.remedies] == [
        f'[universe] calendar = "{actual}"', "the times are of another clock",
        "the bars outside sessions are padding, to be ignored",
    ]  # fmt: skip
    utc = clock(ts, "UTC").dt.replace_time_zone("UTC")
    require_all(load(utc, symbol, exchange=actual, interval=interval, stamps=stamps), len(ts))
    require_sound(load(utc, symbol, interval=interval, stamps=stamps), {"XNYS": calendar("XNYS")}, holes_known=True)


@pytest.mark.parametrize("symbol", ["VOD.L", "BTCUSDT", "XBTEUR", "ETHBTC", "1000PEPEUSDC", "BTC_USDT", "BTC"])
def test_a_calendar_that_the_spelling_of_a_symbol_names_is_decided(symbol: str) -> None:
    ts = np.array(sessions("XLON" if symbol == "VOD.L" else "24/7", *YEAR).day_ns)
    (misfit,) = load(clock(ts, "UTC"), symbol, interval="1d", stamps="session").misfits
    assert misfit.decided


@pytest.mark.parametrize("symbol", ["PIPE", "COIN", "EURUSD", "XAUUSD", "GBPJPY", "LUSD", "USD", "BRK-B", "X"])
@pytest.mark.parametrize("interval", ["1d", "1h"])
@pytest.mark.parametrize("flat_weekends", [False, True])
def test_bars_on_weekends_alone_decide_for_no_calendar(symbol: str, interval: str, flat_weekends: bool) -> None:
    ts = np.array(sessions("24/7", *YEAR).day_ns) if interval == "1d" else minutes("24/7", *JANUARY, HOUR)
    stamps: Stamps = "session" if interval == "1d" else "open"
    (misfit,) = load(
        clock(ts, "UTC"), symbol, interval=interval, stamps=stamps, flat_weekends=flat_weekends
    ).misfits  # fmt: skip
    assert not misfit.decided
    assert "24/7" in misfit.remedies[0]
    assert len(misfit.remedies) == 3


@pytest.mark.parametrize("symbol", ["BTC-EUR", "ETH-USD", "SOLUSDT"])
@pytest.mark.parametrize("interval", ["1d", "1h"])
@pytest.mark.parametrize("weekends", [1, 2, 12])
def test_a_coin_without_weekends_stops_and_each_answer_reads_its_bars(
    symbol: str, interval: str, weekends: int
) -> None:
    """One weekend without a bar may be an outage; two and more are a file of weekdays."""
    step = DAY_NS if interval == "1d" else HOUR
    first = int(np.datetime64("2024-01-01", "ns").astype(np.int64))
    ts = np.arange(first, first + (7 * weekends + 5) * DAY_NS, step)
    ts = ts[(ts // DAY_NS + 3) % 7 < 5]
    settings: dict[str, Any] = {"interval": interval, "stamps": "session" if interval == "1d" else "open"}
    feed = load(clock(ts, "UTC"), symbol, exchange="24/7", **settings)
    if weekends == 1:
        assert feed.misfits == ()
        return
    (misfit,) = feed.misfits
    assert f"no bar is on any of the {2 * weekends} days of weekends" in misfit.text
    with pytest.raises(UnsoundPrices, match="days of weekends"):
        require_sound(feed, {"24/7": calendar("24/7")})
    require_sound(feed, {"24/7": calendar("24/7")}, holes_known=True)
    require_all(load(clock(ts, "UTC"), symbol, **(settings | typed(misfit.remedies[0]))), len(ts))
    assert "24/5" in misfit.remedies[0], "New Year is among the dates"


def test_bars_of_the_days_of_an_exchange_that_are_read_as_24_7_get_its_calendar() -> None:
    ts = np.array(sessions("XNYS", date(2024, 1, 2), date(2024, 3, 28)).days)
    settings: dict[str, Any] = {"interval": "1d", "stamps": "session"}
    (misfit,) = load(clock(ts, "UTC"), "ACME", exchange="24/7", **settings).misfits
    assert typed(misfit.remedies[0]) == {"exchange": "XNYS"}
    require_all(load(clock(ts, "UTC"), "ACME", **settings, **typed(misfit.remedies[0])), len(ts))


@pytest.mark.parametrize("hour", range(24))
def test_no_day_of_a_market_without_a_pause_is_known_before_24_hours_after_its_stamp(hour: int) -> None:
    """Days of a pair from 22:00 UTC begin on Sunday evening; each is one bar, known when its session ends."""
    dates = np.array(sessions("24/5", date(2024, 1, 3), date(2024, 6, 28)).day_ns)
    ts = dates - DAY_NS + hour * HOUR if hour > 16 else dates + hour * HOUR
    feed = load(clock(ts, "UTC"), "EURUSD=X", exchange="24/5", stamps="open", interval="1d")
    assert (feed.count, feed.quarantined) == (len(ts), ())
    assert (feed.columns.ts_event >= ts + DAY_NS).all()
    assert (feed.columns.ts_event < ts + 4 * DAY_NS).all()
