"""Which connection is closed when all places are taken, over real sockets."""

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.listener import Listener, Taken
from quantd.daemon.api import server
from quantd.daemon.api.access.connection_places import FRESH_S, ConnectionPlaces, Standing
from tests.adapters.test_listener import closed
from tests.daemon.api.test_api import standing_at_the_end
from tests.support.mqtt import until

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
            found, _ = listener.accept()
            assert isinstance(found, Taken)
            found.standing = standing
            found.since_s -= age_s
            return found

        yield connect, listener
        for each in (*listener.connections.copy().values(), *clients):
            each.close()


def test_the_oldest_header_goes_first_then_streams_then_others_and_a_token_never() -> None:
    with accepted(ConnectionPlaces(MOST)) as (connect, listener):
        tokens = [connect(Standing.TOKEN, 100.0) for _ in range(KEPT)]
        others = [connect(Standing.NO_TOKEN, 100.0) for _ in range(8)]
        streams = [connect(Standing.STREAM, 100.0) for _ in range(8)]
        headers = [connect(Standing.NO_HEADER, 100.0) for _ in range(MOST - KEPT - 16)]
        new = []
        for gone in (*headers, *streams, *others):
            new.append(connect(Standing.NO_HEADER))
            assert gone.fileno() not in listener.connections
            assert listener.taken == MOST
        connect(Standing.NO_HEADER)
        assert new[0].fileno() not in listener.connections  # only new ones are left, and the oldest of them goes
        assert all(each.fileno() in listener.connections for each in (*tokens, *new[1:]))


def test_a_token_that_is_being_looked_up_is_not_closed_for_a_header_that_may_come() -> None:
    with accepted(ConnectionPlaces(MOST)) as (connect, listener):
        given = connect(Standing.GIVEN)
        for _ in range(2 * MOST):
            connect(Standing.NO_HEADER)
        assert given.fileno() in listener.connections


def test_tokens_take_all_places_but_those_of_new_connections() -> None:
    places = ConnectionPlaces(MOST)
    with accepted(places) as (connect, listener):
        for _ in range(MOST - KEPT):
            connect(Standing.TOKEN)
        assert not places.crowded(listener.connections.values())
        first = connect(Standing.NO_HEADER)
        for _ in range(KEPT):
            connect(Standing.NO_HEADER)
        assert (listener.taken, first.fileno() in listener.connections) == (MOST, False)
        next(
            each for each in listener.connections.values() if each.standing != Standing.TOKEN
        ).standing = Standing.TOKEN
        assert places.crowded(listener.connections.values())


def test_a_few_connections_displace_nobody() -> None:
    with accepted(ConnectionPlaces(MOST)) as (connect, listener):
        for _ in range(MOST - KEPT):
            connect(Standing.NO_HEADER, 100.0)
        assert listener.taken == MOST - KEPT


@pytest.mark.requirement("R-235")
async def test_a_connection_stands_by_its_newest_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", MOST)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        token = f"Authorization: Bearer {world.token}\r\n"

        def connect(text: str = "") -> socket.socket:
            made = socket.create_connection(("127.0.0.1", port))
            made.sendall(text.encode())
            return made

        def request(path: str, more: str = "") -> str:
            return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"

        tokens = [connect(request("/health", token)) for _ in range(KEPT)]
        await until(lambda: select.select(tokens, [], [], 0)[0] == tokens, "responses to the tokens")
        half = request("/health")[:-2] + "X: y"
        halves = [connect(half) for _ in range(MOST - KEPT - 4)]
        plain = [connect(request("/health")) for _ in range(2)]
        streams = [connect(request("/api/v1/events")) for _ in range(2)]
        all_of = [*tokens, *halves, *plain, *streams]
        await until(lambda: world.api._dashboard.streams == 2, "both streams")
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
            for each in halves[2:]:
                each.sendall(b"\r\n\r\n")  # now they are requests without a token
            await asyncio.sleep(0.1)
            await loses(streams[0])
            await loses(streams[1])
            await loses(halves[2])
            tokens[0].sendall(request("/health").encode())  # the token is not sent any more
            await asyncio.sleep(0.1)
            await loses(tokens[0])
        finally:
            for each in all_of:
                each.close()


@pytest.mark.requirement("R-235")
async def test_where_tokens_take_their_whole_share_a_further_one_gets_one_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", MOST)
    async with standing_at_the_end(tmp_path) as world:
        port = int(world.api.url.rsplit(":", 1)[1].strip("/"))
        text = f"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {world.token}\r\n\r\n".encode()
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST - KEPT)]
        lasts = []
        for k in range(MOST - KEPT + 1):
            reader, writer = opened[k] if k < len(opened) else await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            lasts.append(b"connection: close" not in head.lower())
        assert lasts == [True] * (MOST - KEPT) + [False]
        for _, writer in opened:
            writer.close()
