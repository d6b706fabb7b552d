"""Macro series and series per symbol: when their values become known, and the known values at each sample.

They are not tradable. Each value is dated by its publication, not by the day that it describes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

Available = Literal["next_open", "close"]
"""From when a date's value is known: the open of the first session after the date, or the close of the first session
on or after it."""


def series_columns(name: str, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a series per symbol among the macro series of a run: `esg SPY`, in the order of `symbols`."""
    return tuple(f"{name} {symbol}" for symbol in symbols)


class RepeatedDate(ValueError):
    """Two rows of one column have the same date and the same date of publication; `row` is the later of them."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} repeats a date")
        self.row = row


@dataclass(frozen=True, slots=True)
class DatedValues:
    """Values of several columns. From `dates[r]` on, `values[r]` is the value of column `columns[r]`.

    `columns` int64[R], `dates` int64[R] in ns at 00:00 UTC, ascending, `values` float64[R].
    """

    columns: Ints
    dates: Ints
    values: Floats

    def of(self, column: int) -> tuple[Ints, Floats]:
        """Return (dates int64[K], values float64[K]) of one column, oldest first."""
        mask = self.columns == column
        return self.dates[mask], self.values[mask]


def dated_values(columns: Ints, ts: Ints, values: Floats, published: Ints | None = None) -> DatedValues:
    """Return the values to use from each date on; rows without a finite value are omitted.

    The rows, each int64[R] or float64[R], are in any order. `columns` are numbers from 0, `ts` the dates that the
    values describe, and `published` the dates of publication (by default `ts`), in ns at 00:00 UTC. Of the values that
    one date publishes for a column, the one for the newest `ts` counts. A value for an older `ts` does not replace one
    for a newer `ts`. Raises RepeatedDate for a column with two values of equal `ts` and `published`.
    """
    published = ts if published is None else published
    order = np.lexsort((ts, published, columns))
    order = order[np.isfinite(values[order])]
    same = (np.diff(columns[order]) == 0) & (np.diff(published[order]) == 0)
    twice = np.flatnonzero(same & (np.diff(ts[order]) == 0))
    if len(twice):
        raise RepeatedDate(int(order[twice[0] : twice[0] + 2].max()))
    order = order[np.r_[~same, True][: len(order)]]
    # one ascending key over all columns: its running maximum is the newest ts of the column so far
    rank = np.unique(ts[order], return_inverse=True)[1]
    key = columns[order] * (len(order) + 1) + rank
    order = order[key == np.maximum.accumulate(key)]
    order = order[np.argsort(published[order], kind="stable")]
    return DatedValues(columns[order], published[order], values[order])


def first_session(dates: Ints, available: Available, sessions: Ints) -> Ints:
    """Return int64[R], the place in `sessions` (dates, ascending) of the first one at which a date's value is known.

    It is the number of sessions where the calendar ends before.
    """
    return np.searchsorted(sessions, dates, side="left" if available == "close" else "right")


@dataclass(frozen=True, slots=True)
class SessionValues:
    """The values of N columns over T sessions.

    `newest` int64[T, N] is the row of the newest known value at each session, -1 before the first. `ends` int64[R] is
    the place of the first session in which a row's value is unknown again, T where it stays.
    """

    values: Floats
    newest: Ints
    ends: Ints

    def at(self, place: int, session: int) -> Floats:
        """Return float64[N], the values that were known at session `place` and are still valid in `session`."""
        rows = self.newest[place]
        if not len(self.values):
            return np.full(len(rows), np.nan)
        return np.where((rows >= 0) & (self.ends[rows] > session), self.values[rows], np.nan)

    def at_closes(self) -> Floats:
        """Return float64[T, N], the values known at the close of each session, NaN for none.

        Where a session closes at the instant at which the next one opens (24/7), a value with "next_open" is known at
        that close already, and is here one row later.
        """
        return np.array([self.at(t, t) for t in range(len(self.newest))]).reshape(self.newest.shape)


def on_sessions(
    dated: DatedValues, size: int, sessions: Ints, available: Available = "next_open", valid_days: int = 0
) -> SessionValues:
    """Place the values of `size` columns on `sessions`, the dates (ns at 00:00 UTC, ascending) of all house sessions.

    With `valid_days` above 0, a value is unknown in sessions that are more calendar days after the session at which it
    became known. The age of a value from before the first session counts from its own date.
    """
    total, place = len(sessions), first_session(dated.dates, available, sessions)
    reached = place < total
    newest = np.full((total, size), -1, dtype=np.int64)
    # rows ascend by date: where several become known at one session, the last assignment is the newest
    newest[place[reached], dated.columns[reached]] = np.flatnonzero(reached)
    np.maximum.accumulate(newest, axis=0, out=newest)
    ends = np.full(len(place), total, dtype=np.int64)
    if valid_days and total:
        first_dates = np.where(dated.dates < sessions[0], dated.dates, sessions[np.minimum(place, total - 1)])
        ends = np.searchsorted(sessions, first_dates + valid_days * DAY_NS, side="right")
    return SessionValues(dated.values, newest, ends)


class MacroHistory:
    """The newest `lookback` samples of each series, one row per sample, NaN where no value was known yet.

    `names` are those of macro series, `vix`, and those of series per symbol, `esg SPY` (`series_columns`).
    """

    def __init__(self, names: tuple[str, ...], lookback: int) -> None:
        self.names = names
        self.lookback = lookback
        self.rows: Floats = np.full((lookback, len(names)), np.nan)
        """float64[lookback, series], oldest first.

        Each sample replaces the array, so that earlier views keep their values.
        """
        self._place = {name: place for place, name in enumerate(names)}

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
        ValueError as `known` does."""
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
        """Return each series by name, as bytes."""
        return {name: self.rows[:, place].tobytes() for place, name in enumerate(self.names)}

    def thaw(self, frozen: Mapping[str, bytes]) -> None:
        """Restore the state returned by `freeze`; a series that it lacks starts empty."""
        rows = np.full_like(self.rows, np.nan)
        for place, name in enumerate(self.names):
            saved = np.frombuffer(frozen.get(name, b""))[-self.lookback :]
            rows[self.lookback - len(saved) :, place] = saved
        rows.flags.writeable = False
        self.rows = rows
