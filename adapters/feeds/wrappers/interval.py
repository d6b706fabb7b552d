"""A source of bars of one interval over a source of shorter ones."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final

import polars as pl

from quantd.adapters.feeds.bars.resample import Resampler, _empty, _fold, _rows
from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import PartialAnswer, Source, Stream
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions


class Resampled:
    """An quantd.adapters.feeds.source.Source of bars out of a vendor's finer ones.

    A bar whose last part is missing may be one in whose end nothing traded, or one of a vendor that is late: until
    `settle_ns` after its end by `now` (ns UTC) it is not given.
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
        """Raises FeedError, as Resampler does."""
        self._now: Final = now
        self._settle: Final = settle_ns
        self.name: Final = source.name
        self.stamps: Final[Stamps] = "open"
        self.adjusted: Final = source.adjusted
        self._source: Final = source
        self._interval: Final = interval_ns
        self._making: Final = Resampler(universe, sessions, interval_ns, stamps=source.stamps, finer_ns=finer_ns)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        now = self._now()
        missing: PartialAnswer | None = None
        try:
            finer = await self._source.bars(start_ns, end_ns + self._interval)
        except PartialAnswer as error:
            finer, missing = error.rows, error
        parts = self._making.placed(finer).unique(["column", "first"], keep="last", maintain_order=True)
        bars = _fold(parts)
        rows = _rows(bars.filter((pl.col("last") >= pl.col("end")) | (pl.col("end") <= now - self._settle)))
        rows = rows.take((rows.ts >= start_ns) & (rows.ts < end_ns))
        if missing is not None:
            raise PartialAnswer(self.name, rows, missing.missing, missing.why, again=missing.again)
        return rows

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return await self._source.actions(start_ns, end_ns)

    async def close(self) -> None:
        await self._source.close()


class ResampledStream:
    """An quantd.adapters.feeds.source.Stream of bars out of a vendor's finer ones.

    A bar is given when every finer bar of it has come, and again when one of them comes corrected. Where one is missing
    nobody here can know whether it was lost or never was: such a bar is left to whoever asks for the vendor's records.
    """

    def __init__(
        self,
        stream: Stream,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        finer_ns: int,
        stamps: Stamps = "open",
    ) -> None:
        """Raises FeedError, as Resampler does."""
        self._stream: Final = stream
        self._finer: Final = finer_ns
        self._making: Final = Resampler(universe, sessions, interval_ns, stamps=stamps, finer_ns=finer_ns)

    async def bars(self) -> AsyncIterator[Rows]:
        finer = self._stream.bars()
        kept = _empty()
        try:
            async for rows in finer:
                new = self._making.placed(rows)
                kept = pl.concat([kept, new]).unique(["column", "first"], keep="last", maintain_order=True)
                parts = -(-(pl.col("end") - pl.col("begin")) // self._finer)
                bar = ["column", "begin"]
                whole = kept.filter(pl.len().over(bar) == parts).join(new, on=bar, how="semi")
                if len(whole):
                    yield _rows(_fold(whole))
                # a bar and the one before it: a correction may still come
                kept = kept.filter(pl.col("begin").rank("dense", descending=True).over("column") <= 2)
        finally:
            if isinstance(finer, AsyncGenerator):
                await finer.aclose()

    def tell_halts(self, told: Callable[[Any], None]) -> None:
        """What the stream of finer bars hears of halts passes through, where it hears of any."""
        tells = getattr(self._stream, "tell_halts", None)
        if tells is not None:
            tells(told)

    async def close(self) -> None:
        await self._stream.close()
