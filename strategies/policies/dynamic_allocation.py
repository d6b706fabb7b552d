"""Dynamic allocation: the weights of a base policy, scaled by market regime, momentum and volatility."""

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.strategies.policies.members import Based, Load, Member, ask_one, load_member, noted, words_of
from quantd.strategies.policies.params import Lookback, Share
from quantd.strategies.policies.record import composite
from quantd.strategies.regimes import RegimeModel, RegimeParams, in_force, model_of
from quantd.strategies.weights.sizing_rules import at_most, volatility_factor
from quantd.strategies.weights.tilt import momentum_scores
from quantd.trading.market import Floats
from quantd.trading.view import Hold, Memory, Noted, View, under

Exposure = Annotated[float, Meta(ge=0.0, le=2.0)]


class DynamicParams(Struct, frozen=True):
    """Parameters of Dynamic. Each weight of `base` is multiplied by three factors.

    - The exposure of the regime (`bull`, `bear`, `volatile`). A regime lasts at least `dwell` samples.
    - 1 + `momentum_factor` x the symbol's momentum score (-1 to 1, over `momentum_lookback` samples). Momentum within
      `threshold` of 0 counts as 0.
    - The annual `volatility_target` over the volatility of the weights in the last `volatility_lookback` samples; at
      least 1 / `max_adjustment` and at most `max_adjustment`.

    The gross of the result (the sum of absolute weights) is at most `max_gross`.
    """

    base: Member = Member("inverse_volatility")
    regime: RegimeParams = RegimeParams()
    bull: Exposure = 1.0
    bear: Exposure = 0.5
    volatile: Exposure = 0.5
    dwell: Annotated[int, Meta(ge=0, le=1000)] = 5
    momentum_factor: Share = 0.5
    momentum_lookback: Lookback = 20
    threshold: Share = 0.02
    volatility_target: Annotated[float, Meta(gt=0.0, le=2.0)] = 0.15
    volatility_lookback: Annotated[int, Meta(ge=5, le=5000)] = 60
    max_adjustment: Annotated[float, Meta(ge=1.0, le=10.0)] = 2.0
    max_gross: Annotated[float, Meta(gt=0.0, le=4.0)] = 1.0


@dataclass(frozen=True, slots=True)
class Dynamic(Based):
    """A policy with the weights of its base policy, scaled by regime, momentum and volatility.

    Where the base policy holds, nothing is scaled.
    """

    params: DynamicParams
    model: RegimeModel

    @property
    def lookback(self) -> int:
        """The longest window of momentum, volatility, regime and base policy, in samples."""
        params = self.params
        longest = max(params.momentum_lookback, params.volatility_lookback, self.model.lookback)
        return max(longest, self.base.policy.lookback)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights of the base policy, scaled by momentum, then by volatility and regime.

        The gross (the sum of absolute weights) is reduced to the parameter `max_gross` if it is larger. HOLD stays
        HOLD.
        """
        params = self.params
        answer = ask_one(self.base, view, memory, "base")
        current = in_force(self.model, view, memory, dwell=params.dwell)
        new_memory = under("base", answer.memory) | current.memory
        # the notes, each with whether it is a warning
        words = [(current.word, False), words_of(self.base, answer)]
        if isinstance(answer.weights, Hold):
            return noted(answer.weights, words), new_memory
        scores = momentum_scores(view.momentum(params.momentum_lookback), params.threshold)
        weights = answer.weights * (1.0 + params.momentum_factor * scores)
        factor = volatility_factor(weights, view.synchronous(params.volatility_lookback), params.volatility_target)
        factor = min(max(factor, 1.0 / params.max_adjustment), params.max_adjustment)
        exposure = {"bull": params.bull, "bear": params.bear, "volatile": params.volatile}[current.regime]
        return noted(at_most(weights * (factor * exposure), params.max_gross), words), new_memory


def _dynamic_of(params: DynamicParams, load: Load) -> Dynamic:
    return Dynamic(load_member(params.base, "params.base", load), params, model_of(params.regime))


RECORDS: Final = (composite("dynamic", DynamicParams, _dynamic_of),)
