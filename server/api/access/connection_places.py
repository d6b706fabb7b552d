"""Places for the connections of the API: which connection is closed for a new one, and the shares of tokens.

A place is room for one open connection. A connection is at work while the handler of its request runs, else idle.

What can go wrong: a flood of connections keeps a person from halting the daemon. The flood may come from anybody, or
from the holder of a valid token of a low scope. In both cases a halt must get through. The token and the purpose of a
connection are known only after its whole header. So every new connection is accepted first, and the shares apply once
its header has come:

- A token has at most a quarter of the places. All tokens without the scope `trade` have three eighths together, and so
  have all tokens with this scope. When a share is full, an idle connection of the token or group is closed for the
  newer one. If all of them are at work, the new request is refused.
- Requests without a token are served in at most an eighth of the places at a time. The shares add up to seven eighths,
  so an eighth remains for new connections in any case.
- A connection at work is never closed for another one. A connection whose request body is unfinished is not at work.
- A full share of a group refuses neither a halt nor `/health`.

Rejected: one common share for all valid tokens. A leaked token of scope `read` would then keep everybody from halting.
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
"""1/KEPT of the places remain free for new connections; 1/KEPT are for requests without a token that are at work."""

TOKEN_EIGHTHS, GROUP_EIGHTHS = 2, 3
"""Share of one token, and of a group (all tokens with the scope `trade`, or all without it), in eighths of the places.
"""

FRESH_S: Final = 1.0
"""Seconds that a new connection has for its header. Afterwards it is the first to be closed. `quantd halt` waits as
long."""


class Standing(IntEnum):
    """What the daemon knows of a connection's sender: an idle connection of a lower standing (rank) is closed first."""

    NO_HEADER = 0
    """The header or the body of its request is unfinished."""
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
    """The places for open connections of the API (`most` in all), and the shares of its tokens, as numbers of
    connections.

    `kept` is the number of places that stay free for new connections, and also the most requests without a token whose
    handlers run at a time. `each` is the share of one token. `group` is the share of all tokens with the scope `trade`,
    and also the share of all tokens without it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept = most // KEPT
        self.each = most * TOKEN_EIGHTHS // 8
        self.group = most * GROUP_EIGHTHS // 8

    def displaced(self, connections: Collection[Taken]) -> Taken | None:
        """The connection that is closed for a new one, or None where a place is free.

        `connections` is in the order of acceptance, the oldest first. Of the idle connections of the lowest standing
        (rank) the oldest is closed. `most` is the number of places, `kept` the number that stays free for new
        connections, and `holder` the token of a connection, empty without one.
        """
        if len(connections) < self.most - self.kept:
            return None
        tokenless_count = sum(not connection.holder for connection in connections)
        # the last `kept` places are filled only while other places are held with a token
        if len(connections) < self.most and tokenless_count < self.most - self.kept:
            return None
        late_before_s = time.monotonic() - FRESH_S
        oldest_by_standing: dict[int, Taken] = {}
        for connection in connections:
            standing = connection.standing
            if connection.working:
                continue
            if standing == Standing.NO_HEADER:
                if connection.since_s <= late_before_s:
                    return connection
                standing = Standing.FRESH  # its header may still come within FRESH_S
            oldest_by_standing.setdefault(standing, connection)
        return oldest_by_standing[min(oldest_by_standing)] if oldest_by_standing else None

    def claimed(self, mine: Taken, connections: Collection[Taken], *, lane: bool) -> tuple[Taken | None, bool]:
        """Return (connection to close for the request on `mine`, or None; whether this request is served).

        With `lane` the request is a halt or a health probe, which is served even where the share of its group (all
        tokens with, or all tokens without, the scope `trade`) is full. `each` is the share of one token and `group`
        the share of a group, as numbers of connections.
        """
        # no share can be full: that of one token is the smallest
        if len(connections) <= self.each:
            return None, True
        of_token = [connection for connection in connections if connection.holder == mine.holder]
        if len(of_token) > self.each:
            to_close = _idle_to_close(of_token, mine)
            return to_close, _count_working(of_token) < self.each
        group = [connection for connection in connections if connection.holder and connection.trades == mine.trades]
        if len(group) <= self.group:
            return None, True
        count_by_token = Counter(connection.holder for connection in group)
        largest_count = max(count_by_token.values())
        # first a connection of the token that has the most of the group
        to_close = _idle_to_close(
            [connection for connection in group if count_by_token[connection.holder] == largest_count], mine
        ) or _idle_to_close(group, mine)
        return to_close, lane or _count_working(group) < self.group

    def crowded(self, connections: Collection[Taken]) -> bool:
        """Whether the limit of running requests without a token is reached; a further one is refused."""
        return len(connections) > self.kept and _count_working([c for c in connections if not c.holder]) >= self.kept


def _count_working(connections: Collection[Taken]) -> int:
    """The number of these connections that are at work: the handler of their request runs."""
    return sum(connection.working for connection in connections)


def _idle_to_close(connections: Collection[Taken], mine: Taken) -> Taken | None:
    """The idle connection to close, other than `mine`, the connection of the request; None without one.

    A connection with an unfinished header or body comes first, else the oldest idle one.
    """
    idle = [connection for connection in connections if connection is not mine and not connection.working]
    return min(idle, key=lambda connection: connection.standing != Standing.NO_HEADER, default=None)
