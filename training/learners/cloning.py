"""Behaviour cloning (Pomerleau 1991): initialises a policy from a classical one instead of at random.

The target of the fit is the teacher policy's deterministic answer. The critic and the spread of actions are unchanged.

What can go wrong. An environment may overwrite its observation, so that all demonstrations would equal the last one: so
each observation is copied. A weight of 0 has an infinite logarithm: so the actor's weights are bounded below. The loss
does not depend on the critic and the spread of actions: so their gradients are zero.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import torch
from torch import Tensor

from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.optimisers import Adam
from quantd.training.market.vector_env import VectorEnv

Teacher = Callable[[Tensor], Tensor]
"""Maps observations float[B, D] to actions: weights or positions float[B, A], or allocations int64[B]."""


class CloningPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the fit to a teacher; `minibatch` is in rows.

    Raises ValueError for `epochs` or `minibatch` below 1.
    """

    epochs: int = 20
    minibatch: int = 256
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.minibatch) < 1:
            raise ValueError(f"epochs {self.epochs}, minibatch {self.minibatch}: each must be 1 or more")


def demonstrations(env: VectorEnv, teacher: Teacher, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return (observations float32[steps * B, D], actions) along the trajectories of `teacher` in B environments.

    Axes: D entries of an observation.
    """
    observation = env.reset(seed)
    observations: list[Tensor] = []
    actions: list[Tensor] = []
    for _ in range(steps):
        action = teacher(observation)
        # a copy: an environment may overwrite its observation
        observations.append(observation.float().clone())
        actions.append(action.clone())
        observation = env.step(action).observation
    return torch.cat(observations), torch.cat(actions)


def clone(learner: OnPolicy, observation: Tensor, target: Tensor, plan: CloningPlan | None = None) -> list[float]:
    """Fit the actor to a teacher's actions at observations float[R, D]. Returns each epoch's mean loss.

    Targets are weights float[R, A] that add up to 1, positions float[R, A] in [-1, 1], or allocations int64[R]. The
    loss is the squared error for positions, else the cross-entropy, which at a perfect fit to weights is the entropy of
    the targets. For a recurrent policy, each row counts as a first observation.

    Raises ValueError without rows, for unequal numbers of observations and targets, and for allocations that are not
    int64. Axes: R rows, D entries of an observation, A entries of an action.
    """
    plan = plan or CloningPlan()
    loss_of: Final = _loss_for(learner, target)
    network, rows = learner.network, len(observation)
    if rows == 0 or len(target) != rows:
        raise ValueError(f"{rows} observations and {len(target)} targets: the numbers must be equal, and at least 1")
    optimiser = Adam(network.vector, plan.learning_rate, plan.adam_epsilon, plan.max_grad_norm)
    cuts = tuple(range(plan.minibatch, rows, plan.minibatch))
    started = torch.ones((1, rows), dtype=torch.bool, device=observation.device)
    # only the actor learns: spread and critic get zero gradients
    zero_spread = torch.zeros_like(network.spread)
    epoch_losses = []
    for _ in range(plan.epochs):
        order = torch.randperm(rows, generator=learner.random, device=observation.device)
        losses = []
        for picked in order.tensor_split(cuts):
            batch = observation.index_select(0, picked).to(network.vector).unsqueeze(0)
            heads = network.run(batch, started[:, : len(picked)], network.begin(len(picked)), keep=True)
            actor = heads.actor[0].requires_grad_()
            loss = loss_of(actor, target.index_select(0, picked))
            (d_actor,) = torch.autograd.grad(loss, actor)
            network.pull(d_actor, zero_spread, torch.zeros_like(heads.value))
            optimiser.step(network.gradient)
            losses.append(loss.detach() * len(picked))
        epoch_losses.append(float(torch.stack(losses).sum()) / rows)
    return epoch_losses


def _loss_for(learner: OnPolicy, target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss function of (actor's output, target) for the learner's kind of action."""
    mode, readout = learner.family.mode, learner.family.readout
    if readout == "softmax":
        if target.dtype != torch.int64:
            raise ValueError(f"targets are {target.dtype}; they must be int64, the indices of discrete allocations")
        return lambda actor, expected: torch.nn.functional.cross_entropy(actor, expected)
    if readout == "tanh":
        return lambda actor, expected: (mode(actor) - expected).square().sum(-1).mean()
    # 1e-30: the logarithm is finite where a weight is 0 in float32
    return lambda actor, expected: -(expected * mode(actor).clamp(min=1e-30).log()).sum(-1).mean()
