"""The evidence for the reasons to doubt a result: a finished run, and the run of equal weight if there is one."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from quantd.adapters.feeds.bars.stamps import warm_from
from quantd.daemon.assembly.parts import Assembly
from quantd.research.runs.run_record import FOLD, Record
from quantd.trading.display_text import session_date
from quantd.trading.instruments import MICRO, NANO, several_calendars
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import Performance


class Fills(NamedTuple):
    """K fills of a run: column of the symbol, row of the bar, signed quantity and price, each [K], and the time."""

    column: Ints
    row: Ints
    quantity: Floats
    price: Floats
    ts: Ints


DEAD_SESSIONS: Final = 5
"""A symbol that lacks this number of sessions or more at the end of the market counts as dead, not as late."""


@dataclass(frozen=True)
class Evidence:
    """A finished run: its parts, record and performance, with `periods` samples a year.

    `other` and `other_performance` are the record and performance of equal weight, None where it did not run. `knows`
    is the verdict that an agent of the run knows the future; empty without this verdict.
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
        """The length of the finished run in years."""
        return (self.performance.samples - 1) / self.periods

    @cached_property
    def cash_share(self) -> Floats:
        """Cash over equity at each of T samples, float64[T]."""
        equity = np.asarray(self.record.equity_micro, dtype=np.float64)
        return np.asarray(self.record.cash_micro, dtype=np.float64) / equity

    def fills(self) -> Iterator[Fills]:
        """Yield the fills of the account in order, those of 256 baskets at a time: a large run has ten million."""
        batches, lot_size = self.record.fill_columns, self.assembly.universe.lot_size
        opens = self.assembly.feed.columns.ts_open
        for first in range(0, len(batches), FOLD):
            group = batches[first : first + FOLD]
            column, lots, price, _ = np.concatenate([batch.columns for batch in group], axis=1)
            counts = [batch.columns.shape[1] for batch in group]
            ts = np.array([batch.ts for batch in group], dtype=np.int64)
            row = np.maximum(np.searchsorted(opens, ts, side="right") - 1, 0)
            yield Fills(column, np.repeat(row, counts), lots * lot_size[column], price / NANO, np.repeat(ts, counts))

    def gained(self, column: int) -> float:
        """Return the part of the whole gain that trades and positions in one symbol made; 0 without a gain."""
        feed, last = self.assembly.feed, int(self.last_row[column])
        lots = int(self.record.lots[column]) if len(self.record.lots) else 0
        kept = lots * float(self.assembly.universe.lot_size[column]) * float(feed.columns.close[last, column])
        paid = sum(float((fills.quantity * fills.price)[fills.column == column].sum()) for fills in self.fills())
        gain = kept - paid
        whole = self.record.gain_micro(0, -1) / MICRO
        return gain / whole if whole > 0.0 else 0.0

    def in_ratio(self, annual: float) -> float:
        """Return an annual return as a part of the Sharpe ratio; 0 without volatility."""
        volatility = self.performance.volatility_annual
        return annual / volatility if volatility > 0.0 else 0.0

    @property
    def long_only(self) -> bool:
        """True when no sample has a short position: gross exposure over equity then equals 1 less the share of cash."""
        gross = np.asarray(self.record.gross)
        return bool(np.all(gross - (1.0 - self.cash_share) <= 1e-6 * np.maximum(1.0, gross)))

    @cached_property
    def reads_after(self) -> int:
        """The instant (ns UTC) after which the run can use bars.

        Before the first sample of the run, the engine stores the samples of the longest lookback of its policies and
        limits. The market may contain still earlier bars, for a longer `[feed] warmup` or for other policies.
        """
        assembly = self.assembly
        universe, lookback = assembly.universe, assembly.rules.lookback
        calendar = assembly.sessions[universe.calendar]
        first_session = max(0, bisect_right(calendar.open_ns, assembly.start_ns) - 1)
        samples = lookback + several_calendars(universe)  # one more sample where calendars differ
        return warm_from(calendar, calendar.day_ns[first_session], samples, assembly.interval_ns)

    @cached_property
    def last_row(self) -> Ints:
        """The row index of the newest bar of each of N symbols in the market's bars, int64[N]; -1 without bars."""
        fresh: Bools = self.assembly.feed.columns.fresh
        # the first True from the end; argmax is 0 for a column without one, which the next line sets to -1
        newest_row = len(fresh) - 1 - np.argmax(fresh[::-1], axis=0)
        return np.where(fresh.any(axis=0), newest_row, -1)

    @cached_property
    def missing(self) -> Ints:
        """The same number as `ended`; 0 for a symbol that is no member of the universe at the end."""
        members = self.assembly.members
        if members is None:
            return self.ended
        last_members = list(members.at(int(self.assembly.feed.columns.key[-1])))
        return np.where(np.isin(np.arange(len(self.ended)), last_members), self.ended, 0)

    @cached_property
    def ended(self) -> Ints:
        """For each of N symbols, the number of sessions of its calendar after its last bar, int64[N].

        The number is 0 for a symbol that was delisted.
        """
        feed, sessions = self.assembly.feed, self.assembly.sessions
        lacking = np.zeros(feed.universe.size, dtype=np.int64)
        delisted = {action.symbol for action in feed.actions if action.kind == "delisting"}
        for column, instrument in enumerate(feed.universe.instruments):
            row = int(self.last_row[column])
            if column in delisted or row < 0:  # a row of -1: the symbol has no bar at all
                continue
            calendar = sessions[instrument.calendar]
            # a session that has opened but not closed can have intraday bars, but no daily bar
            if feed.interval_ns >= DAY_NS:
                last_session = int(np.searchsorted(calendar.closes, feed.last_ts, side="right")) - 1
            else:
                last_session = int(np.searchsorted(calendar.opens, feed.last_ts)) - 1
            lacking[column] = max(0, last_session - int(np.searchsorted(calendar.closes, feed.columns.ts_event[row])))
        return lacking

    def date_of(self, row: int) -> str:
        """Return the session date of a row (by index) of the market's bars."""
        columns = self.assembly.feed.columns
        key = int(columns.key[row])
        # the key of an intraday bar is its end, which for a session that ends at midnight is on the next date
        return session_date(key if self.assembly.feed.interval_ns >= DAY_NS else key - 1).isoformat()

    def held(self, record: Record) -> dict[int, tuple[float, float, float]]:
        """Return last positions in symbols without recent bars: index -> (quantity, last price, share of equity).

        A symbol that left the universe may still be held: its sale found no bar.
        """
        columns, positions = self.assembly.feed.columns, {}
        for column in np.flatnonzero(self.ended >= DEAD_SESSIONS).tolist():
            lots = int(record.lots[column]) if len(record.lots) else 0
            if lots:
                quantity = lots * float(self.assembly.universe.lot_size[column])
                price = float(columns.close[self.last_row[column], column])
                positions[column] = quantity, price, quantity * price / (record.equity_micro[-1] / MICRO)
        return positions
