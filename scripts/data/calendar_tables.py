"""Make the sessions of the bundled calendars from the installed exchange_calendars: data/sessions.msgpack.

python scripts/data/calendar_tables.py          write the file, and print which sessions of each calendar differ
python scripts/data/calendar_tables.py --check  write nothing; exit code 1 where the file is not what would be written

The calendars are those that quantd names: the common ones of a configuration, and those that `quantd data check` tries.
Run it after each update of exchange_calendars. `tests/adapters/test_session_tables.py` compares both.
"""

import sys
from datetime import date
from typing import Final

import exchange_calendars  # type: ignore[import-untyped]
import msgspec

from quantd.adapters.calendars import ALWAYS_OPEN, library_sessions, library_version
from quantd.adapters.feeds.recorded.reading import CALENDARS
from quantd.adapters.session_tables import FILE, FORMAT, SessionTables, encoded, tables
from quantd.daemon.assembly.names import COMMON
from quantd.trading.display_text import session_date

FIRST: Final = date(1960, 1, 1)
LAST: Final = date(2050, 12, 31)


def table_file() -> bytes:
    """Return the bytes of the file."""
    resolve = exchange_calendars.resolve_alias
    bundled = sorted({resolve(name) for name in (*COMMON, *CALENDARS)} - {ALWAYS_OPEN})
    names = sorted(exchange_calendars.get_calendar_names(include_aliases=True))
    version = library_version()
    assert version is not None
    file = SessionTables(
        format=FORMAT,
        library=version,
        first=FIRST,
        last=LAST,
        calendars={name: encoded(library_sessions(name, FIRST, LAST), FIRST, LAST) for name in bundled},
        aliases={name: resolve(name) for name in names if resolve(name) != name and resolve(name) in bundled},
        others=tuple(name for name in names if resolve(name) not in bundled),
    )
    return msgspec.msgpack.encode(file)


def differences(before: SessionTables, after: SessionTables) -> list[str]:
    """Return a line for each calendar whose sessions differ, with the first date."""
    lines = [f"{name}: removed" for name in sorted(before.calendars.keys() - after.calendars.keys())]
    lines += [f"{name}: added" for name in sorted(after.calendars.keys() - before.calendars.keys())]
    for name in sorted(before.calendars.keys() & after.calendars.keys()):
        if changed := _sessions(before, name) ^ _sessions(after, name):
            dates = {day for day, _, _ in changed}
            lines.append(f"{name}: {len(dates)} sessions differ, the first on {session_date(min(dates))}")
    return lines


def _sessions(file: SessionTables, name: str) -> set[tuple[int, int, int]]:
    """Return (date, open, close) of each session."""
    sessions = file.sessions(name, file.first, file.last)
    return set(zip(sessions.day_ns, sessions.open_ns, sessions.close_ns, strict=True))


def main() -> int:
    data = table_file()
    if FILE.exists():
        lines = differences(tables(FILE), msgspec.msgpack.decode(data, type=SessionTables))
        print("\n".join(lines) or "no session differs")
    if "--check" in sys.argv[1:]:
        return int(not FILE.exists() or FILE.read_bytes() != data)
    FILE.write_bytes(data)
    print(f"{FILE.name}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
