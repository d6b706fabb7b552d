"""Bars of a crypto exchange through ccxt: by asking, and as they are made where the exchange sends them.

A bar is stamped with its open; a day opens at midnight UTC and closes at the next one. The bar that is being made comes
with the others, under the stamp of its open: whoever reads knows by the clock that it is not over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from quantd.adapters.exchange.client import Access, Exchange, NoExchange, asked_to_wait_s, connect, hang_up, leave
from quantd.adapters.exchange.errors import Outcome, outcome
from quantd.adapters.exchange.numbers import NotExact, decimal, nano
from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.feeds.wrappers.completion import Completed
from quantd.adapters.plugins import Option
from quantd.trading.instruments import Universe

VENDOR: Final = Vendor(
    "ccxt",
    source="quantd.adapters.feeds.sources.ccxt:source",
    stream="quantd.adapters.feeds.sources.ccxt:stream",
    options=(Option("url"), Option("venue", "--exchange kraken", 'name the exchange, venue = "kraken"')),
    module="ccxt",
    extra="ccxt",
)

PAGES: Final = 10_000
"""Pages of one symbol in one question; the longest history of minutes needs fewer."""
AT_ONCE: Final = 4
"""Symbols that are asked for at one time."""
LONGEST_WAIT_S: Final = 600.0

Bar = tuple[int, int, tuple[str, str, str, str, str]]
"""Stamp in ns, column, and the exchange's text of open, high, low, close and volume."""


class CryptoSource:
    """One universe at one exchange and one interval; implements `quantd.adapters.feeds.source.Source` and `Stream`.

    Prices and volume (in coins) are exact from the exchange's text. How far back an exchange answers is its own affair:
    Kraken gives the newest 720 bars whatever is asked for, and what lies before them is simply not there.
    """

    stamps: Stamps = "open"
    adjusted = False

    def __init__(self, access: Access, universe: Universe, interval: str) -> None:
        self.name = access.venue
        self._access = access
        self._universe = universe
        self._interval = interval
        self._step_ns = interval_ns(interval)
        self._exchange: Exchange | None = None
        self._markets: list[str] = []
        self._opening = asyncio.Lock()

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        exchange = await self._opened()
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(column: int, market: str) -> list[Bar]:
            async with turn:
                return await self._history(exchange, column, market, start_ns, end_ns)

        asked = [asyncio.ensure_future(one(column, market)) for column, market in enumerate(self._markets)]
        try:
            parts = await asyncio.gather(*asked)
        finally:
            for each in asked:
                each.cancel()
        return rows_of([bar for part in parts for bar in part])

    async def _history(self, exchange: Exchange, column: int, market: str, start_ns: int, end_ns: int) -> list[Bar]:
        """All bars of one symbol, page after page; a page may overlap the one before."""
        found: dict[int, Bar] = {}
        since_ns = start_ns
        for _ in range(PAGES):
            ask = partial(exchange.fetch_ohlcv, market, self._interval, since_ns // 1_000_000, None)
            page = [self._bar(column, market, each) for each in await self._ask(exchange, ask)]
            fresh = [bar for bar in page if bar[0] not in found and bar[0] >= since_ns]
            found |= {bar[0]: bar for bar in page if start_ns <= bar[0] < end_ns}
            if not fresh or max(bar[0] for bar in fresh) + self._step_ns >= end_ns:
                break
            since_ns = max(bar[0] for bar in fresh) + self._step_ns
        return [found[ts] for ts in sorted(found)]

    def _bar(self, column: int, market: str, bar: Sequence[Any]) -> Bar:
        try:
            values = tuple(str(decimal(each)) for each in bar[1:6])
            return int(bar[0]) * 1_000_000, column, values  # type: ignore[return-value]
        except (NotExact, TypeError, ValueError, IndexError):
            raise SourceError(self.name, f"a bar of {market} that cannot be read: {self._access.scrub(bar)}") from None

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """None: a coin has neither splits nor dividends in cash."""
        return []

    async def close(self) -> None:
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await leave(exchange)

    # as they are made

    @property
    def streams(self) -> bool:
        """Whether the exchange sends bars; known once a question has been asked."""
        return self._exchange is not None and self._exchange.has.get("watchOHLCV") is True

    def stream(self) -> "CryptoStream":
        return CryptoStream(self)

    async def watched(self) -> AsyncIterator[Rows]:
        """Bars as they come; one that goes on comes again with each change. Raises SourceError when the connection is
        lost."""
        exchange = await self._opened()
        if not self.streams:
            raise SourceError(self.name, "it does not send bars", "Ask for them instead", again=False)
        exchange.ws_dial_backoff = {}  # whoever reads has pauses of its own
        watches: dict[asyncio.Future[Any], int] = {}
        try:
            for column, market in enumerate(self._markets):
                watches[asyncio.ensure_future(exchange.watch_ohlcv(market, self._interval))] = column
            while True:
                done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
                bars: list[Bar] = []
                for each in done:
                    column = watches.pop(each)
                    market = self._markets[column]
                    bars += [self._bar(column, market, bar) for bar in _of(each, self._wrong)]
                    watches[asyncio.ensure_future(exchange.watch_ohlcv(market, self._interval))] = column
                if bars:
                    yield rows_of(bars)
        finally:
            for each in watches:
                each.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await hang_up(exchange)  # what a cancelled question left behind would keep the next one waiting

    # the exchange

    async def _opened(self) -> Exchange:
        async with self._opening:
            if self._exchange is None:
                try:
                    exchange = await connect(self._access)
                except NoExchange as error:
                    raise SourceError(self.name, error.wrong, error.remedy, again=False) from None
                try:
                    self._markets = await self._compare(exchange)
                except BaseException:
                    await leave(exchange)
                    raise
                self._exchange = exchange
            return self._exchange

    async def _compare(self, exchange: Exchange) -> list[str]:
        if self._interval not in exchange.timeframes:
            has = ", ".join(exchange.timeframes)
            raise SourceError(self.name, f"it has no bars of {self._interval}", f"It has {has}", again=False)
        markets = await self._ask(exchange, exchange.load_markets)
        names = []
        for symbol in self._universe.symbols:
            asked = (symbol, symbol.replace("-", "/"), f"{symbol}/{self._universe.currency}")
            name = next((each for each in asked if each in markets), None)
            if name is None:
                remedy = f'Write it as "BTC/{self._universe.currency}"'
                raise SourceError(self.name, f"{symbol} is no market of this venue", remedy, again=False)
            names.append(name)
        return names

    async def _ask(self, exchange: Exchange, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await ask()
        except Exception as error:
            raise self._wrong(error, asked_to_wait_s(exchange, LONGEST_WAIT_S)) from None

    def _wrong(self, error: BaseException, after_s: float = 0.0) -> SourceError:
        """What an exception of ccxt means to whoever asked for bars."""
        words = self._access.scrub(f"{type(error).__name__}: {error}")
        match outcome(error):
            case Outcome.AGAIN:
                return SourceError(self.name, f"asked too often ({words})", after_s=after_s)
            case Outcome.UNKNOWN:
                return SourceError(self.name, words, after_s=after_s)
            case _:
                return SourceError(self.name, words, again=False)


class CryptoStream:
    """The bars of a CryptoSource as they are made; implements `quantd.adapters.feeds.source.Stream`."""

    def __init__(self, source: CryptoSource) -> None:
        self._source = source

    def bars(self) -> AsyncIterator[Rows]:
        return self._source.watched()

    async def close(self) -> None:
        await self._source.close()


def _of(done: asyncio.Future[Any], wrong: Callable[[BaseException], SourceError]) -> list[Sequence[Any]]:
    error = done.exception()
    if error is not None:
        raise wrong(error) from None
    return list(done.result())


def rows_of(bars: Sequence[Bar]) -> Rows:
    """Bars as columns, in the order of their stamps."""
    bars = sorted(bars, key=lambda bar: (bar[0], bar[1]))
    texts = [bar[2] for bar in bars]
    prices = np.array([[float(each) for each in text] for text in texts], dtype=np.float64).reshape(len(bars), 5)
    return Rows(
        ts=np.array([bar[0] for bar in bars], dtype=np.int64),
        column=np.array([bar[1] for bar in bars], dtype=np.int64),
        open=prices[:, 0].copy(),
        high=prices[:, 1].copy(),
        low=prices[:, 2].copy(),
        close=prices[:, 3].copy(),
        volume=prices[:, 4].copy(),
        open_nano=np.array([_price(text[0]) for text in texts], dtype=np.int64),
        close_nano=np.array([_price(text[3]) for text in texts], dtype=np.int64),
        source=np.zeros(len(bars), dtype=np.int64),
    )


def _price(text: str) -> int:
    """Exact nano; a price finer than that, or none at all, is judged by whoever validates bars."""
    try:
        return nano(text)
    except NotExact:
        return 0


def source(request: Request) -> CryptoSource:
    """Opens an exchange."""
    return CryptoSource(Access(request.venue, url=request.url or None), request.universe, request.interval)


def stream(request: Request) -> Completed:
    """Opens the stream of an exchange, without the bars that are being made."""
    return Completed(source(request).stream())
