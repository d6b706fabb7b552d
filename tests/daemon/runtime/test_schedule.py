"""Schedules are due at the instants their words mean: on half days, in holiday weeks and over both clock changes."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.calendars import sessions
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load, read
from quantd.daemon.runtime.schedule import (
    GRACE_NS,
    Schedule,
    ScheduleError,
    _walls,
    catch_up,
    due,
    missed,
    missed_text,
    moved_from,
    next_instants,
    stream,
    zone_of,
)
from quantd.daemon.runtime.timeline import next_sample
from quantd.trading.events import Tick
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.command_line import CONFIG
from tests.support.examples import examples

NEW_YORK = ZoneInfo("America/New_York")
CALENDARS: dict[str, Sessions] = {
    name: sessions(name, date(2022, 1, 1), date(2026, 12, 31)) for name in ("XNYS", "XLON", "24/7")
}


def ns(text: str, zone: str = "America/New_York") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


def job(**keys: object) -> Schedule:
    return Schedule(**{"name": "it", "do": "snapshot", **keys})  # type: ignore[arg-type]


def told(schedule: Schedule, start: str, end: str) -> list[str]:
    """Local times of what is due in (start, end]; both given in New York's time."""
    zone = zone_of(schedule, CALENDARS)
    instants = due([schedule], CALENDARS, ns(start), ns(end))
    return [datetime.fromtimestamp(ts / 1e9, zone).strftime("%m-%d %H:%M %z") for ts, _ in instants]


@pytest.mark.requirement("R-134")
@pytest.mark.requirement("R-173")
def test_in_a_holiday_week_the_close_is_that_of_each_session() -> None:
    assert told(job(at="close"), "2024-11-26", "2024-12-03") == [
        "11-26 16:00 -0500", "11-27 16:00 -0500", "11-29 13:00 -0500", "12-02 16:00 -0500",
    ]  # fmt: skip
    assert told(job(at="close-15m"), "2024-07-02", "2024-07-06") == [
        "07-02 15:45 -0400", "07-03 12:45 -0400", "07-05 15:45 -0400",
    ]  # fmt: skip


def test_an_early_close_moves_an_instant_that_would_lie_outside_its_session_to_the_edge() -> None:
    assert told(job(at="open+5h"), "2024-07-02", "2024-07-04") == ["07-02 14:30 -0400", "07-03 13:00 -0400"]
    assert told(job(at="close-5h"), "2024-07-02", "2024-07-04") == ["07-02 11:00 -0400", "07-03 09:30 -0400"]
    assert told(job(at="close+30m"), "2024-07-03", "2024-07-04") == ["07-03 13:30 -0400"]
    assert told(job(at="open-30m"), "2024-07-03", "2024-07-04") == ["07-03 09:00 -0400"]
    assert told(job(at="close+18h"), "2024-07-03", "2024-07-04") == ["07-03 10:00 -0400"], "of the day before"


@pytest.mark.long
@pytest.mark.parametrize(
    ("at", "edge", "minutes"),
    [("open", "open", 0), ("close", "close", 0), ("open+30m", "open", 30), ("close-15m", "close", -15)],
)
def test_two_years_equal_the_reference_calendar(at: str, edge: str, minutes: int) -> None:
    import exchange_calendars  # type: ignore[import-untyped]

    reference = exchange_calendars.get_calendar("XNYS", start="2023-01-01", end="2024-12-31")
    column = reference.opens if edge == "open" else reference.closes
    expected = [t.as_unit("ns").value + minutes * 60_000_000_000 for t in column]
    instants = due([job(at=at)], CALENDARS, ns("2023-01-01"), ns("2024-12-31 23:59"))
    assert [ts for ts, _ in instants] == expected


def test_the_span_is_open_at_its_start_and_closed_at_its_end() -> None:
    close = ns("2024-07-02 16:00")
    assert due([job(at="close")], CALENDARS, close - 1, close) == [(close, 0)]
    assert due([job(at="close")], CALENDARS, close, close + 1) == []
    assert due([job(cron="0 16 * * *")], CALENDARS, close - 1, close) == [(close, 0)]
    assert due([job(cron="0 16 * * *")], CALENDARS, close, close + 1) == []
    assert due([job(every="1h")], CALENDARS, close - 1, close) == [(close, 0)]
    assert due([job(every="1h")], CALENDARS, close, close + 1) == []


def test_schedules_of_one_instant_come_in_their_order() -> None:
    three = [job(cron="0 16 * * *"), job(at="open"), job(at="close")]
    assert [k for _, k in due(three, CALENDARS, ns("2024-07-02"), ns("2024-07-03"))] == [1, 0, 2]


class TestClockChanges:
    """New York: forward at 02:00 on 2024-03-10, back at 02:00 on 2024-11-03."""

    def test_a_line_of_every_hour_fires_in_the_repeated_hour_too(self) -> None:
        assert told(job(cron="30 * * * *"), "2024-11-03 00:00", "2024-11-03 02:45") == [
            "11-03 00:30 -0400", "11-03 01:30 -0400", "11-03 01:30 -0500", "11-03 02:30 -0500",
        ]  # fmt: skip

    def test_minutes_go_on_without_a_hole_or_a_double(self) -> None:
        for day in ("2024-03-10", "2024-11-03"):
            start, end = ns(day), ns(day) + DAY_NS
            instants = [ts for ts, _ in due([job(cron="*/10 * * * *")], CALENDARS, start, end)]
            assert instants == list(range(start + 600_000_000_000, end + 1, 600_000_000_000))

    def test_a_change_of_half_an_hour_is_one_too(self) -> None:
        island = job(cron="*/15 * * * *", timezone="Australia/Lord_Howe")
        start = ns("2024-04-07 00:00", "Australia/Lord_Howe")
        instants = [ts for ts, _ in due([island], CALENDARS, start, start + DAY_NS)]
        assert instants == list(range(start + 900_000_000_000, start + DAY_NS + 1, 900_000_000_000))

    @pytest.mark.requirement("R-178")
    def test_the_close_keeps_its_hour_in_new_york(self) -> None:
        for around in ("2024-03-08", "2024-11-01"):
            times = told(job(at="close"), around, str(date.fromisoformat(around) + timedelta(days=5)))
            assert {t.split()[1] for t in times} == {"16:00"}
            assert len({t.split()[2] for t in times}) == 2


@pytest.mark.long
@pytest.mark.requirement("R-173")
@settings(max_examples=examples(40), deadline=None)
@given(
    minutes=st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True),
    hours=st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True),
    weekdays=st.sampled_from(["*", "mon-fri", "sat", "tue,thu"]),
    zone=st.sampled_from(["America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"]),
    day=st.dates(date(2024, 1, 1), date(2024, 12, 20))
    | st.sampled_from([date(2024, 3, 5), date(2024, 3, 28), date(2024, 4, 4), date(2024, 10, 1), date(2024, 10, 30)]),
)
def test_a_cron_line_means_its_wall_clock_times(
    minutes: list[int], hours: list[int], weekdays: str, zone: str, day: date
) -> None:
    line = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * {weekdays}"
    names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    chosen = {"*": set(names), "mon-fri": set(names[:5]), "sat": {"sat"}, "tue,thu": {"tue", "thu"}}[weekdays]
    expected = set()
    for k in range(12):
        at = day + timedelta(days=k)
        if names[at.weekday()] in chosen:
            expected |= {
                int(datetime(at.year, at.month, at.day, h, m, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000
                for h in hours
                for m in minutes
            }
    start = int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000 - 1
    end = start + 10 * DAY_NS
    instants = [ts for ts, _ in due([job(cron=line, timezone=zone)], CALENDARS, start, end)]
    assert instants == sorted(ts for ts in expected if start < ts <= end)


ALL_KINDS = st.lists(
    st.sampled_from(
        [
            job(at="close"), job(at="open+5h"), job(at="close-15m"), job(at="open-1h"), job(at="close+18h"),
            job(at="close", calendar="24/7"),
            job(cron="30 1,2 * * *"), job(cron="0 * * * mon-fri"), job(cron="0 16 * * mon-fri", do="rebalance"),
            job(every="45m", do="rebalance"), job(every="7h"), job(every="3h", do="rebalance", calendar="24/7"),
            job(cron="0 16 * * fri,sat", do="rebalance"),
            job(cron="30 9,20 1 * *", do="flatten", on_closed="previous", timezone="Pacific/Honolulu"),
            job(cron="0 23 * * sun", do="rebalance", timezone="Pacific/Auckland"), job(every="2d", do="rebalance"),
            job(at="open", calendar="XLON"), job(cron="15 8 1 * *", calendar="XLON"),
        ]
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@pytest.mark.long
@settings(max_examples=examples(60), deadline=None)
@given(
    ALL_KINDS,
    st.lists(st.integers(0, 21 * 24 * 60), min_size=3, max_size=3),
    st.sampled_from(["2024-03-01", "2024-03-20", "2024-06-28", "2024-10-25", "2024-12-20"]),
)
def test_two_spans_that_touch_are_one_span(schedules: list[Schedule], minutes: list[int], base: str) -> None:
    a, b, c = (ns(base) + m * 60_000_000_000 for m in sorted(minutes))
    span = due(schedules, CALENDARS, a, c)
    assert due(schedules, CALENDARS, a, b) + due(schedules, CALENDARS, b, c) == span
    assert span == sorted(set(span))
    assert list(stream(schedules, CALENDARS, a, c)) == span
    assert next_instants(schedules, CALENDARS, a, len(span)) == span


def test_orders_are_scheduled_on_session_dates_only_and_reports_on_any() -> None:
    week = ("2024-11-27", "2024-12-01")
    assert [t[:5] for t in told(job(cron="0 16 * * mon-fri", do="rebalance"), *week)] == ["11-27", "11-29"]
    assert [t[:5] for t in told(job(cron="0 16 * * mon-fri", do="daily_report"), *week)] == ["11-27", "11-28", "11-29"]
    always = job(cron="0 16 * * mon-fri", do="rebalance", calendar="24/7", timezone="America/New_York")
    assert [t[:5] for t in told(always, *week)] == ["11-27", "11-28", "11-29"]


@pytest.mark.parametrize(
    ("keys", "span", "expected"),
    [
        # 2024-03-29 was Good Friday, 2024-11-28 Thanksgiving with a close at 13:00 on the day after
        ({"cron": "0 16 * * fri"}, ("2024-03-25", "2024-04-03"), ["04-01 16:00"]),
        ({"cron": "0 16 * * fri", "on_closed": "previous"}, ("2024-03-25", "2024-04-03"), ["03-28 16:00"]),
        ({"cron": "0 16 * * fri", "on_closed": "skip"}, ("2024-03-25", "2024-04-03"), []),
        ({"cron": "0 16 * * thu"}, ("2024-11-22", "2024-12-01"), ["11-29 13:00"]),
        ({"cron": "0 10 * * thu"}, ("2024-11-22", "2024-12-01"), ["11-29 10:00"]),
        ({"cron": "0 12,14,15 * * thu"}, ("2024-11-22", "2024-12-01"), ["11-29 12:00", "11-29 13:00"]),
        ({"cron": "0 10,15 * * sat,sun"}, ("2024-03-01", "2024-03-06"), ["03-04 10:00", "03-04 15:00"]),
        ({"cron": "0 16 1 * *"}, ("2023-12-15", "2024-01-15"), ["01-02 16:00"]),
        ({"cron": "0 16 1 * *", "on_closed": "previous"}, ("2023-12-15", "2024-01-15"), ["12-29 16:00"]),
        # the morning in Tokyo after a close in New York; 2024-01-15 was a holiday there
        ({"cron": "30 6 * * sat", "timezone": "Asia/Tokyo"}, ("2024-03-21", "2024-04-05"),
         ["03-23 06:30", "04-02 05:00"]),
        ({"cron": "0 1 * * tue", "timezone": "Asia/Tokyo"}, ("2024-01-07", "2024-01-20"),
         ["01-09 01:00", "01-17 01:00"]),
    ],
)  # fmt: skip
def test_an_order_due_on_a_closed_date_moves_to_the_session_that_on_closed_names(
    keys: dict[str, str], span: tuple[str, str], expected: list[str]
) -> None:
    assert [t[:11] for t in told(job(do="rebalance", **keys), *span)] == expected


@pytest.mark.parametrize("line", ["0 16 * * wed-fri", "0 16 * * *", "*/30 10-15 * * mon-fri"])
@pytest.mark.parametrize("on_closed", ["next", "previous"])
def test_a_session_of_which_the_line_itself_has_an_instant_takes_none_from_closed_dates(
    line: str, on_closed: str
) -> None:
    span = ("2024-11-24", "2024-12-15")
    moved, dropped = (
        job(cron=line, do="rebalance", on_closed=on_closed),
        job(cron=line, do="rebalance", on_closed="skip"),
    )
    assert told(moved, *span) == told(dropped, *span) != []


def test_the_shipped_weekly_rebalance_trades_in_the_week_of_good_friday() -> None:
    config = load(Path("config.toml"), known_names())
    parts = assemble(config)
    weekly = {k for k, agent in enumerate(config.agents) if agent.name in ("parity", "trend")}
    asked = [tick.ts for tick in parts.ticks() if weekly <= set(tick.due)]
    weeks = {datetime.fromtimestamp(ts / 1e9, NEW_YORK).isocalendar()[:2] for ts in asked}
    assert ns("2019-04-22 16:00") in asked
    assert len(asked) == len(set(asked))
    assert (2019, 17) in weeks
    first, last = date(2019, 1, 4), date(2021, 3, 26)
    assert len(asked) == (last - first).days // 7 + 1, "each Friday has its rebalance"


def test_a_closed_date_of_the_configuration_has_no_sample_and_its_order_moves_on() -> None:
    def ticks(*sets: str) -> list[Tick]:
        weekly = ('schedules.1.cron="0 16 * * wed"', "schedules.0.enabled=false")
        return list(assemble(load(Path("config.toml"), known_names(), sets=(*weekly, *sets))).ticks())

    gone = ns("2019-05-15", "UTC")
    usual, other = ticks(), ticks('universe.closed=["2019-05-15"]')
    assert [t.key for t in usual if t.sample and t.key == gone] == [gone]
    assert [t.key for t in other if t.sample] == [t.key for t in usual if t.sample and t.key != gone]
    trend = {t.key for t in other if t.due} - {t.key for t in usual if t.due}
    assert trend == {ns("2019-05-16", "UTC")}


MESSAGES = """
[[schedules]]
name = "ready"
do = "before_open"
at = "open-30m"
[[schedules]]
name = "result"
do = "after_close"
at = "close+15m"
"""


def test_a_message_about_a_session_has_the_next_runs_on_the_exchanges_clock() -> None:
    ticks = assemble(read(CONFIG + MESSAGES, known_names())).ticks()
    messages = {tick.ts: tick.coming for tick in ticks if tick.coming}
    friday, tuesday = date(2019, 1, 18), date(2019, 1, 22)
    assert messages[ns(f"{friday} 09:00")] == (f"close {friday} 15:45", f"decisions {friday} 16:00")
    assert messages[ns(f"{friday} 16:15")] == (f"close {tuesday} 15:45", f"decisions {tuesday} 16:00")
    assert len(messages) == 2 * 60, "from the first open to the last close, and other ticks have none"


def test_an_account_in_which_every_agent_has_a_schedule_has_no_other_decisions() -> None:
    text = CONFIG.replace('agents = ["trend"]', 'agents = ["trend", "even"]') + MESSAGES
    ticks = assemble(read(text, known_names())).ticks()
    assert {tick.coming[0].split()[0] for tick in ticks if tick.coming} == {"close"}


def test_a_rebalance_that_names_no_agent_is_the_only_time_at_which_all_decide() -> None:
    parts = assemble(read(CONFIG.replace('agents = ["trend"]', ""), known_names()))
    assert {tick.due for tick in parts.ticks()} >= {(0, 1)}
    assert {agent.name: agent.scheduled for agent in parts.rules.agents} == {"even": True, "trend": True}


def test_the_next_sample_is_an_interval_of_a_session_or_its_close() -> None:
    house, minute = CALENDARS["XNYS"], 60 * 10**9
    eve = "2024-07-03"  # closes at 13:00
    for interval, after, expected in (
        (DAY_NS, f"{eve} 09:00", f"{eve} 13:00"),
        (DAY_NS, f"{eve} 13:00", "2024-07-05 16:00"),
        (30 * minute, f"{eve} 09:00", f"{eve} 10:00"),
        (30 * minute, f"{eve} 10:00", f"{eve} 10:30"),
        (45 * minute, f"{eve} 12:59", f"{eve} 13:00"),
    ):
        assert next_sample(house, interval, ns(after)) == ns(expected)
    assert next_sample(house, DAY_NS, house.close_ns[-1]) is None


def test_where_an_instant_comes_from_is_known() -> None:
    friday = job(cron="0 16 * * fri", do="rebalance")
    assert moved_from(friday, CALENDARS, ns("2024-04-01 16:00")) == date(2024, 3, 29)
    assert moved_from(friday, CALENDARS, ns("2024-04-05 16:00")) is None
    weekend = job(cron="0 16 * * sat,sun", do="rebalance")
    assert moved_from(weekend, CALENDARS, ns("2024-03-04 16:00")) == date(2024, 3, 2), "the first of both"
    assert moved_from(job(at="close"), CALENDARS, ns("2024-04-01 16:00")) is None


def test_nothing_moves_out_of_dates_of_which_no_session_is_known() -> None:
    short = {"XNYS": sessions("XNYS", date(2024, 3, 4), date(2024, 3, 28))}
    for on_closed in ("next", "previous"):
        weekly = job(cron="0 16 * * fri", do="rebalance", on_closed=on_closed)
        instants = due([weekly], short, ns("2024-02-01"), ns("2024-05-01"))
        assert [ts for ts, _ in instants] == [ns(f"2024-03-{day} 16:00") for day in ("08", "15", "22")]


@pytest.mark.requirement("R-173")
def test_every_few_minutes_means_within_the_session_for_orders_and_always_for_the_rest() -> None:
    times = told(job(every="90m", do="rebalance"), "2024-07-03", "2024-07-05 09:00")
    assert times == ["07-03 09:30 -0400", "07-03 11:00 -0400", "07-03 12:30 -0400"]
    assert len(told(job(every="90m"), "2024-07-03", "2024-07-05")) == 32


def test_a_leap_day_is_found_years_ahead() -> None:
    (only,) = next_instants([job(cron="0 12 29 2 *")], CALENDARS, ns("2025-01-01"), 1)
    assert only == (ns("2028-02-29 12:00"), 0)


@pytest.mark.parametrize(
    ("keys", "names", "remedy"),
    [
        ({"cron": "0 16 * * 1-5"}, "1-5", "mon-fri"),
        ({"cron": "0 16 * * 5"}, "weekdays", "mon-fri"),
        ({"cron": "0 16 * * mon,3"}, "weekdays", "mon-fri"),
        ({"cron": "61 * * * *"}, "61", "crontab"),
        ({"cron": "* * *"}, "3 fields", "minute"),
        ({"cron": "0 0 30 2 *"}, "never", "date"),
        ({"cron": "0 0 * * fri-mon"}, "fri-mon", "crontab"),
        ({"at": "noon"}, "noon", "close-15m"),
        ({"at": "close-15"}, "close-15", "close-15m"),
        ({"at": "open+24h"}, "24h", "24 hours"),
        ({"every": "0m"}, "0m", "5m"),
        ({"every": "-5m"}, "-5m", "5m"),
        ({"every": "5"}, '"5"', "5m"),
        ({}, "no time", "every"),
        ({"at": "close", "every": "5m"}, "at and every", "one of"),
        ({"at": "close", "timezone": "America/NewYork"}, "NewYork", "America/New_York"),
    ],
)
def test_a_schedule_that_cannot_be_kept_names_the_value_and_the_remedy(
    keys: dict[str, str], names: str, remedy: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        job(**keys)
    assert names in str(caught.value)
    assert remedy in caught.value.remedy
    assert '"it"' in str(caught.value)


@pytest.mark.parametrize("at", ["open+7h", "close-8h"])
def test_an_instant_outside_every_session_is_refused_and_not_moved(at: str) -> None:
    with pytest.raises(ScheduleError, match="XNYS") as caught:
        due([job(at=at)], CALENDARS, 0, 1)
    assert "390m" in caught.value.remedy
    assert due([job(at="close-6h")], CALENDARS, 0, 1) == []


def test_a_calendar_without_sessions_is_named_before_anything_runs() -> None:
    with pytest.raises(ScheduleError, match="XTKS") as caught:
        due([job(at="close"), job(at="close", calendar="XTKS")], CALENDARS, 0, 1)
    assert "XNYS" in caught.value.remedy


@pytest.mark.requirement("R-176")
def test_each_rule_for_missed_instants() -> None:
    at, late = 10**18, 10**18 + GRACE_NS + 1
    rules = {rule: job(at="close", missed=rule) for rule in ("once", "skip", "alert")}
    assert {missed(s, at, at + GRACE_NS) for s in rules.values()} == {"run"}
    assert {rule: missed(s, at, late) for rule, s in rules.items()} == {"once": "run", "skip": "skip", "alert": "alert"}
    assert missed(rules["once"], at, late, newest=False) == "skip"
    assert missed(job(do="deposit", at="close"), at, late, newest=False) == "run"  # money counts each time


def test_missed_instants_with_the_rule_alert_are_named_with_their_number() -> None:
    two = [job(at="close", missed="alert"), job(at="open", missed="skip")]
    now = ns("2024-07-08 12:00")
    catch_ups = catch_up(two, due(two, CALENDARS, ns("2024-07-01"), now), now)
    number = sum(k == 0 for _, k, _ in catch_ups)
    assert number >= 4
    assert missed_text(two, catch_ups) == f"missed while the daemon did not run, and not run later: it ({number})"
    assert missed_text(two, [entry for entry in catch_ups if entry[1] == 1]) == ""


@pytest.mark.requirement("R-176")
def test_after_a_week_away_each_job_that_runs_once_runs_once() -> None:
    three = [job(at="close", missed=rule) for rule in ("once", "skip", "alert")]
    now = ns("2024-07-08 12:00")
    verdicts = catch_up(three, due(three, CALENDARS, ns("2024-07-01"), now), now)
    assert [v for _, k, v in verdicts if k == 0] == ["skip", "skip", "skip", "run"]
    assert [v for _, k, v in verdicts if k == 1] == ["skip"] * 4
    assert [v for _, k, v in verdicts if k == 2] == ["alert"] * 4


def test_the_zone_is_the_schedules_own_or_its_calendars() -> None:
    assert zone_of(job(at="close"), CALENDARS) == NEW_YORK
    assert zone_of(job(at="close", timezone="Asia/Tokyo"), CALENDARS) == ZoneInfo("Asia/Tokyo")
    assert zone_of(job(at="close", calendar="24/7"), CALENDARS) == ZoneInfo("UTC")


@pytest.mark.parametrize(
    "line",
    ["*/15 9-17 * * mon-fri", "0 16 last * *", "5,35 * 1-7 3,6,9,12 fri", "0 */6 15,last feb *", "30 3 31 * sun"],
)
def test_a_cron_line_has_the_instants_of_apscheduler(line: str) -> None:
    first, last = datetime(2019, 12, 27, 10, 7, 30, tzinfo=UTC), datetime(2021, 3, 2, 4, 5, 6, tzinfo=UTC)
    fields = dict(zip(("minute", "hour", "day", "month", "day_of_week"), line.split(), strict=True))
    trigger = CronTrigger(**fields, timezone=UTC, end_date=last)
    walls, now = [], first
    while (wall := trigger.get_next_fire_time(None, now)) is not None:
        walls.append(wall)
        now = wall + timedelta(seconds=1)
    assert len(walls) > 1
    assert list(_walls(line, first, last)) == walls
