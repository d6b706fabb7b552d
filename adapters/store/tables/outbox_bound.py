"""Which messages stay when the outbox is full: a pure rule.

The oldest INFO goes first, then the oldest WARNING; a CRITICAL never goes. When all that waits is
CRITICAL, a new one of a kind already there merges into it and is counted, and lesser ones are dropped.
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
    """One message; `merged` is how many it stands for beyond itself."""

    key: Key
    ts: int
    level: str
    kind: str
    body: str
    merged: int = 0


class Admission(Struct):
    """What to change so that `arrived` fit: keys that leave, messages that enter, and how many were lost."""

    leave: list[Key]
    enter: list[Message]
    dropped: int


def admit(waiting: Iterable[Message], arrived: Sequence[Message], capacity: int = CAPACITY) -> Admission:
    """The rule above. `waiting` is oldest first. At most `capacity` messages wait afterwards, or one CRITICAL
    of each kind beyond it."""
    queues: dict[str, deque[Message]] = {level: deque() for level in LEVELS}
    stored = set()
    for message in waiting:
        queues[message.level].append(message)
        stored.add(message.key)
    size = len(stored)
    newest = {m.kind: m for m in queues["CRITICAL"]}
    leave: list[Key] = []
    entered: dict[Key, Message] = {}
    dropped = 0

    def remove(message: Message) -> None:
        if entered.pop(message.key, None) is None:
            leave.append(message.key)

    for message in arrived:
        if size >= capacity:
            victim = next((q for level, q in queues.items() if q and level != "CRITICAL"), None)
            same = newest.get(message.kind)
            if victim is not None and LEVELS.index(victim[0].level) <= LEVELS.index(message.level):
                remove(victim.popleft())
                dropped += 1
                size -= 1
            elif message.level != "CRITICAL":
                dropped += 1
                continue
            elif same is not None:
                # the newest speaks for all of its kind, under its own id: one that was being sent stays true
                remove(same)
                queues["CRITICAL"].remove(same)
                message = Message(message.key, message.ts, "CRITICAL", message.kind, message.body, same.merged + 1)
                size -= 1
        entered[message.key] = message
        queues[message.level].append(message)
        size += 1
        if message.level == "CRITICAL":
            newest[message.kind] = message
    return Admission(leave, list(entered.values()), dropped)
