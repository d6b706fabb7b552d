"""Formats instants as ISO 8601 text in UTC."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_text(ts_ns: int) -> str:
    """Format an instant in ns UTC: 2024-07-03T17:00:00Z, with microseconds unless they are 0; 0 gives empty text."""
    return _instant(ts_ns).isoformat().replace("+00:00", "Z") if ts_ns else ""


def microsecond_text(ts_ns: int) -> str:
    """Format an instant in ns UTC with six decimals: 2024-07-03T17:00:00.000000Z."""
    return _instant(ts_ns).isoformat(timespec="microseconds").replace("+00:00", "Z")


def session_date(ts_ns: int) -> date:
    """Return the UTC date of an instant in ns."""
    return _instant(ts_ns).date()


def _instant(ts_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(ts_ns) // 1000)  # accepts numpy integers too
