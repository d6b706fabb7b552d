"""A listening socket with a maximum number of open connections, which protects the process's file descriptors.

Connections count from accept to close, unfinished TLS handshakes included.
"""

import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
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

    def __init__(self, listener: "Listener", connection: socket.socket) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._listener: Listener | None = listener
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


def at_path(path: Path, use: Callable[[str], object]) -> None:
    """Call `use` with a short name of the path of a Unix socket: the kernel takes at most 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def unix_listener(path: Path) -> socket.socket:
    """A socket at `path`, in place of an earlier one, for this user alone (mode 600). Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    try:
        at_path(path, listener.bind)
        path.chmod(0o600)  # nobody can connect before `listen`
    except OSError:
        listener.close()
        raise
    return listener


class Listener(socket.socket):
    """A listening socket with at most `most` open connections, to pass to asyncio as `sock`."""

    def __init__(self, host: str, port: int, most: int, *, cuts_oldest: bool = False) -> None:
        """Bind to the first address of `host`, IPv4 before IPv6. Raises OSError for an unknown host, or a port in use.

        A new connection above `most` is closed; with `cuts_oldest` the oldest open one is shut down for it instead.
        """
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
        super().__init__(family, kind, protocol)
        self.most = most
        self.connections: dict[int, Taken] = {}
        """The open connections by descriptor, the oldest first."""
        self._cuts_oldest = cuts_oldest
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
        connection, address = super().accept()
        if self._cuts_oldest and self.taken >= self.most:
            next(iter(self.connections.values())).cut()
        if self.taken >= self.most:
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "closed: too many connections")
        return Taken(self, connection), address
