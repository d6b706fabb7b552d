"""How well sources have answered lately, as scores between 0 and 1, and which one to ask next. Pure: times come from
outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WELL: Final = 0.5
"""A source at or above it is in use; below it, it rests and is only tried."""

_LOSS: Final = 0.4
"""A failure leaves this much of the score: one is enough to be passed over."""

_GAIN: Final = 0.3
"""A good answer wins this much of what is missing to 1: from 0.4 one is enough, from 0.06 (three failures) two or
three."""

_FIRST_REST_S: Final = 15.0
_LONGEST_REST_S: Final = 900.0


@dataclass(slots=True)
class Health:
    """Of one source: `score`, and until when (seconds, the caller's clock) it is left alone after failures."""

    score: float = 1.0
    failures: int = 0
    rests_until_s: float = 0.0

    def failed(self, now_s: float, *, hopeless: bool = False, after_s: float = 0.0) -> None:
        """One more failure. `hopeless`: asking again cannot help, as with a wrong key; `after_s`: what the vendor asked
        for."""
        self.score = 0.0 if hopeless else self.score * _LOSS
        self.failures += 1
        rest_s = min(_FIRST_REST_S * 2.0 ** min(self.failures - 1, 10), _LONGEST_REST_S)
        self.rests_until_s = now_s + max(rest_s, after_s)

    def answered(self) -> None:
        """One more good answer."""
        self.score += (1.0 - self.score) * _GAIN
        self.failures = 0
        self.rests_until_s = 0.0

    @property
    def well(self) -> bool:
        return self.score >= WELL

    def may_be_tried(self, now_s: float) -> bool:
        """It is not in use, and has rested long enough."""
        return not self.well and now_s >= self.rests_until_s


def order(healths: Sequence[Health]) -> list[int]:
    """Numbers of the sources as they should be asked: those that are well in their order, then the others,
    best first."""
    numbers = range(len(healths))
    well = [k for k in numbers if healths[k].well]
    return well + sorted((k for k in numbers if k not in well), key=lambda k: (-healths[k].score, k))
