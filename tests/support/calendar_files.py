"""The calendar of New York, built once in a process of tests, for the state folders of the processes that it starts."""

from datetime import UTC, date, datetime
from pathlib import Path

from quantd.adapters.calendars import sessions


def with_calendar(folder: Path, state: str = "state") -> Path:
    """The folder, whose state folder now has the calendar: without it a start takes a third more time."""
    sessions("XNYS", date(2000, 1, 1), date(datetime.now(UTC).year + 1, 12, 31), cache=folder / state / "cache")
    return folder
