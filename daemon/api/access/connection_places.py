"""Places for the connections of the API: which connection is closed for a new one when all places are taken.

A valid token is known only after a whole header, so every new connection is accepted first.
"""

import time
from collections.abc import Collection
from enum import IntEnum
from typing import Final

from quantd.adapters.listener import Taken

CONNECTIONS: Final = 256
"""Maximum of open connections, and at most a quarter of the file descriptors."""

KEPT: Final = 8
"""One place in so many is kept for connections with a valid token, and as many for new ones: 32 of 256 each."""

FRESH_S: Final = 1.0
"""Seconds for the header of a new connection before it is the first to be closed; as long as `quantd halt` waits."""


class Standing(IntEnum):
    """What the daemon knows of a connection. A lower standing is closed first, one with a valid token never."""

    NO_HEADER = 0
    STREAM = 1
    """An event stream without a token."""
    NO_TOKEN = 2
    FRESH = 3
    """Too new to have sent its header."""
    GIVEN = 4
    """Its header has a token that has not been looked up yet."""
    TOKEN = 5


class ConnectionPlaces:
    """The shares of at most `most` places."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept = most // KEPT

    def displaced(self, connections: Collection[Taken]) -> Taken | None:
        """The connection that is closed for a new one, or None where a place is free. The oldest one comes first."""
        if len(connections) < self.most - self._kept:
            return None
        tokens = _tokens(connections)
        if len(connections) - tokens < min(self.most - self._kept, max(self._kept, self.most - tokens)):
            return None
        fresh_s = time.monotonic() - FRESH_S
        found: dict[int, Taken] = {}
        for each in connections:
            standing = each.standing
            if standing == Standing.NO_HEADER:
                if each.since_s <= fresh_s:
                    return each
                standing = Standing.FRESH
            found.setdefault(standing, each)
        found.pop(Standing.TOKEN, None)
        return found[min(found)]

    def crowded(self, connections: Collection[Taken]) -> bool:
        """Whether connections with a valid token would take the places of new ones; each then gets one response."""
        most = self.most - self._kept
        return len(connections) > most and _tokens(connections) > most


def _tokens(connections: Collection[Taken]) -> int:
    return sum(each.standing == Standing.TOKEN for each in connections)
