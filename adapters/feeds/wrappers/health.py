"""Health scores of sources between 0 and 1, and the order in which to query them. Pure: the caller supplies times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WELL: Final = 0.5
"""Minimum score of a healthy source; a source below it is last in order, and tried in the background."""

_LOSS: Final = 0.4
"""Factor on the score at each failure: one failure brings a perfect score below WELL."""

_GAIN: Final = 0.3
"""Share of the distance to 1 that a success restores: from 0.4 one success is enough, from 0.06 two or three."""

_FIRST_REST_S: Final = 15.0
_LONGEST_REST_S: Final = 900.0


@dataclass(slots=True)
class Health:
    """The health of one source. `failures` counts failures in a row.

    An unhealthy source is not tried again before `rests_until_s`, in seconds of the caller's clock.
    """

    score: float = 1.0
    failures: int = 0
    rests_until_s: float = 0.0

    def failed(self, now_s: float, *, hopeless: bool = False, after_s: float = 0.0) -> None:
        """Record a failure. `hopeless` means that a repeat cannot succeed; `after_s` is the delay in seconds that
        the vendor requests."""
        self.score = 0.0 if hopeless else self.score * _LOSS
        self.failures += 1
        rest_s = min(_FIRST_REST_S * 2.0 ** min(self.failures - 1, 10), _LONGEST_REST_S)
        self.rests_until_s = now_s + max(rest_s, after_s)

    def answered(self) -> None:
        self.score += (1.0 - self.score) * _GAIN
        self.failures = 0
        self.rests_until_s = 0.0

    @property
    def well(self) -> bool:
        """Whether the score is at least WELL, so that the source is in use."""
        return self.score >= WELL

    def may_be_tried(self, now_s: float) -> bool:
        """Whether the source is unhealthy and its pause has ended."""
        return not self.well and now_s >= self.rests_until_s


def order(healths: Sequence[Health]) -> list[int]:
    """Return the indices of the sources in query order: healthy ones by preference, then unhealthy ones by score."""
    return sorted(range(len(healths)), key=lambda k: (0, k) if healths[k].well else (1 - healths[k].score, k))
