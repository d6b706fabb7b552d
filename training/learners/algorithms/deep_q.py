"""Deep Q-learning (Mnih et al. 2015) with the extensions that Rainbow combines (Hessel et al. 2018).

The extensions are double Q-learning (van Hasselt et al. 2016), dueling networks (Wang et al. 2016), noisy layers
(Fortunato et al. 2018), n-step returns and priorities (Schaul et al. 2016).

What can go wrong. One network that selects and evaluates an action would trust its own errors: so in double mode the
target network evaluates the action that the online network selects. One outlier would move all weights: so the loss is
Huber's, whose gradient is bounded. Targets that move with each step would not settle: so the target network is a copy
that changes once in `target_every` updates.

What the order guarantees. Targets, errors and new priorities come from the networks as they are before the gradient
step. The target network is copied last, so that the copy has the weights after the update.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from quantd.training.learners.algorithms.off_policy import OffPolicy
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.optimisers import Adam
from quantd.training.learners.record import Actor
from quantd.training.learners.replay import Batch, Replay
from quantd.training.market.terms import Kind
from quantd.training.networks.q_network import QNetwork
from quantd.training.networks.shared_critics import SharedQ
from quantd.training.networks.sizes import required


def epsilon_of(plan: DqnPlan, episodes: int) -> float:
    """Return epsilon, the probability of a random action, after a number of ended episodes."""
    return max(plan.epsilon_least, plan.epsilon * plan.epsilon_decay**episodes)


def targets(batch: Batch, online: Tensor, target: Tensor, double: bool) -> Tensor:
    """Return the target values float[R] of R steps. `online` and `target` float[R, A] are the values that the two
    networks give to the A actions in the state after each step.

    In double mode the online network selects and the target network evaluates, so that an error is not both selected
    and trusted.
    """
    if not double:
        return torch.addcmul(batch.reward, batch.discount, target.amax(-1))
    chosen = online.argmax(-1, keepdim=True)
    return torch.addcmul(batch.reward, batch.discount, target.gather(-1, chosen).squeeze(-1))


class Dqn(OffPolicy):
    """The learner DQN; it learns in any VectorEnv with discrete actions."""

    losses = ("value", "error", "epsilon")

    def __init__(
        self, plan: DqnPlan, observation_size: int, action_size: int, kind: Kind, seed: int, device: str = "cpu"
    ) -> None:
        """Make the online network with random weights, and the target network as its copy. Raises ValueError unless
        `kind` is discrete."""
        if kind != "discrete":
            raise ValueError(f"DQN chooses among discrete allocations; this environment takes {kind} actions")
        self.plan: Final = plan
        self.choices: Final = action_size
        super().__init__(
            seed, device, lambda env: Replay(env, plan.buffer, plan.n_step, plan.gamma, plan.alpha), plan.warmup,
            plan.train_every,
        )  # fmt: skip
        self.network, self.target = (_network(plan, observation_size, action_size, self.random) for _ in range(2))
        self.target.requires_grad_(False)
        self.target.vector.copy_(self.network.vector)
        self._vectors = {"online": self.network.vector, "target": self.target.vector}
        # 1e-8: Adam's epsilon
        self.optimisers = {"optimiser": Adam(self.network.vector, plan.learning_rate, 1e-8, plan.max_grad_norm)}

    @torch.no_grad()
    def act(self, observation: Tensor, *, greedy: bool = True) -> Tensor:
        """Map observations float[B, D] to actions int64[B]. Greedy actions have the highest value, without noise.

        Axes: B environments, D entries of an observation.
        """
        return self.q_values(observation).argmax(-1) if greedy else self.explore(observation.to(self.network.vector))

    @torch.no_grad()
    def q_values(self, observation: Tensor) -> Tensor:
        """Return the expected discounted return of each allocation, float[B, A], for observations float[B, D].

        Axes: B environments, A allocations, D entries of an observation.
        """
        values: Tensor = self.network(observation.to(self.network.vector))
        return values

    def explore(self, observation: Tensor) -> Tensor:
        """Return actions int64[B] for training: the action of the largest value or, with probability epsilon, a random
        one.

        With noisy networks, return the action of the largest value under drawn noise. Axes: B environments.
        """
        random, rows = self.random, len(observation)
        if self.plan.noisy:
            return self.network.values(observation, self.network.draw(random)).argmax(-1)
        # one draw decides both whether and which: below epsilon it is still uniform
        epsilon = epsilon_of(self.plan, self.episodes)
        drawn = torch.rand(rows, generator=random, device=random.device, dtype=torch.float64)
        random_actions = self._random_actions(drawn, max(epsilon, 1e-9))
        explores = drawn < epsilon
        if bool(explores.all()):
            return random_actions
        return random_actions.where(explores, self.network.values(observation).argmax(-1))

    def _random_actions(self, drawn: Tensor, below: float) -> Tensor:
        """Return random actions int64[B], computed from `drawn` float[B], which is uniform from 0 to `below`.

        The choices of a shared network are sets of assets, then cash and equal weight. Cash and equal weight are drawn
        as often as a single asset: drawn as rarely as one of a thousand sets, they would never be learned. Axes: B
        environments.
        """
        network = self.network
        if not isinstance(network, SharedQ) or network.parts is None:
            return (drawn * (self.choices / below)).long().clamp_(max=self.choices - 1)
        assets, sets = network.body.layout.assets, network.sets
        position = drawn * ((assets + self.choices - sets) / below)
        set_index = (position * (sets / assets)).long().clamp_(max=sets - 1)
        further_index = (position - assets).long().add_(sets).clamp_(max=self.choices - 1)
        return set_index.where(position < assets, further_index)

    @torch.no_grad()
    def update(self, replay: Replay, tell: bool) -> Tensor | None:
        """Make one gradient step on Huber's loss of the executed actions' values, with importance weights.

        With `tell`, returns float[3]: the mean loss, the mean absolute error, and epsilon, the probability of a random
        action. Without `tell`, returns None. The temporal-difference errors become the new priorities of the drawn
        steps.
        """
        plan, random, network = self.plan, self.random, self.network
        # the exponent of the importance weights rises to 1
        beta = min(1.0, plan.beta + (1.0 - plan.beta) * self.updates / plan.beta_updates)
        batch = replay.sample(plan.batch, random, beta)
        # each network draws new noise, if its layers are noisy
        target = self.target.values(batch.following, self.target.draw(random))
        online = network.values(batch.following, network.draw(random)) if plan.double else target
        values, executed = network.run(batch.observation, network.draw(random)), batch.action.unsqueeze(-1)
        error = values.gather(-1, executed).squeeze(-1).sub_(targets(batch, online, target, plan.double))
        # the gradient of Huber's loss by the value of the executed action, which bounds the effect of one outlier
        gradient = error.clamp(-1.0, 1.0).mul_(batch.weight).div_(plan.batch)
        # 0 for the actions that were not executed; `pull` computes the gradient by the parameters
        network.pull(torch.zeros_like(values).scatter_(-1, executed, gradient.unsqueeze(-1)))
        self.optimisers["optimiser"].step(network.gradient)
        replay.tell(batch.place, error)
        # after the step, so that the copy has the weights of this update
        if (self.updates + 1) % plan.target_every == 0:
            self.target.vector.copy_(network.vector)
        if not tell:
            return None
        magnitude = error.abs()
        loss = smooth_l1_loss(magnitude, torch.zeros_like(magnitude), reduction="none").mul_(batch.weight)
        epsilon = 0.0 if plan.noisy else epsilon_of(plan, self.episodes)
        return torch.stack([loss.mean(), magnitude.mean(), magnitude.new_tensor(epsilon)])

    def vectors(self) -> tuple[Tensor, ...]:
        return (self.network.vector,)

    def policy_networks(self) -> Actor:
        return Actor((self.network,), "values", 0, self.network)


def _network(plan: DqnPlan, observation_size: int, choices: int, random: torch.Generator) -> QNetwork | SharedQ:
    if plan.network == "shared":
        layout = required(plan.layout, plan.network)
        return SharedQ(observation_size, choices, random, layout=layout, hidden=plan.hidden)
    return QNetwork(observation_size, choices, random, plan.hidden, plan.streams, plan.noisy)
