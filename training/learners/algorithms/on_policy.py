"""The common part of PPO and A2C: a network, its action distribution, one generator, and the training loop.

What can go wrong. A resumed training would differ from an uninterrupted one, or a recurrent policy would keep its state
beyond an episode: so the saved state includes the random generator, the environment and the carry (the state of a
recurrent network).

What the order guarantees. The report of a rollout comes after its update, when steps and environment have moved on,
because a checkpoint is written at the report.

Rejected: one stacked network for all seeds, which saves little time and needs a second form of each network,
distribution and optimiser (docs/decisions/014).
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from quantd.training.learners.distributions import Family, family
from quantd.training.learners.network_plan import NetworkPlan
from quantd.training.learners.optimisers import Adam, RmsProp
from quantd.training.learners.record import Actor, Report, State, part, report_of
from quantd.training.learners.rollout import Now, Rollout
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Resumable, VectorEnv
from quantd.training.networks.actor_critic import ActorCritic
from quantd.training.networks.lstm import Lstm
from quantd.training.networks.mlp import Mlp
from quantd.training.networks.shared import INVESTED, Shared
from quantd.training.networks.sizes import required
from quantd.training.networks.transformer import Transformer


class OnPolicy:
    """Base class of a learner from rollouts of `horizon` steps each. All draws come from the learner's own generator.

    A subclass declares the type of `plan`, which has `horizon`, and the methods `_optimiser` and `_update`. `_update`
    learns from a rollout, and returns its losses if a report is due. In this class these two methods raise
    NotImplementedError.
    """

    losses: ClassVar[tuple[str, ...]]
    rollouts_a_report: ClassVar[int] = 1
    one_pass: ClassVar[bool] = False
    """Whether each rollout is used once, so that its acting passes also serve the gradient."""
    plan: Any

    def __init__(
        self, plan: NetworkPlan, observation_size: int, action_size: int, kind: Kind, seed: int, device: str = "cpu"
    ) -> None:
        """Make the network and the optimiser. No environment is entered yet, and no state waits to be resumed.

        `_asked` is the recurrent state between calls of `act`, `_now` the current state of the training environments,
        and `_resume` the loaded state of an environment, until `enter` restores it.
        """
        self.plan = plan
        self.seed: Final = seed
        self.random: Final = torch.Generator(device).manual_seed(seed)
        self.family: Final[Family] = family(kind, action_size, plan.simplex)
        self.network: Final[ActorCritic] = _network(plan, observation_size, self.family, self.random)
        self.optimiser: Final = self._optimiser()
        self.steps = 0
        self._asked: Tensor | None = None
        self._now: Now | None = None
        self._env: VectorEnv | None = None
        self._resume: dict[str, Tensor] | None = None

    @torch.no_grad()
    def act(self, observation: Tensor, *, greedy: bool = True, started: Tensor | None = None) -> Tensor:
        """Map observations float[B, D] to actions.

        A recurrent policy carries a state for each row from call to call; `started` bool[B] is True for rows whose
        state begins anew. Axes: B environments, D entries of an observation.
        """
        rows = observation.to(self.network.vector)
        carry = self._asked
        if carry is None or len(carry) != len(rows):
            carry = self.network.begin(len(rows))
        if started is not None and self.network.recurrent:
            carry = carry * (~started).unsqueeze(-1)
        actor, self._asked = self.network.act(rows, carry)
        return self.family.mode(actor) if greedy else self.family.sample(actor, self.network.spread, self.random)

    @torch.no_grad()
    def probabilities(self, observation: Tensor) -> Tensor:
        """Return probabilities float[B, A] of discrete allocations, a measure of confidence; no recurrent state is
        carried.

        Raises ValueError for a policy whose actions are not discrete. Axes: B environments, A allocations.
        """
        if self.family.readout != "softmax":
            raise ValueError(f"a policy with the readout {self.family.readout} has no discrete probabilities")
        rows = observation.to(self.network.vector)
        return torch.softmax(self.network.act(rows, self.network.begin(len(rows)))[0], -1)

    def policy_networks(self) -> Actor:
        return Actor((self.network,), self.family.readout, self.network.begin(1).shape[1], self.network)

    def vectors(self) -> tuple[Tensor, ...]:
        """All learned parameters, including the critic's."""
        return (self.network.vector,)

    def enter(self, env: VectorEnv) -> Now:
        """Resume training in `env`, or begin training in it. Return the current state of its environments.

        After `load` of a state inside an episode, raises ValueError for an environment that cannot be resumed.
        """
        if self._resume is not None:
            if not isinstance(env, Resumable):
                raise ValueError(f"{type(env).__name__} cannot resume the saved episodes: it has no method load")
            env.load(self._resume)
            self._resume = None
        elif self._env is not env:
            self._now = None
        self._env = env
        if self._now is None:
            first = env.reset(self.seed).to(self.network.vector)
            zero = torch.zeros(env.batch, device=first.device)
            # `zero == 0.0` is True in each row: every observation is the first of its episode
            self._now = Now(first, zero == 0.0, self.network.begin(env.batch), zero)
        return self._now

    @torch.no_grad()
    def learn(self, env: VectorEnv, steps: int, report: Callable[[Report], bool]) -> None:
        """Learn until `steps` env-steps in total are done, or until `report` returns True.

        Raises Diverged where a loss is not finite, ValueError for an environment that cannot be resumed, and
        NotImplementedError in this base class, which has no `_update`.
        """
        rollout, now = Rollout(env, self.plan.horizon), self.enter(env)
        returns: list[Tensor] = []
        began, reported_steps, rollouts = time.perf_counter(), self.steps, 0
        while self.steps < steps:
            # a rollout that is used once keeps its acting passes for the gradient
            now = rollout.collect(self.network, self.family, now, self.random, keep=self.one_pass)
            self.steps += rollout.length * env.batch
            rollouts += 1
            tell = rollouts % self.rollouts_a_report == 0 or self.steps >= steps
            losses = self._update(rollout, now, tell)
            # before the report, at which the state is saved
            self._now = now
            returns.append(rollout.returns)
            if tell and report(report_of(self.losses, losses, self.steps, reported_steps, began, returns)):
                return
            if tell:
                returns.clear()
                began, reported_steps = time.perf_counter(), self.steps

    def state(self) -> State:
        """Return everything that determines the next rollout, with the environment's state where supported."""
        state: State = {
            "steps": self.steps,
            "random": self.random.get_state().clone(),
            "parameters": self.network.vector.clone(),
            **{f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()},
        }
        if self._now is not None:
            state |= {f"now.{name}": tensor.clone() for name, tensor in self._now._asdict().items()}
        env: object = self._env
        if isinstance(env, Resumable):
            state |= {f"env.{name}": tensor.clone() for name, tensor in env.state().items()}
        return state

    def load(self, state: State) -> None:
        """Restore a `state` that `state()` returned; the next `learn` restores the state of the environment."""
        tensors = {name: tensor.clone() for name, tensor in state.items() if isinstance(tensor, Tensor)}
        self.steps = int(state["steps"])
        self.random.set_state(tensors["random"])
        self.network.vector.copy_(tensors["parameters"])
        self._now = Now(**now) if (now := part(tensors, "now.")) else None
        self._resume = part(tensors, "env.") or None
        self._env = None
        self._asked = None
        self.optimiser.load(part(tensors, "optimiser."))

    def _optimiser(self) -> Adam | RmsProp:
        """Return the optimiser of `network`."""
        raise NotImplementedError

    def _update(self, rollout: Rollout, now: Now, tell: bool) -> Tensor | None:
        raise NotImplementedError


def _network(plan: NetworkPlan, observation_size: int, actions: Family, random: torch.Generator) -> ActorCritic:
    sizes = (observation_size, actions.outputs, actions.spread, random)
    match plan.network:
        case "mlp":
            return Mlp(*sizes, hidden=plan.hidden, start=plan.log_spread, bfloat16=plan.bfloat16)
        case "lstm":
            return Lstm(*sizes, hidden=plan.hidden[0], start=plan.log_spread)
        case "shared":
            # positions of a box have no cash beside them, and begin at 0
            invested = 0.0 if actions.readout == "tanh" else INVESTED
            layout = required(plan.layout, plan.network)
            return Shared(*sizes, layout=layout, hidden=plan.hidden, start=plan.log_spread, invested=invested)
        case "transformer":
            return Transformer(
                *sizes, layout=required(plan.layout, plan.network), sizes=plan.transformer, start=plan.log_spread
            )
