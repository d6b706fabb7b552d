"""The time-outs of a request's body, and a handler that works for long, over real sockets; and rate limits."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.server.api import commits, server
from quantd.server.api.access import guard
from quantd.server.api.access.rate_limits import (
    MOST_KEYS,
    WRONG_IN_ALL,
    WRONG_TOKENS,
    Buckets,
    WrongTokens,
    address_of,
)
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.mqtt import until


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    """The first line of the response, which is read whole; empty for a closed connection."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(text)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        return head.split(b"\r\n")[0]
    return b""


def post(path: str, token: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode() + body


HALT = b'{"command": "halt", "reason": "flood"}'


@pytest.mark.long
@pytest.mark.parametrize("drip", [False, True])
async def test_a_body_that_does_not_follow_its_header_is_refused_with_408(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, drip: bool
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.5)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/api/v1/commands", world.token, b"{", 1_000))
        if drip:  # single bytes prolong nothing
            for _ in range(4):
                await asyncio.sleep(0.1)
                writer.write(b" ")
        text = await asyncio.wait_for(reader.read(), 60)
        assert text.startswith(b"HTTP/1.1 408")
        assert b'"code":"body"' in text
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/api/v1/commands", world.token, b"", len(HALT)))
        await asyncio.sleep(0.2)
        assert (await answered(reader, writer, HALT)).endswith(b"200 OK")
        writer.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "meanwhile", [b"", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_a_request_is_answered_however_long_its_handler_works_and_whatever_is_sent_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: bytes
) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_S", 0.3)
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        monkeypatch.setattr(commits, "WAIT_S", 0.5)
        write = world.service.store.write

        async def slow(batch: Any) -> None:
            await asyncio.sleep(1.0)
            await write(batch)

        monkeypatch.setattr(world.service.store, "write", slow)
        for body, ending in ((b'{"command": "reduce", "reason": "x"}', b"200 OK"), (None, b"504 Gateway Timeout")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            text = post("/api/v1/commands", world.token, body) if body else deposit(world.token)
            for part in (text[:-1], text[-1:]):  # in two segments
                writer.write(part)
                await asyncio.sleep(0.05)
            writer.write(meanwhile)
            assert (await answered(reader, writer, b"")).endswith(ending)
            writer.close()
            await until(lambda: world.store.last_seq(RUN) == world.service.journal.seq, "the commit")


def deposit(token: str) -> bytes:
    return post("/api/v1/cash", token, b'{"do": "add", "amount": "77.00", "reason": "x"}')


def test_a_burst_passes_at_once_and_then_one_request_per_interval():
    buckets = Buckets(per_s=10.0, burst=3)
    assert [buckets.wait_s("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert buckets.wait_s("b", 0.0) == 0.0  # another client
    assert buckets.wait_s("a", 0.05) == pytest.approx(0.05)
    assert buckets.wait_s("a", 0.11) == 0.0


@given(st.lists(st.floats(0, 0.5), max_size=60), st.integers(1, 5))
def test_never_more_than_burst_and_rate_together(gaps, burst):
    buckets, now, passed = Buckets(per_s=4.0, burst=burst), 0.0, 0
    for gap in gaps:
        now += gap
        passed += buckets.wait_s("a", now) == 0.0
        assert passed <= burst + 4.0 * now + 1e-6


def test_a_table_is_bounded_however_many_clients_there_are():
    buckets, wrong = Buckets(1.0, 1), WrongTokens()
    for k in range(MOST_KEYS * 3):
        buckets.wait_s(str(k), 0.0)
        wrong.count(str(k), 0.0)
    assert len(buckets) == len(wrong) == MOST_KEYS


def test_wrong_tokens_are_counted_by_address_and_in_all_for_a_minute():
    wrong = WrongTokens()
    assert [wrong.count("a", 0.0) for _ in range(WRONG_TOKENS + 1)] == [True] * WRONG_TOKENS + [False]
    counts = [wrong.count(str(k), 1.0) for k in range(WRONG_IN_ALL)]
    assert counts == [True] * (WRONG_IN_ALL - WRONG_TOKENS) + [False] * WRONG_TOKENS
    assert wrong.count("a", 60.5)


def test_an_address_of_ipv6_is_the_network_of_its_client():
    assert address_of("2001:db8:1:2:3::4") == address_of("2001:db8:1:2::9") != address_of("2001:db8:1:3::9")
    assert address_of("::ffff:10.0.0.1") == address_of("10.0.0.1") == "10.0.0.1"
    assert address_of("fe80::1%eth0") == "fe80::"
    assert address_of(None) == ""
