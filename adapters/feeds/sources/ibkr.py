"""Bars of US shares and funds through a gateway of Interactive Brokers, by ib_async: history by request, and a stream.

The history is that of trades (TRADES), which the vendor divides by later splits but not by dividends. The vendor lists
neither: a file of actions has them, and the bars are multiplied back. The history ADJUSTED_LAST has the dividends in
its prices and is never requested, because a run books dividends itself.

An answer counts only while no farm of history is broken: the last bar of a broken one may end before its close. The
stream has the gateway's bars of five seconds; a bar is complete when it has all of them.
"""

import asyncio
import importlib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Bar, Rows, actions_within, joined, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.source import (
    FIRST_ANSWER_S,
    MUST_TRADE_NS,
    PartialAnswer,
    SourceError,
    Unreachable,
    whole,
)
from quantd.adapters.feeds.sources.http_client import LATER, WORDS, why_unreachable
from quantd.adapters.feeds.sources.yfinance import currency, factors, paid
from quantd.adapters.feeds.vendor import Request, RequestWrong, Vendor
from quantd.adapters.plugins import Option
from quantd.trading.display_text import one_line, some
from quantd.trading.instruments import NANO, Universe
from quantd.trading.sessions import DAY_NS

VENDOR: Final = Vendor(
    "ibkr",
    source="quantd.adapters.feeds.sources.ibkr:source",
    stream="quantd.adapters.feeds.sources.ibkr:stream",
    options=(
        Option("url"),
        Option("actions", "--actions F.csv", 'name a file of splits and dividends, actions = "actions.csv"'),
    ),
    module="ib_async",
    extra="ibkr",
    at_broker=True,
)
HERE: Final = "127.0.0.1:4002"
"""The address of a paper gateway."""

MINUTE_NS: Final = 60 * NANO
SIZES: Final = {MINUTE_NS: "1 min", **{k * MINUTE_NS: f"{k} mins" for k in (2, 3, 5, 10, 15, 20, 30)}} | {
    60 * MINUTE_NS: "1 hour", **{k * 60 * MINUTE_NS: f"{k} hours" for k in (2, 3, 4, 8)}, DAY_NS: "1 day",
}  # fmt: skip
"""Length of a bar -> the vendor's name of it."""
PAGES: Final = ((2 * MINUTE_NS, DAY_NS, "1 D"), (29 * MINUTE_NS, 7 * DAY_NS, "1 W"), (DAY_NS - 1, 28 * DAY_NS, "1 M"))
"""(longest bar, length of a page, its name): a few thousand bars at most, as the vendor asks for."""
YEAR: Final = (365 * DAY_NS, "1 Y")
AT_ONCE: Final = 4
"""Requests at once; the vendor takes 50."""
PACED_S: Final = 60.0
"""Pause after too many requests: the vendor counts those of ten minutes."""
TICK_NS: Final = 5 * NANO
"""Length of the gateway's bars in real time."""
BEHIND_NS: Final = 5 * 60 * MINUTE_NS
"""By which New York is behind UTC: a split counts from midnight there."""
MOST_TICKS: Final = 4096

UNKNOWN: Final = 200
UNSUBSCRIBED: Final = frozenset({354, 10089, 10090, 10167, 10168})
"""No permission for an exchange's data. 10167 announces data that are 15 minutes late: the newest bars lack trades."""
INVALID: Final = 321
SEVERED, RESTORED = 1100, frozenset({1101, 1102})
BROKEN: Final = {2103: "quotes", 2105: "history"}
MENDED: Final = {2104: "quotes", 2108: "quotes", 2106: "history", 2107: "history"}
"""Code of a farm's notice -> what the farm has."""

_clients: Final = count()


class IbkrBars:
    """The history of one universe and interval; implements `quantd.adapters.feeds.source.Source`.

    Daily bars are stamped with the session's date, shorter ones with their open; regular hours only. `listed` returns
    the splits, dividends and delistings of the universe.
    """

    name: Final = "ibkr"
    adjusted: Final = False

    def __init__(
        self, url: str, universe: Universe, interval: str, listed: Callable[[], Sequence[ActionRow]],
        timeout_s: float = 20.0,
    ) -> None:  # fmt: skip
        """Prepare the source; the first request connects. Raises RequestWrong for an interval, an address or a currency
        that the vendor does not have."""
        host, _, port = url.rpartition("://")[2].rstrip("/").rpartition(":")
        self.length_ns = interval_ns(interval)
        if not host or not port.isdecimal():
            raise RequestWrong(self.name, f"{url!r} is no address of a gateway", f'Write url = "{HERE}"', again=False)
        if self.length_ns not in SIZES:
            remedy = f"Ask for {', '.join(SIZES.values())}"
            raise RequestWrong(self.name, f"it has no bars of {interval}", remedy, again=False)
        for instrument in universe.instruments:
            if instrument.currency != "USD" or "/" in instrument.symbol:
                what = f"{instrument.symbol} in {instrument.currency} is no US share or fund"
                raise RequestWrong(self.name, what, "Name shares and funds in USD", again=False)
        self.stamps: Final[Stamps] = "session" if self.length_ns == DAY_NS else "open"
        self.universe, self._listed, self._timeout_s = universe, listed, timeout_s
        self._host, self._port = host, int(port)
        self._page_ns, self._page = next((page[1:] for page in PAGES if self.length_ns <= page[0]), YEAR)
        self._ib: Any = None
        self._opening = asyncio.Lock()
        self._severed = ""
        self._broken: dict[str, set[str]] = {"quotes": set(), "history": set()}
        self._remarks: dict[str, tuple[int, str]] = {}
        self.contracts: list[Any] = []
        self.hear: Callable[[SourceError], None] = lambda error: None
        """Receives what ends a stream."""

    # ---------------------------------------------------------------- the connection

    async def opened(self) -> Any:
        """Return ib_async's client, connected. Raises SourceError."""
        async with self._opening:
            if self._ib is None or not self._ib.isConnected():
                await self._connect()
        if self._severed:
            raise SourceError(self.name, self._severed, LATER)
        return self._ib

    async def _connect(self) -> None:
        ib_async = await asyncio.to_thread(importlib.import_module, "ib_async")
        logging.getLogger("ib_async").setLevel(logging.CRITICAL)  # errors are raised, not logged
        self._severed, self._remarks = "", {}
        for farms in self._broken.values():
            farms.clear()
        self.contracts = [ib_async.Stock(symbol.replace(".", " "), "SMART", "USD") for symbol in self.universe.symbols]
        self._ib = ib = ib_async.IB()
        ib.RaiseRequestErrors = True
        ib.errorEvent += self._on_message
        ib.disconnectedEvent += lambda: self.hear(SourceError(self.name, "the gateway closed the connection", LATER))
        digest = blake2b(f"{socket.gethostname()} {os.getpid()} {next(_clients)}".encode(), digest_size=4).digest()
        client_id = 2**30 + int.from_bytes(digest, "big") % 2**30  # above those of brokers
        limit_s = min(self._timeout_s, FIRST_ANSWER_S)
        try:
            async with asyncio.timeout(2 * limit_s):
                await ib.connectAsync(
                    self._host, self._port, client_id, limit_s, readonly=True, fetchFields=ib_async.StartupFetchNONE
                )
        except TimeoutError:
            raise Unreachable(self.name, f"{self._host}:{self._port}", f"no answer within {limit_s:g} s") from None
        except OSError as error:
            raise Unreachable(self.name, f"{self._host}:{self._port}", why_unreachable(error)) from None

    def _on_message(self, id: int, code: int, words: str, contract: Any) -> None:
        """A message with a code: about the connection, a farm, or a request."""
        text = f"{one_line(words, WORDS)} (code {code})"
        farm = words.rpartition(":")[2].strip()
        if code == SEVERED:
            self._severed = text
        elif code in RESTORED:
            self._severed = ""
        elif code in BROKEN:
            self._broken[BROKEN[code]].add(farm)
        elif code in MENDED:
            self._broken[MENDED[code]].discard(farm)
            return
        elif contract is not None:
            self._remarks[contract.symbol] = code, words
            self.hear(self.error(code, words))
            return
        if code in (SEVERED, 1101, 2103):  # after 1101 the gateway has forgotten its subscriptions
            self.hear(SourceError(self.name, text, LATER))

    def error(self, code: int, words: str) -> SourceError:
        """Return what a refusal of the gateway means."""
        text = f"{one_line(words, WORDS)} (code {code})"
        if code in UNSUBSCRIBED or "permission" in words.lower():
            remedy = "Subscribe to the data of its exchange in the Client Portal; delayed data are not taken"
            return SourceError(self.name, text, remedy, again=False)
        if code in (UNKNOWN, INVALID):
            return SourceError(self.name, text, "Check the symbol, and how the vendor spells it", again=False)
        return SourceError(self.name, text, LATER, after_s=PACED_S if "pacing" in words.lower() else 0.0)

    def require_sound(self, kind: str) -> None:
        """Raise SourceError while a farm of this kind is broken."""
        if farms := self._broken[kind]:
            raise SourceError(self.name, f"the gateway has lost its farm of {kind}: {', '.join(sorted(farms))}", LATER)

    async def close(self) -> None:
        if self._ib is not None:
            self.hear = lambda error: None
            self._ib.disconnect()

    # ---------------------------------------------------------------- history

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of all symbols stamped in [start_ns, end_ns), ns UTC, unfinished ones too, in prices as paid.

        Raises SourceError, and PartialAnswer for symbols that the vendor does not know or may not show.
        """
        ib = await self.opened()
        at_once = asyncio.Semaphore(AT_ONCE)
        refused: dict[int, SourceError] = {}

        async def history_of(column: int) -> list[Bar]:
            async with at_once:
                try:
                    return await self._history(ib, column, start_ns, end_ns)
                except SourceError as error:
                    if error.again:
                        raise
                    refused[column] = error
                    return []

        answers = await asyncio.gather(*map(history_of, range(self.universe.size)), return_exceptions=True)
        histories = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            histories.append(answer)
        actions = await asyncio.to_thread(self._actions)
        today_ns = time.time_ns() - BEHIND_NS
        parts = []
        for column, history in enumerate(histories):
            splits = [action for action in actions if action.column == column and action.day_ns <= today_ns]
            parts.append(_as_paid(within(rows_of(history), start_ns, end_ns), splits))
        rows = joined(parts)
        rows = rows.take(np.lexsort((rows.column, rows.ts)))
        if refused:
            symbols, why = [self.universe.symbols[column] for column in refused], next(iter(refused.values()))
            if len(refused) == self.universe.size:
                raise SourceError(self.name, f"no bar of {some(symbols)}: {why.what}", why.remedy, again=False)
            raise PartialAnswer(self.name, rows, symbols, why.what)
        return whole(self.name, rows, self.universe.symbols, start_ns, end_ns)

    async def _history(self, ib: Any, column: int, start_ns: int, end_ns: int) -> list[Bar]:
        """Return all bars of one symbol, the newest page first; an empty page is one of a long holiday, or precedes
        the symbol's first bar."""
        bars_by_ts: dict[int, Bar] = {}
        until_ns, empty_ns = end_ns, 0
        while until_ns > start_ns and empty_ns < MUST_TRADE_NS:
            page = await self._answer(ib, column, until_ns)
            bars_by_ts |= {bar[0]: bar for bar in page}
            oldest_ns = min((bar[0] for bar in page), default=until_ns)
            empty_ns = 0 if oldest_ns < until_ns else empty_ns + self._page_ns
            until_ns = oldest_ns if oldest_ns < until_ns else until_ns - self._page_ns
        return list(bars_by_ts.values())

    async def _answer(self, ib: Any, column: int, until_ns: int) -> list[Bar]:
        """Request the page that ends at `until_ns`, in whole seconds."""
        contract = self.contracts[column]
        self._remarks.pop(contract.symbol, None)
        self.require_sound("history")
        until = f"{datetime.fromtimestamp(-(-until_ns // NANO), UTC):%Y%m%d-%H:%M:%S}"
        request = ib.reqHistoricalDataAsync(
            contract, until, self._page, SIZES[self.length_ns], "TRADES", True, formatDate=2, timeout=0
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await request
        except TimeoutError:
            if contract.symbol in self._remarks:
                raise self.error(*self._remarks[contract.symbol]) from None
            raise SourceError(self.name, f"no answer about {contract.symbol} in {self._timeout_s:g} s", LATER) from None
        except ConnectionError as error:
            raise SourceError(self.name, f"the connection was lost: {error}", LATER) from None
        except Exception as error:  # ib_async's RequestError, whose module is imported late
            if not hasattr(error, "code"):
                raise
            if "no data" in error.message.lower():  # type: ignore[attr-defined]
                return []
            raise self.error(error.code, error.message) from None  # type: ignore[attr-defined]
        self.require_sound("history")
        if (remark := self._remarks.get(contract.symbol)) is not None and remark[0] in UNSUBSCRIBED:
            raise self.error(*remark)
        return [self.bar(column, bar) for bar in answer]

    def bar(self, column: int, bar: Any) -> Bar:
        """Return a bar of ib_async, whose floats are the shortest of the gateway's texts."""
        moment = (
            bar.date if self.length_ns < DAY_NS else datetime(bar.date.year, bar.date.month, bar.date.day, tzinfo=UTC)
        )
        numbers = (Decimal(repr(value)) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume))
        opened, high, low, close, volume = numbers
        return round(moment.timestamp()) * NANO, column, opened, high, low, close, volume

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the actions of the file, which is read anew. Raises SourceError."""
        return actions_within(await asyncio.to_thread(self._actions), start_ns, end_ns)

    def _actions(self) -> Sequence[ActionRow]:
        try:
            return self._listed()
        except FeedError as error:
            raise SourceError(self.name, f"[feed] actions: {error}", again=False) from None


def _as_paid(rows: Rows, splits: Sequence[ActionRow]) -> Rows:
    """Return one symbol's bars in prices as paid: the vendor's times the ratio of the later splits."""
    factor = factors(rows.ts - rows.ts % DAY_NS, splits)
    if (factor == 1.0).all():
        return rows
    opened, high, low, close = (paid(prices, factor) for prices in (rows.open, rows.high, rows.low, rows.close))
    return Rows(
        rows.ts, rows.column, currency(opened), currency(high), currency(low), currency(close),
        np.rint(rows.volume / factor), opened, close, rows.source,
    )  # fmt: skip


class IbkrStream:
    """The stream of bars of a source; implements `quantd.adapters.feeds.source.Stream`."""

    def __init__(self, source: IbkrBars) -> None:
        self._source = source

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Yield each bar that has all its bars of five seconds. One that lacks some is left to a request.

        Raises SourceError when the connection or a farm is lost, and where the exchange's data may not be shown.
        """
        source = self._source
        ib = await source.opened()
        source.require_sound("quotes")
        arrived: deque[tuple[int, Any]] = deque(maxlen=MOST_TICKS)
        ends: list[SourceError] = []
        woken = asyncio.Event()

        def end(error: SourceError) -> None:
            ends.append(error)
            woken.set()

        def take(column: int, bars: Any) -> None:
            arrived.extend((column, bars.pop()) for _ in range(len(bars)))
            woken.set()

        source.hear = end
        for column, contract in enumerate(source.contracts):
            subscribed = ib.reqRealTimeBars(contract, 5, "TRADES", True)
            subscribed.updateEvent += lambda bars, new, column=column: take(column, bars)
        parts: dict[int, list[Bar]] = {}
        try:
            while not ends:
                await woken.wait()
                woken.clear()
                complete = []
                while arrived:
                    column, tick = arrived.popleft()
                    complete += self._added(parts, column, tick)
                if complete:
                    yield rows_of(complete)
            raise ends[0]
        finally:
            source.hear = lambda error: None
            ib.disconnect()  # with its subscriptions

    def _added(self, parts: dict[int, list[Bar]], column: int, tick: Any) -> list[Bar]:
        """Add a bar of five seconds to the bar of its symbol, and return that one if it is complete."""
        length_ns = self._source.length_ns
        ts = round(tick.time.timestamp()) * NANO
        numbers = [Decimal(repr(value)) for value in (tick.open_, tick.high, tick.low, tick.close, tick.volume)]
        begun = parts.get(column, [])
        if begun and ts // length_ns == begun[-1][0] // length_ns and ts == begun[-1][0] + TICK_NS:
            begun.append((ts, column, *numbers))
        else:
            begun = parts[column] = [(ts, column, *numbers)]
        if len(begun) * TICK_NS < length_ns:
            return []
        del parts[column]
        _, _, opened, highs, lows, closes, volumes = zip(*begun, strict=True)
        return [(begun[0][0], column, opened[0], max(highs), min(lows), closes[-1], sum(volumes))]

    async def close(self) -> None:
        await self._source.close()


def source(request: Request) -> IbkrBars:
    """Return the history through a gateway; it connects with its first request. Raises RequestWrong."""
    return IbkrBars(request.url or HERE, request.universe, request.interval, request.listed)


def stream(request: Request) -> IbkrStream | None:
    """Return the stream; None for bars longer than half an hour, which need not begin at a full one."""
    bars = source(request)
    return IbkrStream(bars) if bars.length_ns <= 30 * MINUTE_NS and 30 * MINUTE_NS % bars.length_ns == 0 else None
