"""Requests to Alpaca over HTTP: within its rate limit, with a time-out, and with one clear outcome each: an answer of
the venue, surely not sent, or lost (nobody knows whether it was taken)."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiolimiter import AsyncLimiter

from quantd.adapters.brokers.alpaca.wire import Garbled, Refusal
from quantd.adapters.brokers.errors import VenueError
from quantd.adapters.pace import retry_after_s
from quantd.trading.display_text import one_line

T = TypeVar("T")

_WEIGHT: Final = {"DELETE": 1.0, "POST": 1.01, "PATCH": 1.01}
"""What a request takes of the rate; of those that wait the limiter lets the lightest go first: a cancel before an
order, an order before a question."""

WORDS: Final = 200
"""Characters of a venue's text that are passed on."""

CLOSE_S: Final = 2.0
"""A connection with unsent bytes closes only when the other side reads them."""

LARGEST: Final = 64 << 20
"""Bytes of an answer; the list of all assets has about ten million."""


class NotSent(ConnectionError):
    """It never reached the venue, or the venue did not take it: nothing was accepted."""


class Lost(ConnectionError):
    """The request left and no answer of the venue came back: it may have been accepted."""


@dataclass(frozen=True, slots=True)
class AlpacaSettings:
    """Where the venue is and how it is spoken to.

    `timeout_s` bounds one request, `patience_s` how long one is tried again that the venue has surely not taken, and
    `per_minute` requests in any minute. `settle_s` after an order was sent the venue's "not found" counts. `listing_s`
    is how long an execution is waited for that is not yet in the venue's list of activities. A lost stream is tried
    again after
    `backoff_s` (first, longest) seconds. More than `max_skew_s` between the clocks is refused.
    """

    url: str = "https://paper-api.alpaca.markets"
    stream_url: str = "wss://paper-api.alpaca.markets/stream"
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    timeout_s: float = 10.0
    patience_s: float = 20.0
    per_minute: int = 200
    settle_s: float = 30.0
    listing_s: float = 3.0
    backoff_s: tuple[float, float] = (0.5, 30.0)
    heartbeat_s: float = 20.0
    max_skew_s: float = 2.0

    def safe(self, text: str) -> str:
        """A foreign text in one line, without secrets."""
        return one_line(text, WORDS, (self.key, self.secret))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the venue said. `words` is its message when it refused, `code` its own number for that."""

    status: int
    body: bytes
    words: str = ""
    code: int = 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def value(self, kind: type[T]) -> T:
        """The body as a value. Raises VenueError for a refusal, and Lost for an unreadable body."""
        if not self.ok:
            remedy = "see the venue's text, and docs.alpaca.markets"
            if self.status in (401, 403):
                remedy = "check key and secret, and that they are for this address: paper and live have different ones"
            raise VenueError("Alpaca", f"the venue refuses (status {self.status}: {self.words})", remedy)
        return self.decode(kind)

    def decode(self, kind: type[T]) -> T:
        """The body as a value. Raises Lost for an unreadable one: the request may have been carried out."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, Garbled, UnicodeDecodeError) as wrong:
            raise Lost(f"the venue's answer cannot be read ({wrong})"[:WORDS]) from None


class Rest:
    """One session with the venue's HTTP API."""

    def __init__(self, settings: AlpacaSettings) -> None:
        self._settings = settings
        self._base = settings.url.rstrip("/")
        self._host = urlsplit(settings.url).hostname
        self._session: aiohttp.ClientSession | None = None
        # at most a quarter at once and the rest evenly: never more than all of it in any minute
        burst = max(settings.per_minute // 4, 2)
        self._limiter = AsyncLimiter(burst, 60.0 * burst / max(settings.per_minute - burst, 1))

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections, made when they are first needed: that needs a running loop."""
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                headers={"APCA-API-KEY-ID": settings.key, "APCA-API-SECRET-KEY": settings.secret},
                # kept for less long than the venue keeps it: a request into a connection that just closed is one more
                # unknown
                connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=10.0),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections; one that the venue does not let go of is left behind."""
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._session.close()

    async def read(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """A GET of much or at a start, with more time for its answer, and asked once more when that is lost. Raises
        NotSent or Lost."""
        patience_s = self._settings.patience_s
        try:
            return await self.ask("GET", path, query, timeout_s=patience_s)
        except Lost:
            return await self.ask("GET", path, query, timeout_s=patience_s)

    async def ask(
        self,
        method: str,
        path: str,  # below the address, quoted
        query: dict[str, str] | None = None,
        body: dict[str, str] | None = None,
        patience_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request, sent again only while the venue has surely not taken it. Raises NotSent or Lost.

        An Answer is the venue's own: below 300, or between 400 and 499 with its reason in words.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (settings.patience_s if patience_s is None else min(patience_s, settings.patience_s))
        wait = min(0.25, settings.timeout_s)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._limiter.acquire(_WEIGHT.get(method, 1.02))
            except TimeoutError:
                raise NotSent(f"not sent: the rate limit of {settings.per_minute} a minute is used up") from None
            try:
                answer, retry_s = await self._once(method, path, query, body, timeout_s or settings.timeout_s)
                if answer is not None:
                    return answer
                why = "the venue takes no more requests for now (429)"
            except NotSent as refused:
                why, retry_s = str(refused), 0.0
            # equal jitter (Brooker, 2015: exponential back-off and jitter)
            pause = max(retry_s, wait * (0.5 + random.random() / 2))
            wait = min(2 * wait, 8.0)
            if loop.time() + pause >= deadline:
                raise NotSent(f"not sent: {why}")
            await asyncio.sleep(pause)

    async def _once(
        self, method: str, path: str, query: dict[str, str] | None, body: dict[str, str] | None, timeout_s: float
    ) -> tuple[Answer | None, float]:
        """One try: its answer, or None and the seconds after which the venue wants to hear from us again."""
        try:
            async with self.session.request(
                method,
                f"{self._base}/{path}",
                params=query,
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                status = response.status
                if status == 429:
                    return None, retry_after_s(response.headers, self._settings.patience_s)
                content = await _content(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as away:
            raise NotSent(f"no connection to {self._host}: {cause(away)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as broken:
            raise Lost(f"no answer to {method} /{path}: {cause(broken)}") from None
        if 200 <= status < 300:
            return Answer(status, content), 0.0
        refused = _refusal(content)
        if 400 <= status < 500 and status != 408 and refused is not None:
            return Answer(status, content, self._settings.safe(refused.message), refused.code or 0), 0.0
        # an error of the venue's machines, or of something in between: what was asked may have been done
        raise Lost(f"status {status} to {method} /{path}")


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, whole. Raises aiohttp.ClientPayloadError for one that is larger than any should be."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LARGEST:
            raise aiohttp.ClientPayloadError("an answer too large")
        parts.append(part)
    return b"".join(parts)


def _refusal(content: bytes) -> Refusal | None:
    """The venue's reason; None where it is not the venue that speaks."""
    try:
        found = msgspec.json.decode(content, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.message else None


def cause(error: BaseException) -> str:
    """What went wrong, in words without addresses or secrets."""
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "refused"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
