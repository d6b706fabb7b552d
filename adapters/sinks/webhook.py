"""A webhook: posts each alert as JSON, signed with HMAC-SHA256."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.listener import is_loopback
from quantd.adapters.sinks.sink import Sink, SinkError

if TYPE_CHECKING:
    from aiohttp import ClientSession

SIGNATURE: Final = "X-Quantd-Signature"
"""Header with "sha256=" and the hexadecimal HMAC-SHA256 of the body."""


class WebhookOptions(Struct, frozen=True):
    """The keys of [alerts.sinks.webhook]. `timeout_s` bounds one request with its answer."""

    url: str
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise ValueError('url is not an address; write "https://host/path"')
        if "@" in parts.netloc:
            raise ValueError("url has a login, which does not belong in this file; the receiver checks the signature")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("url is not encrypted; write https://")


class Webhook:
    """Posts to one address. Every status from 200 to 299 is a delivery."""

    def __init__(self, options: WebhookOptions, secrets: Mapping[str, str]) -> None:
        self._options = options
        self._key = secrets["webhook_key"].encode()
        self._session: ClientSession | None = None

    async def deliver(self, alert: Alert) -> None:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession()
        body = msgspec.json.encode(alert)
        signature = hmac.new(self._key, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", SIGNATURE: f"sha256={signature}"}
        try:
            async with (
                asyncio.timeout(self._options.timeout_s),
                # a redirect is refused: it could lead to an address without encryption
                self._session.post(self._options.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise SinkError(f"the receiver answers {answer.status}")
        except TimeoutError:
            raise SinkError(f"no answer within {self._options.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise SinkError(f"the receiver cannot be reached ({type(error).__name__})") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


SINK: Final = Sink(
    "webhook",
    WebhookOptions,
    "quantd.adapters.sinks.webhook:Webhook",
    secrets={"webhook_key": "key that signs alerts to the webhook"},
)
