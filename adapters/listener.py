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
"""Minimum for a start: a run on recorded bars uses 26 descriptors, a live run more.

The API and the embedded broker may use 3/8 of all descriptors.
"""

MOST_DESCRIPTORS: Final = 65_536
"""Maximum limit that is set: some machines permit a thousand million."""

ACCEPTS: Final = 8
"""Maximum number of connections that asyncio accepts in one pass of its loop, so that other tasks get their turn.

It is the `backlog` of create_server.
"""

WAITING: Final = 1_024
"""Maximum number of connections that wait in the kernel to be accepted; the kernel may allow fewer."""


def descriptors() -> int:
    """Raise the process's soft limit of file descriptors to the hard one, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < target:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Taken(socket.socket):
    """One accepted connection of a Listener, counted until it closes or is cut."""

    # the next four are set and read by the server that uses the listener
    standing: int = 0
    holder: str = ""
    """The token of the newest request; empty without a valid one."""
    trades: bool = False
    """Whether the token includes the scope `trade`."""
    working: bool = False
    """Whether a request is being carried out: the connection must not be cut then."""

    def __init__(self, listener: "Listener", connection: socket.socket) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._listener: Listener | None = listener
        self.since_s = time.monotonic()
        listener.connections[self.fileno()] = self

    def cut(self) -> None:
        """Shut the connection down. Its asyncio transport, even in a TLS handshake, then reads the end of the data
        and closes."""
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
    """A listening socket with at most `most` open connections, to pass to asyncio as `sock`."""

    def __init__(
        self, host: str, port: int, most: int, displaced: Callable[[Collection[Taken]], Taken | None] | None = None
    ) -> None:
        """Bind to the first address of `host`, IPv4 before IPv6. Raises OSError for an unknown host, or a port in use.

        At each new connection, `displaced` gets the open connections, oldest first, and may return one of them to be
        shut down. A new connection above `most` is closed.
        """
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
        super().__init__(family, kind, protocol)
        self.most = most
        self.connections: dict[int, Taken] = {}
        """The open connections by descriptor, the oldest first."""
        self._displaced = displaced
        # a descriptor in reserve, which `_close_next` uses when no other is free
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
        return len(self.connections)

    def listen(self, backlog: int = WAITING, /) -> None:
        """Begin to listen. asyncio passes ACCEPTS as the backlog; the kernel is asked to queue WAITING connections
        instead."""
        super().listen(max(backlog, WAITING))

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection. Raises BlockingIOError if none waits, or if the connection had to be closed."""
        try:
            connection, address = super().accept()
        except OSError as why:
            # EMFILE, ENFILE: this process or the machine has no descriptor left
            if why.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
            self._close_next()
            raise BlockingIOError(errno.EAGAIN, "closed: no file descriptor is left") from None
        if self._displaced is not None and (displaced := self._displaced(self.connections.values())) is not None:
            displaced.cut()
        if self.taken >= self.most:
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "closed: too many connections")
        return Taken(self, connection), address

    def close(self) -> None:
        """Close the socket and the spare file descriptor."""
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _close_next(self) -> None:
        """Accept and close one waiting connection, with the spare file descriptor.

        The process has no other free descriptor. If the connection stayed, asyncio would retry the accept without end.
        """
        os.close(self._spare)
        self._spare = -1
        with suppress(OSError):
            super().accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
