"""Discord gets one message for each alert: no markup, no mentions, no previews, within 2,000 characters."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from msgspec.structs import replace

from quantd.adapters.sinks.discord import Discord, DiscordOptions
from quantd.adapters.sinks.sink import SinkError
from tests.support.sink_servers import ALERT, PLACE, DiscordChannel

OPEN: list[Discord] = []


@pytest.fixture
async def channel() -> AsyncIterator[DiscordChannel]:
    discord_channel = DiscordChannel()
    await discord_channel.start()
    yield discord_channel
    while OPEN:
        await OPEN.pop().close()
    await discord_channel.stop()


def of(url: str, timeout_s: float = 5.0) -> Discord:
    OPEN.append(Discord(DiscordOptions(timeout_s), {"discord_url": url}))
    return OPEN[-1]


async def failure(sink: Discord) -> SinkError:
    with pytest.raises(SinkError) as error_info:
        await sink.deliver(ALERT)
    assert PLACE not in repr(error_info.value)
    return error_info.value


async def test_a_sign_in_page_that_answers_200_is_not_a_delivery(
    channel: DiscordChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(*_: object) -> web.Response:
        return web.Response(text="\n<!doctype html><title>Sign in to the Wi-Fi</title>", content_type="text/html")

    monkeypatch.setattr(channel, "answer", page)
    error = await failure(of(channel.url))
    assert "a page of another server" in str(error)
    assert not error.refused, "no alert is set aside for it"


async def test_a_message_has_title_text_and_id_and_mentions_nobody(channel: DiscordChannel) -> None:
    await of(channel.url).deliver(replace(ALERT, kind="limit_var", text="halt @everyone"))
    (message,) = channel.taken
    assert message["content"].splitlines()[:3] == [r"\[quantd paper\] CRITICAL limit\_var", "```", "halt @everyone"]
    assert f"1970-01-01 00:00 UTC, 2 alerts, alert {ALERT.id}" in message["content"].splitlines()
    assert message["allowed_mentions"] == {"parse": []}


async def test_only_an_info_arrives_without_a_sound(channel: DiscordChannel) -> None:
    sink = of(channel.url)
    for level in ("INFO", "WARNING", "CRITICAL"):
        await sink.deliver(replace(ALERT, level=level))
    assert [message["flags"] for message in channel.taken] == [4 | 4_096, 4, 4]


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 9_000, "𝄞" * 9_000, "```" * 3_000])
async def test_a_long_text_is_one_message_and_one_block(channel: DiscordChannel, text: str) -> None:
    await of(channel.url).deliver(replace(ALERT, text=text))
    content = channel.taken[0]["content"]
    assert 1_980 <= len(content.encode("utf-16-le")) // 2 <= 2_000
    assert content.count("```") == 2
    assert content.endswith("\n```")


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
async def test_every_answer_but_a_success_is_a_failed_delivery(channel: DiscordChannel, status: int) -> None:
    sink, channel.answers = of(channel.url), [status]
    assert str(await failure(sink)) == f"the receiver answers {status}"
    await sink.deliver(ALERT)
    assert len(channel.taken) == 1


async def test_the_delay_that_the_channel_requests_is_passed_on(channel: DiscordChannel) -> None:
    sink, channel.answers = of(channel.url), [429]
    assert (await failure(sink)).retry_after_s == 2.0


async def test_an_address_that_is_none_makes_no_request_and_is_in_no_error(channel: DiscordChannel) -> None:
    for url in ("", "hooks", f"http://example.org/{PLACE}", f"{channel.url}\n"):
        assert (
            str(await failure(of(url))) == "the secret discord_url is not the https address of a webhook; copy it again"
        )
    assert str(await failure(of(f"{channel.url}x"))) == "the receiver answers 404"
    assert channel.requests == 1


async def test_a_channel_that_hangs_or_is_away_is_a_failed_delivery(channel: DiscordChannel) -> None:
    sink, channel.silent = of(channel.url, timeout_s=0.3), True
    assert str(await failure(sink)) == "no answer within 0.3 s"
    channel.silent = False
    await channel.stop()
    assert str(await failure(sink)) == "the receiver cannot be reached (ClientConnectorError)"
    await channel.start()
    await sink.deliver(ALERT)
    assert len(channel.taken) == 1
