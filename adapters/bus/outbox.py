"""Message queues for the broker: alerts in the store, everything else in bounded memory.

Alerts survive the process. Orders, fills and decisions are in the journal already; on the bus they are sent at least
once while this process lives. They are queued as journal entries, from which messages are composed when they are sent.
The oldest are dropped when too many are queued.

What can go wrong. The store fails while the broker is reachable, or an entry cannot be composed. Neither fault may hold
back the other queue (lane): each step of `pending` runs although another failed, and the error is raised only when
there is nothing to send. The event loop must not wait: an entry is composed without the lock, and is put back as the
oldest if that fails.

What the order of the steps guarantees. Delivered alerts are deleted before further alerts are read. An alert that
cannot be deleted yet is skipped, so that this process does not send it again. Only an id that `pending` read from the
store is deleted from the store: a message that was dropped from memory while it was sent is in neither queue.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple, Protocol

from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.publisher import Outbox, Outgoing

CAPACITY: Final = 10_000
"""Maximum number of messages and effects of entries in memory."""

CAPACITY_BYTES: Final = 64 << 20
"""Maximum size of the entries and messages in memory: 1,000 of the largest parts."""


class QueuedEntry(NamedTuple):
    """A committed journal entry with effects to publish: its number, its bytes in the journal, and the number of
    these effects."""

    seq: int
    data: bytes
    effects: int


Compose = Callable[[int, bytes], Sequence[Message]]
"""Returns the messages of an entry, from its number and its bytes in the journal."""


class StoredMessage(Protocol):
    """An alert in the store: its JSON body, and the number of alerts merged into it."""

    @property
    def body(self) -> str: ...

    @property
    def merged(self) -> int:
        """Number of further alerts that were merged into this alert."""
        ...


class MessageStore(Protocol):
    """The store's outbox. A key is (run, number of the journal entry, index of the effect in it)."""

    def pending(self, limit: int) -> Sequence[StoredMessage]:
        """Return the oldest stored messages, at most `limit`."""
        ...

    def acknowledge(self, keys: Sequence[tuple[str, int, int]]) -> object: ...

    def waiting(self) -> int: ...

    def dropped(self) -> int:
        """Return the number of messages that a full store dropped in this process."""
        ...


class StoredAlerts:
    """Adapts the store's alerts to the publisher's Outbox protocol."""

    def __init__(self, store: MessageStore, composer: Composer) -> None:
        self._store = store
        self._composer = composer

    def pending(self, limit: int) -> Sequence[Outgoing]:
        """Return at most `limit` stored alerts as messages, oldest first."""
        return [self._composer.stored(m.body, m.merged) for m in self._store.pending(limit)]

    def acknowledge(self, ids: Sequence[str]) -> None:
        keys = [(run, int(sequence), int(k)) for run, sequence, k in (id.rsplit("-", 2) for id in ids)]
        self._store.acknowledge(keys)

    def depth(self) -> int:
        return self._store.waiting()

    def dropped(self) -> int:
        return self._store.dropped()


class Lanes:
    """An outbox of two queues (lanes): alerts in the store, which are sent first, and a queue in memory. The event loop
    calls `put`, `add` and `holds`, the publisher's thread the other methods.

    The queue in memory has messages, and entries of the journal, which `compose` converts when they are sent. Messages
    are sent before entries, and also while the store fails.
    """

    def __init__(
        self, durable: Outbox, compose: Compose, capacity: int = CAPACITY, capacity_bytes: int = CAPACITY_BYTES
    ) -> None:
        """Begin with an empty queue in memory of at most `capacity` messages and `capacity_bytes`.

        `durable` has the alerts in the store. `compose` returns the messages of a queued journal entry.
        """
        self._dropped = 0
        self._bytes = 0  # of the queued entries
        self._effects = 0
        """Number of effects of the queued entries."""
        self._capacity_bytes = capacity_bytes
        self._durable = durable
        self._compose = compose
        self._capacity = capacity
        self._lock = Lock()
        self._entries: deque[QueuedEntry] = deque()
        self._messages: dict[str, Outgoing] = {}
        self._handed_out: set[str] = set()
        """Ids of the stored alerts that the last `pending` returned."""
        self._delivered: set[str] = set()
        """Ids of stored alerts that were delivered, but not deleted from the store yet."""

    def put(self, message: Message) -> None:
        """Store a message in memory. When full, the oldest entries are dropped, then the oldest messages."""
        with self._lock:
            self._insert(message)
            self._shrink()

    def add(self, entries: Sequence[QueuedEntry]) -> None:
        """Queue committed entries. When full, the oldest entries are dropped, and their effects counted as lost."""
        with self._lock:
            for entry in entries:
                self._entries.append(entry)
                self._bytes += len(entry.data)
                self._effects += entry.effects
            self._shrink()

    def _insert(self, message: Message) -> None:
        """Store a message in memory; the caller holds the lock."""
        self._remove(message.id)
        self._messages[message.id] = message
        self._bytes += len(message.payload)

    def _shrink(self) -> None:
        """Drop the oldest journal entries, then the oldest messages, until the queue fits its capacity; the caller
        holds the lock."""
        while self._effects + len(self._messages) > self._capacity or self._bytes > self._capacity_bytes:
            if self._entries:
                self._dropped += self._pop_entry().effects
            else:
                self._remove(next(iter(self._messages)))
                self._dropped += 1

    def _pop_entry(self) -> QueuedEntry:
        """Remove and return the oldest queued journal entry; the caller holds the lock."""
        entry = self._entries.popleft()
        self._bytes -= len(entry.data)
        self._effects -= entry.effects
        return entry

    def _remove(self, id: str) -> bool:
        """Remove a message from memory. Returns whether it was there. The caller holds the lock."""
        message = self._messages.pop(id, None)
        self._bytes -= 0 if message is None else len(message[2])
        return message is not None

    def _compose_oldest(self, limit: int) -> None:
        """Compose the oldest entries until `limit` messages are in memory. An entry that fails stays the oldest.

        An entry is composed without the lock, so that the event loop does not wait for it.
        """
        while True:
            with self._lock:
                if len(self._messages) >= limit or not self._entries:
                    return
                entry = self._pop_entry()
            try:
                messages = self._compose(entry.seq, entry.data)
            except Exception:
                with self._lock:
                    self._entries.appendleft(entry)
                    self._bytes += len(entry.data)
                    self._effects += entry.effects
                raise
            with self._lock:
                for message in messages:
                    self._insert(message)

    def holds(self, id: str) -> bool:
        """Whether the message with this id is in memory and has not reached the broker."""
        with self._lock:
            return id in self._messages

    def pending(self, limit: int) -> Sequence[Outgoing]:
        """Return at most `limit` messages: first those in the store, then those that are composed from journal entries
        in memory.

        An error of the store or of `compose` is raised only if there is no message to return.
        """
        stored_messages: list[Outgoing] = []
        error: Exception | None = None
        stages = (
            self._delete_delivered,
            lambda: stored_messages.extend(self._undelivered(limit)),
            lambda: self._compose_oldest(limit - len(stored_messages)),
        )
        for work in stages:
            try:
                work()
            except Exception as why:
                error = why
        self._handed_out = {id for id, *_ in stored_messages}
        with self._lock:
            numbered_messages = zip(range(limit - len(stored_messages)), self._messages.values(), strict=False)
            # at most as many as the `range` has numbers
            messages = stored_messages + [message for _, message in numbered_messages]
        if error is not None and not messages:
            raise error
        return messages

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Remove the messages with these ids from the queue in memory and from the store.

        A message that was dropped from memory while it was sent is in neither of them; its id is ignored.
        """
        with self._lock:
            # a message dropped while it was being sent is in neither lane
            self._delivered |= {id for id in ids if not self._remove(id) and id in self._handed_out}
        self._delete_delivered()

    def _undelivered(self, limit: int) -> Sequence[Outgoing]:
        """Return the stored messages that the broker has not acknowledged."""
        messages = self._durable.pending(limit + len(self._delivered))
        return [message for message in messages if message[0] not in self._delivered][:limit]

    def _delete_delivered(self) -> None:
        """Delete delivered messages from the store; those that remain there are not sent again by this process."""
        if self._delivered:
            self._durable.acknowledge(sorted(self._delivered))
            self._delivered.clear()

    def depth(self) -> int:
        """Return the number of queued messages; a journal entry counts as many as it has effects to publish."""
        return self._durable.depth() - len(self._delivered) + len(self._messages) + self._effects

    def dropped(self) -> int:
        """Return how many messages the store and the queue in memory dropped in this process."""
        return self._durable.dropped() + self._dropped
