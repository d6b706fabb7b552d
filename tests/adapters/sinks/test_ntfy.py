"""ntfy gets one notification for each alert: title, priority, tags, an id, and a text within its limit."""

from collections.abc import AsyncIterator
from email.header import decode_header, make_header
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.ntfy import NAME, Ntfy, NtfyOptions, sequence_id
from tests.support.sink_servers import ALERT, NTFY_TOKEN, NtfyServer, opened, refusal, served


@pytest.fixture
async def server() -> AsyncIterator[NtfyServer]:
    async with served(NtfyServer(NTFY_TOKEN)) as started:
        yield started


def of(server: NtfyServer, token: str = NTFY_TOKEN, timeout_s: float = 5.0) -> Ntfy:
    return opened(Ntfy(NtfyOptions("quantd-paper", server.url, timeout_s), {"ntfy_token": token}))


async def test_a_notification_has_title_priority_tags_and_the_id(server: NtfyServer) -> None:
    sink = of(server)
    await sink.deliver(ALERT)
    await sink.deliver(replace(ALERT, level="WARNING"))
    await sink.deliver(replace(ALERT, level="INFO"))
    first = server.headers[0]
    assert first["Title"] == "[quantd paper] CRITICAL switch"
    assert first["X-Sequence-ID"] == ALERT.id
    assert [headers["Priority"] for headers in server.headers] == ["5", "4", "2"]
    assert [headers["Tags"].split(",")[0] for headers in server.headers] == [
        "rotating_light",
        "warning",
        "information_source",
    ]
    assert server.taken[0].splitlines()[0] == "halt é"
    assert server.ids == [ALERT.id] * 3


async def test_a_title_that_is_not_ascii_and_a_forged_one_are_one_header(server: NtfyServer) -> None:
    sink = of(server)
    await sink.deliver(replace(ALERT, kind="größe"))
    await sink.deliver(replace(ALERT, kind="x\r\nPriority: 1"))
    first, second = server.headers
    assert str(make_header(decode_header(first["Title"]))) == "[quantd paper] CRITICAL größe"
    assert (second["Title"], second["Priority"]) == ("[quantd paper] CRITICAL x\\x0d\\x0aPriority: 1", "5")


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 9_000, "x" + "𝄞" * 9_000])
async def test_a_long_text_stays_a_message(server: NtfyServer, text: str) -> None:
    sink = of(server)
    await sink.deliver(replace(ALERT, text=text))
    assert 3_990 <= len(server.taken[0].encode()) <= 4_000


async def test_a_protected_topic_needs_its_token(server: NtfyServer) -> None:
    assert str(await refusal(of(server, token=""))) == "the receiver answers 403"
    assert str(await refusal(of(server, token="tk_wrong"))) == "the receiver answers 401"
    requests = server.requests
    assert str(await refusal(of(server, token="a\r\nX: y"))) == (
        "the secret ntfy_token is not an access token of printable ASCII; copy it again"
    )
    assert server.requests == requests


def test_a_sequence_id_has_the_form_that_the_server_demands() -> None:
    assert sequence_id("7f3k2m1a-7-0") == "7f3k2m1a-7-0"
    for id in ("a/b", "x" * 65, "é", ""):
        assert NAME.fullmatch(sequence_id(id))


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"topic": "a/b"}, "topic is not the name of a topic"),
        ({"topic": ""}, "topic is not the name of a topic"),
        ({"topic": "x" * 65}, "topic is not the name of a topic"),
        ({"topic": "a", "url": "http://ntfy.sh"}, "url is not encrypted"),
    ],
)
def test_options_that_cannot_work_are_refused(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert(table, NtfyOptions)
