"""Another policy for each regime of the market: bull, bear, volatile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
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
from quantd.strategies.policies.params import ParamsError
from quantd.strategies.policies.record import CompositeRecord
from quantd.strategies.regimes import REGIMES, RegimeModel, RegimeParams, in_force, model_of
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import Hold, Memory, Noted, View


class Branch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done in one regime: a `policy` with its params, and how much of its weights (`exposure`)."""

    policy: str
    params: dict[str, object] = {}
    exposure: Annotated[float, Meta(ge=0.0, le=2.0)] = 1.0


class RegimeSwitchedParams(Struct, frozen=True):
    """`regime` says how regimes are told; `bull`, `bear` and `volatile` what is done in each. A regime lasts at least
    `dwell` samples before the next is taken up; until the first can be told it is taken for `at_first`."""

    bull: Branch | None = None
    bear: Branch | None = None
    volatile: Branch | None = None
    regime: RegimeParams = RegimeParams()
    dwell: Annotated[int, Meta(ge=0, le=1000)] = 5
    at_first: Literal["bull", "bear", "volatile"] = "volatile"


@dataclass(frozen=True, slots=True)
class RegimeSwitched:
    """The branch of the regime in force decides, on the agent's own book; a branch that fails holds with a warning. The
    others are not asked, so what they remember is of when they were last in force."""

    params: RegimeSwitchedParams
    model: RegimeModel
    branches: Mapping[str, Loaded]
    exposures: Mapping[str, float]

    @property
    def inside(self) -> tuple[Policy, ...]:
        return tuple(each.policy for each in self.branches.values())

    @property
    def spaces(self) -> tuple[str, ...]:
        return tuple(self.branches)

    @property
    def lookback(self) -> int:
        return max(self.model.lookback, *(each.policy.lookback for each in self.branches.values()))

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        params = self.params
        found = in_force(
            self.model,
            params.regime,
            view,
            own_memory(memory, "regime"),
            dwell=params.dwell,
            at_first=params.at_first,
        )
        branch = self.branches[found.regime]
        said = ask(branch, view, own_memory(memory, found.regime))
        if said.failed:
            raise none_answers([branch], [said])
        new = {name: value for name, value in memory.items() if not name.startswith(("regime/", f"{found.regime}/"))}
        new |= under("regime", found.memory) | under(found.regime, said.memory)
        exposure = self.exposures[found.regime]
        answer = said.weights
        if not isinstance(answer, Hold) and exposure != 1.0:
            answer = scaled(answer, exposure)
        return noted(answer, [(found.word, False), words_of(branch, said)]), new


def scaled(weights: Floats, exposure: float) -> Floats:
    """`weights` times `exposure`; more than the whole book is not made of less."""
    gross = float(np.abs(weights).sum())
    return (
        weights * min(exposure, max(1.0, 1.0 / gross if gross > 0.0 else 1.0)) if exposure > 1.0 else weights * exposure
    )


def make_regime_switched(params: Mapping[str, object], load: Load) -> RegimeSwitched:
    read = params_of("regime_switched", params, RegimeSwitchedParams)
    given = {"bull": read.bull, "bear": read.bear, "volatile": read.volatile}
    branches: dict[str, Loaded] = {}
    exposures: dict[str, float] = {}
    for regime in REGIMES:
        branch = given[regime]
        if branch is None:
            raise ParamsError(f'regime_switched needs {regime}, such as {{ policy = "risk_parity", exposure = 0.5 }}')
        found = load_member(Member(branch.policy, branch.params), f"params.{regime}", load)
        branches[regime], exposures[regime] = Loaded(f"{regime}: {found.name}", found.policy), branch.exposure
    return RegimeSwitched(read, model_of(read.regime), branches, exposures)


RECORDS: Final = (CompositeRecord("regime_switched", make_regime_switched, RegimeSwitchedParams),)
