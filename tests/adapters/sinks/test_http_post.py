"""What holds for each sink that posts over HTTP: only an answer of success is a delivery, and a server may return."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from quantd.adapters.sinks.discord import Discord, DiscordOptions
from quantd.adapters.sinks.ntfy import Ntfy, NtfyOptions
from quantd.adapters.sinks.sink import OpenSink
from quantd.adapters.sinks.slack import Slack, SlackOptions
from quantd.adapters.sinks.telegram import Telegram, TelegramOptions
from quantd.adapters.sinks.webhook import Webhook, WebhookOptions
from tests.support.sink_servers import (
    ALERT,
    KEY,
    NTFY_TOKEN,
    TOKEN,
    BotApi,
    DiscordChannel,
    HttpServer,
    NtfyServer,
    Receiver,
    SlackChannel,
    opened,
    refusal,
    served,
)

POSTERS: dict[str, tuple[Callable[[], HttpServer], Callable[[str, float], OpenSink]]] = {
    "discord": (DiscordChannel, lambda url, wait: Discord(DiscordOptions(wait), {"discord_url": url})),
    "ntfy": (
        lambda: NtfyServer(NTFY_TOKEN),
        lambda url, wait: Ntfy(NtfyOptions("quantd-paper", url, wait), {"ntfy_token": NTFY_TOKEN}),
    ),
    "slack": (SlackChannel, lambda url, wait: Slack(SlackOptions(wait), {"slack_url": url})),
    "telegram": (BotApi, lambda url, wait: Telegram(TelegramOptions(-100123, url, wait), {"telegram_token": TOKEN})),
    "webhook": (Receiver, lambda url, wait: Webhook(WebhookOptions(url, wait), {"webhook_key": KEY})),
}
poster = pytest.mark.parametrize("kind", POSTERS)


def sink_of(kind: str, server: HttpServer, timeout_s: float = 5.0) -> OpenSink:
    return opened(POSTERS[kind][1](server.url, timeout_s))


@poster
async def test_every_answer_but_a_success_is_a_failed_delivery(kind: str) -> None:
    """An error of a bot hides the token in the address that the server repeats."""
    async with served(POSTERS[kind][0]()) as server:
        sink = sink_of(kind, server)
        more = ": error at /bot***/sendMessage" if kind == "telegram" else ""
        for status in (301, 307, 400, 401, 403, 404, 410, 413, 500, 502, 503, 507):
            server.answers = [status]
            assert str(await refusal(sink)) == f"the receiver answers {status}{more}"
        await sink.deliver(ALERT)
        assert (server.requests, len(server.taken)) == (13, 1)


@poster
async def test_a_server_that_hangs_or_is_away_is_a_failed_delivery_until_it_returns(kind: str) -> None:
    async with served(POSTERS[kind][0]()) as server:
        sink, server.silent = sink_of(kind, server, 0.3), True
        began = time.monotonic()
        assert str(await refusal(sink)) == "no answer within 0.3 s"
        assert time.monotonic() - began >= 0.3
        server.silent = False
        await server.stop()
        assert str(await refusal(sink)) == "the receiver cannot be reached (ClientConnectorError)"
        await server.start()
        await sink.deliver(ALERT)
        assert len(server.taken) == 1


@pytest.mark.parametrize("kind", sorted(POSTERS.keys() - {"webhook"}))
async def test_a_sign_in_page_that_answers_200_is_not_a_delivery(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(*_: Any) -> web.Response:
        return web.Response(text="\n<!doctype html><title>Sign in to the Wi-Fi</title>", content_type="text/html")

    async with served(POSTERS[kind][0]()) as server:
        monkeypatch.setattr(server, "answer", page)
        error = await refusal(sink_of(kind, server))
        other = kind == "telegram"
        assert ("200: not an answer of the Bot API" if other else "a page of another server") in str(error)
        assert not error.refused, "no alert is set aside for it"


@pytest.mark.parametrize("kind", ["discord", "ntfy", "slack"])
async def test_the_delay_that_a_server_requests_is_passed_on(kind: str) -> None:
    async with served(POSTERS[kind][0]()) as server:
        sink, server.answers = sink_of(kind, server), [429]
        assert (await refusal(sink)).retry_after_s == 2.0
