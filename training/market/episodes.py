"""Rules for cutting training episodes from history: start, length, and measures against overfitting.

What can go wrong. A policy would memorise the one history that exists: so random starts, resampling in blocks and
artificial crashes make further histories. A jump of resampling to another date comes after the outcome of a step, so
that it never separates a decision from its outcome.
"""

from typing import Final

from msgspec import Struct


class Stress(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of synthetic crashes: with probability `chance` per session, all closes fall by a fraction between
    `least` and `most`.

    Each asset falls by 0.5 to 1.5 times that fraction. Crashes are unpredictable. Raises ValueError for values outside
    these bounds: 0 <= chance <= 1, 0 <= least <= most < 2/3.
    """

    chance: float = 1 / 504
    least: float = 0.03
    most: float = 0.12

    def __post_init__(self) -> None:
        if not (0.0 <= self.chance <= 1.0 and 0.0 <= self.least <= self.most < 2 / 3):
            raise ValueError(f"stress: {self} must have 0 <= chance <= 1 and 0 <= least <= most < 2/3")


class Episodes(Struct, frozen=True, forbid_unknown_fields=True):
    """Rules for cutting training episodes from a recorded market.

    An episode has at most `length` steps, from a random session or, for evaluation, over the whole market. With `block`
    above 0 the sessions are resampled: after a step the market jumps to a random session with probability 1 / block, so
    that no account replays the actual history (stationary bootstrap of D. Politis and J. Romano, 1994). A decision and
    its outcome always stay together. Groups of `together` accounts share a path of the market. An account that falls to
    `ruin` of its capital is bankrupt, which ends all episodes of its path. Raises ValueError for a length or `together`
    below 1, a negative `block`, and a `ruin` outside [0, 1).
    """

    length: int = 252
    random: bool = True
    block: int = 0
    stress: Stress | None = None
    together: int = 1
    ruin: float = 0.1

    def __post_init__(self) -> None:
        if self.length < 1 or self.block < 0 or self.together < 1 or not 0.0 <= self.ruin < 1.0:
            raise ValueError(f"episodes: {self} must have length and together >= 1, block >= 0, 0 <= ruin < 1")


WHOLE: Final = Episodes(length=2**31, random=False)
"""For evaluation: one episode from the first row to the last, without changes."""
