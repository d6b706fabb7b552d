"""A different policy for each market regime: bull, bear, volatile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.members import Load, Loaded, Member, Question, ask_one, load_member, noted, words_of
from quantd.strategies.policies.params import ParamsError
from quantd.strategies.policies.record import composite
from quantd.strategies.regimes import REGIMES, InForce, RegimeModel, RegimeParams, in_force, model_of
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import Hold, Memory, Noted, View, own_memory, under


class Branch(Struct, frozen=True, forbid_unknown_fields=True):
    """The policy of one regime with its params; `exposure` multiplies its weights."""

    policy: str
    params: dict[str, object] = {}
    exposure: Annotated[float, Meta(ge=0.0, le=2.0)] = 1.0


class RegimeSwitchedParams(Struct, frozen=True):
    """Parameters of RegimeSwitched: one branch (policy) per regime, and the model that detects regimes.

    A regime lasts at least `dwell` samples. `at_first` is the regime until the model has enough samples.
    """

    bull: Branch | None = None
    bear: Branch | None = None
    volatile: Branch | None = None
    regime: RegimeParams = RegimeParams()
    dwell: Annotated[int, Meta(ge=0, le=1000)] = 5
    at_first: Literal["bull", "bear", "volatile"] = "volatile"


@dataclass(frozen=True, slots=True)
class RegimeSwitched:
    """A policy in which the branch (policy) of the current regime decides, on the agent's own book.

    If a branch fails, the policy holds with a warning. The memory of the other branches does not change.
    """

    params: RegimeSwitchedParams
    model: RegimeModel
    branches: Mapping[str, Loaded]
    exposures: Mapping[str, float]

    @property
    def inside(self) -> tuple[Policy, ...]:
        """The policies of the branches, in the order of `spaces`."""
        return tuple(branch.policy for branch in self.branches.values())

    @property
    def spaces(self) -> tuple[str, ...]:
        """The prefix of the keys of each branch in the memory: its regime."""
        return tuple(self.branches)

    @property
    def lookback(self) -> int:
        """The longest lookback of the regime's detector and of the branches, in samples."""
        return max(self.model.lookback, *(branch.policy.lookback for branch in self.branches.values()))

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights of the branch of the regime in force, times the exposure of this branch.

        HOLD stays HOLD. The memory of the other branches does not change.
        """
        current = self._in_force(view, memory)
        branch = self.branches[current.regime]
        answer = ask_one(branch, view, memory, current.regime)
        # the old state of the model and of this branch is replaced
        new_memory = {
            name: value for name, value in memory.items() if not name.startswith(("regime/", f"{current.regime}/"))
        }
        new_memory |= current.memory | under(current.regime, answer.memory)
        weights = answer.weights
        if not isinstance(weights, Hold):
            weights = scaled(weights, self.exposures[current.regime])
        return noted(weights, [(current.word, False), words_of(branch, answer)]), new_memory

    def questions(self, view: View, memory: Memory) -> list[Question]:
        """Return what the branch of the regime in force sees; other branches do not decide."""
        regime = self._in_force(view, memory).regime
        return [Question(regime, self.branches[regime].policy, view, own_memory(memory, regime))]

    def _in_force(self, view: View, memory: Memory) -> InForce:
        return in_force(self.model, view, memory, dwell=self.params.dwell, at_first=self.params.at_first)


def scaled(weights: Floats, exposure: float) -> Floats:
    """Return float64[N], `weights` times `exposure`.

    An exposure above 1 does not raise the gross (the sum of absolute weights) above 1.
    """
    if exposure > 1.0:
        gross = float(np.abs(weights).sum())
        exposure = min(exposure, max(1.0, 1.0 / gross if gross > 0.0 else 1.0))
    return weights * exposure


def _switched_of(params: RegimeSwitchedParams, load: Load) -> RegimeSwitched:
    """Load the policy of each regime. Raises ParamsError where the parameters have none for a regime."""
    branch_params = {"bull": params.bull, "bear": params.bear, "volatile": params.volatile}
    branches: dict[str, Loaded] = {}
    exposures: dict[str, float] = {}
    for regime in REGIMES:
        branch = branch_params[regime]
        if branch is None:
            raise ParamsError(f'regime_switched needs {regime}, such as {{ policy = "risk_parity", exposure = 0.5 }}')
        loaded = load_member(Member(branch.policy, branch.params), f"params.{regime}", load)
        branches[regime], exposures[regime] = Loaded(f"{regime}: {loaded.name}", loaded.policy), branch.exposure
    return RegimeSwitched(params, model_of(params.regime), branches, exposures)


RECORDS: Final = (composite("regime_switched", RegimeSwitchedParams, _switched_of),)
