"""Problems whose best policy is known in closed form, each a `VectorEnv`; `worth` says what an action is expected to
earn.

Worth is an expectation, not a draw: a policy is judged without noise, as a share of the best one's.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step, VectorEnv


class Problem(VectorEnv, Protocol):
    def worth(self, observation: Tensor, action: Tensor) -> Tensor:
        """float[B]: expected reward of actions."""
        ...

    def best(self, observation: Tensor) -> Tensor:
        """float[B]: the most that any action is expected to earn."""
        ...

    def sights(self, count: int, seed: int) -> Tensor:
        """float[count, D]: observations as often as they come."""
        ...


def share(problem: Problem, act: Callable[[Tensor], Tensor], seed: int = 10_007, count: int = 4096) -> float:
    """What part of the best expected reward `act` earns over observations drawn by `seed`."""
    seen = problem.sights(count, seed)
    return float(problem.worth(seen, act(seen)).mean() / problem.best(seen).mean())


class _Clock:
    """Episodes of one length; a batch of them starts at different places, so that their ends do not come together."""

    def __init__(self, batch: int, length: int) -> None:
        self.length = length
        self.age = torch.arange(batch) % length

    def tick(self) -> Tensor:
        self.age += 1
        ended = self.age >= self.length
        self.age[ended] = 0
        return ended


class DriftingAsset:
    """One asset drifts, the others only move; the observation is the last returns, which say nothing. Best: all of it
    in that asset. "simplex" has cash last, "discrete" an allocation for each asset alone."""

    device = torch.device("cpu")

    def __init__(
        self,
        kind: Kind,
        batch: int = 8,
        assets: int = 5,
        size: int = 0,
        drift: float = 0.5,
        noise: float = 0.5,
        length: int = 50,
    ) -> None:
        self.kind: Kind = kind
        self.batch = batch
        self.assets = assets
        self.observation_size = size or assets
        self.action_size = assets + (kind == "simplex")
        self.drift = torch.zeros(assets)
        self.drift[1] = drift
        self.noise = noise
        self._random = torch.Generator().manual_seed(0)
        self._clock = _Clock(batch, length)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._clock = _Clock(self.batch, self._clock.length)
        return self._noise(self.batch)

    def step(self, action: Tensor) -> Step:
        noise = self._noise(self.batch)
        returns = noise[:, : self.assets] * self.noise + self.drift
        if self.kind == "discrete":
            reward = returns.gather(1, action.unsqueeze(1)).squeeze(1)
        else:
            reward = (returns * action[:, : self.assets]).sum(1)
        return Step(noise, reward, torch.zeros(self.batch, dtype=torch.bool), self._clock.tick(), noise)

    def worth(self, observation: Tensor, action: Tensor) -> Tensor:
        if self.kind == "discrete":
            return self.drift[action]
        return action[:, : self.assets] @ self.drift

    def best(self, observation: Tensor) -> Tensor:
        return self.drift.max().expand(len(observation))

    def sights(self, count: int, seed: int) -> Tensor:
        return torch.randn((count, self.observation_size), generator=torch.Generator().manual_seed(seed))

    def state(self) -> dict[str, Tensor]:
        return {"random": self._random.get_state(), "age": self._clock.age.clone()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        self._random.set_state(state["random"])
        self._clock.age = state["age"].clone()
        return torch.zeros(self.batch, self.observation_size)

    def _noise(self, rows: int) -> Tensor:
        return torch.randn((rows, self.observation_size), generator=self._random)


class RevertingPair:
    """A spread returns to 0 by a part of itself each step; holding a earns a times its change. Best: all short above 0,
    all long below, expected (1 - keep) |spread|. "box" holds a in [-1, 1], "discrete" short, nothing or long, "simplex"
    weights of long, short and cash."""

    device = torch.device("cpu")
    observation_size = 1

    def __init__(self, kind: Kind, batch: int = 8, keep: float = 0.4, length: int = 50) -> None:
        self.kind: Kind = kind
        self.batch = batch
        self.action_size = 1 if kind == "box" else 3
        self.keep = keep
        self.width = (1.0 - keep * keep) ** -0.5
        self._random = torch.Generator().manual_seed(0)
        self._clock = _Clock(batch, length)
        self._spread = torch.zeros(batch)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._clock = _Clock(self.batch, self._clock.length)
        self._spread = self._draw() * self.width
        return self._spread.unsqueeze(1)

    def step(self, action: Tensor) -> Step:
        later = self.keep * self._spread + self._draw()
        reward = self._held(action) * (later - self._spread)
        final = later.unsqueeze(1)
        ended = self._clock.tick()
        self._spread = (self._draw() * self.width).where(ended, later)
        return Step(self._spread.unsqueeze(1), reward, torch.zeros_like(ended), ended, final)

    def worth(self, observation: Tensor, action: Tensor) -> Tensor:
        return -(1.0 - self.keep) * self._held(action) * observation[:, 0]

    def best(self, observation: Tensor) -> Tensor:
        return (1.0 - self.keep) * observation[:, 0].abs()

    def sights(self, count: int, seed: int) -> Tensor:
        return torch.randn((count, 1), generator=torch.Generator().manual_seed(seed)) * self.width

    def state(self) -> dict[str, Tensor]:
        return {"random": self._random.get_state(), "age": self._clock.age.clone(), "spread": self._spread.clone()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        self._random.set_state(state["random"])
        self._clock.age = state["age"].clone()
        self._spread = state["spread"].clone()
        return self._spread.unsqueeze(1)

    def _held(self, action: Tensor) -> Tensor:
        match self.kind:
            case "box":
                return action[:, 0]
            case "discrete":
                return action - 1.0
            case "simplex":
                return action[:, 0] - action[:, 1]

    def _draw(self) -> Tensor:
        return torch.randn(self.batch, generator=self._random)


class RegimeBandit:
    """R regimes that may change at every step and are seen; in each another allocation earns 1 and the rest nothing,
    all of it in noise. With `remembered` the regime is of the whole episode and is seen at its first step only, so that
    the best is only for who remembers. Best: 1 a step."""

    device = torch.device("cpu")

    def __init__(
        self, kind: Kind, batch: int = 8, regimes: int = 3, *, remembered: bool = False, length: int = 20
    ) -> None:
        self.kind: Kind = kind
        self.batch = batch
        self.action_size = self.observation_size = regimes
        self.remembered = remembered
        self._random = torch.Generator().manual_seed(0)
        self._clock = _Clock(batch, length)
        self.regime = torch.zeros(batch, dtype=torch.int64)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._clock = _Clock(self.batch, self._clock.length)
        self.regime = self._draw()
        return self._shown()

    def step(self, action: Tensor) -> Step:
        earned = self._earned(self.regime, action)
        reward = earned + 0.5 * torch.randn(self.batch, generator=self._random)
        ended = self._clock.tick()
        drawn = self._draw()
        final = torch.zeros(self.batch, self.action_size) if self.remembered else self._shown(drawn)
        self.regime = drawn.where(ended, self.regime) if self.remembered else drawn
        seen = self._shown() * ended.unsqueeze(1) if self.remembered else final
        return Step(seen, reward, torch.zeros_like(ended), ended, final.where(ended.unsqueeze(1), seen))

    def worth(self, observation: Tensor, action: Tensor) -> Tensor:
        return self._earned(observation.argmax(1), action)

    def best(self, observation: Tensor) -> Tensor:
        return torch.ones(len(observation))

    def sights(self, count: int, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return self._shown(torch.randint(self.action_size, (count,), generator=random))

    def state(self) -> dict[str, Tensor]:
        return {"random": self._random.get_state(), "age": self._clock.age.clone(), "regime": self.regime.clone()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        self._random.set_state(state["random"])
        self._clock.age = state["age"].clone()
        self.regime = state["regime"].clone()
        return self._shown()

    def _earned(self, regime: Tensor, action: Tensor) -> Tensor:
        if self.kind == "discrete":
            return (action == regime).float()
        return action.gather(1, regime.unsqueeze(1)).squeeze(1)

    def _draw(self) -> Tensor:
        return torch.randint(self.action_size, (self.batch,), generator=self._random)

    def _shown(self, regime: Tensor | None = None) -> Tensor:
        return torch.nn.functional.one_hot(self.regime if regime is None else regime, self.action_size).float()
