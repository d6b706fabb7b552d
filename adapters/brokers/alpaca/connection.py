"""HTTP requests to Alpaca, within its rate limit and with a time-out.

A request has one of three results: an answer of the venue; NotSent, so that the venue certainly did not accept it; or
Lost, so that it may have been accepted.

What can go wrong. A request is repeated although the venue carried out the first one, and an order exists twice.
Therefore only a request that was certainly not accepted is repeated: no connection was made, or the answer is 429. A
time-out after connecting, a closed connection, a status of 500 or of a proxy, and an unreadable body all count as lost.
A lost GET is repeated once in `read`, because it changes nothing.

Connections are closed before the venue closes them: a request into a closing connection would be lost. The rate limiter
is asked before each attempt, so that repeats count too.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from aiolimiter import AsyncLimiter

from quantd.adapters.brokers.alpaca.wire import Garbled, Refusal
from quantd.adapters.brokers.unreadable import Unreadable
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.adapters.pace import retry_after_s
from quantd.adapters.proxies import ProxyWrong, proxy_of, through
from quantd.adapters.wire_record import RECORD
from quantd.trading.display_text import one_line

T = TypeVar("T")

_WEIGHT: Final = {"DELETE": 1.0, "POST": 1.01, "PATCH": 1.01}
"""Cost of a request by method, in requests of the rate limit. The limiter serves the lightest request first: a cancel,
then an order, then a query."""

WORDS: Final = 200
"""Maximum length of a venue's text in a message."""

CLOSE_S: Final = 2.0
"""Maximum time to close a connection; with unsent bytes it waits for the other side."""

LARGEST: Final = 64 << 20
"""Maximum bytes of an answer; the list of all assets has about ten million."""


class NotSent(ConnectionError):
    """The request did not reach the venue, or was not accepted."""


class Lost(ConnectionError):
    """The request was sent, and no answer came back: it may have been accepted."""


@dataclass(frozen=True, slots=True)
class AlpacaSettings:
    """Address, credentials and time limits.

    `timeout_s` bounds one request. `patience_s` bounds a GET by `Rest.read`, and the repeats of a request that was
    certainly not accepted. `per_minute` limits the requests of any minute. An answer "not found" is final once
    `settle_s` has passed since the order was sent. `listing_s` bounds the wait of each query for an execution to be
    listed among the activities. If an execution is still not listed `unlisted_s` after the first wait, it is derived
    from the order's own quantity and average price. A lost stream is reopened after `backoff_s` (first, longest)
    seconds. A clock difference above `max_skew_s` is refused.
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
    unlisted_s: float = 60.0
    backoff_s: tuple[float, float] = (0.5, 30.0)
    heartbeat_s: float = 20.0
    max_skew_s: float = 2.0

    def safe(self, text: str) -> str:
        """Convert text from outside to one line, with secrets removed."""
        return one_line(text, WORDS, (self.key, self.secret))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of the venue. `words` and `code` are the text and the number of a refusal, empty and 0 without
    one."""

    status: int
    body: bytes
    words: str = ""
    code: int = 0

    @property
    def ok(self) -> bool:
        """Whether the status is one of success, 200 to 299."""
        return 200 <= self.status < 300

    def refused(self) -> bool:
        """Whether the venue refused a request whose success has no content (204). Raises Lost for any content instead:
        the answer may be another server's."""
        if self.ok and self.body:
            raise Lost("the venue's answer has content, and its success has none")
        return not self.ok

    def value(self, kind: type[T]) -> T:
        """Decode the body as `kind`. Raises VenueError for a refusal, and Lost for an unreadable body."""
        if not self.ok:
            if self.status in (401, 403):
                raise keys_refused(self.status, self.words)
            wrong = f"the venue refuses the request (status {self.status}: {self.words})"
            raise VenueError("Alpaca", wrong, "See docs.alpaca.markets for the status and the venue's text")
        return self.decode(kind)

    def items(self) -> list[msgspec.Raw]:
        """Split a JSON list into items that are still encoded, so that one unreadable item does not spoil the list.

        Raises VenueError for a refusal, and Lost for an unreadable body.
        """
        return self.value(list[msgspec.Raw])

    def decode(self, kind: type[T]) -> T:
        """Decode the body as `kind`, whatever the status is. Raises Lost for an unreadable body: the request may
        have been carried out."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, Garbled, UnicodeDecodeError) as wrong:
            raise Lost(f"the venue's answer cannot be read ({wrong})"[:WORDS]) from None


def keys_refused(status: int, words: str) -> KeysRefused:
    wrong = f"the venue refuses the keys (status {status}: {words})"
    remedy = "Check key and secret, and that they are for this address: paper and live have different ones"
    return KeysRefused("Alpaca", wrong, remedy)


class Rest:
    """One session with the venue's HTTP API.

    `refused` is the error if the newest answer refused the API keys, else None.
    """

    def __init__(self, settings: AlpacaSettings) -> None:
        """Prepare the connection; the HTTP session begins with the first request."""
        self._settings = settings
        self._base = settings.url.rstrip("/")
        self._host = urlsplit(settings.url).hostname
        self._session: aiohttp.ClientSession | None = None
        self.unreadable = Unreadable(settings.safe)
        self.undated: dict[str, int] | None = None
        """Activities without a date -> when they were first listed (ns), 0 in the first list; None before it."""
        self.refused: KeysRefused | None = None
        self._record = RECORD.get()
        # a quarter of the limit may be used at once, and the other three quarters evenly: no minute exceeds the limit
        burst = max(settings.per_minute // 4, 2)
        self._limiter = AsyncLimiter(burst, 60.0 * burst / max(settings.per_minute - burst, 1))

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session, created at first use, because it needs a running event loop."""
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                headers={"APCA-API-KEY-ID": settings.key, "APCA-API-SECRET-KEY": settings.secret},
                # shorter than the venue's own limit: a request into a closing connection would be lost
                connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=10.0),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._session.close()

    async def read(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """Send a GET with the setting `patience_s` as its time-out, and a second time if the answer is lost. Raises
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
        """Send a request, and repeat it only while it was certainly not accepted. Raises NotSent or Lost.

        The status of the Answer is 200 to 299, or 400 to 499 with the venue's reason.

        `patience_s` limits how long a request waits for the rate limit and is repeated; `timeout_s` limits one attempt.
        None means the value of the settings for both.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (settings.patience_s if patience_s is None else min(patience_s, settings.patience_s))
        wait = min(0.25, settings.timeout_s)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._limiter.acquire(_WEIGHT.get(method, 1.02))  # the heaviest: a query is served last
            except TimeoutError:
                raise NotSent(f"not sent: the rate limit of {settings.per_minute} a minute is used up") from None
            try:
                answer, retry_s = await self._once(method, path, query, body, timeout_s or settings.timeout_s)
                if answer is not None:
                    return answer
                why = "the venue accepts no more requests for now (429)"
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
        """Send a request once. Returns (the answer, 0), or (None, delay in seconds that the venue requests) for
        status 429."""
        url = f"{self._base}/{path}"
        try:
            async with self.session.request(
                method,
                url,
                proxy=proxy_of(url),
                params=query,
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                status = response.status
                if status == 429:
                    return None, retry_after_s(response.headers, self._settings.patience_s)
                content = await _content(response)
        # a proxy that refuses to connect has passed nothing on
        except (
            ProxyWrong, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError
        ) as away:  # fmt: skip
            raise NotSent(f"no connection to {self._host}{through(url)}: {cause(away)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as broken:
            raise Lost(f"no answer to {method} /{path}: {cause(broken)}") from None
        if self._record is not None:
            self._record.add(method, f"{url}?{urlencode(query or {})}", status, content)
        if 200 <= status < 300:
            self.refused = None
            return Answer(status, content), 0.0
        refused = _refusal(content)
        if status == 401:
            self.refused = keys_refused(status, self._settings.safe(refused.message if refused is not None else ""))
        if 400 <= status < 500 and status != 408 and refused is not None:
            return Answer(status, content, self._settings.safe(refused.message), refused.code or 0), 0.0
        # an error of the venue or of a proxy: the request may have been carried out
        raise Lost(f"status {status} to {method} /{path}")


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer. Raises aiohttp.ClientPayloadError above LARGEST bytes."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LARGEST:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)


def _refusal(content: bytes) -> Refusal | None:
    """Return the venue's reason for an error; None if the content is not the venue's (a page of a proxy, for
    example)."""
    try:
        refusal = msgspec.json.decode(content, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return refusal if refusal.message else None


def cause(error: BaseException) -> str:
    """Return the cause of an error as text, without addresses or secrets."""
    if isinstance(error, ProxyWrong):
        return str(error)
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "refused"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
