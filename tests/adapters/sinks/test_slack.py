"""Slack gets one message for each alert: no markup, no mentions, no previews, within 4,000 characters."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from msgspec.structs import replace

from quantd.adapters.sinks.sink import SinkError
from quantd.adapters.sinks.slack import Slack, SlackOptions
from tests.support.sink_servers import ALERT, PLACE, SlackChannel

OPEN: list[Slack] = []


@pytest.fixture
async def channel() -> AsyncIterator[SlackChannel]:
    slack_channel = SlackChannel()
    await slack_channel.start()
    yield slack_channel
    while OPEN:
        await OPEN.pop().close()
    await slack_channel.stop()


def of(url: str, timeout_s: float = 5.0) -> Slack:
    OPEN.append(Slack(SlackOptions(timeout_s), {"slack_url": url}))
    return OPEN[-1]


async def failure(sink: Slack) -> SinkError:
    with pytest.raises(SinkError) as error_info:
        await sink.deliver(ALERT)
    assert PLACE not in repr(error_info.value)
    return error_info.value


async def test_a_sign_in_page_that_answers_200_is_not_a_delivery(
    channel: SlackChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(*_: object) -> web.Response:
        return web.Response(text="\n<!doctype html><title>Sign in to the Wi-Fi</title>", content_type="text/html")

    monkeypatch.setattr(channel, "answer", page)
    error = await failure(of(channel.url))
    assert "a page of another server" in str(error)
    assert not error.refused, "no alert is set aside for it"


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


@pytest.mark.parametrize("status", [301, 400, 403, 410, 500])
async def test_every_answer_but_a_success_is_a_failed_delivery(channel: SlackChannel, status: int) -> None:
    sink, channel.answers = of(channel.url), [status]
    assert str(await failure(sink)) == f"the receiver answers {status}"
    await sink.deliver(ALERT)
    assert len(channel.taken) == 1


async def test_the_delay_that_the_channel_requests_is_passed_on(channel: SlackChannel) -> None:
    sink, channel.answers = of(channel.url), [429]
    assert (await failure(sink)).retry_after_s == 2.0


async def test_an_address_that_is_none_makes_no_request_and_is_in_no_error(channel: SlackChannel) -> None:
    for url in ("", "hooks", f"http://example.org/{PLACE}"):
        assert (
            str(await failure(of(url))) == "the secret slack_url is not the https address of a webhook; copy it again"
        )
    assert str(await failure(of(f"{channel.url}x"))) == "the receiver answers 404"
    assert channel.requests == 1
