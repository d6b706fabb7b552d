"""Env-steps per second of SAC and DQN compared with Stable-Baselines3: same network, same problem, one environment.

    OMP_NUM_THREADS=1 python -m benchmarks.off_policy [seconds of each row]

SAC has 256 and 256, batch 256, one update per env-step. DQN has 64 and 64, batch 64, one update per 4 env-steps, and a
target copy every 1,000 updates. Sides alternate; a ratio is of steps per CPU second in one round.
Needs stable-baselines3.
"""

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN, SAC
from torch import Tensor

from benchmarks.learners import PEER, heading, paces, printed
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.record import Report
from quantd.training.learners.replay import SumTree
from quantd.training.learners.sac import SacPlan
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step

OBSERVATION, POSITIONS, CHOICES, EPISODE = 64, 8, 8, 250

EPSILON = 0.1
"""Of DQN, constant: a random action needs no network, so that both sides must be random equally often."""


class Returns:
    """A minimal problem: the observation is the newest random returns, the reward is action x the first of them."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.seen = draw.normal(size=(4096, OBSERVATION)).astype(np.float32)
        self.at = 0

    def next(self) -> int:
        self.at = (self.at + 1) % len(self.seen)
        return self.at


class Tensors:
    """The problem as a VectorEnv of one."""

    batch, observation_size, device = 1, OBSERVATION, torch.device("cpu")

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.action_size = CHOICES if kind == "discrete" else POSITIONS
        self._returns = Returns(1)
        self._rows = torch.from_numpy(self._returns.seen).unsqueeze(1)
        self._no, self._yes = torch.zeros(1, dtype=torch.bool), torch.ones(1, dtype=torch.bool)

    def reset(self, seed: int | None = None) -> Tensor:
        return self._rows[self._returns.at]

    def step(self, action: Tensor) -> Step:
        row = self._rows[self._returns.next()]
        reward = row[0].index_select(0, action) if self.kind == "discrete" else (row[:, :POSITIONS] * action).sum(1)
        return Step(row, reward, self._no, self._yes if self._returns.at % EPISODE == 0 else self._no, row)


class Gym(gymnasium.Env[Any, Any]):
    """The problem as a gymnasium environment for SB3."""

    def __init__(self, kind: Kind) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
        self.action_space = (
            gymnasium.spaces.Discrete(CHOICES)
            if kind == "discrete"
            else gymnasium.spaces.Box(-1.0, 1.0, (POSITIONS,), np.float32)
        )
        self._discrete = kind == "discrete"
        self._returns = Returns(1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._returns.seen[self._returns.at], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        row = self._returns.seen[self._returns.next()]
        reward = float(row[action]) if self._discrete else float(row[:POSITIONS] @ action)
        return row, reward, False, self._returns.at % EPISODE == 0, {}


def on(_: Report) -> bool:
    return False


def ours(make: Callable[[], Dqn | Sac], kind: Kind, warmup: int, steps: int) -> Callable[[], int]:
    learner, env = make(), Tensors(kind)
    learner.learn(env, warmup, on)

    def go() -> int:
        learner.learn(env, learner.steps + steps, on)
        return steps

    return go


def theirs(make: Callable[[], Any], warmup: int, steps: int) -> Callable[[], int]:
    learner = make()
    learner.learn(warmup)

    def go() -> int:
        learner.learn(steps, reset_num_timesteps=False)
        return steps

    return go


def tree() -> None:
    for exponent in (10, 14, 18):
        kept = SumTree(1 << exponent)
        kept.write(np.arange(1 << exponent), 1.0)
        draw = np.random.default_rng(1)
        times = []
        for _ in range(300):
            heights = draw.random(64) * kept.total
            began = perf_counter()
            kept.write(kept.find(heights), heights)
            times.append(perf_counter() - began)
        print(f"sum tree of {1 << exponent:7,}: 64 drawn and written in {np.median(times) * 1e6:6.0f} us")


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    print(heading())
    sac = SacPlan(warmup=100, buffer=10_000)
    rounded = SacPlan(warmup=100, buffer=10_000, bfloat16=True)
    plan = DqnPlan(
        hidden=(64, 64), warmup=100, train_every=4, target_every=1_000, epsilon=EPSILON, epsilon_least=EPSILON
    )
    sizes = (OBSERVATION, CHOICES, "discrete", 1)
    explores = {"exploration_initial_eps": EPSILON, "exploration_final_eps": EPSILON}
    kept = {"buffer_size": 10_000, "learning_starts": 100, "device": "cpu"}
    often = {"batch_size": 64, "train_freq": 4, "target_update_interval": 4_000}
    sides = {
        PEER: theirs(lambda: DQN("MlpPolicy", Gym("discrete"), **explores, **kept, **often), 600, 1_500),
        "quantd": ours(lambda: Dqn(plan, *sizes), "discrete", 600, 1_500),
    }
    printed("DQN", paces(sides, seconds))
    box = (OBSERVATION, POSITIONS, "box", 1)
    sides = {
        PEER: theirs(lambda: SAC("MlpPolicy", Gym("box"), **kept), 120, 60),
        "quantd": ours(lambda: Sac(sac, *box), "box", 120, 60),
        "quantd, bfloat16": ours(lambda: Sac(rounded, *box), "box", 120, 60),
    }
    printed("SAC", paces(sides, seconds))
    tree()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
