"""The training loop of DQN, SAC and MADDPG: step, store, update, report, and its resumable state.

What can go wrong. A resumed training would differ from an uninterrupted one: so the state includes the replay memory,
the random generator and the state of the environment. A return of n steps would lead across a restart of the
environments: so `cut` marks the last stored step when training begins in an environment anew.

What the order guarantees. A step is stored with the observation that was acted on, before the next observation replaces
it. The number of updates follows from the number of steps, so that as many updates are due after a resumption as
without it. A report comes after the updates that are due, so that a checkpoint made at the report is complete.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from quantd.training.learners.joint_replay import JointReplay
from quantd.training.learners.optimisers import Adam
from quantd.training.learners.record import Report, State, part, report_of
from quantd.training.learners.replay import Replay
from quantd.training.market.vector_env import Resumable, VectorEnv

STEPS_A_REPORT = 1000
"""Env-steps between two reports."""

UPDATES_TOLD = 8
"""Losses are reported for one update in this many, because their sum costs as much as a layer."""


class OffPolicy:
    """Base class of a learner with a replay memory. All random draws come from its own generator.

    A subclass adds `optimisers`, `_vectors` (the parameter vectors of its networks), and the methods `explore` and
    `update`, which raise NotImplementedError in this class.
    """

    losses: ClassVar[tuple[str, ...]]
    optimisers: Mapping[str, Adam]
    _vectors: Mapping[str, Tensor]
    """The state of the networks: parameter vectors by name."""

    def __init__(
        self,
        seed: int,
        device: str,
        make_replay: Callable[[VectorEnv], Replay | JointReplay],
        warmup: int,
        train_every: int,
    ) -> None:
        """Begin with an empty replay memory, which `make_replay` makes for an environment. `warmup` is the number of
        env-steps (steps times environments) before the first update, and `train_every` the number of env-steps per
        update.

        `_seen` are the present observations float[B, D] of B environments, `_earned` float[B] the rewards of their
        episodes so far. `_resume` is the loaded state of memory and environment, until `learn` restores it.
        """
        self.seed: Final = seed
        self.random: Final = torch.Generator(device).manual_seed(seed)
        self.steps = 0
        """Env-steps of all environments together."""
        self.updates = 0
        self.episodes = 0
        """Ended episodes of all environments together."""
        self._warmup, self._train_every = warmup, train_every
        self._make_replay: Final = make_replay
        self._replay: Replay | JointReplay | None = None
        self._env: VectorEnv | None = None
        self._seen = torch.empty(0)
        self._earned = torch.empty(0)
        self._resume: dict[str, Tensor] = {}

    def explore(self, observation: Tensor) -> Tensor:
        """Return actions for training, with exploration. Raises NotImplementedError in this base class."""
        raise NotImplementedError

    def update(self, replay: Any, tell: bool) -> Tensor | None:
        """Perform one gradient step on a sample of `replay`. With `tell`, returns float[L], the losses; else None.

        Raises NotImplementedError in this base class. Axes: L losses.
        """
        raise NotImplementedError

    def learn(self, env: VectorEnv, steps: int, report: Callable[[Report], bool]) -> None:
        """Learn until `steps` env-steps in total are done, or until `report` returns True.

        Raises Diverged where a loss is not finite. Raises ValueError for an environment that cannot be resumed, after
        `load` of a state inside an episode.
        """
        replay = self._enter(env)
        losses = torch.zeros(len(self.losses), device=env.device)
        returns: list[Tensor] = []
        began, reported_steps, updates_told = time.perf_counter(), self.steps, 0
        while self.steps < steps:
            with torch.no_grad():
                action = self.explore(self._seen)
                step = env.step(action)
                replay.add(self._seen, action, step)
                self._seen = step.observation.float()
                self._earned += step.reward
                ended = step.terminated | step.truncated
                if bool(ended.any()):
                    returns.append(self._earned[ended])
                    self.episodes += len(returns[-1])
                    self._earned = self._earned.where(~ended, 0.0)
            self.steps += env.batch
            while self.updates < (self.steps - self._warmup) // self._train_every and len(replay):
                update_losses = self.update(replay, tell=self.updates % UPDATES_TOLD == 0)
                self.updates += 1
                if update_losses is not None:
                    losses += update_losses
                    updates_told += 1
            if self.steps - reported_steps < STEPS_A_REPORT and self.steps < steps:
                continue
            # no update yet: there are no losses
            mean_losses = losses / updates_told if updates_told else None
            if report(report_of(self.losses, mean_losses, self.steps, reported_steps, began, returns)):
                return
            losses.zero_()
            returns.clear()
            began, reported_steps, updates_told = time.perf_counter(), self.steps, 0

    def state(self) -> State:
        """Return the complete state of the training: parameter vectors, optimisers, counters, generator, memory and
        resumable environment.
        """
        state: State = {
            "steps": self.steps,
            "updates": self.updates,
            "episodes": self.episodes,
            "random": self.random.get_state().clone(),
        }
        if self._replay is not None:
            state |= {"now.seen": self._seen.clone(), "now.earned": self._earned.clone()}
            state |= {f"replay.{name}": tensor for name, tensor in self._replay.state().items()}
        else:
            # loaded, but `learn` has not begun: its memory and environment are still those that were loaded
            state |= self._resume
        env: object = self._env
        if isinstance(env, Resumable):
            state |= {f"env.{name}": tensor.clone() for name, tensor in env.state().items()}
        state |= {name: vector.clone() for name, vector in self._vectors.items()}
        for name, optimiser in self.optimisers.items():
            state |= {f"{name}.{key}": tensor for key, tensor in optimiser.state().items()}
        return state

    def load(self, state: State) -> None:
        """Restore a `state` that `state()` returned; the next `learn` restores replay memory and environment."""
        self.steps, self.updates, self.episodes = (int(state[name]) for name in ("steps", "updates", "episodes"))
        tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
        for name, vector in self._vectors.items():
            vector.copy_(tensors[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load(part(tensors, f"{name}."))
        self.random.set_state(tensors["random"])
        self._resume = {
            name: tensor.clone() for name, tensor in tensors.items() if name.startswith(("now.", "replay.", "env."))
        }
        self._replay = self._env = None

    def _enter(self, env: VectorEnv) -> Replay | JointReplay:
        """Resume training in `env`, or begin training there with the present replay memory. Return this memory."""
        if self._replay is None:
            self._replay = self._make_replay(env)
            if memory := part(self._resume, "replay."):
                self._replay.load(memory)
        if environment_state := part(self._resume, "env."):
            if not isinstance(env, Resumable):
                raise ValueError(f"{type(env).__name__} cannot resume the saved episodes: it has no method load")
            env.load(environment_state)
            self._seen, self._earned = self._resume["now.seen"], self._resume["now.earned"]
        elif self._env is not env:
            # another environment begins anew: its first step does not follow the last stored one
            self._replay.cut()
            self._seen = env.reset(self.seed).float()
            self._earned = torch.zeros(env.batch, device=env.device)
        self._env, self._resume = env, {}
        return self._replay
