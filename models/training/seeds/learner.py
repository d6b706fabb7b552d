"""From a plan to its learner, and what training asks of any of them beside learning: sound weights, a policy to judge, a state to keep."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from quantd.models.learners.a2c import A2c, A2cPlan
from quantd.models.learners.dqn import Dqn, DqnPlan
from quantd.models.learners.maddpg import Maddpg, MaddpgPlan
from quantd.models.learners.on_policy import State
from quantd.models.learners.ppo import Ppo, PpoPlan
from quantd.models.learners.sac import Sac, SacPlan
from quantd.models.market.desks import Seat
from quantd.models.market.vector_env import VectorEnv
from quantd.models.training.plans.plan import LearnerPlan, MarketPlan
from quantd.models.training.seeds.environment import Scale

Learner = Ppo | A2c | Dqn | Sac | Maddpg

Policy = Callable[[Tensor, bool], Tensor]
"""Raw observation [1, D], and whether it is the first -> what to do, [1, A] or int64[1]."""

PASSING: Final = ("now.", "env.", "replay.")
"""Beginnings of what a state holds of a place in training: a policy alone does without."""


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
        case MaddpgPlan():
            return Maddpg(plan, *sizes)


def vectors(learner: Learner) -> tuple[Tensor, ...]:
    """All numbers that were learned."""
    match learner:
        case Ppo() | A2c():
            return (learner.agent.network.vector,)
        case Dqn():
            return (learner.network.vector,)
        case Sac():
            return (learner.actor.vector, learner.critics.vector, learner.log_temperature)
        case Maddpg():
            return (learner.network.vector, learner.critics.vector)


def sound(learner: Learner) -> bool:
    """All of them are numbers."""
    return all(bool(torch.isfinite(each.detach()).all()) for each in vectors(learner))


def parameters(learner: Learner) -> int:
    """How many numbers were learned, critics included."""
    return sum(each.numel() for each in vectors(learner))


def policy_of(learner: Learner, scale: Scale | None, market: MarketPlan, symbols: tuple[str, ...]) -> Policy:
    """Greedy, of raw observations. Several agents are a house: the mean of what they hold, by capital."""
    if isinstance(learner, Maddpg):
        return _house(learner, scale, market.seats, symbols)

    def acts(observation: Tensor, first: bool) -> Tensor:
        rows = observation if scale is None else scale.of(observation)
        if isinstance(learner, Ppo | A2c):
            return learner.act(rows, started=torch.tensor([first], device=rows.device))
        return learner.act(rows)

    return acts


def _house(learner: Maddpg, scale: Scale | None, seats: tuple[Seat, ...], symbols: tuple[str, ...]) -> Policy:
    own = torch.tensor([[1.0 if not s.symbols or n in s.symbols else 0.0 for n in symbols] + [1.0] for s in seats])
    invested = torch.tensor([[seat.invested] for seat in seats])
    capital = torch.tensor([[seat.capital] for seat in seats], dtype=torch.float64)
    share = (capital / capital.sum()).to(torch.float32)

    def acts(observation: Tensor, first: bool) -> Tensor:
        row = observation if scale is None else scale.of(observation)
        said = learner.act(row.expand(len(seats), -1)) * own
        held = said[:, :-1] / said.sum(-1, keepdim=True).clamp(min=1e-30)
        held = held * (invested / held.sum(-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        house = (share * held).sum(0)
        return torch.cat([house, (1.0 - house.sum()).clamp(min=0.0).view(1)]).view(1, -1)

    return acts


def q_value(learner: Learner, observation: Tensor) -> float | None:
    """Mean highest value that a value-based learner gives to normalised observations float[B, D]; None of others."""
    if not isinstance(learner, Dqn):
        return None
    return float(learner.q_values(observation).amax(-1).mean())


def policy_state(state: State) -> State:
    """What is left of a learner's state when its place in training does not matter."""
    return {name: value for name, value in state.items() if not name.startswith(PASSING)}
