"""From a plan to its learner, and what training asks of any of them beside learning: sound weights, a policy to judge,
a state to keep."""

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from quantd.models.learners.on_policy import Agent
from quantd.models.learners.record import Algorithm, LearnerPlan, State, learner_for
from quantd.models.market.desks import Seat
from quantd.models.market.normalisation import Scale
from quantd.models.market.vector_env import VectorEnv
from quantd.models.training.plans.plan import MarketPlan

Policy = Callable[[Tensor, bool], Tensor]
"""Raw observation [1, D], and whether it is the first -> what to do, [1, A] or int64[1]."""

PASSING: Final = ("now.", "env.", "replay.")
"""Beginnings of what a state holds of a place in training: a policy alone does without."""


@runtime_checkable
class Recurrent(Protocol):
    """A learner whose policy may remember: its `agent` acts by row until `started`."""

    @property
    def agent(self) -> Agent: ...


@runtime_checkable
class ValueBased(Protocol):
    """A learner that acts by the values of its actions."""

    def q_values(self, observation: Tensor) -> Tensor: ...


def learner_of(plan: LearnerPlan, env: VectorEnv, seed: int, device: str = "cpu") -> Algorithm:
    """Fresh, of weights drawn from `seed`."""
    return learner_for(plan).algorithm(plan, env.observation_size, env.action_size, env.kind, seed, device)


def sound(learner: Algorithm) -> bool:
    """All of them are numbers."""
    return all(bool(torch.isfinite(each.detach()).all()) for each in learner.vectors())


def policy_of(learner: Algorithm, scale: Scale | None, market: MarketPlan, symbols: tuple[str, ...]) -> Policy:
    """Greedy, of raw observations. Several agents are a house: the mean of what they hold, by capital."""
    if market.seats:
        return _house(learner, scale, market.seats, symbols)

    def acts(observation: Tensor, first: bool) -> Tensor:
        rows = observation if scale is None else scale.of(observation.float())
        if isinstance(learner, Recurrent):
            return learner.agent.act(rows, started=torch.tensor([first], device=rows.device))
        return learner.act(rows)

    return acts


def _house(learner: Algorithm, scale: Scale | None, seats: tuple[Seat, ...], symbols: tuple[str, ...]) -> Policy:
    own = torch.tensor([[1.0 if not s.symbols or n in s.symbols else 0.0 for n in symbols] + [1.0] for s in seats])
    invested = torch.tensor([[seat.invested] for seat in seats])
    capital = torch.tensor([[seat.capital] for seat in seats], dtype=torch.float64)
    share = (capital / capital.sum()).to(torch.float32)

    def acts(observation: Tensor, first: bool) -> Tensor:
        row = observation if scale is None else scale.of(observation.float())
        said = learner.act(row.expand(len(seats), -1)) * own
        held = said[:, :-1] / said.sum(-1, keepdim=True).clamp(min=1e-30)
        held = held * (invested / held.sum(-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        house = (share * held).sum(0)
        return torch.cat([house, (1.0 - house.sum()).clamp(min=0.0).view(1)]).view(1, -1)

    return acts


def q_value(learner: Algorithm, observation: Tensor) -> float | None:
    """Mean highest value that a value-based learner gives to normalised observations float[B, D]; None of others."""
    if not isinstance(learner, ValueBased):
        return None
    return float(learner.q_values(observation).amax(-1).mean())


def policy_state(state: State) -> State:
    """What is left of a learner's state when its place in training does not matter."""
    return {name: value for name, value in state.items() if not name.startswith(PASSING)}
