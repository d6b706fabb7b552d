"""A listening socket with a bound on its open connections, so that no crowd uses up the process's file descriptors.

Connections count from accept to close. A TLS handshake that never ends counts too, which a protocol could not see.
"""

import errno
import ipaddress
import os
import resource
import socket
from contextlib import suppress
from typing import Any, Final

FEWEST_DESCRIPTORS: Final = 128
"""A run on recorded bars holds 26; a live feed, a venue, PostgreSQL and workers some more. The edges get three eighths."""

MOST_DESCRIPTORS: Final = 65_536
"""More than any bound needs; some machines allow a thousand million."""


def descriptors() -> int:
    """Raises the process's soft limit of file descriptors to the hard one, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def is_loopback(host: str) -> bool:
    """Whether nothing outside this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listener(socket.socket):
    """A socket for asyncio's `sock`: closes each connection above `most` as it comes."""

    def __init__(self, host: str, port: int, most: int) -> None:
        """Bound to the first address of `host`, IPv4 before IPv6. Raises OSError."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        super().__init__(family, kind, protocol)
        self.most = most
        self.taken = 0
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.setblocking(False)
            self.bind(address)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError where there is none, or where one more was turned away."""
        try:
            found, address = super().accept()
        except OSError as why:
            if why.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
            self._turn_away()
            raise BlockingIOError(errno.EAGAIN, "turned away: no file descriptor is left") from None
        if self.taken >= self.most:
            found.close()
            raise BlockingIOError(errno.EAGAIN, "turned away: too many connections")
        return _Taken(self, found), address

    def close(self) -> None:
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _turn_away(self) -> None:
        """Close one waiting connection by means of the spare descriptor: left to wait, it would be tried in a circle."""
        os.close(self._spare)
        self._spare = -1
        with suppress(OSError):
            super().accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class _Taken(socket.socket):
    """One connection of a Listener; gives its place back when it closes."""

    def __init__(self, listener: Listener, found: socket.socket) -> None:
        super().__init__(found.family, found.type, found.proto, fileno=found.detach())
        self._listener: Listener | None = listener
        listener.taken += 1

    def close(self) -> None:
        if self._listener is not None:
            self._listener.taken -= 1
            self._listener = None
        super().close()
