"""Message queues for the broker: alerts in the store, everything else in bounded memory.

Alerts survive the process. Orders, fills and decisions are in the journal already; on the bus they are sent at least
once while this process lives. The oldest are dropped when too many are queued.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Final, Protocol

from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.publisher import Outbox, Outgoing

CAPACITY: Final = 10_000

CAPACITY_BYTES: Final = 64 << 20
"""Maximum size of the messages in memory: 1,000 of the largest parts."""


class StoredMessage(Protocol):
    """An alert in the store: its JSON body, and the number of alerts merged into it."""

    @property
    def body(self) -> str: ...

    @property
    def merged(self) -> int: ...


class MessageStore(Protocol):
    """The store's outbox. A key is (run, journal sequence, position of the effect)."""

    def pending(self, limit: int) -> Sequence[StoredMessage]: ...

    def acknowledge(self, keys: Sequence[tuple[str, int, int]]) -> object: ...

    def waiting(self) -> int: ...

    def dropped(self) -> int: ...


class StoredAlerts:
    """Adapts the store's alerts to the publisher's Outbox protocol."""

    def __init__(self, store: MessageStore, composer: Composer) -> None:
        self._store = store
        self._composer = composer

    def pending(self, limit: int) -> Sequence[Outgoing]:
        return [self._composer.stored(m.body, m.merged) for m in self._store.pending(limit)]

    def acknowledge(self, ids: Sequence[str]) -> None:
        keys = [(run, int(sequence), int(k)) for run, sequence, k in (id.rsplit("-", 2) for id in ids)]
        self._store.acknowledge(keys)

    def depth(self) -> int:
        return self._store.waiting()

    def dropped(self) -> int:
        return self._store.dropped()


class Lanes:
    """An outbox of two lanes, the durable one first. The loop calls `put` and `holds`, the publisher's thread
    the rest.

    Messages in memory are sent even while the store fails.
    """

    def __init__(self, durable: Outbox, capacity: int = CAPACITY, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._dropped = 0
        self._bytes = 0
        self._capacity_bytes = capacity_bytes
        self._durable = durable
        self._capacity = capacity
        self._lock = Lock()
        self._messages: dict[str, Outgoing] = {}
        self._handed: set[str] = set()
        self._arrived: set[str] = set()
        """Ids of the durable lane that were delivered, but not deleted from the store yet."""

    def put(self, message: Message) -> None:
        """Store a message in memory. When full, the oldest ones are dropped and counted."""
        with self._lock:
            self._remove(message.id)
            self._messages[message.id] = message
            self._bytes += len(message.payload)
            while len(self._messages) > self._capacity or self._bytes > self._capacity_bytes:
                self._remove(next(iter(self._messages)))
                self._dropped += 1

    def _remove(self, id: str) -> bool:
        """Remove a message from memory, under the lock; False where it is not there."""
        message = self._messages.pop(id, None)
        self._bytes -= 0 if message is None else len(message[2])
        return message is not None

    def holds(self, id: str) -> bool:
        """Whether a message in memory has not reached the broker."""
        with self._lock:
            return id in self._messages

    def pending(self, limit: int) -> Sequence[Outgoing]:
        first: list[Outgoing] = []
        failed: Exception | None = None
        for work in (self._forget, lambda: first.extend(self._waiting(limit))):
            try:
                work()
            except Exception as why:
                failed = why
        self._handed = {id for id, *_ in first}
        with self._lock:
            rest = zip(range(limit - len(first)), self._messages.values(), strict=False)
            found = first + [message for _, message in rest]
        if failed is not None and not found:
            raise failed
        return found

    def acknowledge(self, ids: Sequence[str]) -> None:
        with self._lock:
            # a message dropped while it was being sent is in neither lane
            self._arrived |= {id for id in ids if not self._remove(id) and id in self._handed}
        self._forget()

    def _waiting(self, limit: int) -> Sequence[Outgoing]:
        """Return the stored messages that the broker has not acknowledged."""
        found = self._durable.pending(limit + len(self._arrived))
        return [message for message in found if message[0] not in self._arrived][:limit]

    def _forget(self) -> None:
        """Delete delivered messages from the store; those that remain there are not sent again by this process."""
        if self._arrived:
            self._durable.acknowledge(sorted(self._arrived))
            self._arrived.clear()

    def depth(self) -> int:
        return self._durable.depth() - len(self._arrived) + len(self._messages)

    def dropped(self) -> int:
        return self._durable.dropped() + self._dropped
