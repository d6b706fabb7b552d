"""Bars of a crypto exchange through ccxt, by request and as a stream.

A bar is stamped with its open. A day opens at midnight UTC and closes at the next midnight. The exchange also sends the
unfinished bar, stamped with its open; the reader recognises that bar by the clock.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from quantd.adapters.exchange.client import Access, Exchange, NoExchange, connect, hang_up, leave, market_of
from quantd.adapters.exchange.exchange_errors import MalformedAnswer, outcome
from quantd.adapters.exchange.numbers import NotExact, decimal
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.adapters.feeds.bars.rows import ActionRow, Bar, Number, Rows, nano, rows_of
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import FIRST_ANSWER_S, SourceError, Unreachable
from quantd.adapters.feeds.sources.http_client import LATER, why_unreachable
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.feeds.wrappers.completion import Completed
from quantd.adapters.pace import retry_after_s
from quantd.adapters.plugins import Option
from quantd.trading.instruments import NANO, Universe

VENDOR: Final = Vendor(
    "ccxt",
    source="quantd.adapters.feeds.sources.ccxt:source",
    stream="quantd.adapters.feeds.sources.ccxt:stream",
    options=(Option("url"), Option("venue", "--exchange kraken", 'name the exchange, venue = "kraken"')),
    module="ccxt",
    extra="ccxt",
)

PAGES: Final = 10_000
"""Maximum number of pages per symbol and request; the longest history of minutes needs fewer."""
AT_ONCE: Final = 4
"""Number of symbols queried concurrently."""
LONGEST_WAIT_S: Final = 600.0

_UNANSWERED: Final = re.compile(r"\w+ [A-Z]+ https?://([^/\s]+)\S*")
"""The whole text of ccxt's error about a request without an answer: exchange, method and address."""

_REQUEST: Final = re.compile(r"^\w+ [A-Z]+ https?://([^/\s]+)\S* ")
"""The beginning of ccxt's error about an answer: exchange, method and address, before the exchange's words."""


class CryptoSource:
    """The bars of one universe at one exchange and interval; implements `quantd.adapters.feeds.source.Source`.

    Prices and volume (in coins) are exact from the exchange's text. The exchange limits the history: Kraken answers
    every request with its newest 720 bars, so that earlier bars are missing.
    """

    stamps: Stamps = "open"
    adjusted = False

    def __init__(self, access: Access, universe: Universe, interval: str) -> None:
        """Prepare the source; the first request connects."""
        self.name = access.venue
        self._access = access
        self._universe = universe
        self.interval = interval
        self._step_ns = interval_ns(interval)
        self._exchange: Exchange | None = None
        self.markets: list[str] = []
        self._opening = asyncio.Lock()
        self._limit_s = min(access.timeout_s, FIRST_ANSWER_S)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of all symbols stamped in [start_ns, end_ns), ns UTC, unfinished ones too.

        At most AT_ONCE markets are read at once; the first error cancels the others.
        """
        exchange = await self.opened()
        at_once = asyncio.Semaphore(AT_ONCE)

        async def history_of(column: int) -> Iterable[Bar]:
            async with at_once:
                return await self._history(exchange, column, start_ns, end_ns)

        tasks = [asyncio.ensure_future(history_of(column)) for column in range(len(self.markets))]
        try:
            histories = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return by_stamp(bar for history in histories for bar in history)

    async def _history(self, exchange: Exchange, column: int, start_ns: int, end_ns: int) -> Iterable[Bar]:
        """Return all bars of one symbol, requested page after page; pages may overlap."""
        bars_by_ts: dict[int, Bar] = {}
        since_ns = start_ns
        for _ in range(PAGES):
            # None: as many bars as the exchange returns at once
            request = partial(exchange.fetch_ohlcv, self.markets[column], self.interval, since_ns // 1_000_000, None)
            page = [self.bar(column, candle) for candle in await self._answer(exchange, request)]
            newest_ns = max((bar[0] for bar in page if bar[0] not in bars_by_ts), default=since_ns - 1)
            bars_by_ts |= {bar[0]: bar for bar in page if start_ns <= bar[0] < end_ns}
            if newest_ns < since_ns or newest_ns + self._step_ns >= end_ns:
                break
            since_ns = newest_ns + self._step_ns
        return bars_by_ts.values()

    def bar(self, column: int, bar: Sequence[Any]) -> Bar:
        """Return a bar of ccxt as a bar of `column`. Raises SourceError for a number that cannot be read."""
        try:
            opened, high, low, close, volume = map(decimal, bar[1:6])
            return int(bar[0]) * 1_000_000, column, opened, high, low, close, volume
        except (NotExact, TypeError, ValueError, IndexError):
            text = f"a bar of {self.markets[column]} cannot be read: {self._access.scrub(bar)}"
            raise SourceError(self.name, text) from None

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return no action: a coin has neither splits nor cash dividends."""
        return []

    async def close(self) -> None:
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await leave(exchange)

    async def opened(self) -> Exchange:
        """Return the connection to the exchange, which the first call opens. Raises SourceError for an unusable
        exchange or universe."""
        async with self._opening:
            if self._exchange is None:
                try:
                    exchange = await connect(self._access)
                except NoExchange as error:
                    raise SourceError(self.name, error.wrong, error.remedy, again=False) from None
                try:
                    self.markets = await self._market_names(exchange)
                except BaseException:
                    await leave(exchange)
                    raise
                self._exchange = exchange
            return self._exchange

    async def _market_names(self, exchange: Exchange) -> list[str]:
        """Return the exchange's name of each symbol's market. Raises SourceError for an unknown symbol or interval."""
        if self.interval not in exchange.timeframes:
            offered = ", ".join(exchange.timeframes)
            raise SourceError(self.name, f"it has no bars of {self.interval}", f"It has {offered}", again=False)
        markets = await self._answer(exchange, exchange.load_markets)
        market_names = []
        for symbol in self._universe.symbols:
            name = market_of(markets, symbol, self._universe.currency)
            if name is None:
                remedy = f'Write it as "BTC/{self._universe.currency}"'
                raise SourceError(self.name, f"{symbol} is no market of this venue", remedy, again=False)
            market_names.append(name)
        return market_names

    async def _answer(self, exchange: Exchange, request: Callable[[], Awaitable[Any]]) -> Any:
        """Send one request. The first one waits FIRST_ANSWER_S at most, later ones the whole time-out. Raises
        SourceError."""
        exchange.timeout = int(self._limit_s * 1000)
        try:
            answer = await request()
        except Exception as error:
            problem = self.source_error(error, retry_after_s(exchange.last_response_headers or {}, LONGEST_WAIT_S))
            self._limit_s = self._access.timeout_s
            raise problem from None
        self._limit_s = self._access.timeout_s
        return answer

    def source_error(self, error: BaseException, after_s: float = 0.0) -> SourceError:
        """Return the SourceError for an exception of ccxt. Its message names the host if no answer came."""
        cause = error.__cause__
        if (address := _UNANSWERED.fullmatch(str(error))) and cause is not None:
            timeout_text = f"no answer within {self._limit_s:g} s"
            return Unreachable(
                self.name, address[1], timeout_text if isinstance(cause, TimeoutError) else why_unreachable(cause)
            )
        description = self._access.scrub(_REQUEST.sub(r"\1 answers ", str(error), count=1))
        if isinstance(error, MalformedAnswer):
            description = f"its answer is not of the interface of {self.name}"
        match outcome(error):
            case Outcome.AGAIN:
                return SourceError(self.name, f"too many requests ({description})", LATER, after_s=after_s)
            case Outcome.UNKNOWN:
                return SourceError(self.name, description, LATER, after_s=after_s)
            case _:
                return SourceError(self.name, description, again=False)


class CryptoStream:
    """Bars of a CryptoSource as the exchange sends them; implements `quantd.adapters.feeds.source.Stream`."""

    def __init__(self, source: CryptoSource) -> None:
        self._source = source

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Yield bars as they arrive; the unfinished bar is sent again with each change.

        Raises SourceError when the connection is lost, or when the exchange has no stream of bars.
        """
        source = self._source
        exchange = await source.opened()
        if exchange.has.get("watchOHLCV") is not True:
            raise SourceError(source.name, "it does not stream bars", "Set [feed] stream = false", again=False)
        exchange.ws_dial_backoff = {}  # no pauses of ccxt: the reader waits between its tries already

        def watch(column: int) -> asyncio.Future[Any]:
            return asyncio.ensure_future(exchange.watch_ohlcv(source.markets[column], source.interval))

        watches = {watch(column): column for column in range(len(source.markets))}
        try:
            while True:
                finished, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
                bars: list[Bar] = []
                for task in finished:
                    column = watches.pop(task)
                    if (error := task.exception()) is not None:
                        raise source.source_error(error) from None
                    bars += [source.bar(column, bar) for bar in task.result()]
                    watches[watch(column)] = column
                if bars:
                    yield by_stamp(bars)
        finally:
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await hang_up(exchange)  # remnants of a cancelled request would delay the next one

    async def close(self) -> None:
        await self._source.close()


def by_stamp(bars: Iterable[Bar]) -> Rows:
    """Convert bars to Rows, sorted by stamp, then by column (symbol)."""
    return rows_of(sorted(bars, key=lambda bar: bar[:2]), _exact)


def _exact(price: Number) -> int:
    """Return a price in nano-currency; 0, which the checks reject, for a price finer than 1e-9 or too large."""
    price_nano = nano(price)
    return price_nano if price is not None and price_nano == price * NANO else 0


def source(request: Request) -> CryptoSource:
    """Return the source of an exchange; it connects with its first request."""
    return CryptoSource(Access(request.venue, url=request.url or None), request.universe, request.interval)


def stream(request: Request) -> Completed:
    """Return the stream of an exchange, without unfinished bars; it connects when it is first read."""
    return Completed(CryptoStream(source(request)))
