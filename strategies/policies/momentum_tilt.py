"""A base allocation tilted towards instruments with positive momentum."""

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.strategies.policies.members import Based, Load, Member, ask_one, load_member, noted
from quantd.strategies.policies.params import Lookback, Share
from quantd.strategies.policies.record import composite
from quantd.strategies.weights.tilt import momentum_scores, tilted
from quantd.trading.market import Floats
from quantd.trading.view import Hold, Memory, Noted, View, under


class MomentumTiltedParams(Struct, frozen=True):
    """Parameters of MomentumTilted.

    Momentum is the total return over `lookback` samples; a momentum within `threshold` of 0 counts as 0. `max_tilt` is
    the maximum relative change of a weight.
    """

    base: Member = Member("equal_weight")
    lookback: Lookback = 20
    threshold: Share = 0.02
    max_tilt: Annotated[float, Meta(ge=0.0, le=0.3)] = 0.3


@dataclass(frozen=True, slots=True)
class MomentumTilted(Based):
    """The base policy's weights, increased where momentum is above the book's average, and reduced where it is below.

    The gross (the sum of absolute weights) and the signs do not change. HOLD stays HOLD.
    """

    params: MomentumTiltedParams

    @property
    def lookback(self) -> int:
        """The longer of the momentum window and of the base policy's lookback, in samples."""
        return max(self.params.lookback, self.base.policy.lookback)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        answer = ask_one(self.base, view, memory, "base")
        weights = answer.weights
        if not isinstance(weights, Hold):
            scores = momentum_scores(view.momentum(self.params.lookback), self.params.threshold)
            weights = tilted(weights, scores, self.params.max_tilt)
        return noted(weights, [(answer.note, answer.warns)]), under("base", answer.memory)


def _tilted_of(params: MomentumTiltedParams, load: Load) -> MomentumTilted:
    return MomentumTilted(load_member(params.base, "params.base", load), params)


RECORDS: Final = (composite("momentum_tilted", MomentumTiltedParams, _tilted_of),)
