"""The rule that limits the outbox, the queue of alerts: which messages stay when it is full. A pure function.

The oldest INFO message is dropped first, then the oldest WARNING; a CRITICAL one is never dropped. When only CRITICAL
messages remain, a new one replaces the message of the same kind and counts it as merged, and lower levels are dropped.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

Key = tuple[str, int, int]
"""(run, seq, k) of a message."""

CAPACITY: Final = 10_000
LEVELS: Final[tuple[str, ...]] = ("INFO", "WARNING", "CRITICAL")


class Message(Struct):
    """One message; `merged` is the number of further messages that it represents."""

    key: Key
    ts: int
    level: str
    kind: str
    body: str
    merged: int = 0


class Admission(Struct):
    """The result of adding the messages `arrived`: the keys to delete, the messages to insert, and the number of
    lost messages."""

    leave: list[Key]
    enter: list[Message]
    dropped: int


def admit(waiting: Iterable[Message], arrived: Sequence[Message], capacity: int = CAPACITY) -> Admission:
    """Decide which `waiting` messages (oldest first) are dropped, and which `arrived` messages are added.

    The rule: the oldest INFO is dropped first, then the oldest WARNING, never a CRITICAL. One CRITICAL message of each
    kind may exceed `capacity`.
    """
    queues: dict[str, deque[Message]] = {level: deque() for level in LEVELS}
    stored = set()
    for message in waiting:
        queues[message.level].append(message)
        stored.add(message.key)
    size = len(stored)
    # the newest CRITICAL message of each kind
    newest = {message.kind: message for message in queues["CRITICAL"]}
    leave: list[Key] = []  # stored messages to delete
    entered: dict[Key, Message] = {}  # messages to add
    dropped = 0

    def remove(message: Message) -> None:
        if entered.pop(message.key, None) is None:
            leave.append(message.key)

    for message in arrived:
        if size >= capacity:
            # the queue of the lowest level that has a message; `queues` ascends by level
            lowest_queue = next((queue for level, queue in queues.items() if queue and level != "CRITICAL"), None)
            same_kind = newest.get(message.kind)
            if lowest_queue is not None and LEVELS.index(lowest_queue[0].level) <= LEVELS.index(message.level):
                remove(lowest_queue.popleft())
                dropped += 1
                size -= 1
            elif message.level != "CRITICAL":
                dropped += 1
                continue
            elif same_kind is not None:
                # The newest message represents its kind under its own id, so that a message being sent stays valid.
                remove(same_kind)
                queues["CRITICAL"].remove(same_kind)
                message = Message(message.key, message.ts, "CRITICAL", message.kind, message.body, same_kind.merged + 1)
                size -= 1
        entered[message.key] = message
        queues[message.level].append(message)
        size += 1
        if message.level == "CRITICAL":
            newest[message.kind] = message
    return Admission(leave, list(entered.values()), dropped)
