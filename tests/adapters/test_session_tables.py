"""The tables of sessions against exchange_calendars, session by session, for every bundled calendar."""

import subprocess
import sys
from datetime import date

import exchange_calendars  # type: ignore[import-untyped]
import pytest

from quantd.adapters.calendars import ALWAYS_OPEN, day_ns, library_sessions, library_version, names, sessions
from quantd.adapters.feeds.recorded.reading import CALENDARS
from quantd.adapters.session_tables import FILE, FORMAT, tables
from quantd.daemon.assembly.names import COMMON
from quantd.trading.sessions import Sessions

BUNDLED = sorted(tables().calendars)


def test_every_calendar_that_quantd_names_is_bundled_and_of_the_locked_library() -> None:
    file = tables()
    assert (file.format, file.library) == (FORMAT, library_version())
    assert (file.first, file.last) == (date(1960, 1, 1), date(2050, 12, 31))
    assert [name for name in (*COMMON, *CALENDARS) if name != ALWAYS_OPEN and file.resolved(name) is None] == []
    assert sorted(names()) == sorted(exchange_calendars.get_calendar_names(include_aliases=True))
    for alias, name in file.aliases.items():
        assert exchange_calendars.resolve_alias(alias) == name
    assert FILE.stat().st_size < 100_000


@pytest.mark.one_of(3)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", sorted(BUNDLED, key=lambda name: (name not in ("XNYS", "XTKS", "XSHG"), name)))
def test_every_session_with_its_open_and_close_is_that_of_the_library(name: str) -> None:
    file = tables()
    assert file.sessions(name, file.first, file.last) == library_sessions(name, file.first, file.last)


@pytest.mark.parametrize("name", ["XNYS", "NYSE", "XHKG", "XSHG", "CMES"])
def test_a_part_of_the_years_is_what_the_library_makes_for_it(name: str) -> None:
    start, end = date(1989, 11, 3), date(1991, 2, 5)
    table, library = sessions(name, start, end), library_sessions(name, date(1989, 1, 1), date(1991, 12, 31))
    inside = [k for k, day in enumerate(library.day_ns) if day_ns(start) <= day <= day_ns(end)]
    columns = (tuple(column[k] for k in inside) for column in (library.day_ns, library.open_ns, library.close_ns))
    assert table == Sessions(name, library.zone, *columns)


def test_a_year_outside_the_tables_comes_from_the_library() -> None:
    old = sessions("XNYS", date(1958, 1, 1), date(1961, 12, 31))
    assert old == library_sessions("XNYS", date(1958, 1, 1), date(1961, 12, 31))
    assert old.day_ns[0] < day_ns(date(1958, 1, 8))
    assert sessions("XNYS", date(1960, 1, 1), date(1961, 12, 31)).day_ns == tuple(
        day for day in old.day_ns if day >= day_ns(date(1960, 1, 1))
    )


def test_a_bundled_calendar_loads_neither_the_library_nor_pandas_and_writes_no_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    code = (
        "import sys, datetime as d, pathlib; from quantd.adapters.calendars import sessions;"
        f"s = sessions('XLON', d.date(2020, 1, 1), d.date(2021, 6, 30), cache=pathlib.Path({str(tmp_path)!r}));"
        "print(len(s.day_ns), {'exchange_calendars', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "378 set()\n"
    assert list(tmp_path.iterdir()) == []
