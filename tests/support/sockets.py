"""What the other side of a connection has done."""

import select
import socket


def closed(connection: socket.socket) -> bool:
    """Whether the other side has closed; what it sent before is read away."""
    while select.select([connection], [], [], 0)[0]:
        try:
            if not connection.recv(64):
                return True
        except ConnectionResetError:
            return True
    return False


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
