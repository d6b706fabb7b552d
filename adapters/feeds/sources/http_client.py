"""HTTP requests to a vendor: deadlines, a rate limit, answers of bounded size, and the meaning of each status."""

import asyncio
from collections.abc import Mapping, Sequence
from os import strerror
from socket import gaierror
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quantd.adapters.feeds.source import FIRST_ANSWER_S, SourceError, Unreachable
from quantd.adapters.pace import Pace, Rate, retry_after_s
from quantd.adapters.proxies import ProxyWrong, proxy_of, through
from quantd.trading.display_text import one_line

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_ANSWER_BYTES: Final = 64 << 20
WORDS: Final = 160
"""Maximum length of a vendor's text in a message."""

LONGEST_WAIT_S: Final = 3600.0
"""Upper bound of the delay that a vendor requests."""


class Web:
    """One vendor's HTTP interface. `source` is its name in errors; `timeout_s` bounds a request and its answer.

    The texts in `hide`, such as keys, appear in no message.
    """

    def __init__(
        self, source: str, *, rate: Rate | None = None, timeout_s: float = 20.0, hide: Sequence[str] = ()
    ) -> None:
        self._source, self._timeout_s = source, timeout_s
        self._hide = hide
        self._pace = Pace(rate)
        self._session: ClientSession | None = None
        self._patient = False
        """Whether a first request has ended: the first may take FIRST_ANSWER_S, later ones `timeout_s`."""

    async def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the body of an answer with status 200. Raises SourceError for any other status.

        A redirect is not followed, because keys must not go to another address.
        """
        import aiohttp
        from yarl import URL

        await self._pace.turn()
        if self._session is None:
            self._session = aiohttp.ClientSession()
        host = urlsplit(url).netloc.rpartition("@")[2]
        # the first answer must come soon; a host that has answered once can be reached, if slowly
        limit_s = self._timeout_s if self._patient else min(self._timeout_s, FIRST_ANSWER_S)
        try:
            full_url = URL(url, encoded=True)  # unchanged: it may be signed
            if params:
                full_url = full_url.update_query(dict(params))
            async with (
                asyncio.timeout(limit_s),
                self._session.get(
                    full_url, headers=dict(headers or {}), allow_redirects=False, proxy=proxy_of(url)
                ) as answer,
            ):
                if answer.status != 200:
                    refusal_text = (await answer.content.read(4096)).decode("utf-8", "replace")
                    raise refusal(self._source, answer.status, answer.headers, self.words(refusal_text))
                return await self._whole(answer)
        except TimeoutError:
            raise Unreachable(self._source, host, f"no answer within {limit_s:g} s") from None
        except (aiohttp.InvalidURL, ValueError):
            raise SourceError(self._source, "its address cannot be read", "Check the url", again=False) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SourceError(self._source, "its TLS certificate is not valid", again=False) from None
        except aiohttp.ClientHttpProxyError as error:
            raise Unreachable(self._source, host, f"{through(url)[1:]}: it answers {error.status}") from None
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise Unreachable(self._source, host, f"{why_unreachable(error)}{through(url)}") from None
        except aiohttp.ClientError:
            raise SourceError(self._source, f"the answer of {host} is damaged or cut off", LATER) from None
        finally:
            self._patient = True

    def unreadable(self, body: bytes, what: str) -> SourceError:
        """Return the error about an answer that is not `what`, with its length and beginning."""
        beginning = self.words(body[:WORDS].decode("utf-8", "replace"))
        text = f"its answer is not {what}: {len(body):,} bytes" + (f' "{beginning}"' if beginning else "")
        return SourceError(self._source, text, LATER)

    def words(self, text: str) -> str:
        """Return a text of the vendor as one line of at most WORDS characters, without keys."""
        return one_line(text, WORDS, self._hide)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _whole(self, answer: "ClientResponse") -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                what = f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB"
                raise SourceError(self._source, what, "Ask for less at a time", again=False)
            chunks.append(chunk)
        return b"".join(chunks)


LATER: Final = "Try again later, or name another source (--source, [feed] fallback)"


def why_unreachable(error: BaseException) -> str:
    """Return the reason why a host gives no answer, for an error of aiohttp or of the system."""
    import aiohttp

    if isinstance(error, ProxyWrong):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorDNSError | gaierror):
        return "its name is not resolved"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    errno_ = getattr(error, "errno", None)
    return strerror(errno_).lower() if errno_ else "the connection was closed"


def refusal(source: str, status: int, headers: Mapping[str, str], reason: str) -> SourceError:
    """Return the SourceError for an HTTP status other than 200; `reason` is the vendor's text."""
    text = f"HTTP {status}" + (f": {reason}" if reason else "")
    if status == 429:
        return SourceError(source, f"too many requests ({text})", LATER, after_s=retry_after_s(headers, LONGEST_WAIT_S))
    if status in (401, 403):
        return SourceError(source, f"it refuses the key ({text})", "Check the key and what it may read", again=False)
    if status >= 500 or status == 408:
        return SourceError(source, f"it is unavailable ({text})", LATER, after_s=retry_after_s(headers, LONGEST_WAIT_S))
    remedy = "Write the address that it moved to" if 300 <= status < 400 else "Check the symbols and the range"
    return SourceError(source, f"it refuses the request ({text})", remedy, again=False)
