"""Dynamic allocation: a base, times the regime's exposure, a factor of momentum for each symbol, and an adjustment for
volatility."""

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
    words_of,
)
from quantd.strategies.policies.record import CompositeRecord
from quantd.strategies.regimes import RegimeModel, RegimeParams, in_force, model_of
from quantd.strategies.weights.sizing import at_most, momentum_of, volatility_factor
from quantd.strategies.weights.tilt import momentum_scores
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import Hold, Memory, Noted, View

Exposure = Annotated[float, Meta(ge=0.0, le=2.0)]


class DynamicParams(Struct, frozen=True):
    """Each weight of `base` is multiplied by the exposure of the regime (`bull`, `bear`, `volatile`), by 1 +
    `momentum_factor` x the symbol's score of momentum (-1 to 1, over `momentum_lookback` samples, none within
    `threshold`), and all by the annual `volatility_target` over what they had over `volatility_lookback` samples, at
    least 1 / `max_adjustment` and at most that. No more than `max_gross` comes of it."""

    base: Member = Member("inverse_volatility")
    regime: RegimeParams = RegimeParams()
    bull: Exposure = 1.0
    bear: Exposure = 0.5
    volatile: Exposure = 0.5
    dwell: Annotated[int, Meta(ge=0, le=1000)] = 5
    momentum_factor: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    momentum_lookback: Annotated[int, Meta(ge=2, le=5000)] = 20
    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02
    volatility_target: Annotated[float, Meta(gt=0.0, le=2.0)] = 0.15
    volatility_lookback: Annotated[int, Meta(ge=5, le=5000)] = 60
    max_adjustment: Annotated[float, Meta(ge=1.0, le=10.0)] = 2.0
    max_gross: Annotated[float, Meta(gt=0.0, le=4.0)] = 1.0


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A base that holds is not adjusted."""

    params: DynamicParams
    base: Loaded
    model: RegimeModel

    @property
    def inside(self) -> tuple[Policy, ...]:
        return (self.base.policy,)

    @property
    def spaces(self) -> tuple[str, ...]:
        return ("base",)

    @property
    def lookback(self) -> int:
        params = self.params
        own = max(params.momentum_lookback, params.volatility_lookback, self.model.lookback)
        return max(own, self.base.policy.lookback)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        params = self.params
        said = ask(self.base, view, own_memory(memory, "base"))
        if said.failed:
            raise none_answers([self.base], [said])
        found = in_force(self.model, params.regime, view, own_memory(memory, "regime"), dwell=params.dwell)
        new = under("base", said.memory) | under("regime", found.memory)
        words = [(found.word, False), words_of(self.base, said)]
        if isinstance(said.weights, Hold):
            return noted(said.weights, words), new
        scores = momentum_scores(momentum_of(view.returns(params.momentum_lookback)), params.threshold)
        weights = said.weights * (1.0 + params.momentum_factor * scores)
        returns = view.synchronous(params.volatility_lookback)
        factor = volatility_factor(weights, returns, params.volatility_target)
        factor = min(max(factor, 1.0 / params.max_adjustment), params.max_adjustment)
        exposure = {"bull": params.bull, "bear": params.bear, "volatile": params.volatile}[found.regime]
        return noted(at_most(weights * (factor * exposure), params.max_gross), words), new


def make_dynamic(params: Mapping[str, object], load: Load) -> Dynamic:
    read = params_of("dynamic", params, DynamicParams)
    return Dynamic(read, load_member(read.base, "params.base", load), model_of(read.regime))


RECORDS: Final = (CompositeRecord("dynamic", make_dynamic, DynamicParams),)
