"""A base allocation that leans towards what has risen, each weight by at most a stated part of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.strategies.policies.members import (
    Load,
    Loaded,
    Member,
    ask,
    load_member,
    none_answers,
    noted,
    own_memory,
    params_of,
    under,
)
from quantd.strategies.policies.record import CompositeRecord
from quantd.strategies.weights.sizing import momentum_of
from quantd.strategies.weights.tilt import momentum_scores, tilted
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import Hold, Memory, Noted, View


class MomentumTiltedParams(Struct, frozen=True):
    """`base` is a policy with its params. Momentum is the total return over `lookback` samples; within `threshold` of
    nothing it counts as none. `max_tilt` is the most that a weight moves, as a part of itself."""

    base: Member = Member("equal_weight")
    lookback: Annotated[int, Meta(ge=2, le=5000)] = 20
    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02
    max_tilt: Annotated[float, Meta(ge=0.0, le=0.3)] = 0.3


@dataclass(frozen=True, slots=True)
class MomentumTilted:
    """The base's gross and sides, tilted. A base that holds is not tilted."""

    params: MomentumTiltedParams
    base: Loaded

    @property
    def inside(self) -> tuple[Policy, ...]:
        return (self.base.policy,)

    @property
    def spaces(self) -> tuple[str, ...]:
        return ("base",)

    @property
    def lookback(self) -> int:
        return max(self.params.lookback, self.base.policy.lookback)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        said = ask(self.base, view, own_memory(memory, "base"))
        if said.failed:
            raise none_answers([self.base], [said])
        new, words = under("base", said.memory), [(said.note, said.warns)]
        if isinstance(said.weights, Hold):
            return noted(said.weights, words), new
        momentum = momentum_of(view.returns(self.params.lookback))
        scores = momentum_scores(momentum, self.params.threshold)
        return noted(tilted(said.weights, scores, self.params.max_tilt), words), new


def make_momentum_tilted(params: Mapping[str, object], load: Load) -> MomentumTilted:
    read = params_of("momentum_tilted", params, MomentumTiltedParams)
    return MomentumTilted(read, load_member(read.base, "params.base", load))


RECORDS: Final = (CompositeRecord("momentum_tilted", make_momentum_tilted, MomentumTiltedParams),)
