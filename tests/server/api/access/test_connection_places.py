"""Which connection is closed when all places are taken, over real sockets."""

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.listener import Listener, Taken
from quantd.server.api import commits, server
from quantd.server.api.access import guard
from quantd.server.api.access.connection_places import FRESH_S, ConnectionPlaces, Standing
from quantd.server.requests.tokens import created
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.mqtt import until
from tests.support.sockets import closed

MOST = 32
KEPT = 4


@contextmanager
def accepted(places: ConnectionPlaces) -> Iterator[Any]:
    """A function that opens a connection with a standing and an age."""
    clients: list[socket.socket] = []
    with Listener("127.0.0.1", 0, places.most, places.displaced) as listener:
        listener.listen()
        listener.setblocking(True)

        def connect(standing: Standing, age_s: float = 0.0) -> Taken:
            clients.append(socket.create_connection(listener.getsockname()))
            connection, _ = listener.accept()
            assert isinstance(connection, Taken)
            connection.standing = standing
            connection.since_s -= age_s
            return connection

        yield connect, listener
        for peer in (*listener.connections.copy().values(), *clients):
            peer.close()


def test_the_oldest_header_goes_first_then_streams_then_others_and_a_token_never() -> None:
    with accepted(ConnectionPlaces(MOST)) as (connect, listener):
        tokens = [held(connect, "a") for _ in range(KEPT)]
        without_token = [connect(Standing.NO_TOKEN, 100.0) for _ in range(8)]
        streams = [connect(Standing.STREAM, 100.0) for _ in range(8)]
        headers = [connect(Standing.NO_HEADER, 100.0) for _ in range(MOST - KEPT - 16)]
        new = []
        for gone in (*headers, *streams, *without_token):
            new.append(connect(Standing.NO_HEADER))
            assert gone.fileno() not in listener.connections
            assert listener.taken == MOST
        connect(Standing.NO_HEADER)
        assert new[0].fileno() not in listener.connections  # only new ones are left, and the oldest of them goes
        assert all(connection.fileno() in listener.connections for connection in (*tokens, *new[1:]))


def held(connect: Any, holder: str, standing: Standing = Standing.TOKEN, *, working: bool = False) -> Taken:
    """A connection of a token; of scope trade by its standing."""
    connection: Taken = connect(standing)
    connection.holder, connection.trades, connection.working = holder, standing == Standing.TRADE, working
    return connection


def claim(places: ConnectionPlaces, listener: Listener, mine: Taken, *, lane: bool = False) -> bool:
    other, served = places.claimed(mine, listener.connections.values(), lane=lane)
    if other is not None:
        assert not other.working
        other.cut()
    return served


@pytest.mark.parametrize("standing", [Standing.TOKEN, Standing.TRADE])
def test_a_token_has_a_quarter_of_the_places_and_its_oldest_idle_connection_goes(standing: Standing) -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        first = [held(connect, "a", standing) for _ in range(MOST // 4)]
        assert all(claim(places, listener, connection) for connection in first)
        first[0].working = True
        new = held(connect, "a", standing)
        assert claim(places, listener, new)
        assert [connection.fileno() in listener.connections for connection in (*first[:3], new)] == [
            True,
            False,
            True,
            True,
        ]


def test_where_all_connections_of_a_token_are_at_work_its_next_request_is_refused_also_in_the_lane() -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        for _ in range(MOST // 4):
            assert claim(places, listener, held(connect, "a", working=True))
        assert not claim(places, listener, held(connect, "a"))
        assert not claim(places, listener, held(connect, "a"), lane=True)
        assert claim(places, listener, held(connect, "b"))
        assert listener.taken == MOST // 4 + 2


@pytest.mark.parametrize("tokens", [2, 3, 7, 12])
def test_tokens_of_low_scopes_leave_trade_its_share_however_many_they_are(tokens: int) -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        served = [
            claim(places, listener, held(connect, f"r{k % tokens}", working=True)) for k in range(places.group + 6)
        ]
        assert sum(served) <= places.group
        for connection in listener.connections.copy().values():
            if not connection.working:
                connection.cut()
        trade = [held(connect, "t", Standing.TRADE, working=True) for _ in range(places.each)]
        assert all(claim(places, listener, trader) for trader in trade)


def test_a_halt_is_not_refused_for_the_share_of_its_scope() -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        for k in range(places.group):
            held(connect, f"t{k % 3}", Standing.TRADE, working=True)
        mine = held(connect, "owner", Standing.TRADE)
        assert not claim(places, listener, mine)
        assert claim(places, listener, mine, lane=True)


def test_a_connection_whose_handler_works_is_closed_for_nobody_and_a_place_is_left() -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        busy = []
        for k in range(2 * MOST):
            for holder, standing in ((f"r{k % 4}", Standing.TOKEN), (f"t{k % 4}", Standing.TRADE)):
                connection = held(connect, holder, standing)
                if claim(places, listener, connection):
                    connection.working = True
                    busy.append(connection)
            connection = connect(Standing.NO_TOKEN)
            if not places.crowded(listener.connections.values()):
                connection.working = True
                busy.append(connection)
        assert len(busy) == 2 * places.group + places.kept
        assert all(worker.fileno() in listener.connections for worker in busy)
        assert connect(Standing.NO_HEADER).fileno() in listener.connections


def test_an_unfinished_body_goes_before_a_request_without_a_token() -> None:
    with accepted(ConnectionPlaces(MOST)) as (connect, listener):
        plain = [connect(Standing.NO_TOKEN, 100.0) for _ in range(MOST - KEPT - 1)]
        body = held(connect, "r")
        body.standing, body.since_s = Standing.NO_HEADER, body.since_s - 2 * FRESH_S
        for _ in range(2):
            connect(Standing.NO_HEADER)
        assert body.fileno() not in listener.connections
        assert plain[0].fileno() in listener.connections


@pytest.mark.long
@pytest.mark.requirement("R-235")
async def test_a_connection_stands_by_its_newest_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", MOST)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        token = f"Authorization: Bearer {world.token}\r\n"

        def connect(text: str = "") -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(text.encode())
            return connection

        def request(path: str, more: str = "") -> str:
            return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"

        tokens = [connect(request("/health", token)) for _ in range(KEPT)]
        await until(lambda: select.select(tokens, [], [], 0)[0] == tokens, "responses to the tokens")
        half = request("/health")[:-2] + "X: y"
        halves = [connect(half) for _ in range(MOST - KEPT - 4)]
        plain = [connect(request("/health")) for _ in range(2)]
        streams = [connect(request("/api/v1/events")) for _ in range(2)]
        all_of = [*tokens, *halves, *plain, *streams]
        await until(lambda: world.api.context.streams == 2, "both streams")
        await asyncio.sleep(FRESH_S)

        async def loses(other: socket.socket) -> None:
            all_of.append(connect(request("/health")))
            await until(lambda: closed(other), "one is closed")
            all_of.remove(other)
            await asyncio.sleep(0.05)
            assert not any(map(closed, all_of))

        try:
            await loses(halves[0])
            await loses(halves[1])
            for client in halves[2:]:
                client.sendall(b"\r\n\r\n")  # now they are requests without a token
            await asyncio.sleep(0.1)
            await loses(streams[0])
            await loses(streams[1])
            await loses(halves[2])
            tokens[0].sendall(request("/health").encode())  # the token is not sent any more
            await asyncio.sleep(0.1)
            await loses(tokens[0])
        finally:
            for client in all_of:
                client.close()


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
@pytest.mark.requirement("R-235")
@pytest.mark.parametrize(
    ("scope", "path", "tokens"),
    [
        ("read", "/api/v1/predict", 1),
        ("read", "/api/v1/predict", 5),
        ("propose", "/api/v1/portfolios/even/proposals", 1),
        ("trade", "/api/v1/orders", 1),
        ("trade", "/api/v1/commands", 1),
    ],
)
async def test_unfinished_bodies_of_any_token_keep_nobody_from_halting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Any, path: str, tokens: int
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", MOST)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        more = {"agent": "even"} if scope == "propose" else {}
        secrets = [created(world.folder, f"flood{k}", scope, **more)[1] for k in range(tokens)]
        await asyncio.sleep(0.6)
        crowd = []
        for k in range(2 * MOST):
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(post(path, secrets[k % tokens], b"{", 1_000))
                crowd.append((reader, writer))
        await asyncio.sleep(0.2)
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await answered(reader, writer, post("/api/v1/commands", world.token, HALT))).endswith(b"200 OK")
            assert (await answered(reader, writer, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))[9:12] in (
                b"200",
                b"503",
            )
            writer.close()
        for _, writer in crowd:
            writer.close()


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
    monkeypatch.setattr(guard, "HEADER_S", 0.3)
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
