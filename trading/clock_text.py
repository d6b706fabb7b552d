"""Instants as text: ISO 8601 in UTC."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_text(ts_ns: int) -> str:
    """An instant in ns UTC, such as 2024-07-03T17:00:00Z; microseconds where there are any; empty for 0, no instant."""
    return _instant(ts_ns).isoformat().replace("+00:00", "Z") if ts_ns else ""


def microsecond_text(ts_ns: int) -> str:
    """An instant in ns UTC, always with six decimals: 2024-07-03T17:00:00.000000Z."""
    return _instant(ts_ns).isoformat(timespec="microseconds").replace("+00:00", "Z")


def session_date(ts_ns: int) -> date:
    """The UTC date of an instant in ns."""
    return _instant(ts_ns).date()


def _instant(ts_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(ts_ns) // 1000)  # numpy integers too
