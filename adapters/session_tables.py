"""Reads the sessions of the bundled calendars from data/sessions.msgpack, which scripts/data/calendar_tables.py makes.

A calendar has a bit for each date, True for a session. Opens and closes are minutes after 00:00 UTC of the session's
date, stored only where they differ from the previous session.
"""

import zlib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.bundled import FOLDER
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions

FILE: Final = FOLDER / "data" / "sessions.msgpack"
FORMAT: Final = 1
_MINUTE_NS: Final = 60_000_000_000


class SessionTables(Struct, frozen=True, kw_only=True):
    """The content of the file: the sessions dated from `first` to `last`, both inclusive, according to version
    `library` of the calendar library.

    `calendars` holds a compressed Table by name. `aliases` are other names of these calendars. `others` are the
    library's other calendars, which are not in the file.
    """

    format: int
    library: str
    first: date
    last: date
    calendars: Mapping[str, bytes]
    aliases: Mapping[str, str]
    others: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.calendars, *self.aliases, *self.others)

    def resolved(self, name: str) -> str | None:
        """Return the name under which the file has the calendar `name`, which may be an alias; None without it."""
        resolved = self.aliases.get(name, name)
        return resolved if resolved in self.calendars else None

    def sessions(self, name: str, start: date, end: date) -> Sessions:
        """Return the sessions of a bundled calendar dated from `start` to `end`, both inclusive and within the file.

        In the file a calendar has a bit for each date, True for a session. Its opens and closes are minutes after 00:00
        UTC, stored only where they differ from the previous session.
        """
        table = _decoded(self.calendars[self.aliases.get(name, name)])
        epoch = date(1970, 1, 1)
        days = np.flatnonzero(np.unpackbits(np.frombuffer(table.days, np.uint8))) + (self.first - epoch).days
        first_day, last_day = (start - epoch).days, (end - epoch).days
        first_index, stop_index = int(np.searchsorted(days, first_day)), int(np.searchsorted(days, last_day, "right"))
        row_of_session = np.searchsorted(np.asarray(table.rows), np.arange(first_index, stop_index), "right") - 1
        day_ns: Ints = days[first_index:stop_index].astype(np.int64) * DAY_NS

        def instants(minutes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple((day_ns + np.asarray(minutes, dtype=np.int64)[row_of_session] * _MINUTE_NS).tolist())

        return Sessions(name, table.zone, tuple(day_ns.tolist()), instants(table.opens), instants(table.closes))


class Table(Struct, frozen=True, array_like=True):
    """One calendar of the file. `days` has a bit for each date, True for a session.

    `opens[k]` and `closes[k]`, in minutes after 00:00 UTC, apply from session number `rows[k]` to the one before
    `rows[k + 1]`.
    """

    zone: str
    days: bytes
    rows: tuple[int, ...]
    opens: tuple[int, ...]
    closes: tuple[int, ...]


def encoded(sessions: Sessions, first: date, last: date) -> bytes:
    """Encode a calendar's sessions as the file of tables holds them. Raises ValueError for a time that is not a
    whole minute.

    `first` and `last` are the dates of the file, from which its bits are counted.
    """
    day = np.asarray(sessions.day_ns, dtype=np.int64)
    times = np.stack([np.asarray(column, dtype=np.int64) - day for column in (sessions.open_ns, sessions.close_ns)])
    if (times % _MINUTE_NS).any():
        raise ValueError(f"{sessions.name}: a session opens or closes at a time that is not a whole minute")
    minutes = times // _MINUTE_NS
    bits = np.zeros((last - first).days + 1, dtype=np.uint8)
    bits[day // DAY_NS - (first - date(1970, 1, 1)).days] = 1
    # the sessions whose times differ from those of the session before, with the first one
    rows = np.flatnonzero(np.append(True, (minutes[:, 1:] != minutes[:, :-1]).any(axis=0)))
    opens, closes = (tuple(side[rows].tolist()) for side in minutes)
    table = Table(sessions.zone, np.packbits(bits).tobytes(), tuple(rows.tolist()), opens, closes)
    return zlib.compress(msgspec.msgpack.encode(table), 9)


@cache
def _decoded(table: bytes) -> Table:
    return msgspec.msgpack.decode(zlib.decompress(table), type=Table)


@cache
def tables(path: Path = FILE) -> SessionTables:
    return msgspec.msgpack.decode(path.read_bytes(), type=SessionTables)
