"""Messages that a broker may never accept, and bounds learned from refusals. Pure: the clock is an argument.

A broker answers a packet above its limit, and some brokers a topic without a right to it, by closing the connection
(MQTT 3.1.1 has no other answer; AWS IoT Core does both). The message is then sent again at the next connection, and no
later message arrives. A lost connection alone proves nothing: networks fail, and several messages (a window) were in
flight. Therefore:

- every message of a lost window is a suspect. A suspect is sent alone, and so is a message longer than all that the
  broker has accepted: the acknowledgements of other messages would be lost with the connection, and these would arrive
  twice.
- a suspect that was in flight alone when a connection was lost is sent after all other messages.
- after TRIES such losses, each on a connection where the broker accepted another message, the suspect is set aside. If
  a broker accepts nothing, nothing is set aside: messages wait as for a broker that is offline.

Rejected: a bound in the configuration, which nobody knows before the first long message; and asking the broker, because
only MQTT 5 has its Maximum Packet Size.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

TRIES: Final = 3
"""Number of lost connections after which a message is set aside."""

REFUSED_S: Final = 3_600.0
"""Seconds for which messages like a refused one are not sent. A broker whose limits were raised accepts them
afterwards."""

SUSPECTS: Final = 256
"""Maximum number of suspects. The oldest suspect is forgotten first, and is then sent in a window again."""

EVERY_TOPIC: Final = ""
"""Key of the bound for messages of any topic."""


class Sent(Struct, frozen=True):
    """A message for the broker.

    `key` is the message's id. For a retained state, whose payload changes, the key is derived from the topic.
    """

    key: str
    topic: str
    size: int


class Suspects:
    """The suspects of one publisher (messages that the broker may never accept), by key, and the bounds that were
    learned from refused messages."""

    def __init__(self) -> None:
        self.largest = 0
        """Size of the largest payload that the broker has acknowledged."""
        self._tries: dict[str, int] = {}
        """Key of a suspect -> number of connections that were lost while it was in flight alone."""
        self._bounds: dict[str, tuple[int, float]] = {}
        """Topic, or EVERY_TOPIC -> the size from which payloads are refused, and until when."""

    def proven(self, key: str, size: int) -> bool:
        """Whether a message can be sent with others: it is no suspect, and at most as long as one that the broker has
        accepted."""
        return key not in self._tries and size <= self.largest

    def __bool__(self) -> bool:
        return bool(self._tries)

    def deferred(self, key: str) -> bool:
        """Whether a message is sent only after all others, because it was in flight alone when a connection was
        lost."""
        return self._tries.get(key, 0) > 0

    def deferrals(self) -> int:
        """The number of messages that are sent only after all others."""
        return sum(tries > 0 for tries in self._tries.values())

    def taken(self, message: Sent) -> None:
        """Record that the broker acknowledged a message: it is no suspect, and learned bounds that the message
        contradicts are removed."""
        self._tries.pop(message.key, None)
        self.largest = max(self.largest, message.size)
        for topic in (EVERY_TOPIC, message.topic):
            if topic in self._bounds and self._bounds[topic][0] <= message.size:
                del self._bounds[topic]

    def lost(self, flight: Sequence[Sent], *, acknowledged: bool, now_s: float) -> Sent | None:
        """Record a lost connection. Returns the message that the broker never accepts, if the loss shows one and gives
        a new bound; else None.

        `flight` are the messages without an acknowledgement. `acknowledged` tells whether the broker accepted another
        message on this connection.

        A suspect is a message that the broker may never accept; `_tries` counts the connections that were lost while it
        was in flight alone. A bound is a topic, and the size from which its payloads are refused.
        """
        for message in flight:
            self._tries.setdefault(message.key, 0)
        while len(self._tries) > SUSPECTS:
            del self._tries[next(iter(self._tries))]
        # of several messages in flight, none is known to be at fault
        if len(flight) != 1:
            return None
        (message,) = flight
        tries = self._tries.pop(message.key, 0) + 1
        # a broker that accepts nothing else may be offline
        if tries >= TRIES and acknowledged:
            return message if self.refused(message, now_s) else None
        self._tries[message.key] = tries
        return None

    def refused(self, message: Sent, now_s: float) -> bool:
        """Record that the broker refuses a message. The cause is the size if the payload is longer than all that the
        broker has accepted, else the topic.

        Returns whether the learned bound is new. A changed bound with the same cause is not new.
        """
        self._tries.pop(message.key, None)
        topic = EVERY_TOPIC if message.size > self.largest else message.topic
        bound = self._bounds.get(topic)
        self._bounds[topic] = message.size, now_s + REFUSED_S
        return bound is None or bound[1] <= now_s

    def refuses(self, topic: str, size: int, now_s: float) -> bool:
        """Whether a message resembles (in topic or size) one that the broker refused within the last REFUSED_S
        seconds."""
        self._bounds = {key: bound for key, bound in self._bounds.items() if bound[1] > now_s}
        return any(size >= bound for key, (bound, _) in self._bounds.items() if key in (EVERY_TOPIC, topic))
