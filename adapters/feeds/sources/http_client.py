"""Asking a vendor over HTTP: deadlines, a rate, bounded answers, and what each refusal means. Keys never reach a
message."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.pace import Pace, Rate

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_ANSWER_BYTES: Final = 64 << 20
WORDS: Final = 160
"""Of what the vendor said, this much is repeated."""

LONGEST_WAIT_S: Final = 3600.0
"""A vendor that asks for more is asked again after this."""


class Web:
    """One vendor's HTTP: `source` names it in errors, `timeout_s` bounds one request with its answer. What is in `hide`
    is never repeated, not even where the vendor repeats it."""

    def __init__(
        self, source: str, *, rate: Rate | None = None, timeout_s: float = 20.0, hide: Sequence[str] = ()
    ) -> None:
        self._source, self._timeout_s = source, timeout_s
        self._hide = [text for text in hide if text]
        self._pace = Pace(rate)
        self._session: ClientSession | None = None

    async def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a 200. Raises SourceError. Redirects are refused: keys must not follow them elsewhere."""
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
        """What a vendor said, on one line, not too long, without keys."""
        for text in self._hide:
            said = said.replace(text, "...")
        return " ".join(said.split())[:WORDS]

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
    """What an HTTP status other than 200 means for whoever asked."""
    text = f"HTTP {status}" + (f": {said}" if said else "")
    if status == 429:
        return SourceError(source, f"too many requests ({text})", after_s=_wait_s(headers))
    if status in (401, 403):
        return SourceError(source, f"it refuses the key ({text})", "Check the key and what it may read", again=False)
    if status >= 500 or status == 408:
        return SourceError(source, f"it is in trouble ({text})", after_s=_wait_s(headers))
    remedy = "Write the address that it moved to" if 300 <= status < 400 else "Check the symbols and the range"
    return SourceError(source, f"it refuses the request ({text})", remedy, again=False)


def _wait_s(headers: Mapping[str, str]) -> float:
    """Seconds until we may ask again: Retry-After as seconds or a date, else X-RateLimit-Reset as Unix seconds; 0: not
    said."""
    later = headers.get("Retry-After", "").strip()
    now = datetime.now(UTC)
    wait = 0.0
    try:
        if later:
            wait = float(later) if later[0].isdigit() else (parsedate_to_datetime(later) - now).total_seconds()
        elif reset := headers.get("X-RateLimit-Reset", ""):
            wait = float(reset) - now.timestamp()
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait, 0.0), LONGEST_WAIT_S)
