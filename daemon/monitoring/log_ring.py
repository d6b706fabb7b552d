"""The newest lines of the daemon's log in memory, so that a person finds them without the machine's files."""

import logging
from collections import deque
from threading import Lock
from typing import Final

from msgspec import Struct
from structlog.typing import EventDict

KEPT: Final = 5_000
"""Number of lines in memory, the newest."""

LONGEST: Final = 2_000
"""Maximum number of characters of a line in memory; the remainder is cut off."""


class LogLine(Struct, frozen=True):
    """One line of the log: `number` counts the lines since the start, `ts` is the clock's instant in ns UTC."""

    number: int
    ts: int
    level: str
    logger: str
    text: str


class LogRing(logging.Handler):
    """Keeps the newest log lines in memory. Lines come from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._number = 0
        self._lines: deque[LogLine] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and keep its line under the next number."""
        try:
            text = self.format(record)[:LONGEST]
        except Exception:  # as logging does: a line that cannot be written must not end the work it is about
            self.handleError(record)
            return
        with self._lock:
            self._number += 1
            ts = int(record.created * 1e9)
            self._lines.append(LogLine(self._number, ts, record.levelname, record.name, text))

    def page(
        self, search: str, least: int, limit: int, before: int = 0, since: int = 0
    ) -> tuple[list[LogLine], int, bool]:
        """Return (page, number of all matching lines, whether more lines follow the page).

        The page has at most `limit` lines, the newest first. A line matches if its instant is not before `since`, its
        level is `least` or higher, and it contains `search`, in whatever case. Lines with the number `before` or a
        higher one are not on the page (0: no bound).
        """
        with self._lock:
            lines = list(self._lines)
        levels, search_text = logging.getLevelNamesMapping(), search.casefold()
        matching_lines = [
            line
            for line in reversed(lines)
            if line.ts >= since
            and levels.get(line.level, 0) >= least
            and search_text in f"{line.level} {line.logger} {line.text}".casefold()
        ]
        older_lines = [line for line in matching_lines if not before or line.number < before]
        return older_lines[:limit], len(matching_lines), len(older_lines) > limit


RING: Final = LogRing()
"""The ring of this process, which has the lines that `quantd.daemon.monitoring.metrics.Lines` passes."""


def line_text(logger: object, name: str, event: EventDict) -> str:
    """The event and its fields as one line, without time, level and logger, which a LogLine has as fields."""
    fields = {key: value for key, value in event.items() if key not in ("timestamp", "level", "logger", "event")}
    return " ".join([str(event.get("event", "")), *(f"{key}={value}" for key, value in sorted(fields.items()))])
