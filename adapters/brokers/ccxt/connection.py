"""How an account at a crypto exchange is reached, and how patiently; and the line to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.exchange.client import Access, Exchange, leave, patiently
from quantd.adapters.exchange.dialects import Dialect, dialect
from quantd.adapters.exchange.errors import Outcome, outcome

TRIES: Final = 4
"""How often a question is put at `open` before the venue counts as away."""


class CryptoSettings(Struct, frozen=True):
    """After `settle_s` the venue knows every order that ever reached it; a refusal for too many requests is waited out
    for
    `patience_s`; without a stream, news are looked up every `poll_s`, with one too, in case it lost something. A clock
    that differs by more than `skew_s` is refused. `retry_*_s` are pauses between attempts to have a lost venue
    again."""

    access: Access
    settle_s: float = 30.0
    patience_s: float = 20.0
    poll_s: float = 15.0
    skew_s: float = 2.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
    stream: bool = True


class Line:
    """The connection that all parts of the broker share. `exchange` raises ConnectionError while there is none."""

    def __init__(self, settings: CryptoSettings) -> None:
        self.settings = settings
        self.access = settings.access
        self.speaks: Dialect = dialect(settings.access.venue)
        self._exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange:
        if self._exchange is None:
            raise ConnectionError(f"{self.access.venue} is not open")
        return self._exchange

    def take(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Put one question, waiting out a refusal for too many of them."""
        return await patiently(self.exchange, ask, self.settings.patience_s)

    async def read(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The same for a question that may be put again at once when no answer came."""
        left = TRIES
        while True:
            left -= 1
            try:
                return await self.ask(ask)
            except Exception as error:
                if outcome(error) is not Outcome.UNKNOWN or not left:
                    raise
            await asyncio.sleep(self.settings.retry_first_s)

    def words(self, error: BaseException) -> str:
        """An exception as text for people, without secrets."""
        return self.access.scrub(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def lost(self, error: BaseException) -> ConnectionError:
        return ConnectionError(f"{self.access.venue}: {self.words(error)}")

    @property
    def in_flight_s(self) -> float:
        """How long an order can be on its way: then its deadline has passed, where the venue takes one."""
        return min(max(self.access.timeout_s, 2.0), 59.0) if self.speaks.refuse_after else self.settings.settle_s

    async def close(self) -> None:
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await leave(exchange)
