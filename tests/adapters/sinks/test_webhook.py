"""The webhook posts the alert of the bus, signed; every answer but a success is a failed delivery."""

import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from quantd.adapters.sinks.sink import SinkError
from quantd.adapters.sinks.webhook import Webhook, WebhookOptions
from tests.support.sink_servers import ALERT, KEY, Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    webhook_receiver = Receiver()
    await webhook_receiver.start()
    yield webhook_receiver
    await webhook_receiver.stop()


def of(receiver: Receiver, key: str = KEY, timeout_s: float = 5.0) -> Webhook:
    return Webhook(WebhookOptions(receiver.url, timeout_s), {"webhook_key": key})


async def test_an_alert_arrives_as_on_the_bus_with_its_signature(receiver: Receiver) -> None:
    hook = of(receiver)
    await hook.deliver(ALERT)
    await hook.deliver(ALERT)
    await hook.close()
    assert receiver.taken == [ALERT, ALERT]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
async def test_every_answer_but_a_success_is_a_failed_delivery(receiver: Receiver, status: int) -> None:
    hook = of(receiver)
    receiver.answers = [status]
    with pytest.raises(SinkError, match=f"the receiver answers {status}"):
        await hook.deliver(ALERT)
    assert (receiver.requests, receiver.taken) == (1, [])
    await hook.close()


async def test_another_key_is_another_signature(receiver: Receiver) -> None:
    hook = of(receiver, key="another")
    with pytest.raises(SinkError, match="the receiver answers 401"):
        await hook.deliver(ALERT)
    await hook.close()


async def test_a_receiver_that_does_not_answer_costs_the_time_out_and_no_more(receiver: Receiver) -> None:
    hook, receiver.silent = of(receiver, timeout_s=0.2), True
    began = time.monotonic()
    with pytest.raises(SinkError, match=r"no answer within 0\.2 s"):
        await hook.deliver(ALERT)
    assert time.monotonic() - began >= 0.2
    await hook.close()


async def test_a_receiver_that_is_away_is_a_failed_delivery_and_one_that_is_back_is_not(receiver: Receiver) -> None:
    hook = of(receiver)
    await receiver.stop()
    with pytest.raises(SinkError, match=r"the receiver cannot be reached \(ClientConnectorError\)"):
        await hook.deliver(ALERT)
    await receiver.start()
    await hook.deliver(ALERT)
    assert receiver.taken == [ALERT]
    await hook.close()


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


@pytest.mark.parametrize(
    "url", ["https://example.org/a?b=c", "http://127.0.0.1:8080/", "http://localhost/", "http://[::1]/"]
)
def test_https_and_this_machine_are_accepted(url: str) -> None:
    assert msgspec.convert({"url": url}, WebhookOptions).url == url
