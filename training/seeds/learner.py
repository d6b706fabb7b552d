"""Creates the learner of a plan, checks its parameters, and returns its policy and the state of the policy."""

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.record import Algorithm, LearnerPlan, State, learner_for
from quantd.training.market.normalisation import Scale
from quantd.training.market.terms import Seat
from quantd.training.market.vector_env import VectorEnv
from quantd.training.plans.plan import MarketPlan

Policy = Callable[[Tensor, bool], Tensor]
"""(raw observation [1, D], True for the first of an episode) -> action [1, A], or int64[1] for an allocation."""

PASSING: Final = ("now.", "env.", "replay.")
"""Prefixes of the entries of a learner's state that its policy does not need."""


@runtime_checkable
class ValueBased(Protocol):
    """A learner that acts by the values of its actions."""

    def q_values(self, observation: Tensor) -> Tensor:
        """Return the values float[B, A] of A actions at B observations."""
        ...


def learner_of(plan: LearnerPlan, env: VectorEnv, seed: int, device: str = "cpu") -> Algorithm:
    """Return a new learner with weights drawn from `seed`."""
    return learner_for(plan).algorithm(plan, env.observation_size, env.action_size, env.kind, seed, device)


def sound(learner: Algorithm) -> bool:
    return all(bool(torch.isfinite(vector.detach()).all()) for vector in learner.vectors())


def policy_of(learner: Algorithm, scale: Scale | None, market: MarketPlan, symbols: tuple[str, ...]) -> Policy:
    """Return the learner's greedy policy, a function of raw observations.

    Several agents trade the mean of their weights, each weighted by the agent's share of the capital. The policy
    decides on the learner's device, and returns actions on the device of the observations.
    """
    device = learner.vectors()[0].device
    on_device = _joint(learner, scale, market.seats, symbols, device) if market.seats else _single(learner, scale)

    def acts(observation: Tensor, first: bool) -> Tensor:
        return on_device(observation.to(device), first).to(observation.device)

    return acts


def _single(learner: Algorithm, scale: Scale | None) -> Policy:
    def acts(observation: Tensor, first: bool) -> Tensor:
        rows = observation if scale is None else scale.of(observation.float())
        if isinstance(learner, OnPolicy):
            return learner.act(rows, started=torch.tensor([first], device=rows.device))
        return learner.act(rows)

    return acts


def _joint(
    learner: Algorithm, scale: Scale | None, seats: tuple[Seat, ...], symbols: tuple[str, ...], device: torch.device
) -> Policy:
    """Return the greedy policy of a learner with several agents: the mean of their capped weights, each weighted by
    capital. The rest is cash.
    """
    # 1 for each asset that the agent may hold and for cash, which is last
    permitted = torch.tensor(
        [[1.0 if not s.symbols or n in s.symbols else 0.0 for n in symbols] + [1.0] for s in seats], device=device
    )
    invested = torch.tensor([[agent.invested] for agent in seats], device=device)
    capital = torch.tensor([[agent.capital] for agent in seats], dtype=torch.float64, device=device)
    share = (capital / capital.sum()).to(torch.float32)

    def acts(observation: Tensor, first: bool) -> Tensor:
        row = observation if scale is None else scale.of(observation.float())
        weights = learner.act(row.expand(len(seats), -1)) * permitted
        capped = weights[:, :-1] / weights.sum(-1, keepdim=True).clamp(min=1e-30)
        capped = capped * (invested / capped.sum(-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        weights = (share * capped).sum(0)
        return torch.cat([weights, (1.0 - weights.sum()).clamp(min=0.0).view(1)]).view(1, -1)

    return acts


def q_value(learner: Algorithm, observation: Tensor) -> float | None:
    """Return the mean over B normalised observations float[B, D] of the highest value of an action.

    The result is None for a learner without values of actions. Axes: D entries of an observation.
    """
    if not isinstance(learner, ValueBased):
        return None
    return float(learner.q_values(observation).amax(-1).mean())


def state_on(state: State, device: str) -> State:
    """Return a state with its tensors on a device.

    Tensors of uint8, the states of random generators, stay on the CPU, where PyTorch reads them.
    """
    return {
        name: value.to(device) if isinstance(value, Tensor) and value.dtype != torch.uint8 else value
        for name, value in state.items()
    }


def policy_state(state: State) -> State:
    """Return the part of a learner's state that its policy needs."""
    return {name: value for name, value in state.items() if not name.startswith(PASSING)}
