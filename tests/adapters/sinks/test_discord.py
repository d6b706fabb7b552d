"""Discord gets one message for each alert: no markup, no mentions, no previews, within 2,000 characters."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.discord import Discord, DiscordOptions
from tests.support.sink_servers import ALERT, PLACE, DiscordChannel, opened, refusal, served


@pytest.fixture
async def channel() -> AsyncIterator[DiscordChannel]:
    async with served(DiscordChannel()) as started:
        yield started


def of(url: str, timeout_s: float = 5.0) -> Discord:
    return opened(Discord(DiscordOptions(timeout_s), {"discord_url": url}))


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


async def test_an_address_that_is_none_makes_no_request_and_is_in_no_error(channel: DiscordChannel) -> None:
    for url in ("", "hooks", f"http://example.org/{PLACE}", f"{channel.url}\n"):
        assert (
            str(await refusal(of(url))) == "the secret discord_url is not the https address of a webhook; copy it again"
        )
    assert str(await refusal(of(f"{channel.url}x"))) == "the receiver answers 404"
    assert channel.requests == 1
