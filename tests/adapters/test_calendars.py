"""Sessions come from tables or from exchange_calendars, and a kept calendar is as good as a fresh one."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from quantd.adapters import calendars
from quantd.adapters.calendars import UnknownCalendar, day_ns, instant_ns, sessions
from quantd.trading.sessions import DAY_NS


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def test_half_days_close_early_and_clock_changes_move_the_close() -> None:
    xnys = sessions("XNYS", date(2024, 3, 1), date(2025, 12, 31))
    close = dict(zip(xnys.day_ns, xnys.close_ns, strict=True))
    assert xnys.zone == "America/New_York"
    assert close[ns("2024-07-03")] == ns("2024-07-03 17:00")
    assert close[ns("2024-07-05")] == ns("2024-07-05 20:00")
    assert close[ns("2024-03-08")] == ns("2024-03-08 21:00")
    assert close[ns("2024-03-11")] == ns("2024-03-11 20:00")
    assert ns("2025-01-09") not in close, "a day of mourning has no session"


def test_every_utc_day_of_24_7_closes_at_the_next_midnight() -> None:
    crypto = sessions("24/7", date(2024, 2, 28), date(2024, 3, 1))
    assert crypto.close_ns == tuple(d + DAY_NS for d in crypto.day_ns)
    assert crypto.open_ns[1:] == crypto.close_ns[:-1]


@pytest.mark.parametrize(("wrong", "nearest"), [("XNYZ", "XNYS"), ("nyse", "NYSE"), ("24/8", "24/7")])
def test_an_unknown_name_is_refused_with_the_nearest_valid_one(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownCalendar, match=wrong) as caught:
        sessions(wrong, date(2024, 1, 1), date(2024, 2, 1))
    assert caught.value.nearest == nearest
    assert nearest in caught.value.remedy


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        sessions("24/7", date(2024, 2, 1), date(2024, 1, 1))


@pytest.mark.parametrize("name", ["XNYS", "XPHS", "24/7"])
def test_a_closed_date_has_no_session_and_the_kept_calendar_still_has_it(name: str, tmp_path: Path) -> None:
    span = date(2024, 5, 1), date(2024, 5, 31)
    full_sessions = sessions(name, *span, cache=tmp_path)
    shorter = sessions(name, *span, cache=tmp_path, closed=(date(2024, 5, 15), date(2024, 6, 3)))
    gone = full_sessions.row_of_day[day_ns(date(2024, 5, 15))]
    for column in ("day_ns", "open_ns", "close_ns"):
        values = getattr(full_sessions, column)
        assert getattr(shorter, column) == values[:gone] + values[gone + 1 :]
    assert shorter.day_order_end(full_sessions.close_ns[gone - 1], daily_bars=True) == full_sessions.close_ns[gone + 1]
    assert sessions(name, *span, cache=tmp_path) == full_sessions


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, damage: str) -> None:
    fresh = sessions("XPHS", date(2022, 1, 1), date(2022, 12, 31), cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "cut": content[:middle],
            "empty": b"",
        }[damage]
    )
    calendars._library_years.cache_clear()
    assert sessions("XPHS", date(2022, 1, 1), date(2022, 12, 31), cache=tmp_path) == fresh
    assert path.read_bytes() == content


def test_a_file_of_another_library_version_is_not_believed(tmp_path: Path) -> None:
    sessions("XPHS", date(2022, 1, 1), date(2022, 12, 31), cache=tmp_path)
    (path,) = tmp_path.iterdir()
    kept = calendars._read_cache(path)
    assert kept is not None
    right = path.read_bytes()
    calendars._write_cache(path, msgspec.structs.replace(kept, library="0.1"))
    calendars._library_years.cache_clear()
    sessions("XPHS", date(2022, 1, 1), date(2022, 12, 31), cache=tmp_path)
    assert path.read_bytes() == right


def test_a_later_end_grows_the_kept_calendar(tmp_path: Path) -> None:
    sessions("XPHS", date(2022, 1, 1), date(2022, 12, 31), cache=tmp_path)
    later = date.today() + timedelta(days=3 * 365)
    grown = sessions("XPHS", date(2023, 1, 1), later, cache=tmp_path)
    assert grown.day_ns[-1] > day_ns(later - timedelta(days=7)), "beyond the library's usual horizon of a year"
    (path,) = tmp_path.iterdir()
    kept = calendars._read_cache(path)
    assert kept is not None
    assert kept.start == day_ns(date(2022, 1, 1))


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert len(sessions("XPHS", date(2022, 1, 3), date(2022, 1, 7), cache=blocked).day_ns) == 5


def test_an_exchange_whose_holidays_are_recorded_for_some_years_only_answers_for_those() -> None:
    shanghai = sessions("XSHG", date(1980, 1, 1), date(1995, 12, 31))
    assert shanghai.day_ns[0] > ns("1990-12-01")
    assert sessions("XSHG", date(1980, 1, 1), date(1981, 12, 31)).day_ns == ()


def test_an_instant_keeps_nine_digits_and_a_text_without_an_offset_needs_a_zone() -> None:
    base = day_ns(date(2024, 1, 3)) + 52_200 * 10**9
    assert instant_ns("2024-01-03T14:30:00.123456789Z") == base + 123_456_789
    assert instant_ns("2024-01-03T09:30:00.5-05:00") == base + 500_000_000
    assert instant_ns("2024-01-03 09:30:00", ZoneInfo("America/New_York")) == base
    for wrong in ("yesterday", "2024-01-03 09:30:00"):
        with pytest.raises(ValueError, match=r"Invalid|no time zone"):
            instant_ns(wrong)
