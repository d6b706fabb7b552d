"""Posts the requests of sinks over HTTP, each within a time-out.

What can go wrong. If a refusal counts as temporary, one bad alert holds back all others. If it counts as caused by the
alert, a wrong secret makes the sink give up one alert after another. An error counts as caused by one alert only if the
status is not about login, address or load (OF_EVERY_ALERT) and the answer has no Retry-After header. A redirect is not
followed, because it could lead to an address without encryption. The text of an error contains no address, because some
addresses contain the secret.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quantd.adapters.listener import is_loopback
from quantd.adapters.pace import retry_after_s
from quantd.adapters.proxies import ProxyWrong, proxy_of, through
from quantd.adapters.sinks.sink import LONGEST_WAIT_S, SinkError

if TYPE_CHECKING:
    from aiohttp import ClientSession, StreamReader

ANSWER_BYTES: Final = 1 << 20
"""Maximum number of bytes of an answer that are read."""

LINE_BYTES: Final = 16_384
"""Maximum length of a line that is followed, as aiohttp counts it: half of what it holds."""

PAGE: Final = "the receiver answers with a page of another server, such as the sign-in page of a network"
"""The error of an answer of success that is a page."""

OF_EVERY_ALERT: Final = frozenset({401, 404, 405, 407, 408, 410, 421, 425, 426, 429, 502, 503, 504, 511})
"""Errors that no alert causes (RFC 9110, 6585, 8470): login, address, too early, too
many requests, or a server behind a proxy."""


def check_address(url: str) -> None:
    """Raise ValueError unless `url` is an address without a login, by HTTPS or by HTTP to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is no number raises
    except ValueError:
        host = None
    if not url.isprintable() or " " in url:  # urlsplit drops line feeds and tabs: its parts would pass
        raise ValueError("url has a space, a line feed or another character that no address has; remove it")
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError('url is not an address; write "https://host/path"')
    if "@" in parts.netloc:
        raise ValueError("url has a login, which does not belong in this file; use the secret of the sink")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("url is not encrypted; write https://")


def check_page(page: str) -> None:
    """Raise ValueError unless `page` is the address of the dashboard for a browser elsewhere."""
    try:
        check_address(page)
    except ValueError as why:
        raise ValueError(str(why).replace("url", "page", 1)) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP answer of a receiver of alerts, with the start of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        """Whether the receiver accepted the request: every status from 200 to 299."""
        return 200 <= self.status < 300

    @property
    def page(self) -> bool:
        """Whether the body is a page, as a captive portal or a proxy answers in place of a service."""
        return self.body.lstrip()[:1] == b"<"

    @property
    def refused(self) -> bool:
        """Whether the receiver refused only this alert and may accept another: the error is not about the secret,
        the address or the load."""
        return self.status >= 400 and self.status not in OF_EVERY_ALERT and "Retry-After" not in self.headers

    def require_success(self, *, pages: bool = False) -> None:
        """Raise SinkError for an unsuccessful status, and for a page in place of an answer unless `pages` are one."""
        if self.good and self.page and not pages:
            raise SinkError(PAGE)
        if not self.good:
            wait_s = retry_after_s(self.headers, LONGEST_WAIT_S)
            raise SinkError(f"the receiver answers {self.status}", wait_s, refused=self.refused)


class HttpPost:
    """Posts alerts to one receiver over HTTP connections that stay open."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._session: ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post `body` and return the answer. Raises SinkError if there is no answer; its text contains no address."""
        from yarl import URL

        with _failures(url, f"no answer within {self._timeout_s:g} s"):
            async with (
                asyncio.timeout(self._timeout_s),
                # a redirect is refused: it could lead to an address without encryption
                self._opened().post(
                    URL(url), data=body, headers=headers, allow_redirects=False, proxy=proxy_of(url)
                ) as answer,
            ):
                return Answer(answer.status, answer.headers, await _first_bytes(answer.content))

    async def lines(self, url: str, headers: Mapping[str, str], quiet_s: float) -> AsyncIterator[bytes]:
        """Yield the lines of an answer to GET that goes on. Raises SinkError without an answer, for an unsuccessful
        status, after `quiet_s` without a line, and for a line above LINE_BYTES."""
        import aiohttp
        from yarl import URL

        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=quiet_s)
        with _failures(url, f"no line within {quiet_s:g} s"):
            async with self._opened().get(
                URL(url), headers=headers, allow_redirects=False, proxy=proxy_of(url), timeout=limits,
                read_bufsize=LINE_BYTES,
            ) as answer:  # fmt: skip
                if answer.status != 200:
                    raise SinkError(f"the receiver answers {answer.status}")
                try:
                    while line := await answer.content.readline():
                        yield line
                except ValueError:
                    raise SinkError("the receiver sends a line that is too long") from None

    def _opened(self) -> "ClientSession":
        import aiohttp

        self._session = self._session or aiohttp.ClientSession()
        return self._session

    async def close(self) -> None:
        """Close the session and its connections, if a request has opened one."""
        if self._session is not None:
            await self._session.close()


@contextmanager
def _failures(url: str, late: str) -> Iterator[None]:
    """Raise SinkError for a request without an answer; `late` is its text after a time-out."""
    import aiohttp

    try:
        yield
    except TimeoutError:
        raise SinkError(late) from None
    except ProxyWrong as wrong:
        raise SinkError(str(wrong)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise SinkError(f"the receiver cannot be reached{through(url)} ({type(error).__name__})") from None


async def _first_bytes(content: "StreamReader") -> bytes:
    body = b""
    async for part in content.iter_any():
        body += part
        if len(body) >= ANSWER_BYTES:
            break
    return body[:ANSWER_BYTES]
