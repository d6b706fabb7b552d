"""quantd's shared network in the interfaces of the peers: a policy of Stable-Baselines3, and an agent of CleanRL.

The network is `quantd.training.networks.shared.Shared` itself: a score of each asset against cash, and one value. The
peers draw the scores from a Gaussian with one learned deviation each, and weights are the softmax of the drawn scores.
"""

from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn
from torch.distributions import Normal

from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.vector_env import VectorEnv
from quantd.training.networks.shared import Shared
from quantd.training.networks.sizes import required

Network = Callable[[], Shared]


def network_of(plan: PpoPlan, env: VectorEnv, seed: int) -> Network:
    """Return the maker of the network that a plan with `simplex = "softmax_gaussian"` has."""
    scores = env.action_size - 1

    def made_network() -> Shared:
        random = torch.Generator().manual_seed(seed)
        layout = required(plan.layout, plan.network)
        return Shared(
            env.observation_size, scores, scores, random, layout=layout, hidden=plan.hidden, start=plan.log_spread
        )

    return made_network


class Outputs(nn.Module):
    """Gives the two heads of the network as the latent vectors of a policy of Stable-Baselines3."""

    def __init__(self, network: Shared) -> None:
        super().__init__()
        self.network = network
        # the policy has deviations of its own
        self.network.spread.requires_grad_(False)
        self.latent_dim_pi, self.latent_dim_vf = len(network.spread), 1

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map float[B, D] to scores float[B, N] and values float[B, 1]."""
        heads = self.network(features)
        return heads.actor, heads.value.unsqueeze(-1)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Return the scores alone."""
        return self(features)[0]

    def forward_critic(self, features: Tensor) -> Tensor:
        """Return the values alone."""
        return self(features)[1]


class SharedPolicy(ActorCriticPolicy):
    """A policy of Stable-Baselines3 whose heads are those of the shared network."""

    def __init__(self, *args: Any, network: Network, **options: Any) -> None:
        self._network = network
        super().__init__(*args, ortho_init=False, **options)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Outputs(self._network())

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        # scores and values need no further layer
        self.action_net, self.value_net = nn.Identity(), nn.Identity()
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer = self.optimizer_class(learned, lr=lr_schedule(1), **self.optimizer_kwargs)


class Agent(nn.Module):
    """The shared network as the loop of CleanRL's script calls its agent."""

    def __init__(self, envs: Any) -> None:
        super().__init__()
        self.network: Shared = envs.network()

    def actor_mean(self, x: Tensor) -> Tensor:
        """Map float[B, D] to the means float[B, N] of the scores."""
        return self.network(x).actor

    def get_value(self, x: Tensor) -> Tensor:
        """Map float[B, D] to values float[B, 1]."""
        return self.network(x).value.unsqueeze(-1)

    def get_action_and_value(self, x: Tensor, action: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return drawn or given scores with their log-probabilities, entropies float[B], and values float[B, 1]."""
        heads = self.network(x)
        drawn = Normal(heads.actor, self.network.spread.exp().expand_as(heads.actor))
        action = drawn.sample() if action is None else action
        return action, drawn.log_prob(action).sum(1), drawn.entropy().sum(1), heads.value.unsqueeze(-1)
