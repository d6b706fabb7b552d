"""OHLCV bars at sample frequency, and the ring buffer that stores them for policies.

One row is one *sample*: all slices between two samples form one bar. Rows are stored unadjusted, each with the
cumulative factor since the first row. Returned bars are adjusted for the splits and dividends known at that time, so
that the newest row shows traded prices.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.trading.market import Floats, Ints, MarketSlice

FIELDS: Final = ("open", "high", "low", "close", "volume")
_CLOSE: Final = 3
_VOLUME: Final = 4
_PRICE_LINK: Final = 5
_VOLUME_LINK: Final = 6
_ROWS: Final = 7

CorporateAction = tuple[int, float, float]
"""(column, new shares per old one, dividend per old share)."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The newest k samples of N instruments as OHLCV bars, oldest first, read-only.

    `session` is int64[k]: the session date in ns for daily bars, the instant for intraday bars, -1 before the first
    sample. The other fields are float64[k, N]. `close` is the last known price; the returns of `close` equal those of
    `view.returns`. For an instrument without a bar since the previous sample, open, high and low are NaN and volume is
    0. All fields are NaN before the first sample.
    """

    session: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


class BarRing:
    """Ring buffer of the newest `lookback` samples as bars, with the bar that is still forming."""

    ROOM: Final = 4
    """Capacity of the buffer, in lookbacks: the newest rows are copied to its start only when it is full."""

    def __init__(self, size: int, lookback: int) -> None:
        """Make an empty ring for `size` symbols. `_made` caches the last result of `bars`: (samples at that time, k,
        bars).

        `end` is the number of rows in the buffer, `count` the number of samples ever appended."""
        self.lookback = lookback
        self._made = (0, 0, _blank(size))
        self.rows: Floats = np.full((_ROWS, self.ROOM * lookback, size), np.nan)
        self.session: Ints = np.full(self.ROOM * lookback, -1, dtype=np.int64)
        self.end = 0
        self.count = 0
        self.forming: Floats = np.full((5, size), np.nan)
        """Open, high, low, an unused row, and volume since the last sample; NaN where nothing traded."""
        self.links: Floats = np.ones((2, size))
        """Price and volume link of the newest row: raw value times link continues the series from the first row."""

    def slice(self, market: MarketSlice, without: Sequence[int] = ()) -> None:
        """Merge the bars of one slice (instant) into the bar in progress. The columns `without` are left out."""
        forming, fresh = self.forming, market.fresh
        if without:
            fresh = fresh.copy()
            fresh[list(without)] = False
        # the open is that of the first bar; high and low are the extremes, and volumes add up
        forming[0] = np.where(fresh & np.isnan(forming[0]), market.open, forming[0])
        forming[1] = np.where(fresh, np.fmax(forming[1], market.high), forming[1])
        forming[2] = np.where(fresh, np.fmin(forming[2], market.low), forming[2])
        traded = np.nan_to_num(market.volume, nan=0.0)
        forming[_VOLUME] = np.where(fresh, np.nan_to_num(forming[_VOLUME], nan=0.0) + traded, forming[_VOLUME])

    def split(self, column: int, ratio: float) -> None:
        """Convert the bar in progress of a column from old to new shares: `ratio` new shares replace one old share."""
        self.forming[:3, column] /= ratio
        self.forming[_VOLUME, column] *= ratio

    def sample(self, session: int, marks: Floats, actions: list[CorporateAction]) -> None:
        """Close the bar in progress at the prices `marks` and append it as a row.

        `actions` are the corporate actions since the last sample, `session` is the session date.
        """
        if self.end == self.rows.shape[1]:
            self._rewind()
        new_row = self.rows[:, self.end]
        new_row[:5] = self.forming
        new_row[_CLOSE] = marks
        # no trade since the last sample: the volume is 0 where there is a price
        new_row[_VOLUME] = np.where(np.isnan(new_row[_VOLUME]) & np.isfinite(marks), 0.0, new_row[_VOLUME])
        if actions:
            self._link(marks, actions)
        new_row[_PRICE_LINK:] = self.links
        self.session[self.end] = session
        self.end += 1
        self.count += 1
        self.forming = np.full_like(self.forming, np.nan)

    def _link(self, marks: Floats, actions: list[CorporateAction]) -> None:
        """Extend the cumulative factor by the total return since the previous row, as `Ring` computes it: (price x
        split + dividend) / previous price."""
        self.links = self.links.copy()
        for column, (shares, cash) in per_share(actions).items():
            price = float(marks[column])
            reinvested = cash / price if price > 0.0 else 0.0
            self.links[0, column] *= shares + reinvested
            self.links[1, column] /= shares

    def _rewind(self) -> None:
        row_count, start = self.lookback, self.end - self.lookback
        # Allocate new arrays: a policy in a worker may still read views of the old ones.
        rows, session = np.full_like(self.rows, np.nan), np.full_like(self.session, -1)
        rows[:, :row_count], session[:row_count] = self.rows[:, start:], self.session[start:]
        self.rows, self.session, self.end = rows, session, row_count

    def bars(self, k: int) -> Bars:
        """Return the newest k samples, adjusted. Calls between two samples return the same arrays.

        Raises ValueError unless 1 <= k <= `lookback`.
        """
        if not 1 <= k <= self.lookback:
            raise ValueError(f"bars({k}): k must be between 1 and {self.lookback}, the lookback of the run")
        count, cached_k, bars = self._made
        if count == self.count and cached_k == k:
            return bars
        bars = self._adjusted(k)
        self._made = self.count, k, bars
        return bars

    def _adjusted(self, k: int) -> Bars:
        """Return the newest k samples with prices and volumes adjusted to the newest row; the rows before the first
        sample are NaN."""
        size = self.rows.shape[2]
        row_count = min(k, self.end)
        newest = self.rows[:, self.end - row_count : self.end]
        session = np.full(k, -1, dtype=np.int64)
        session[k - row_count :] = self.session[self.end - row_count : self.end]
        table = np.full((5, k, size), np.nan)
        window = table[:, k - row_count :]
        # Divide by the newest link, so that the newest row is multiplied by exactly 1.
        np.multiply(newest[:_VOLUME], newest[_PRICE_LINK] / self.links[0], out=window[:_VOLUME])
        np.multiply(newest[_VOLUME], newest[_VOLUME_LINK] / self.links[1], out=window[_VOLUME])
        table.flags.writeable = session.flags.writeable = False
        return Bars(session, table[0], table[1], table[2], table[3], table[4])

    def dated_later(self, by_ns: int) -> "BarRing":
        """Return the same bars with every session date moved `by_ns` later; the arrays are shared, not copied."""
        other = copy(self)
        other._made = (0, 0, _blank(self.rows.shape[2]))
        other.session = np.where(self.session >= 0, self.session + by_ns, self.session)
        return other

    def freeze(self) -> tuple[int, bytes, bytes, bytes, bytes]:
        """Return (number of samples so far, newest rows, their session dates, bar in progress, cumulative factors),
        arrays as bytes."""
        start = max(0, self.end - self.lookback)
        return (
            self.count,
            self.rows[:, start : self.end].tobytes(),
            self.session[start : self.end].tobytes(),
            self.forming.tobytes(),
            self.links.tobytes(),
        )

    def thaw(self, frozen: tuple[int, bytes, bytes, bytes, bytes]) -> None:
        """Restore the state that `freeze` returned."""
        size = self.rows.shape[2]
        count, rows, session, forming, links = frozen
        # A continued run with a shorter lookback needs only the newest rows.
        session_dates = np.frombuffer(session, dtype=np.int64)[-self.lookback :]
        self.end, self.count = len(session_dates), count
        self.rows[:, : self.end] = np.frombuffer(rows).reshape(_ROWS, -1, size)[:, -self.lookback :]
        self.session[: self.end] = session_dates
        self.forming = np.frombuffer(forming).reshape(5, size).copy()
        self.links = np.frombuffer(links).reshape(2, size).copy()
        self._made = (0, 0, _blank(size))


def per_share(actions: list[CorporateAction]) -> dict[int, tuple[float, float]]:
    """Return column -> (new shares, cash) that one old share has become after all `actions`, in order."""
    per_old_share: dict[int, tuple[float, float]] = {}
    for column, ratio, dividend in actions:
        shares, cash = per_old_share.get(column, (1.0, 0.0))
        per_old_share[column] = (shares * ratio, cash + shares * dividend)
    return per_old_share


def _blank(size: int) -> Bars:
    no_rows: Floats = np.full((0, size), np.nan)
    return Bars(np.full(0, -1, dtype=np.int64), no_rows, no_rows, no_rows, no_rows, no_rows)
