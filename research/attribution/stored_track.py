"""Track records of a stored run's books, from its equity at samples, its deposits and its fills."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

import numpy as np

from quantd.adapters.store.queries import END, Reader, Trade
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.views.report.curves import Curves, date_ns, transfers_of
from quantd.research.metrics.round_trips import Fills, RoundTrip, Split, round_trips
from quantd.research.metrics.run_track import splits_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.runs.comparison import samples_a_year
from quantd.trading.codec import decode
from quantd.trading.effects import Transferred
from quantd.trading.events import split_of
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

HOUSE: Final = ""
"""The name of a book that stands for the whole account."""


class PastTrades:
    """Caches the round trips (closed trades), splits and transfers of a run that still continues.

    Each entry of the journal is read once. Round trips are matched again only where an entry has been added.
    """

    def __init__(self) -> None:
        self._seq = 0
        self.splits: list[Split] = []
        self.transfers: list[tuple[int, Transferred]] = []
        """What portfolios moved when they were opened or closed, with the numbers of the journal entries."""
        self._fills: dict[str, tuple[int, Fills, Fills]] = {}
        """By book: the newest entry that was read, its fills and its crosses."""
        self._trips: dict[str, tuple[int, tuple[RoundTrip, ...]]] = {}

    def read(self, reader: Reader, kinds: Sequence[bytes]) -> None:
        """Read the splits and the transfers in new entries of the journal. A split is an event of one of `kinds`."""
        for seq, data in reader.entries(self._seq + 1) if reader.records is not None else ():
            self._seq = seq
            self.transfers += ((seq, transfer) for transfer in transfers_of(data))
            if any(kind in data for kind in kinds) and (split := split_of(decode(data).event)):
                self.splits.append(Split(split.ts, split.symbol, split.numerator / split.denominator))

    def fills(self, book: str, reader: Reader, columns: Callable[[Sequence[Trade]], Fills]) -> Fills:
        """Return the trades of a book as columns: its fills, then its crosses. Only those of new entries are read."""
        after, fills, crosses = self._fills.get(book) or (0, columns([]), columns([]))
        newest = reader.records.last_seq(reader.run.run) if reader.records is not None else END
        fills = fills.joined(columns(reader.trades(book, after=after, until=newest)))
        if book != HOUSE:
            crosses = crosses.joined(columns(reader.crosses(book, after=after, until=newest)))
        if reader.records is not None:
            self._fills[book] = newest, fills, crosses
        return fills.joined(crosses)

    def trips(
        self, book: str, reader: Reader, matched: Callable[[str], tuple[RoundTrip, ...]]
    ) -> tuple[RoundTrip, ...]:
        """Return a book's round trips: from the cache, or by a call of `matched` if the journal has new entries."""
        # -1: without a journal it is not known whether a trade was added, so the trips are matched each time
        seq = reader.records.last_seq(reader.run.run) if reader.records is not None else -1
        newest = self._trips.get(book)
        if newest is None or newest[0] != seq or seq < 0:
            self._trips[book] = newest = seq, matched(book)
        return newest[1]


class StoredBooks:
    """The books (agents' parts of the account) of one stored run at its samples.

    `past` caches the round trips and splits that earlier reads of the same run found. `ts` int64[T+1] are the instants
    of the samples (ns UTC), `days_ns` their dates.
    """

    def __init__(self, reader: Reader, parts: Parts, past: PastTrades | None = None) -> None:
        """Read the samples of a run. `past` is the cache of earlier reads of it; None begins an empty cache."""
        self._reader, self._parts, self._past = reader, parts, past or PastTrades()
        self.names: Final = tuple(agent.name for agent in parts.config.agents)
        points = reader.equity()
        entries = reader.sampled()[: len(points)]  # a run that continues may have added samples since
        self._equity = np.array([p.equity_micro / 1e6 for p in points])
        self._file_splits = splits_of(parts) if isinstance(parts, Assembly) else None
        self._past.read(reader, (b"JumpExplained",) if self._file_splits is not None else (b"Action", b"JumpExplained"))
        curves = Curves(points, entries, self.names, reader.bookings(), reader.capital(), self._past.transfers)
        self._curves = curves
        self.ts = curves.ts
        self.days_ns: Ints = (curves.ts - 1) // DAY_NS * DAY_NS  # a session that ends at midnight is the day before's

    def span(self, start: date | None, end: date | None) -> tuple[int, int]:
        """Return the indices of the first and last sample for the dates `start` to `end`, both included.

        The first index belongs to the sample before these dates, where there is one, because the first return begins at
        that sample. The last index is lower than the first where the run has no sample on these dates.
        """
        first = int(np.searchsorted(self.days_ns, date_ns(start))) if start is not None else 0
        last = int(np.searchsorted(self.days_ns, date_ns(end), side="right")) if end is not None else len(self.ts)
        return (max(0, first - 1), last - 1) if last > first else (first, first - 1)

    def returns(self, book: str) -> Floats:
        """Return float64[T+1], the time-weighted returns of a book, or of the account for HOUSE; the first is 0."""
        return self._curves.returns if book == HOUSE else self._curves.agents[self.names.index(book)]

    def track(self, returns: Floats, first: int, last: int, book: str | None = None) -> TrackRecord:
        """Return the track record of `returns` float64[T+1] over the samples `first` to `last`.

        The record has the round trips of `book`, or none where `book` is None. Its equity is the growth of 1 invested
        at the first sample, so that a deposit is no return. Raises ValueError for a book that lost everything.
        """
        samples = slice(first, last + 1)
        days, periods = self.days_ns[samples], samples_a_year(self._parts)
        return TrackRecord(
            equity=np.concatenate((np.ones(1), np.cumprod(1.0 + returns[first + 1 : last + 1]))),
            days_ns=days,
            periods=periods,
            risk_free_annual=self._parts.risk_free_annual(days.tolist(), periods),
            trips=None if book is None else self._trips(book, first, last),
        )

    def _trips(self, book: str, first: int, last: int) -> tuple[RoundTrip, ...]:
        """Return the round trips (first in, first out) that ended after the sample `first`, up to the sample `last`."""
        trips = self._past.trips(book, self._reader, self._all_trips)
        begin, end = int(self.ts[first]), int(self.ts[last])
        return tuple(trip for trip in trips if begin < trip.exit_ts <= end)

    def _all_trips(self, book: str) -> tuple[RoundTrip, ...]:
        """Match the round trips of a book from all its trades and splits."""
        fills = self._past.fills(book, self._reader, self._columns)
        return round_trips(fills, self._parts.universe.symbols, self.ts, self._splits())

    def _columns(self, trades: Sequence[Trade]) -> Fills:
        """Return trades as columns. Each number is computed by one division of integers, so it is the nearest float."""
        universe = self._parts.universe
        column_of = {symbol: k for k, symbol in enumerate(universe.symbols)}
        lot_nano_of = dict(zip(universe.symbols, universe.lot_nano, strict=True))
        return Fills(
            ts=np.array([trade.ts for trade in trades], dtype=np.int64),
            symbol=np.array([column_of[trade.symbol] for trade in trades], dtype=np.int64),
            quantity=np.array([trade.lots * lot_nano_of[trade.symbol] / NANO for trade in trades], dtype=np.float64),
            price=np.array([trade.price_nano / NANO for trade in trades], dtype=np.float64),
            fee=np.array([trade.fee_micro / MICRO for trade in trades], dtype=np.float64),
        )

    def _splits(self) -> tuple[Split, ...]:
        """Return the splits: those in the market's files or a live run's journal, and those found by price jumps."""
        return tuple(sorted([*(self._file_splits or ()), *self._past.splits], key=lambda split: split.ts))
