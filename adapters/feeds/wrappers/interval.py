"""Sources and streams of bars of one interval, built from bars of a shorter interval."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final

import polars as pl

from quantd.adapters.feeds.bars.resample import SCHEMA, Resampler, fold, rows_of
from quantd.adapters.feeds.bars.rows import Rows, within
from quantd.adapters.feeds.source import PartialAnswer, Source, Stream, TellsHalts
from quantd.adapters.feeds.wrappers.wrapper import Forwarding
from quantd.trading.events import Halted, Limited
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions


class Resampled(Forwarding):
    """A source of bars of `interval_ns`, built from a vendor's bars of the shorter interval `finer_ns`.

    If the last shorter bar within a longer one is missing, either there was no trade or the vendor is late. The longer
    bar is therefore withheld until `settle_ns` after its end, by the clock `now` (ns UTC).
    """

    def __init__(
        self,
        source: Source,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        finer_ns: int,
        *,
        now: Callable[[], int] = time.time_ns,
        settle_ns: int = 0,
    ) -> None:
        """Raises FeedError unless `finer_ns` divides the interval.

        Bars are withheld until `settle_ns` after their end if their last shorter bar is missing, because the vendor may
        be late.
        """
        super().__init__(source)
        self.stamps = "open"
        self._now: Final = now
        self._settle: Final = settle_ns
        self._interval: Final = interval_ns
        self._resampler: Final = Resampler(universe, sessions, interval_ns, stamps=source.stamps, finer_ns=finer_ns)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the complete bars of the longer interval that are stamped in [start_ns, end_ns), ns UTC.

        Raises PartialAnswer, with the bars that could be built, where the wrapped source lacks symbols.

        A bar is complete once its last shorter bar has arrived, or once the vendor had enough time after its end. Of a
        repeated shorter bar the newest version counts.
        """
        now = self._now()
        missing: PartialAnswer | None = None
        try:
            finer = await self._source.bars(start_ns, end_ns + self._interval)
        except PartialAnswer as error:
            finer, missing = error.rows, error
        bars = fold(self._resampler.placed(finer).unique(["column", "first"], keep="last", maintain_order=True))
        # `end` is the end of the longer bar, `last` the end of its last shorter bar
        complete = (pl.col("last") >= pl.col("end")) | (pl.col("end") <= now - self._settle)
        rows = within(rows_of(bars.filter(complete)), start_ns, end_ns)
        if missing is not None:
            raise PartialAnswer(self.name, rows, missing.missing, missing.why, again=missing.again)
        return rows


class ResampledStream:
    """A stream of bars of `interval_ns`, built from a vendor's bars of `finer_ns`.

    A bar is emitted once all its shorter bars have arrived, and again after a correction of one of them. A missing
    shorter bar may be lost or may never have existed, so that the reader has to query the vendor for a bar that is not
    emitted.
    """

    def __init__(
        self, stream: Stream, universe: Universe, sessions: Mapping[str, Sessions], interval_ns: int, finer_ns: int
    ) -> None:
        """Raises FeedError unless `finer_ns` divides the interval."""
        self._stream: Final = stream
        self._finer: Final = finer_ns
        self._resampler: Final = Resampler(universe, sessions, interval_ns, finer_ns=finer_ns)

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Yield each bar when the last of its shorter bars arrives, and again after a correction of one of these.

        A bar is complete with as many shorter bars (parts) as fit between its begin and its end.
        """
        parts = pl.DataFrame(schema=SCHEMA)
        async with aclosing(self._stream.bars()) as finer:
            async for rows in finer:
                new = self._resampler.placed(rows)
                parts = pl.concat([parts, new]).unique(["column", "first"], keep="last", maintain_order=True)
                count = -(-(pl.col("end") - pl.col("begin")) // self._finer)
                bar = ["column", "begin"]
                complete = parts.filter(pl.len().over(bar) == count).join(new, on=bar, how="semi")
                if len(complete):
                    yield rows_of(fold(complete))
                # the newest bar and the one before it: a correction may still arrive
                parts = parts.filter(pl.col("begin").rank("dense", descending=True).over("column") <= 2)

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        """Forward halts and price limits of the wrapped stream, if it reports them."""
        if isinstance(self._stream, TellsHalts):
            self._stream.tell_halts(receiver)

    async def close(self) -> None:
        await self._stream.close()
