"""HTTP requests to a vendor: deadlines, a rate, bounded answers, and the meaning of each status."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.pace import Pace, Rate, retry_after_s
from quantd.trading.display_text import one_line

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_ANSWER_BYTES: Final = 64 << 20
WORDS: Final = 160
"""Maximum length of a vendor's text in a message."""

LONGEST_WAIT_S: Final = 3600.0
"""Upper bound of the delay that a vendor requests."""


class Web:
    """One vendor's HTTP interface. `source` is its name in errors, `timeout_s` bounds one request with its answer.

    The texts in `hide` appear in no message.
    """

    def __init__(
        self, source: str, *, rate: Rate | None = None, timeout_s: float = 20.0, hide: Sequence[str] = ()
    ) -> None:
        self._source, self._timeout_s = source, timeout_s
        self._hide = hide
        self._pace = Pace(rate)
        self._session: ClientSession | None = None

    async def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a 200. Raises SourceError, also for redirects, because keys must not go to another address."""
        import aiohttp
        from yarl import URL

        await self._pace.turn()
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            asked = URL(url, encoded=True)  # as it was signed
            if params:
                asked = asked.update_query(dict(params))
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.get(asked, headers=dict(headers or {}), allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    said = (await answer.content.read(4096)).decode("utf-8", "replace")
                    raise refusal(self._source, answer.status, answer.headers, self.words(said))
                return await self._whole(answer)
        except TimeoutError:
            raise SourceError(self._source, f"no answer within {self._timeout_s:g} s") from None
        except (aiohttp.InvalidURL, ValueError):
            raise SourceError(self._source, "its address cannot be read", "Check the url", again=False) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SourceError(self._source, "its TLS certificate is not valid", again=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise SourceError(self._source, f"it cannot be reached ({type(error).__name__})") from None

    def words(self, said: str) -> str:
        """A text of the vendor in one line, without keys."""
        return one_line(said, WORDS, self._hide)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _whole(self, answer: "ClientResponse") -> bytes:
        parts, size = [], 0
        async for part in answer.content.iter_chunked(1 << 16):
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                what = f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB"
                raise SourceError(self._source, what, "Ask for less at a time", again=False)
            parts.append(part)
        return b"".join(parts)


def refusal(source: str, status: int, headers: Mapping[str, str], said: str) -> SourceError:
    """The SourceError for an HTTP status other than 200."""
    text = f"HTTP {status}" + (f": {said}" if said else "")
    if status == 429:
        return SourceError(source, f"too many requests ({text})", after_s=retry_after_s(headers, LONGEST_WAIT_S))
    if status in (401, 403):
        return SourceError(source, f"it refuses the key ({text})", "Check the key and what it may read", again=False)
    if status >= 500 or status == 408:
        return SourceError(source, f"it is unavailable ({text})", after_s=retry_after_s(headers, LONGEST_WAIT_S))
    remedy = "Write the address that it moved to" if 300 <= status < 400 else "Check the symbols and the range"
    return SourceError(source, f"it refuses the request ({text})", remedy, again=False)
