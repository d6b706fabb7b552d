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
