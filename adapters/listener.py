"""A listening socket with a maximum number of open connections, which protects the process's file descriptors.

Connections count from accept to close, unfinished TLS handshakes included.
"""

import errno
import ipaddress
import os
import resource
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final

FEWEST_DESCRIPTORS: Final = 128
"""A run on recorded bars uses 26, a live one more. The API and the embedded broker may use 3/8 of all."""

MOST_DESCRIPTORS: Final = 65_536
"""Upper bound, because some machines allow a thousand million."""

ACCEPTS: Final = 8
"""Connections that asyncio accepts in one pass of its loop, as `backlog` of create_server; others get their turn."""

WAITING: Final = 1_024
"""Connections that wait in the kernel to be accepted; the kernel may allow fewer."""


def descriptors() -> int:
    """Raise the process's soft limit of file descriptors to the hard one, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Taken(socket.socket):
    """One connection of a Listener, counted until it closes or is cut."""

    # set and read by the user of the listener
    standing: int = 0
    holder: str = ""
    """The token of the newest request; empty without a valid one."""
    trades: bool = False
    """Whether the token includes the scope `trade`."""
    working: bool = False
    """Whether a request is being carried out, which is not to be cut."""

    def __init__(self, listener: "Listener", connection: socket.socket) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._listener: Listener | None = listener
        self.since_s = time.monotonic()
        listener.connections[self.fileno()] = self

    def cut(self) -> None:
        """End the connection. Its transport, also one within a TLS handshake, reads the end and closes."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self._leave()

    def close(self) -> None:
        """Close the connection, and remove it from the open ones of the listener."""
        self._leave()
        super().close()

    def _leave(self) -> None:
        if self._listener is not None:
            del self._listener.connections[self.fileno()]
            self._listener = None


class Listener(socket.socket):
    """A socket for asyncio's `sock` with at most `most` open connections."""

    def __init__(
        self, host: str, port: int, most: int, displaced: Callable[[Collection[Taken]], Taken | None] | None = None
    ) -> None:
        """Bind to the first address of `host`, IPv4 before IPv6. Raises OSError for an unknown host, or a port in use.

        At each new connection, `displaced` gets the open ones, the oldest first, and returns the one to be cut.
        A new connection above `most` is closed.
        """
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
        super().__init__(family, kind, protocol)
        self.most = most
        self.connections: dict[int, Taken] = {}
        """The open connections by descriptor, the oldest first."""
        self._displaced = displaced
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.setblocking(False)
            self.bind(address)
        except OSError:
            self.close()
            raise

    @property
    def taken(self) -> int:
        """The number of open connections."""
        return len(self.connections)

    def listen(self, backlog: int = WAITING, /) -> None:
        """Begin to listen. asyncio passes the connections of one pass, of which more may wait."""
        super().listen(max(backlog, WAITING))

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError without one, or for a closed one."""
        try:
            connection, address = super().accept()
        except OSError as why:
            if why.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
            self._close_next()
            raise BlockingIOError(errno.EAGAIN, "closed: no file descriptor is left") from None
        if self._displaced is not None and (other := self._displaced(self.connections.values())) is not None:
            other.cut()
        if self.taken >= self.most:
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "closed: too many connections")
        return Taken(self, connection), address

    def close(self) -> None:
        """Close the socket, and the spare file descriptor that `accept` gives up when none is left."""
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _close_next(self) -> None:
        """Close one waiting connection with the spare descriptor; asyncio would retry it at once."""
        os.close(self._spare)
        self._spare = -1
        with suppress(OSError):
            super().accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
