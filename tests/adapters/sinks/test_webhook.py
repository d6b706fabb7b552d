"""The webhook posts the alert of the bus, signed; every answer but a success is a failed delivery."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from quantd.adapters.sinks.webhook import Webhook, WebhookOptions
from tests.support.sink_servers import ALERT, KEY, Receiver, opened, refusal, served


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served(Receiver()) as started:
        yield started


def of(receiver: Receiver, key: str = KEY) -> Webhook:
    return opened(Webhook(WebhookOptions(receiver.url, 5.0), {"webhook_key": key}))


async def test_an_alert_arrives_as_on_the_bus_with_its_signature(receiver: Receiver) -> None:
    hook = of(receiver)
    await hook.deliver(ALERT)
    await hook.deliver(ALERT)
    assert receiver.taken == [ALERT, ALERT]


async def test_another_key_is_another_signature(receiver: Receiver) -> None:
    hook = of(receiver, key="another")
    assert str(await refusal(hook)) == "the receiver answers 401"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://example.org/alerts", "url is not encrypted; write https://"),
        ("http://127.0.0.1.example.org/", "url is not encrypted"),
        ("https://user:word@example.org/", "url has a login"),
        ("ftp://example.org/", "url is not an address"),
        ("https://", "url is not an address"),
        ("https://example.org:99999/", "url is not an address"),
        ("https://[::1/", "url is not an address"),
    ],
)
def test_an_address_without_encryption_or_with_a_login_is_refused(url: str, fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert({"url": url}, WebhookOptions)
