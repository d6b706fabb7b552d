"""Slack gets one message for each alert: no markup, no mentions, no previews, within 4,000 characters."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.slack import Slack, SlackOptions
from tests.support.sink_servers import ALERT, PLACE, SlackChannel, opened, refusal, served


@pytest.fixture
async def channel() -> AsyncIterator[SlackChannel]:
    async with served(SlackChannel()) as started:
        yield started


def of(url: str, timeout_s: float = 5.0) -> Slack:
    return opened(Slack(SlackOptions(timeout_s), {"slack_url": url}))


async def test_a_message_has_title_text_and_id_and_no_markup(channel: SlackChannel) -> None:
    await of(channel.url).deliver(replace(ALERT, text="halt <!channel> & *now*"))
    (message,) = channel.taken
    assert message["text"].splitlines()[:2] == ["[quantd paper] CRITICAL switch", "halt &lt;!channel&gt; &amp; *now*"]
    assert f"1970-01-01 00:00 UTC, 2 alerts, alert {ALERT.id}" in message["text"].splitlines()
    assert message["mrkdwn"] is False


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 9_000, "𝄞" * 9_000])
async def test_a_long_text_is_cut(channel: SlackChannel, text: str) -> None:
    await of(channel.url).deliver(replace(ALERT, text=text))
    assert 3_990 <= len(channel.taken[0]["text"].encode("utf-16-le")) // 2 <= 4_000


async def test_an_address_that_is_none_makes_no_request_and_is_in_no_error(channel: SlackChannel) -> None:
    for url in ("", "hooks", f"http://example.org/{PLACE}"):
        assert (
            str(await refusal(of(url))) == "the secret slack_url is not the https address of a webhook; copy it again"
        )
    assert str(await refusal(of(f"{channel.url}x"))) == "the receiver answers 404"
    assert channel.requests == 1
