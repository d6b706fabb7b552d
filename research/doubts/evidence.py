"""What the reasons for doubt are derived from: a finished run, with equal weight beside it where that ran."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.stamps import warm_from
from quantd.daemon.assembly.first_session import several_calendars
from quantd.daemon.assembly.parts import Assembly
from quantd.research.runs.run_record import Record
from quantd.trading.display_text import session_date
from quantd.trading.instruments import MICRO
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import Performance

GONE: Final = 5
"""Sessions without a bar at the end of the market after which a symbol counts as dead, not as late."""


@dataclass(frozen=True)
class Evidence:
    """A finished run: its parts, record and figures, with `periods` samples a year; `other` is equal weight beside it.

    The figures are those of equity at samples. `knows` is the verdict that an agent of the run knows the future.
    """

    assembly: Assembly
    record: Record
    performance: Performance
    periods: float
    other: Record | None = None
    other_performance: Performance | None = None
    knows: str = ""

    @property
    def years(self) -> float:
        """The length of the run."""
        return (self.performance.samples - 1) / self.periods

    @cached_property
    def requested(self) -> tuple[Ints, Floats]:
        """The samples with a decision and the exposure requested at each, as `Requests.exposures`."""
        return self.record.requests.exposures(self.record, len(self.assembly.rules.agents))

    @cached_property
    def cash_share(self) -> Floats:
        """float64[T], cash over equity at samples."""
        equity = np.asarray(self.record.known_micro, dtype=np.float64)
        return np.asarray(self.record.cash_micro, dtype=np.float64) / equity

    @property
    def long_only(self) -> bool:
        """Whether no sample has a short position: exposure is then equity less cash."""
        gross = np.asarray(self.record.gross)
        return bool(np.all(gross - (1.0 - self.cash_share) <= 1e-6 * np.maximum(1.0, gross)))

    @cached_property
    def reads_after(self) -> int:
        """The instant (ns UTC) after which the run can use bars.

        Before its first sample the engine holds the samples of the longest lookback of policies and limits. A longer
        `[feed] warmup` and other policies on the same market read bars before these.
        """
        assembly = self.assembly
        universe, lookback = assembly.universe, assembly.rules.lookback
        house = assembly.sessions[universe.calendar]
        first = max(0, bisect_right(house.open_ns, assembly.start_ns) - 1)
        samples = lookback + several_calendars(universe)
        return warm_from(house, house.day_ns[first], samples, assembly.interval_ns)

    @cached_property
    def last_row(self) -> Ints:
        """int64[N], the row of the newest bar of each symbol; -1 for none."""
        fresh: Bools = self.assembly.feed.columns.fresh
        rows = len(fresh) - 1 - np.argmax(fresh[::-1], axis=0)
        return np.where(fresh.any(axis=0), rows, -1)

    @cached_property
    def missing(self) -> Ints:
        """int64[N], the sessions of its calendar that each symbol lacks at the end of the market.

        A symbol that was delisted, or is no member of the universe at the end, lacks none.
        """
        feed, sessions = self.assembly.feed, self.assembly.sessions
        lacking = np.zeros(feed.universe.size, dtype=np.int64)
        delisted = {action.symbol for action in feed.actions if action.kind == "delisting"}
        members = self.assembly.members
        inside = None if members is None else members.at(int(feed.columns.key[-1]))
        for column, instrument in enumerate(feed.universe.instruments):
            row = int(self.last_row[column])
            if column in delisted or row < 0 or (inside is not None and column not in inside):
                continue
            calendar = sessions[instrument.calendar]
            if feed.interval_ns >= DAY_NS:
                newest = int(np.searchsorted(calendar.closes, feed.last_ts, side="right")) - 1
            else:
                newest = int(np.searchsorted(calendar.opens, feed.last_ts)) - 1
            lacking[column] = max(0, newest - int(np.searchsorted(calendar.closes, feed.columns.ts_event[row])))
        return lacking

    def date_of(self, row: int) -> str:
        """The date of a row of the market."""
        columns = self.assembly.feed.columns
        key = int(columns.key[row])
        return session_date(key if self.assembly.feed.interval_ns >= DAY_NS else key - 1).isoformat()

    def held(self, record: Record) -> dict[int, tuple[float, float, float]]:
        """Return the dead symbols that a run still holds: column -> (quantity, price, share of its last equity)."""
        columns, positions = self.assembly.feed.columns, {}
        for column in np.flatnonzero(self.missing >= GONE).tolist():
            lots = int(record.lots[column]) if len(record.lots) else 0
            if lots:
                quantity = lots * float(self.assembly.universe.lot_size[column])
                price = float(columns.close[self.last_row[column], column])
                positions[column] = quantity, price, quantity * price / (record.known_micro[-1] / MICRO)
        return positions
