"""Running normalisation of observations and rewards in constant memory; frozen for evaluation."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from quantd.models.market.vector_env import Kind, Step, VectorEnv

EPSILON: Final = 1e-8

CLIP: Final = 10.0
"""Cut of normalised observations, in deviations."""


class Running:
    """Running mean and variance by column, in float64: T. Chan, G. Golub and R. LeVeque (1979)."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.squares = torch.zeros(size, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """Add rows float[B, D]."""
        wide = rows.to(torch.float64)
        fresh = len(wide)
        mean = wide.mean(0)
        apart = mean - self.mean
        total = self.count + fresh
        self.squares = self.squares + (wide - mean).square().sum(0) + apart.square() * (self.count * fresh / total)
        self.mean = self.mean + apart * (fresh / total)
        self.count = total

    def deviation(self) -> Tensor:
        """Return the population deviation float64[D]; 1 before the first row."""
        if not self.count:
            return torch.ones_like(self.mean)
        return (self.squares / self.count + EPSILON).sqrt()


class Scale(NamedTuple):
    """Scaling of observations: minus `mean`, over `deviation`, cut at `clip`."""

    mean: Tensor
    """float64[D]."""
    deviation: Tensor
    """float64[D]."""
    clip: float = CLIP

    def of(self, observation: Tensor) -> Tensor:
        """Scale float[B, D]."""
        scaled = (observation - self.mean.to(observation.dtype)) / self.deviation.to(observation.dtype)
        return scaled.clamp(-self.clip, self.clip)


class Normalised:
    """A `VectorEnv` that normalises another.

    Observations are centred and scaled by running statistics, and cut at CLIP. Rewards are divided by the deviation
    of the discounted return; their mean stays, because a shift would change the optimal policy. `frozen` stops the
    statistics and leaves rewards unscaled. `state` belongs to the trained model.
    """

    kind: Kind

    def __init__(self, env: VectorEnv, *, discount: float = 0.99) -> None:
        self.env: Final = env
        self.batch, self.kind, self.device = env.batch, env.kind, env.device
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self.observations: Final = Running(env.observation_size, env.device)
        self.returns: Final = Running(1, env.device)
        self.frozen = False
        self._discount = discount
        self._return = torch.zeros(env.batch, device=env.device)

    @property
    def scale(self) -> Scale:
        """The current scaling of observations."""
        return Scale(self.observations.mean, self.observations.deviation())

    def reset(self, seed: int | None = None) -> Tensor:
        self._return = torch.zeros_like(self._return)
        observation = self.env.reset(seed)
        if not self.frozen:
            self.observations.add(observation)
        return self.scale.of(observation)

    def step(self, action: Tensor) -> Step:
        step = self.env.step(action)
        done = step.terminated | step.truncated
        reward = step.reward
        if not self.frozen:
            self.observations.add(step.observation)
            self._return = self._return * self._discount + reward
            self.returns.add(self._return[:, None])
            scaled = reward / self.returns.deviation().to(reward.dtype)
            reward = scaled.clamp(-CLIP, CLIP)
            self._return = self._return.masked_fill(done, 0.0)
        scale = self.scale
        observation = scale.of(step.observation)
        final = observation if step.final is step.observation else scale.of(step.final)
        return Step(observation, reward, step.terminated, step.truncated, final)

    def state(self) -> dict[str, Tensor]:
        """Return the statistics, which are saved beside the weights."""
        kept = {"return": self._return.clone()}
        for name, each in (("observation", self.observations), ("reward", self.returns)):
            kept[f"{name}_mean"], kept[f"{name}_squares"] = each.mean.clone(), each.squares.clone()
            kept[f"{name}_count"] = torch.tensor(each.count)
        return kept

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._return = state["return"].clone()
        for name, each in (("observation", self.observations), ("reward", self.returns)):
            each.mean, each.squares = state[f"{name}_mean"].clone(), state[f"{name}_squares"].clone()
            each.count = int(state[f"{name}_count"])
