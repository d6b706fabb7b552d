"""Places for the connections of the API: which connection is closed for a new one, and the shares of tokens.

What can go wrong: a flood keeps a person from halting. It may come from anybody, or from a holder of a valid token of a
low scope. A halt must get in under each. The token and the purpose of a connection are known only after a whole header.
So every new connection is accepted first, and shares apply to what is known afterwards:

- a token has at most a quarter of the places, tokens below the scope `trade` together three eighths, and those that
  include it the same. An idle connection of the token or group is closed for a newer one. Where all are at work, the
  new request is refused.
- requests without a token are served in at most an eighth of the places at a time. An eighth is left for new
  connections in any case, because the shares add up to seven eighths.
- a connection whose handler works is never closed for another one. One whose body is unfinished is not at work.
- a halt and `/health` are not refused for the share of a group.

Rejected: a share for every valid token alike. A leaked token of scope `read` then keeps everybody from halting.
"""

import time
from collections import Counter
from collections.abc import Collection
from enum import IntEnum
from typing import Final

from quantd.adapters.listener import Taken

CONNECTIONS: Final = 256
"""Maximum of open connections, and at most a quarter of the file descriptors."""

KEPT: Final = 8
"""One place in so many is left for new connections, and as many for requests without a token that are at work."""

TOKEN_EIGHTHS, GROUP_EIGHTHS = 2, 3
"""Share of one token, and of all tokens with or without the scope `trade`, in eighths of the places."""

FRESH_S: Final = 1.0
"""Seconds for the header of a new connection before it is the first to be closed; as long as `quantd halt` waits."""


class Standing(IntEnum):
    """The daemon's knowledge of a connection, in order: an idle connection of a lower standing is closed first."""

    NO_HEADER = 0
    """Its header or its body is unfinished."""
    STREAM = 1
    """An event stream without a token."""
    NO_TOKEN = 2
    FRESH = 3
    """Too new to have sent its header."""
    GIVEN = 4
    """Its header has a token that has not been looked up yet."""
    TOKEN = 5
    """Its token does not include the scope `trade`."""
    TRADE = 6


class ConnectionPlaces:
    """The shares of at most `most` places."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept = most // KEPT
        self.each = most * TOKEN_EIGHTHS // 8
        self.group = most * GROUP_EIGHTHS // 8

    def displaced(self, connections: Collection[Taken]) -> Taken | None:
        """The connection that is closed for a new one, or None where a place is free. The oldest one comes first."""
        if len(connections) < self.most - self.kept:
            return None
        tokenless_count = sum(not connection.holder for connection in connections)
        if len(connections) < self.most and tokenless_count < self.most - self.kept:
            return None
        fresh_s = time.monotonic() - FRESH_S
        oldest: dict[int, Taken] = {}
        for connection in connections:
            standing = connection.standing
            if connection.working:
                continue
            if standing == Standing.NO_HEADER:
                if connection.since_s <= fresh_s:
                    return connection
                standing = Standing.FRESH
            oldest.setdefault(standing, connection)
        return oldest[min(oldest)] if oldest else None

    def claimed(self, mine: Taken, connections: Collection[Taken], *, lane: bool) -> tuple[Taken | None, bool]:
        """The connection that is closed for the request on `mine`, or None; and whether the request is served.

        With `lane` it is one that the share of its group does not refuse.
        """
        if len(connections) <= self.each:
            return None, True
        same = [connection for connection in connections if connection.holder == mine.holder]
        if len(same) > self.each:
            other = _idle(same, mine)
            return other, _working(same) < self.each
        group = [connection for connection in connections if connection.holder and connection.trades == mine.trades]
        if len(group) <= self.group:
            return None, True
        counts = Counter(connection.holder for connection in group)
        most = max(counts.values())
        other = _idle([connection for connection in group if counts[connection.holder] == most], mine) or _idle(
            group, mine
        )
        return other, lane or _working(group) < self.group

    def crowded(self, connections: Collection[Taken]) -> bool:
        """Whether as many requests without a token are at work as may be."""
        return len(connections) > self.kept and _working([c for c in connections if not c.holder]) >= self.kept


def _working(connections: Collection[Taken]) -> int:
    return sum(connection.working for connection in connections)


def _idle(connections: Collection[Taken], mine: Taken) -> Taken | None:
    """The connection to close among these: one with an unfinished header or body, else the oldest that is idle."""
    idle = [connection for connection in connections if connection is not mine and not connection.working]
    return min(idle, key=lambda connection: connection.standing != Standing.NO_HEADER, default=None)
