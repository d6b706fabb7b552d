"""Behaviour cloning (Pomerleau 1991): initialises a policy from a classical one instead of at random.

The target is the policy's deterministic answer. The critic and the spread of actions are unchanged.

What can go wrong. An environment overwrites its observation, so that all demonstrations are the last one; each is
copied. A target weight of 0 meets an infinite logarithm; the actor's weights are bounded below. The critic learns from
a loss that has no value; its gradient and that of the spread are zero.
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
    """Return (observations float32[steps * B, D], the teacher's actions) along the teacher's own trajectories."""
    observation = env.reset(seed)
    seen: list[Tensor] = []
    done: list[Tensor] = []
    for _ in range(steps):
        action = teacher(observation)
        # a copy: an environment may overwrite its observation
        seen.append(observation.float().clone())
        done.append(action.clone())
        observation = env.step(action).observation
    return torch.cat(seen), torch.cat(done)


def clone(learner: OnPolicy, observation: Tensor, target: Tensor, plan: CloningPlan | None = None) -> list[float]:
    """Fit the actor to a teacher's actions at observations float[R, D]. Returns each epoch's mean loss.

    Targets are weights float[R, A] that add up to 1 (cross-entropy, bounded below by their own entropy), positions
    float[R, A] in [-1, 1] (squared error), or allocations int64[R] (cross-entropy). For a recurrent policy, each row
    counts as a first observation.

    Raises ValueError without rows, for unequal numbers of observations and targets, and for allocations that are not
    int64.
    """
    plan = plan or CloningPlan()
    loss_of: Final = _losses(learner, target)
    network, rows = learner.network, len(observation)
    if rows == 0 or len(target) != rows:
        raise ValueError(f"{rows} observations and {len(target)} targets: the numbers must be equal, and at least 1")
    optimiser = Adam(network.vector, plan.learning_rate, plan.adam_epsilon, plan.max_grad_norm)
    cuts = tuple(range(plan.minibatch, rows, plan.minibatch))
    started = torch.ones((1, rows), dtype=torch.bool, device=observation.device)
    still = torch.zeros_like(network.spread)
    history = []
    for _ in range(plan.epochs):
        order = torch.randperm(rows, generator=learner.random, device=observation.device)
        losses = []
        for which in order.tensor_split(cuts):
            seen = observation.index_select(0, which).to(network.vector).unsqueeze(0)
            heads = network.run(seen, started[:, : len(which)], network.begin(len(which)), keep=True)
            actor = heads.actor[0].requires_grad_()
            loss = loss_of(actor, target.index_select(0, which))
            (d_actor,) = torch.autograd.grad(loss, actor)
            network.pull(d_actor, still, torch.zeros_like(heads.value))
            optimiser.step(network.gradient)
            losses.append(loss.detach() * len(which))
        history.append(float(torch.stack(losses).sum()) / rows)
    return history


def _losses(learner: OnPolicy, target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    mode, readout = learner.family.mode, learner.family.readout
    if readout == "softmax":
        if target.dtype != torch.int64:
            raise ValueError(f"targets are {target.dtype}; for discrete allocations they must be int64, their numbers")
        return lambda actor, wanted: torch.nn.functional.cross_entropy(actor, wanted)
    if readout == "tanh":
        return lambda actor, wanted: (mode(actor) - wanted).square().sum(-1).mean()
    # the smallest normal number, so that the logarithm is finite where a weight is 0 in float32
    return lambda actor, wanted: -(wanted * mode(actor).clamp(min=1e-30).log()).sum(-1).mean()
