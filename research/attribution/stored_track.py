"""Track records of a stored run's books, from its equity at samples, its deposits and its fills."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np

from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.engine.state.valuations import Gain
from quantd.daemon.views.report.curves import Curves, date_ns
from quantd.research.metrics.round_trips import Fills, RoundTrip, Split, round_trips
from quantd.research.metrics.run_track import splits_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.runs.comparison import samples_a_year
from quantd.trading.codec import decode
from quantd.trading.events import split_of
from quantd.trading.market import Floats, Ints
from quantd.trading.orders import Fill
from quantd.trading.sessions import DAY_NS

HOUSE: Final = ""


class StoredBooks:
    """The books of one stored run at its samples. `more` are the gains until each instrument's own close.

    `ts` int64[T+1] are the samples, `days_ns` their dates.
    """

    def __init__(self, reader: Reader, parts: Parts, more: Sequence[Gain] = ()) -> None:
        self._reader, self._parts = reader, parts
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
        rows = self._reader.fills() if book == HOUSE else [f for f in self._reader.shares() if f.agent == book]
        trips = round_trips(self._columns(rows), self._parts.universe.symbols, self.ts, self._splits())
        return tuple(each for each in trips if self.ts[first] < each.exit_ts <= self.ts[last])

    def _columns(self, rows: Sequence[Fill]) -> Fills:
        symbols = {symbol: k for k, symbol in enumerate(self._parts.universe.symbols)}
        return Fills(
            ts=np.array([row.ts for row in rows], dtype=np.int64),
            symbol=np.array([symbols[row.symbol] for row in rows], dtype=np.int64),
            quantity=np.array([float(row.qty) * (1.0 if row.side == "buy" else -1.0) for row in rows]),
            price=np.array([float(row.price) for row in rows]),
            fee=np.array([float(row.fee) for row in rows]),
        )

    def _splits(self) -> tuple[Split, ...]:
        """The splits of the market: of its files, or of a live market's journal; and those that explained jumps."""
        listed = splits_of(self._parts) if isinstance(self._parts, Assembly) else None
        kinds = (b"JumpExplained",) if listed is not None else (b"Action", b"JumpExplained")
        records, run = self._reader.records, self._reader.run.run
        entries = (data for _, data in records.entries(run, 1)) if records else ()
        found = (split_of(decode(data).event) for data in entries if any(kind in data for kind in kinds))
        known = [Split(each.ts, each.symbol, each.numerator / each.denominator) for each in found if each]
        return tuple(sorted([*(listed or ()), *known], key=lambda each: each.ts))
