"""The bound on open connections, over real sockets."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantd.adapters.listener import Listener
from tests.support.mqtt import certificate, until
from tests.support.sockets import closed


class Echo(asyncio.Protocol):
    """Greets, then waits for the client to leave."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")


@contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(socket.create_connection(("127.0.0.1", port), 5.0))
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def serve(listener: Listener, tls: ssl.SSLContext | None = None) -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(
        Echo, sock=listener, ssl=tls, ssl_handshake_timeout=30.0 if tls else None
    )
    return server, listener.getsockname()[1]


async def test_one_connection_too_many_is_closed_and_a_place_is_given_back() -> None:
    listener = Listener("127.0.0.1", 0, 20)
    server, port = await serve(listener)
    with crowd(port, 50) as connections:
        await until(lambda: sum(map(closed, connections)) == 30, "30 of 50 closed")
        assert listener.taken == 20
    await until(lambda: listener.taken == 0, "all places given back")
    with crowd(port, 20) as connections:
        await until(lambda: listener.taken == 20, "20 again")
        assert not any(map(closed, connections))
    server.close()


async def test_a_handshake_that_never_ends_counts(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(tmp_path))
    listener = Listener("127.0.0.1", 0, 5)
    server, port = await serve(listener, tls)
    with crowd(port, 12) as silent:
        await until(lambda: sum(map(closed, silent)) == 7, "7 of 12 closed")
        assert listener.taken == 5
    await until(lambda: listener.taken == 0, "all places given back")
    server.close()


async def test_without_a_descriptor_left_connections_wait_until_there_is_one() -> None:
    listener = Listener("127.0.0.1", 0, 1_000)
    server, port = await serve(listener)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with crowd(port, 1) as first:
        await until(lambda: listener.taken == 1, "the first one in")
        # clients of this process need descriptors too: they exist before the limit falls, and connect after it
        late = [socket.socket() for _ in range(10)]
        open_now = max(map(int, os.listdir("/proc/self/fd")))
        filling: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 2, before[1]))
        try:
            while True:
                try:
                    filling.append(os.dup(0))
                except OSError:
                    break
            for client in late:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            await asyncio.sleep(0.5)
            assert listener.taken <= 3  # as many as there were descriptors
        finally:
            for descriptor in filling:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        await until(lambda: listener.taken == 1 + len(late), "all in")
        assert not any(map(closed, (*first, *late)))
        for client in late:
            client.close()
    server.close()


def test_a_port_in_use_and_a_name_that_is_none_are_plain_errors() -> None:
    with Listener("127.0.0.1", 0, 1) as listener:
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            Listener("127.0.0.1", listener.getsockname()[1], 1)
    with pytest.raises(socket.gaierror):
        Listener("no-such-host.invalid", 0, 1)
