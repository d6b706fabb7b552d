"""Alerts that a receiver refuses, so that one of them never holds up its queue. Pure.

A receiver may refuse one alert for ever, for its length or for a word in it, and take all others. But it answers the
same while it is misconfigured or broken, and then every alert must wait for it. A refusal alone accuses nobody.
Therefore

- an alert that was refused TRIES times in a row goes behind all others of its queue.
- it is set aside at a further refusal, if the receiver took another alert since the refusal before.
- a receiver that takes nothing sets nothing aside.

Rejected: to set aside by the status alone. A proxy answers 403 to a word in a text, a chat that was renamed answers 400
to everything.
"""

from collections.abc import Sequence
from typing import Final

from quantd.adapters.sinks.sink import SinkError

TRIES: Final = 5
"""Refusals of an alert before others go ahead of it: about 15 s, longer than a receiver needs to restart."""

ALERTS: Final = 256
"""Maximum of refused alerts; the oldest refusal is forgotten first."""


def is_refusal(why: Exception) -> bool:
    """Whether a failure may be due to the alert: the receiver answered, or the alert could not be written.

    Any other failure is of the connection, the secret or the address.
    """
    return why.refused if isinstance(why, SinkError) else not isinstance(why, OSError)


class Refusals:
    """The refused alerts of one sink by id, the least recently refused first."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        """Number of deliveries at the newest refusal."""
        self._taken = 0

    def __len__(self) -> int:
        return len(self._tries)

    def has(self, id: str) -> bool:
        """Whether the receiver refused an alert; such a one is sent alone."""
        return id in self._tries

    def deferred(self, id: str) -> bool:
        """Whether an alert goes behind all others."""
        return self._tries.get(id, 0) >= TRIES

    def in_turn(self, ids: Sequence[str]) -> list[str]:
        """Deferred alerts in the order of their next attempts."""
        return [id for id in self._tries if id in ids]

    def taken(self, ids: Sequence[str]) -> None:
        """Record one delivery of alerts."""
        self._taken += 1
        for id in ids:
            self._tries.pop(id, None)
            self._marks.pop(id, None)

    def refused(self, ids: Sequence[str]) -> bool:
        """Record one refusal of alerts; returns whether it is decisive, so that the one alert is set aside."""
        for id in ids:
            tries, mark = self._tries.pop(id, 0) + 1, self._marks.pop(id, self._taken)
            if tries > TRIES and self._taken > mark:
                return True
            self._tries[id], self._marks[id] = tries, self._taken
        while len(self._tries) > ALERTS:
            oldest = next(iter(self._tries))
            del self._tries[oldest], self._marks[oldest]
        return False
