"""A bot sends alerts as plain text; limits of the Bot API are kept, and the token appears nowhere."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.alert_text import body
from quantd.adapters.sinks.telegram import Telegram, TelegramOptions
from tests.support.sink_servers import ALERT, TOKEN, BotApi, opened, refusal, served


@pytest.fixture
async def server() -> AsyncIterator[BotApi]:
    async with served(BotApi()) as started:
        yield started


def of(server: BotApi, token: str = TOKEN, chat: int | str = -100123, timeout_s: float = 5.0) -> Telegram:
    return opened(Telegram(TelegramOptions(chat, server.url, timeout_s), {"telegram_token": token}))


async def test_an_alert_arrives_as_text_without_markup_and_without_a_preview(server: BotApi) -> None:
    sink = of(server)
    await sink.deliver(replace(ALERT, text="<b>*now*</b> https://example.org"))
    await sink.deliver(replace(ALERT, level="INFO"))
    first, second = server.taken
    assert first["text"].splitlines()[:2] == ["[quantd paper] CRITICAL switch", "<b>*now*</b> https://example.org"]
    assert "1970-01-01 00:00 UTC, 2 alerts, alert 7f3k2m1a-7-0" in first["text"]
    assert not {"parse_mode", "entities"} & set(first)
    assert first["link_preview_options"] == {"is_disabled": True}
    assert (first["disable_notification"], second["disable_notification"]) == (False, True)


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 9_000, "𝄞" * 9_000, "x" + "𝄞" * 9_000, "\n" * 5_000])
async def test_a_long_text_is_cut_at_the_limit_and_not_within_a_character(server: BotApi, text: str) -> None:
    sink = of(server)
    await sink.deliver(replace(ALERT, text=text))
    (message,) = server.taken
    assert 4_095 <= len(message["text"].encode("utf-16-le")) // 2 <= 4_096
    assert "�" not in message["text"]


async def test_the_delay_that_the_server_requests_is_passed_on(server: BotApi) -> None:
    sink, server.answers, server.retry_after = of(server), [429], 17
    why = await refusal(sink)
    assert why.retry_after_s == 17.0
    assert str(why) == "the receiver answers 429: Too Many Requests: retry after 17; next attempt after 17 s"
    server.answers, server.retry_after = [429], 10**9
    assert (await refusal(sink)).retry_after_s == 3_600.0


async def test_an_unknown_chat_and_a_wrong_token_are_named(server: BotApi) -> None:
    assert str(await refusal(of(server, chat=5))) == "the receiver answers 400: Bad Request: chat not found"
    assert str(await refusal(of(server, token="1:wrong"))) == "the receiver answers 404: Not Found"
    asked = server.requests
    for bad in ("1:a/../../x", "no", "1:a?b", "1:a\r\nX: y", ""):
        assert str(await refusal(of(server, token=bad))) == (
            "the secret telegram_token is not the token of a bot; copy it from @BotFather again"
        )
    assert server.requests == asked


async def test_a_group_that_became_a_supergroup_names_its_new_number(
    server: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = server._failed(
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        parameters={"migrate_to_chat_id": -1001557912345},
    )

    async def answer(*_: Any) -> Any:
        return refused

    monkeypatch.setattr(server, "answer", answer)
    assert str(await refusal(of(server))).endswith(
        "supergroup chat; set chat = -1001557912345 in [alerts.sinks.telegram]"
    )


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"chat": 1, "url": "http://api.telegram.org"}, "url is not encrypted"),
        ({"chat": 1, "url": "https://u:p@api.telegram.org"}, "url has a login"),
        ({"chat": "name"}, "chat is neither a number"),
        ({}, "missing required field `chat`"),
    ],
)
def test_options_that_cannot_work_are_refused(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert(table, TelegramOptions)


@pytest.mark.parametrize(
    ("change", "first", "last"),
    [
        ({"state": "raised", "incident": "r-1-0"}, "halt é",
         '`quantd resume --reason "…"` trades again; `quantd alerts --ack r-1-0 --reason "…"` ends the reminders'),
        ({"state": "reminded", "incident": "r-1-0"}, "Still so: halt é", "ends the reminders"),
        ({"state": "cleared", "incident": "r-1-0"}, "It is over: halt é", "at 0.31; equity 84,800.00 USD"),
        ({"kind": "limit_var"}, "halt é", "`quantd risk` shows the room"),
        ({"kind": "unheard"}, "halt é", "`quantd alerts` shows the record"),
    ],
)  # fmt: skip
def test_a_message_says_in_four_lines_what_when_how_much_and_what_to_do(
    change: dict[str, Any], first: str, last: str
) -> None:
    lines = body(replace(ALERT, account="equity 84,800.00 USD", **change)).splitlines()
    assert len(lines) <= 4
    assert lines[0] == first
    assert lines[1] == "1970-01-01 00:00 UTC, 2 alerts, alert 7f3k2m1a-7-0"
    assert lines[2] == "at 0.31; equity 84,800.00 USD"
    assert lines[-1].endswith(last)
