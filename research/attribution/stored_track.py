"""Track records of a stored run's books, from its equity at samples, its deposits and its fills."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

import numpy as np

from quantd.adapters.store.queries import Reader, Trade
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.engine.state.valuations import Gain
from quantd.daemon.views.report.curves import Curves, date_ns
from quantd.research.metrics.round_trips import Fills, RoundTrip, Split, round_trips
from quantd.research.metrics.run_track import splits_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.runs.comparison import samples_a_year
from quantd.trading.codec import decode
from quantd.trading.events import split_of
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

HOUSE: Final = ""


class PastTrades:
    """Round trips and splits of one run that goes on: an entry of the journal is read once, and trips are matched again
    only after the newest entry has changed."""

    def __init__(self) -> None:
        self._seq = 0
        self._splits: list[Split] = []
        self._trips: dict[str, tuple[int, tuple[RoundTrip, ...]]] = {}

    def splits(self, reader: Reader, kinds: Sequence[bytes]) -> list[Split]:
        """The splits in the journal, from events of these kinds."""
        if reader.records is not None:
            for seq, data in reader.entries(self._seq + 1):
                self._seq = seq
                if any(kind in data for kind in kinds) and (split := split_of(decode(data).event)):
                    self._splits.append(Split(split.ts, split.symbol, split.numerator / split.denominator))
        return list(self._splits)

    def trips(
        self, book: str, reader: Reader, matched: Callable[[str], tuple[RoundTrip, ...]]
    ) -> tuple[RoundTrip, ...]:
        """All trips of a book: those of the last call where no entry has been added since."""
        seq = reader.records.last_seq(reader.run.run) if reader.records is not None else -1
        newest = self._trips.get(book)
        if newest is None or newest[0] != seq or seq < 0:
            self._trips[book] = newest = seq, matched(book)
        return newest[1]


class StoredBooks:
    """The books of one stored run at its samples. `more` are the gains until each instrument's own close.

    `past` is what an earlier read of the same run has found out.

    `ts` int64[T+1] are the samples, `days_ns` their dates.
    """

    def __init__(self, reader: Reader, parts: Parts, more: Sequence[Gain] = (), past: PastTrades | None = None) -> None:
        self._reader, self._parts, self._past = reader, parts, past or PastTrades()
        self.names: Final = tuple(agent.name for agent in parts.config.agents)
        points = reader.equity()
        entries = reader.sampled()[: len(points)]
        self._equity = np.array([p.equity_micro / 1e6 for p in points])
        curves = Curves(points, entries, self.names, reader.bookings(), reader.capital(), more)
        self._curves = curves
        self.ts = curves.ts
        self.days_ns: Ints = (curves.ts - 1) // DAY_NS * DAY_NS  # a session that ends at midnight is the day before's

    def span(self, start: date | None, end: date | None) -> tuple[int, int]:
        """The first and last sample of the dates `start` to `end`, both included, from the sample before them on.

        The last is lower than the first where the run has no sample on these dates.
        """
        first = int(np.searchsorted(self.days_ns, date_ns(start))) if start is not None else 0
        last = int(np.searchsorted(self.days_ns, date_ns(end), side="right")) if end is not None else len(self.ts)
        return (max(0, first - 1), last - 1) if last > first else (first, first - 1)

    def returns(self, book: str) -> Floats:
        """float64[T+1]: time-weighted returns of the house or an agent's book, 0 at the first sample."""
        return self._curves.returns if book == HOUSE else self._curves.agents[self.names.index(book)]

    def track(self, returns: Floats, first: int, last: int, book: str | None = None) -> TrackRecord:
        """The track record of float64[T+1] returns over the samples `first` to `last`, with the trips of a `book`.

        Its equity is the worth of 1 at the first sample, so that no deposit is a return. Raises ValueError for a book
        that lost everything.
        """
        part = slice(first, last + 1)
        days, periods = self.days_ns[part], samples_a_year(self._parts)
        return TrackRecord(
            equity=np.concatenate((np.ones(1), np.cumprod(1.0 + returns[first + 1 : last + 1]))),
            days_ns=days,
            periods=periods,
            risk_free_annual=self._parts.risk_free_annual(days.tolist(), periods),
            trips=None if book is None else self._trips(book, first, last),
        )

    def _trips(self, book: str, first: int, last: int) -> tuple[RoundTrip, ...]:
        """The round trips that ended in the samples after `first`, first in, first out."""
        trips = self._past.trips(book, self._reader, self._all_trips)
        return tuple(trip for trip in trips if self.ts[first] < trip.exit_ts <= self.ts[last])

    def _all_trips(self, book: str) -> tuple[RoundTrip, ...]:
        trades = self._reader.trades(book)
        return round_trips(self._columns(trades), self._parts.universe.symbols, self.ts, self._splits())

    def _columns(self, trades: Sequence[Trade]) -> Fills:
        """Numbers of trades: the quotient of two integers is the float next to the exact value."""
        universe = self._parts.universe
        column = {symbol: k for k, symbol in enumerate(universe.symbols)}
        unit = dict(zip(universe.symbols, universe.lot_nano, strict=True))
        return Fills(
            ts=np.array([trade.ts for trade in trades], dtype=np.int64),
            symbol=np.array([column[trade.symbol] for trade in trades], dtype=np.int64),
            quantity=np.array([trade.lots * unit[trade.symbol] / NANO for trade in trades], dtype=np.float64),
            price=np.array([trade.price_nano / NANO for trade in trades], dtype=np.float64),
            fee=np.array([trade.fee_micro / MICRO for trade in trades], dtype=np.float64),
        )

    def _splits(self) -> tuple[Split, ...]:
        """The splits of the market: of its files, or of a live market's journal; and those that explained jumps."""
        listed = splits_of(self._parts) if isinstance(self._parts, Assembly) else None
        kinds = (b"JumpExplained",) if listed is not None else (b"Action", b"JumpExplained")
        journalled = self._past.splits(self._reader, kinds)
        return tuple(sorted([*(listed or ()), *journalled], key=lambda split: split.ts))
