"""A webhook: posts each alert as JSON, signed with HMAC-SHA256."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.http_post import HttpPost, check_address
from quantd.adapters.sinks.sink import Sink

SIGNATURE: Final = "X-Quantd-Signature"
"""Header with "sha256=" and the hexadecimal HMAC-SHA256 of the body."""


class WebhookOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.webhook]. `timeout_s` bounds one request including its
    answer."""

    url: str
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0

    def __post_init__(self) -> None:
        check_address(self.url)


class Webhook:
    """Posts alerts to one address. Every HTTP status from 200 to 299 counts as delivered."""

    def __init__(self, options: WebhookOptions, secrets: Mapping[str, str]) -> None:
        self._url = options.url
        self._key = secrets["webhook_key"].encode()
        self._http = HttpPost(options.timeout_s)

    async def deliver(self, alert: Alert) -> None:
        """Post the alert as JSON, with the HMAC-SHA256 of the body in the header SIGNATURE.

        Raises SinkError for an HTTP status that is no success.
        """
        body = msgspec.json.encode(alert)
        signature = hmac.new(self._key, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", SIGNATURE: f"sha256={signature}"}
        answer = await self._http.post(self._url, body, headers)
        answer.require_success(pages=True)

    async def close(self) -> None:
        await self._http.close()


SINK: Final = Sink(
    "webhook",
    WebhookOptions,
    "quantd.adapters.sinks.webhook:Webhook",
    secrets={"webhook_key": "key that signs alerts to the webhook"},
)
