"""Updates of a crypto exchange: its stream announces changes, a query reads them.

What can go wrong. A stream is silent without being closed; ccxt stops reading for ever after a message that is no JSON.
An update is lost while the stream connects. Reports are therefore made from queries only: a query follows each update,
and runs every `poll_s` seconds. A stream that fails costs time, never a fill.

What the order of the steps guarantees. The stream is connected before the first query, so that no change between them
is missed. The venue counts as up only after that query succeeded. Each attempt has its own connections, because ccxt
waits for ever for a token whose first request was cancelled.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from quantd.adapters.brokers.ccxt.connection import Line
from quantd.adapters.brokers.ccxt.wire import Unsupported
from quantd.adapters.exchange.client import HANG_UP_S, Call, hang_up
from quantd.trading.events import Condition
from quantd.trading.ports import BrokerNews

COALESCE_S: Final = 0.03
"""Delay of a query after an update, so that it covers the updates that follow at once."""
LAG_S: Final = 0.5
"""Delay of the next query when the list of trades lags behind its order."""
LEAST_S: Final = 2.0
"""Minimum time to open a stream, which needs a token first."""
FAILURES: Final = 3
"""Failed queries in a row after which the venue counts as lost although its stream is open."""
NEWS: Final = 1024
"""Maximum length of the queue of news."""

Look = Callable[[], Awaitable[tuple[Sequence[BrokerNews], bool]]]
"""Returns the new reports, and whether the exchange's list of trades lags behind its orders."""


class OrderNews:
    """Reports about one account, read after each update of the exchange's stream and every `poll_s` seconds.

    The regular query is needed because a stream can be silent without being closed, and ccxt's stream stops reading for
    ever after a message that is no JSON.
    """

    def __init__(self, line: Line, look: Look, clock: Callable[[], int]) -> None:
        """Prepare the stream; `news` starts it. `look` queries the open orders, `clock` is our clock (ns UTC).

        The queue holds reports for `news`; None ends it. `_denied` is the text of a refused key, empty without one.
        `_up` tells whether the connection was last reported as working, `_refused` whether the keys were last reported
        as refused: a connection can be lost for another reason before the venue refuses the keys.
        """
        self._line = line
        self._look = look
        self._clock = clock
        self._queue: asyncio.Queue[BrokerNews | None] = asyncio.Queue(NEWS)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._denied = ""
        self._up = True
        self._refused = False
        self._closed = False
        self._pause_s = line.settings.retry_first_s

    def wake(self) -> None:
        """Query the venue now, instead of at the end of the polling interval."""
        self._wake.set()

    def denied(self, words: str) -> None:
        """Record that the venue refuses the key; `words` are the venue's text. The stream then ends and connects
        again."""
        self._denied = words
        self._wake.set()

    async def close(self) -> None:
        """End the iteration over `news`, and wait for the end of its requests."""
        self._closed = True
        if self._queue.full():
            self._queue.get_nowait()  # frees a slot for None, the end mark: nobody reads the messages after `close`
        self._queue.put_nowait(None)
        await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=2 * HANG_UP_S)

    async def news(self) -> AsyncIterator[BrokerNews]:
        """Yield reports of orders, and Condition events when the connection or the key fails or works again, until
        `close`. Only one reader at a time is supported."""
        self._task = asyncio.create_task(self._run())
        try:
            while (report := await self._queue.get()) is not None:
                yield report
        finally:
            await self._stop()

    async def _run(self) -> None:
        """Keep the connection open until `close`. After a failure, queue Condition events that say what failed, and
        connect again after a pause."""
        while not self._closed:
            try:
                await self._watch_until_lost()
            except Exception as error:
                if (refused := self._line.refused(error)) is not None and not self._refused:
                    self._refused = True
                    await self._queue.put(Condition(self._clock(), "account", False, str(refused)))
                if self._up:
                    self._up = False
                    await self._queue.put(Condition(self._clock(), "broker", False, self._line.words(error)))
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, self._line.settings.retry_most_s)

    async def _watch_until_lost(self) -> None:
        """Query after each update of the stream and every `poll_s`, until the connection is lost; raises the cause.

        Without streams only the poll runs. FAILURES failed queries in a row, a refused key and an answer that the books
        cannot express end the connection.

        Each watch is a future for the next update of one stream. `_denied` is the text of a refused key.
        """
        settings, exchange = self._line.settings, self._line.exchange
        watches = self._start_watches()
        wake_up = asyncio.ensure_future(self._wake.wait())
        try:
            if watches:
                await self._wait_for_stream(set(watches))
            # its answer shows that the venue answers again and accepts the key
            await self._line.ask(exchange.fetch_open_orders)
            await self._report()
            self._refused = False
            if not self._up:
                self._up = True
                await self._queue.put(Condition(self._clock(), "broker", True))
            self._pause_s = settings.retry_first_s
            failures = 0
            while True:
                done, _ = await asyncio.wait(
                    {*watches, wake_up}, timeout=settings.poll_s, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done & set(watches):
                    watch = watches.pop(task)
                    task.result()
                    watches[asyncio.ensure_future(watch())] = watch
                if wake_up in done:
                    self._wake.clear()
                    wake_up = asyncio.ensure_future(self._wake.wait())
                if self._denied:
                    words, self._denied = self._denied, ""
                    raise ConnectionError(words)
                if done:
                    # so that one query answers several updates
                    await asyncio.sleep(COALESCE_S)
                try:
                    await self._report()
                    failures = 0
                except Unsupported:
                    raise
                except Exception:
                    failures += 1
                    if failures == FAILURES:
                        raise
                    self._wake.set()
                    await asyncio.sleep(settings.retry_first_s)
        finally:
            for future in (*watches, wake_up):
                future.cancel()
            await asyncio.gather(*watches, wake_up, return_exceptions=True)
            # ccxt waits for ever for a token whose first request was cancelled: each attempt has its own connections
            await hang_up(exchange)

    async def _report(self) -> None:
        news, lags = await self._look()
        for report in news:
            await self._queue.put(report)
        if lags:
            asyncio.get_running_loop().call_later(LAG_S, self._wake.set)

    def _start_watches(self) -> dict[asyncio.Future[Any], Call]:
        """Start to watch the streams of orders and executions, if the exchange has both. Returns, by future, the
        function that watches its stream again."""
        exchange = self._line.exchange
        has = exchange.has
        if not self._line.settings.stream or has.get("watchOrders") is not True or has.get("watchMyTrades") is not True:
            return {}
        exchange.ws_dial_backoff = {}  # this class pauses between attempts; the library's pauses would come on top
        # None: all symbols, without a limit; a dict for each call, because ccxt changes the dict of parameters
        watch_functions: tuple[Call, ...] = (
            exchange.watch_orders,
            lambda: exchange.watch_my_trades(None, None, None, {}),
        )
        return {asyncio.ensure_future(watch()): watch for watch in watch_functions}

    async def _wait_for_stream(self, watches: set[asyncio.Future[Any]]) -> None:
        """Wait until one connection of the stream is open. Raises ConnectionError after the time-out."""
        deadline = asyncio.get_running_loop().time() + max(self._line.access.timeout_s, LEAST_S)
        while not any(getattr(client, "isConnected", False) for client in self._line.exchange.clients.values()):
            done, _ = await asyncio.wait(watches, timeout=COALESCE_S, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if asyncio.get_running_loop().time() > deadline:
                raise ConnectionError(f"{self._line.access.venue} accepts no connection for its stream")
