"""From a plan to its learner, and what training asks of any of them beside learning: sound weights, a policy to judge, a state to keep."""

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor

from models.learners.a2c import A2c, A2cPlan
from models.learners.agent import Report, State
from models.learners.dqn import Dqn, DqnPlan
from models.learners.ppo import Ppo, PpoPlan
from models.learners.sac import Sac, SacPlan
from models.training.ground import Scale
from models.training.plan import LearnerPlan, PlanError
from models.vector_env import VectorEnv

Learner = Ppo | A2c | Dqn | Sac

Policy = Callable[[Tensor, bool], Tensor]
"""Raw observation [1, D], and whether it is the first -> what to do, [1, A] or int64[1]."""

PASSING: Final = ("now.", "env.", "replay.")
"""Beginnings of what a state holds of a place in training: a policy alone does without."""


class Sizes(Protocol):
    """What a learner is made for; any `VectorEnv`."""

    @property
    def observation_size(self) -> int: ...

    @property
    def action_size(self) -> int: ...


def learner_of(plan: LearnerPlan, env: VectorEnv, seed: int, device: str = "cpu") -> Learner:
    """Fresh, of weights drawn from `seed`."""
    sizes = (env.observation_size, env.action_size, env.kind, seed, device)
    match plan:
        case PpoPlan():
            return Ppo(plan, *sizes)
        case A2cPlan():
            return A2c(plan, *sizes)
        case DqnPlan():
            return Dqn(plan, *sizes)
        case SacPlan():
            return Sac(plan, *sizes)


def vectors(learner: Learner) -> tuple[Tensor, ...]:
    """All numbers that were learned."""
    match learner:
        case Ppo() | A2c():
            return (learner.agent.network.vector,)
        case Dqn():
            return (learner.network.vector,)
        case Sac():
            return (learner.actor.vector, learner.critics.vector, learner.log_temperature)


def sound(learner: Learner) -> bool:
    """All of them are numbers."""
    return all(bool(torch.isfinite(each.detach()).all()) for each in vectors(learner))


def parameters(learner: Learner) -> int:
    """How many numbers were learned, critics included."""
    return sum(each.numel() for each in vectors(learner))


def policy_of(learner: Learner, scale: Scale | None) -> Policy:
    """Greedy, of raw observations."""

    def acts(observation: Tensor, first: bool) -> Tensor:
        rows = observation if scale is None else scale.of(observation)
        if isinstance(learner, Ppo | A2c):
            return learner.act(rows, started=torch.tensor([first], device=rows.device))
        return learner.act(rows)

    return acts


def q_value(learner: Learner, observation: Tensor) -> float | None:
    """Mean highest value that a value-based learner gives to normalised observations float[B, D]; None of others."""
    if not isinstance(learner, Dqn):
        return None
    return float(learner.q_values(observation).amax(-1).mean())


def policy_state(state: State) -> State:
    """What is left of a learner's state when its place in training does not matter."""
    return {name: value for name, value in state.items() if not name.startswith(PASSING)}


def bfloat16(plan: LearnerPlan) -> LearnerPlan:
    """`plan` with products in bfloat16. PlanError for a learner that has none."""
    import msgspec

    if not hasattr(plan, "bfloat16"):
        raise PlanError(f"learner.bfloat16: {type(plan).__name__} has no products in bfloat16; ppo, a2c and sac have")
    return msgspec.structs.replace(plan, bfloat16=True)


Told = Callable[[Report], bool]
