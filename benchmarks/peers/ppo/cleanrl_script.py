"""Runs CleanRL's script of PPO with continuous actions in a market of quantd; the script is a file of the user.

The loop of the script is as its authors wrote it. Three things are put around it:

- `gymnasium.vector.SyncVectorEnv` is the batched market while the script runs. The wrappers that the script puts around
  single environments normalise observations and rewards; the market is normalised by quantd as for all sides.
- A hook of torch's optimisers counts their steps, and copies the parameters when a rollout was learned from.
- For quantd's network, the class `Agent` of a copy of the file is replaced by that of `shared_policy`.

What can go wrong: the loop makes another number of optimiser steps a rollout than is counted here, and a policy is
evaluated within an update. The count is of rows, minibatches and epochs; a total that differs raises ValueError.
"""

import ast
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.peers.ppo.shared_policy import Network
from quantd.training.market.vector_env import VectorEnv
from tests.training.learners.peer import BOUND, PeerEnv

REPLACED: Final = "from benchmarks.peers.ppo.shared_policy import Agent"


def digest(script: Path) -> str:
    """Return the hex SHA-256 of a script. Raises OSError."""
    return sha256(script.read_bytes()).hexdigest()


def with_shared_agent(source: str) -> str:
    """Return the source with quantd's agent in place of its class `Agent`. Raises ValueError where it has none."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Agent"]
    if len(classes) != 1 or classes[0].end_lineno is None:
        raise ValueError("the script has no class Agent; give cleanrl/ppo_continuous_action.py")
    lines = source.splitlines()
    lines[classes[0].lineno - 1 : classes[0].end_lineno] = [REPLACED]
    return "\n".join([*lines, ""])


class BatchedMarket:
    """A VectorEnv as the vector environment that the script steps."""

    def __init__(self, env: VectorEnv, network: Network | None = None) -> None:
        self._env, self._peer, self._network = env, PeerEnv(env), network
        self.num_envs = env.batch
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (env.observation_size,), np.float32)
        self.single_action_space = spaces.Box(-BOUND, BOUND, (env.action_size - 1,), np.float32)

    def network(self) -> Any:
        """Return a new network for quantd's agent."""
        assert self._network is not None
        return self._network()

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the first observations float32[B, D]."""
        return self._env.reset(seed).numpy(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step with drawn scores float[B, N], cut at BOUND."""
        scores = torch.from_numpy(np.clip(actions, -BOUND, BOUND))
        step = self._env.step(self._peer.executed(scores))
        return step.observation.numpy(), step.reward.numpy(), step.terminated.numpy(), step.truncated.numpy(), {}

    def close(self) -> None:
        """Do nothing: it holds nothing."""


@contextmanager
def _surroundings(envs: BatchedMarket, words: list[str], folder: Path) -> Iterator[None]:
    """Give a script its environment, its arguments and a folder to write to, and its silence."""
    before, here, vector = sys.argv, Path.cwd(), gymnasium.vector.SyncVectorEnv
    sys.argv = words
    gymnasium.vector.SyncVectorEnv = lambda *_, **__: envs  # type: ignore[assignment, misc]
    os.chdir(folder)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(here)
        sys.argv, gymnasium.vector.SyncVectorEnv = before, vector  # type: ignore[misc]


def run(
    script: Path, env: VectorEnv, options: Mapping[str, object], steps: int, seed: int, network: Network | None,
    start: Callable[[], None], report: Callable[[int, Callable[[], torch.nn.Module]], None],
) -> None:  # fmt: skip
    """Run the script for at least `steps` env-steps. `options` are its arguments: `{"num-steps": 8}`.

    `start` is called before the script, and `report` after each rollout with the env-steps so far and a maker of the
    agent at that time. With a `network`, the agent has that one.
    """
    batch = env.batch * int(str(options["num-steps"]))
    minibatches = ceil(batch / (batch // int(str(options["num-minibatches"]))))
    updates = minibatches * int(str(options["update-epochs"]))
    rollouts = ceil(steps / batch)
    words = [f"--{name}={value}" if value is not None else f"--{name}" for name, value in options.items()]
    words += [f"--num-envs={env.batch}", f"--total-timesteps={rollouts * batch}", f"--seed={seed}", "--no-cuda"]
    envs, count = BatchedMarket(env, network), 0
    with TemporaryDirectory() as name:
        file = Path(name) / script.name
        source = script.read_text(encoding="utf-8")
        file.write_text(source if network is None else with_shared_agent(source), encoding="utf-8")
        with _surroundings(envs, [str(file), *words], Path(name)):
            agent_class = runpy.run_path(str(file), run_name="definitions")["Agent"]

            def copied(optimiser: torch.optim.Optimizer) -> torch.nn.Module:
                agent = agent_class(envs)
                with torch.no_grad():
                    learned = optimiser.param_groups[0]["params"]
                    for mine, theirs in zip(agent.parameters(), learned, strict=True):
                        mine.copy_(theirs)
                return agent

            def stepped(optimiser: torch.optim.Optimizer, *_: object) -> None:
                nonlocal count
                count += 1
                if count % updates == 0:
                    random, draws = torch.get_rng_state(), np.random.get_state()
                    report(count // updates * batch, lambda: copied(optimiser))
                    torch.set_rng_state(random)
                    np.random.set_state(draws)

            hook = register_optimizer_step_post_hook(stepped)
            start()
            try:
                runpy.run_path(str(file), run_name="__main__")
            finally:
                hook.remove()
    if count != rollouts * updates:
        raise ValueError(f"{script.name}: {count} optimiser steps in {rollouts} rollouts of {updates}")
