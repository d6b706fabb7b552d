"""Stable-Baselines3 on the same problems with the same network: the peer that PPO and A2C are held to."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.vector_env import VectorEnv

BOUND = 8.0
"""Of what the peer draws for weights and positions, before it becomes one: beyond it both are at their edge."""


class PeerEnv(VecEnv):
    """A VectorEnv as the peer takes it, stepped as a whole. Weights and positions are asked for in the coordinates that
    quantd.training.learners.distributions draws in: the peer would else learn from actions that were not executed."""

    def __init__(self, env: VectorEnv) -> None:
        self.env = env
        wide = spaces.Box(-np.inf, np.inf, (env.observation_size,), np.float32)
        actions: gymnasium.Space[Any]
        match env.kind:
            case "discrete":
                actions = spaces.Discrete(env.action_size)
            case "box":
                actions = spaces.Box(-BOUND, BOUND, (env.action_size,), np.float32)
            case "simplex":
                actions = spaces.Box(-BOUND, BOUND, (env.action_size - 1,), np.float32)
        super().__init__(env.batch, wide, actions)
        self._action: Tensor = torch.empty(0)
        self._seed = 0

    def reset(self) -> Any:
        return self.env.reset(self._seed).numpy()

    def step_async(self, actions: np.ndarray) -> None:
        self._action = self.executed(torch.from_numpy(actions))

    def executed(self, action: Tensor) -> Tensor:
        if self.env.kind == "discrete":
            return action
        if self.env.kind == "box":
            return torch.tanh(action)
        return torch.softmax(torch.cat([action, action.new_zeros((len(action), 1))], 1), 1)

    def step_wait(self) -> Any:
        step = self.env.step(self._action)
        done = (step.terminated | step.truncated).numpy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for k in done.nonzero()[0]:
            infos[k] = {"terminal_observation": step.final[k].numpy(), "TimeLimit.truncated": bool(step.truncated[k])}
        return step.observation.numpy(), step.reward.numpy(), done, infos

    def seed(self, seed: int | None = None) -> list[None]:
        self._seed = seed or 0
        return [None] * self.num_envs

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


class Trunk(BaseFeaturesExtractor):
    """quantd.training.networks.mlp's trunk, of torch's own layers."""

    def __init__(self, observation_space: spaces.Box, hidden: Sequence[int]) -> None:
        super().__init__(observation_space, hidden[-1])
        widths = [observation_space.shape[0], *hidden]
        self.layers = nn.Sequential(
            *(
                part
                for a, b in zip(widths[:-1], hidden, strict=True)
                for part in (nn.Linear(a, b), nn.Tanh(), nn.LayerNorm(b))
            )
        )

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(observations)


def peer_of(plan: PpoPlan | A2cPlan, env: VectorEnv, seed: int) -> PPO | A2C:
    """With the plan's hyper-parameters and network."""
    policy = {
        "features_extractor_class": Trunk,
        "features_extractor_kwargs": {"hidden": plan.hidden},
        "net_arch": [],
        "log_std_init": plan.log_spread,
    }
    same = {
        "n_steps": plan.horizon,
        "gamma": plan.gamma,
        "gae_lambda": plan.gae_lambda,
        "learning_rate": plan.learning_rate,
        "ent_coef": plan.entropy_weight,
        "vf_coef": plan.value_weight,
        "max_grad_norm": plan.max_grad_norm,
        "policy_kwargs": policy,
        "device": "cpu",
        "seed": seed,
    }
    if isinstance(plan, A2cPlan):
        return A2C("MlpPolicy", PeerEnv(env), rms_prop_eps=plan.rms_epsilon, **same)
    return PPO("MlpPolicy", PeerEnv(env), n_epochs=plan.epochs, batch_size=plan.minibatch, clip_range=plan.clip, **same)


def acting(peer: PPO | A2C, env: VectorEnv) -> Any:
    """float[B, D] -> the peer's actions when nothing is drawn, as the problem takes them."""
    view = PeerEnv(env)
    return lambda observations: view.executed(
        torch.from_numpy(peer.predict(observations.numpy(), deterministic=True)[0])
    )
