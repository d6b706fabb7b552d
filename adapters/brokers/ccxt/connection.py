"""Settings of the connection to a crypto exchange, and the connection itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.exchange.client import Access, Call, Exchange, leave, patiently
from quantd.adapters.exchange.dialects import Dialect, dialect_of
from quantd.adapters.exchange.errors import outcome
from quantd.adapters.exchange.refusal_words import Outcome

TRIES: Final = 4
"""Attempts of a query at `open`."""

PAGES: Final = 200
"""Maximum number of pages of history per query."""


class CryptoSettings(Struct, frozen=True):
    """Address, credentials and time limits.

    After `settle_s` the venue knows every order that reached it. A refusal for too many requests is retried for
    `patience_s`. Orders are queried every `poll_s`, also with a stream. A clock difference above `skew_s` is refused.
    `retry_*_s` are pauses between attempts to reconnect.
    """

    access: Access
    settle_s: float = 30.0
    patience_s: float = 20.0
    poll_s: float = 15.0
    skew_s: float = 2.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
    stream: bool = True


class Line:
    """The connection shared by all parts of the broker. `exchange` raises ConnectionError before it is open."""

    def __init__(self, settings: CryptoSettings) -> None:
        self.settings = settings
        self.access = settings.access
        self.dialect: Dialect = dialect_of(settings.access.venue)
        self._exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange:
        if self._exchange is None:
            raise ConnectionError(f"{self.access.venue} is not open")
        return self._exchange

    def take(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Send one request, and repeat it while the venue refuses it for its rate."""
        return await patiently(self.exchange, ask, self.settings.patience_s)

    async def read(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Send one query, and repeat it when no answer comes."""
        for _ in range(TRIES - 1):
            try:
                return await self.ask(ask)
            except Exception as error:
                if outcome(error, self.dialect.means) is not Outcome.UNKNOWN:
                    raise
            await asyncio.sleep(self.settings.retry_first_s)
        return await self.ask(ask)

    async def pages(
        self, fetch: Call, code: str | None, since_ms: int, params: dict[str, str]
    ) -> AsyncIterator[dict[str, Any]]:
        """Each item of a history since `since_ms`, page after page."""
        page, at = self.dialect.page, 0
        for _ in range(PAGES):
            asked = {**params, **(page(at) if page is not None else {})}
            items: list[dict[str, Any]] = await self.ask(partial(fetch, code, since_ms, None, asked))
            for item in items:
                yield item
            at += len(items)
            if page is None or len(items) < self.dialect.page_size:
                return

    def words(self, error: BaseException) -> str:
        """The text of an exception, without secrets."""
        return self.access.scrub(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def lost(self, error: BaseException) -> ConnectionError:
        return ConnectionError(f"{self.access.venue}: {self.words(error)}")

    @property
    def in_flight_s(self) -> float:
        """Maximum time of an order under way: until its deadline, where the venue has one."""
        return min(max(self.access.timeout_s, 2.0), 59.0) if self.dialect.refuse_after else self.settings.settle_s

    async def close(self) -> None:
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await leave(exchange)
