"""Where messages wait for the broker: alerts in the store, everything else in bounded memory.

Alerts survive the process. Orders, fills and decisions are in the journal already; on the bus they are sent
at least once while this process lives, and the oldest give way when too many wait.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Final, Protocol

from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.publisher import Outbox, Outgoing

CAPACITY: Final = 10_000


class StoredMessage(Protocol):
    """An alert in the store: its JSON body, and how many others it stands for."""

    @property
    def body(self) -> str: ...

    @property
    def merged(self) -> int: ...


class MessageStore(Protocol):
    """The store's outbox. A key is (run, journal sequence, place of the effect)."""

    def pending(self, limit: int) -> Sequence[StoredMessage]: ...

    def acknowledge(self, keys: Sequence[tuple[str, int, int]]) -> object: ...

    def waiting(self) -> int: ...

    def dropped(self) -> int: ...


class StoredAlerts:
    """The store's alerts as the publisher wants them."""

    def __init__(self, store: MessageStore, composer: Composer) -> None:
        self._store = store
        self._composer = composer

    def pending(self, limit: int) -> Sequence[Outgoing]:
        found = [self._composer.stored(m.body, m.merged) for m in self._store.pending(limit)]
        return [(m.id, m.topic, m.payload, m.retain) for m in found]

    def acknowledge(self, ids: Sequence[str]) -> None:
        keys = [(run, int(sequence), int(k)) for run, sequence, k in (id.rsplit("-", 2) for id in ids)]
        self._store.acknowledge(keys)

    def depth(self) -> int:
        return self._store.waiting()

    def dropped(self) -> int:
        return self._store.dropped()


class Lanes:
    """An outbox of two lanes, the durable one first. `put` is called by the loop, the rest by the publisher's thread.
    What is in memory leaves also while the store takes no writes or does not answer."""

    def __init__(self, durable: Outbox, capacity: int = CAPACITY) -> None:
        self._dropped = 0
        self._durable = durable
        self._capacity = capacity
        self._lock = Lock()
        self._messages: dict[str, Outgoing] = {}
        self._handed: set[str] = set()
        self._arrived: set[str] = set()
        """Ids of the durable lane that the broker has and the store could not forget yet."""

    def put(self, message: Message) -> None:
        """Keeps a message in memory; the oldest gives way, and is counted."""
        with self._lock:
            self._messages[message.id] = (message.id, message.topic, message.payload, message.retain)
            if len(self._messages) > self._capacity:
                del self._messages[next(iter(self._messages))]
                self._dropped += 1

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
            # one that gave way while it was on its way is in neither lane
            self._arrived |= {id for id in ids if self._messages.pop(id, None) is None and id in self._handed}
        self._forget()

    def _waiting(self, limit: int) -> Sequence[Outgoing]:
        """What the store has and the broker has not."""
        found = self._durable.pending(limit + len(self._arrived))
        return [message for message in found if message[0] not in self._arrived][:limit]

    def _forget(self) -> None:
        """Let the store forget what has arrived. What it cannot forget is not sent again by this process."""
        if self._arrived:
            self._durable.acknowledge(sorted(self._arrived))
            self._arrived.clear()

    def depth(self) -> int:
        return self._durable.depth() - len(self._arrived) + len(self._messages)

    def dropped(self) -> int:
        return self._durable.dropped() + self._dropped
