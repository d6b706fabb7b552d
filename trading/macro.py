"""Macro series and series per symbol: when their values become known, and the known values at each sample.

These series are not tradable. Each value is dated by its publication, not by the day that it describes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

Available = Literal["next_open", "close"]
"""When a date's value becomes known. "next_open": at the open of the first session after the date. "close": at the
close of the first session on or after the date."""


def series_columns(name: str, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a series per symbol among the macro series of a run: `esg SPY`, in the order of `symbols`."""
    return tuple(f"{name} {symbol}" for symbol in symbols)


class RepeatedDate(ValueError):
    """Two rows of one series have the same date and the same date of publication; `row` is the index of the second
    row."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} repeats a date")
        self.row = row


@dataclass(frozen=True, slots=True)
class DatedValues:
    """Values of several series (columns), R in all. From `dates[r]` on, `values[r]` is the value of column
    `columns[r]`.

    `columns` is int64[R], `dates` int64[R] in ns at 00:00 UTC, ascending, `values` float64[R].
    """

    columns: Ints
    dates: Ints
    values: Floats

    def of(self, column: int) -> tuple[Ints, Floats]:
        """Return (dates int64[K], values float64[K]) of one column, oldest first."""
        mask = self.columns == column
        return self.dates[mask], self.values[mask]


def dated_values(columns: Ints, ts: Ints, values: Floats, published: Ints | None = None) -> DatedValues:
    """Return the values in use from each date on; rows without a finite value are omitted.

    The R rows may be in any order. `columns` int64[R] are indices from 0, `ts` int64[R] the dates that the values
    describe, and `published` int64[R] the dates of publication (by default `ts`), in ns at 00:00 UTC. If several values
    of a column are published on one date, the value for the newest `ts` counts. A later publication about an older `ts`
    replaces nothing. Raises RepeatedDate for a column with two values of equal `ts` and `published`.
    """
    published = ts if published is None else published
    order = np.lexsort((ts, published, columns))
    order = order[np.isfinite(values[order])]
    same_publication = (np.diff(columns[order]) == 0) & (np.diff(published[order]) == 0)
    repeated_rows = np.flatnonzero(same_publication & (np.diff(ts[order]) == 0))
    if len(repeated_rows):
        raise RepeatedDate(int(order[repeated_rows[0] : repeated_rows[0] + 2].max()))
    # of one publication only the last row counts: that of the newest ts
    order = order[np.r_[~same_publication, True][: len(order)]]
    # one ascending key over all columns: its running maximum is the newest ts of the column so far
    ts_rank = np.unique(ts[order], return_inverse=True)[1]
    column_rank = columns[order] * (len(order) + 1) + ts_rank
    order = order[column_rank == np.maximum.accumulate(column_rank)]
    order = order[np.argsort(published[order], kind="stable")]
    return DatedValues(columns[order], published[order], values[order])


def first_session(dates: Ints, available: Available, sessions: Ints) -> Ints:
    """Return int64[R]: for each of `dates`, the index in `sessions` (dates, ascending) of the first session at which
    its value is known.

    `available` "close" means the first session on or after the date, "next_open" the first session after the date. If
    the calendar ends before that session, the index is len(sessions).
    """
    return np.searchsorted(sessions, dates, side="left" if available == "close" else "right")


@dataclass(frozen=True, slots=True)
class SessionValues:
    """The values of N series (columns) over T sessions.

    `values` float64[R] are all R values. `newest` int64[T, N] is the index in `values` of each column's newest known
    value at each session, -1 before the first. `ends` int64[R] is the index of the first session in which a value has
    expired, T for a value that never expires.
    """

    values: Floats
    newest: Ints
    ends: Ints

    def at(self, row: int, session: int) -> Floats:
        """Return float64[N], the values of N series that are known at the session with index `row`.

        A value that has expired by the session with index `session` is NaN, as is a series without a value yet.
        """
        rows = self.newest[row]
        if not len(self.values):
            return np.full(len(rows), np.nan)
        return np.where((rows >= 0) & (self.ends[rows] > session), self.values[rows], np.nan)

    def at_closes(self) -> Floats:
        """Return float64[T, N], the values of N series known at the close of each of T sessions, NaN for none.

        In a market without pauses (24/7) a value with "next_open" is known at the close of a session already, because
        the next session opens at that instant; in this table it appears one row later.
        """
        return np.array([self.at(t, t) for t in range(len(self.newest))]).reshape(self.newest.shape)


def on_sessions(
    dated: DatedValues, size: int, sessions: Ints, available: Available = "next_open", valid_days: int = 0
) -> SessionValues:
    """Assign the values of `size` series to `sessions`, the dates (ns at 00:00 UTC, ascending) of all sessions of the
    house calendar.

    A value is known from the open of the first session after its date on ("next_open"), or from the close of the first
    session on or after its date ("close").

    With `valid_days` above 0, a value expires: it is unknown in sessions more than `valid_days` calendar days after the
    session at which it became known. The age of a value dated before the first session counts from its date.
    """
    session_count, first_row = len(sessions), first_session(dated.dates, available, sessions)
    within_calendar = first_row < session_count
    newest = np.full((session_count, size), -1, dtype=np.int64)
    # rows ascend by date: where several become known at one session, the last assignment is the newest
    newest[first_row[within_calendar], dated.columns[within_calendar]] = np.flatnonzero(within_calendar)
    np.maximum.accumulate(newest, axis=0, out=newest)
    expiry_rows = np.full(len(first_row), session_count, dtype=np.int64)
    if valid_days and session_count:
        first_dates = np.where(
            dated.dates < sessions[0], dated.dates, sessions[np.minimum(first_row, session_count - 1)]
        )
        expiry_rows = np.searchsorted(sessions, first_dates + valid_days * DAY_NS, side="right")
    return SessionValues(dated.values, newest, expiry_rows)


class MacroHistory:
    """The newest `lookback` samples of each series, one row per sample, NaN where no value was known yet.

    `names` has the names of macro series, such as `vix`, and of series per symbol, such as `esg SPY`.
    """

    def __init__(self, names: tuple[str, ...], lookback: int) -> None:
        self.names = names
        self.lookback = lookback
        self.rows: Floats = np.full((lookback, len(names)), np.nan)
        """float64[lookback, series], oldest first.

        Each sample replaces the array, so that earlier views keep their values.
        """
        self._place = {name: column for column, name in enumerate(names)}

    def sample(self, values: Sequence[float]) -> None:
        """Append the known values at a sample, in the order of `names`; missing trailing values become NaN."""
        row = np.full((1, len(self.names)), np.nan)
        row[0, : len(values)] = values
        rows = np.concatenate((self.rows[1:], row))
        rows.flags.writeable = False
        self.rows = rows

    def known(self, name: str, k: int) -> Floats:
        """Return float64[k], the known values at the newest k samples, oldest first. Raises ValueError for an unknown
        series, or more samples than `lookback`."""
        if name not in self._place:
            listed = ", ".join(series_name for series_name in self.names if " " not in series_name) or "none"
            raise ValueError(f"macro({name!r}): [feed] macro has {listed}")
        self._require(f"macro({name!r}, {k})", k)
        return self.rows[self.lookback - k :, self._place[name]]

    def series(self, name: str, symbols: Sequence[str], k: int) -> Floats:
        """Return float64[k, N], the known values of a series per symbol at the newest k samples, oldest first. Raises
        ValueError for an unknown series, or more samples than `lookback`."""
        columns = series_columns(name, symbols)
        if not all(column in self._place for column in columns):
            listed = dict.fromkeys(column.partition(" ")[0] for column in self.names if " " in column)
            raise ValueError(f"series({name!r}): [feed] series has {', '.join(listed) or 'none'}")
        self._require(f"series({name!r}, {k})", k)
        rows: Floats = self.rows[self.lookback - k :, [self._place[column] for column in columns]]
        rows.flags.writeable = False
        return rows

    def _require(self, call: str, k: int) -> None:
        if not 1 <= k <= self.lookback:
            raise ValueError(f"{call}: k must be between 1 and {self.lookback}, the lookback of the run")

    def freeze(self) -> dict[str, bytes]:
        """Return name -> samples of each series as float64 bytes, oldest first."""
        return {name: self.rows[:, column].tobytes() for column, name in enumerate(self.names)}

    def thaw(self, frozen: Mapping[str, bytes]) -> None:
        """Restore the state returned by `freeze`; a series that the state lacks starts empty."""
        rows = np.full_like(self.rows, np.nan)
        for column, name in enumerate(self.names):
            saved = np.frombuffer(frozen.get(name, b""))[-self.lookback :]
            rows[self.lookback - len(saved) :, column] = saved
        rows.flags.writeable = False
        self.rows = rows
