"""Alerts that a receiver refuses, so that a refused alert never blocks its queue. The module does no input or output.

A receiver may refuse one alert for ever, for its length or for a word in it, and accept all other alerts. But a
receiver that is misconfigured or broken refuses in the same way, and every alert must wait for it. A refusal alone does
not tell the two apart. Therefore

- an alert that was refused TRIES times in a row goes behind all other alerts of its queue.
- such an alert is set aside (dropped) at a further refusal, if the receiver accepted another alert since its last
  refusal of this one.
- no alert is set aside while the receiver accepts nothing.

Rejected: to set aside by the HTTP status alone. A proxy answers 403 to a word in a text, and a chat that was renamed
answers 400 to everything.
"""

from collections.abc import Sequence
from typing import Final

from quantd.adapters.sinks.sink import SinkError

TRIES: Final = 5
"""Refusals of an alert before other alerts go first: about 15 s, longer than a receiver needs to restart."""

ALERTS: Final = 256
"""Maximum number of refused alerts that are remembered; the least recently refused is dropped first."""


def is_refusal(failure: Exception) -> bool:
    """Whether a failure may be due to the alert: the receiver answered, or the alert could not be written.

    Any other failure is due to the connection, the secret or the address.
    """
    return failure.refused if isinstance(failure, SinkError) else not isinstance(failure, OSError)


class Refusals:
    """The refused alerts of one sink by id, the least recently refused first."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        """Id -> number of all deliveries at the newest refusal of the alert."""
        self._taken = 0

    def __len__(self) -> int:
        return len(self._tries)

    def has(self, id: str) -> bool:
        """Whether the receiver refused this alert; a refused alert is sent alone."""
        return id in self._tries

    def deferred(self, id: str) -> bool:
        """Whether an alert goes behind all other alerts of its queue, after several refusals."""
        return self._tries.get(id, 0) >= TRIES

    def in_turn(self, ids: Sequence[str]) -> list[str]:
        """The alert ids `ids` in the order of their next delivery attempts."""
        return [id for id in self._tries if id in ids]

    def taken(self, ids: Sequence[str]) -> None:
        """Record that the receiver accepted the message of these alerts: they are no longer refused alerts."""
        self._taken += 1
        for id in ids:
            self._tries.pop(id, None)
            self._marks.pop(id, None)

    def refused(self, ids: Sequence[str]) -> bool:
        """Record that the receiver refused a message with these alerts.

        Returns True if the alert, which was sent alone, is to be set aside: it was refused more than TRIES times, and
        the receiver has accepted another message since its last refusal. Only a message of one alert can have so many
        refusals. Beyond ALERTS refused alerts the oldest is forgotten.
        """
        for id in ids:
            tries, deliveries_at_refusal = self._tries.pop(id, 0) + 1, self._marks.pop(id, self._taken)
            if tries > TRIES and self._taken > deliveries_at_refusal:
                return True
            self._tries[id], self._marks[id] = tries, self._taken
        while len(self._tries) > ALERTS:
            oldest = next(iter(self._tries))
            del self._tries[oldest], self._marks[oldest]
        return False
