"""Running normalisation of observations and rewards in constant memory; frozen for evaluation.

What can go wrong. Evaluation would move the statistics, and the policy's inputs with them: so `frozen` stops the
statistics. A shifted reward would change the optimal policy: so rewards are only divided.

What the order guarantees. An observation is added to the statistics first and scaled after that. In the same way a
reward is first added to the discounted return and then scaled by the standard deviation of this return. An ended
episode resets the discounted return at the end of the step.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step, VectorEnv

EPSILON: Final = 1e-8

CLIP: Final = 10.0
"""Bound of normalised observations and rewards, in standard deviations."""


class Running:
    """Running mean and variance by column, in float64: T. Chan, G. Golub and R. LeVeque (1979)."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.squares = torch.zeros(size, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """Add B observations, rows float[B, D], to the statistics.

        Axes: D entries of an observation.
        """
        wide = rows.to(torch.float64)
        added_rows = len(wide)
        mean = wide.mean(0)
        shift = mean - self.mean
        total = self.count + added_rows
        squares = (wide - mean).square().sum(0)
        # squares about the joint mean: those about both means, and the part of the shift between them
        self.squares = self.squares + squares + shift.square() * (self.count * added_rows / total)
        self.mean = self.mean + shift * (added_rows / total)
        self.count = total

    def deviation(self) -> Tensor:
        """Return the population standard deviation float64[D] of the D columns; 1 before the first row."""
        if not self.count:
            return torch.ones_like(self.mean)
        return (self.squares / self.count + EPSILON).sqrt()


class Scale(NamedTuple):
    """Scaling of observations: (observation - `mean`) / `deviation`, limited to the range -`clip` to `clip`."""

    mean: Tensor
    """float64[D]."""
    deviation: Tensor
    """float64[D]."""
    clip: float = CLIP

    def of(self, observation: Tensor) -> Tensor:
        """Scale observations float[B, D]: subtract the mean, divide by the deviation, and clip.

        Axes: B accounts, D entries of an observation.
        """
        scaled = (observation - self.mean.to(observation.dtype)) / self.deviation.to(observation.dtype)
        return scaled.clamp(-self.clip, self.clip)


class Normalised:
    """A `VectorEnv` that normalises the observations and rewards of another one.

    Observations are centred and scaled by running statistics, and limited to CLIP in absolute value. Rewards are
    divided by the deviation of the discounted return; their mean stays, because a shift would change the optimal
    policy. `frozen` stops the update of the statistics and leaves rewards unscaled. The statistics in `state` are part
    of the trained model.
    """

    kind: Kind

    def __init__(self, env: VectorEnv, *, discount: float = 0.99) -> None:
        """Begin with empty statistics. `discount` is the factor of the discounted return, whose deviation scales the
        rewards. While `frozen` is True, the statistics stay as they are."""
        self.env: Final = env
        self.batch, self.kind, self.device = env.batch, env.kind, env.device
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self.observations = Running(env.observation_size, env.device)
        self.returns = Running(1, env.device)
        self.frozen = False
        self._discount = discount
        self._return = torch.zeros(env.batch, device=env.device)

    @property
    def scale(self) -> Scale:
        return Scale(self.observations.mean, self.observations.deviation())

    def reset(self, seed: int | None = None) -> Tensor:
        """Begin new episodes of the environment, and return the first observations, standardised. The discounted
        returns begin at 0."""
        self._return = torch.zeros_like(self._return)
        observation = self.env.reset(seed)
        if not self.frozen:
            self.observations.add(observation)
        return self.scale.of(observation)

    def step(self, action: Tensor) -> Step:
        """Step the environment, and return its step with normalised observation and reward.

        The observation is standardised, and the reward is divided by the deviation of the discounted return and clipped
        to CLIP; observation and reward update the statistics unless `frozen`.
        """
        step = self.env.step(action)
        # the environment returns one tensor for both where no new episode began
        has_restarts = step.final is not step.observation
        done = step.terminated | step.truncated
        reward = step.reward
        if not self.frozen:
            self.observations.add(step.observation)
            self._return = self._return * self._discount + reward
            self.returns.add(self._return.unsqueeze(-1))
            deviation = self.returns.deviation().to(reward.dtype)
            reward = (reward / deviation).clamp(-CLIP, CLIP)
            # after the deviation, which would miss the last return of an ended episode otherwise
            self._return = self._return.masked_fill(done, 0.0)
        scale = self.scale
        observation = scale.of(step.observation)
        final = scale.of(step.final) if has_restarts else observation
        return Step(observation, reward, step.terminated, step.truncated, final)

    def state(self) -> dict[str, Tensor]:
        """Return the statistics, which are saved beside the weights."""
        tensors = {"return": self._return.clone()}
        for name, statistics in (("observation", self.observations), ("reward", self.returns)):
            tensors[f"{name}_mean"], tensors[f"{name}_squares"] = statistics.mean.clone(), statistics.squares.clone()
            tensors[f"{name}_count"] = torch.tensor(statistics.count)
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._return = state["return"].clone()
        for name, statistics in (("observation", self.observations), ("reward", self.returns)):
            statistics.mean, statistics.squares = state[f"{name}_mean"].clone(), state[f"{name}_squares"].clone()
            statistics.count = int(state[f"{name}_count"])
