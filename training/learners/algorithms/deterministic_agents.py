"""The learner MADDPG: multi-agent deep deterministic policy gradient (Lowe et al. 2017).

Every agent acts on its own observation. In training, its critic sees the observations and actions of all agents. The
rows of the environment are accounts. The accounts of one desk, a group of agents on one path of the market, are
adjacent rows. With one agent the algorithm is DDPG (Lillicrap et al. 2016). Exploration moves a fraction of each
account into one random entry (in a box: adds Gaussian noise).

What can go wrong. A critic's gradient would reach the actor of another agent: so `own_acts` puts the present answer of
actor i into the input of critic i alone. An actor's loss would change the critics: so `backward` is restricted to the
parameters of one network. A saturated softmax or tanh passes back no gradient: so the loss has the square of the
actor's outputs, with weight `pull`.

What the order guarantees. Both losses are computed before either gradient step, so that one encoding of the state
serves critics and actors. The target networks move last.
"""

from typing import Final

import torch
from torch import Tensor

from quantd.training.learners.algorithms.off_policy import OffPolicy
from quantd.training.learners.distributions import Family, family, uniform
from quantd.training.learners.joint_replay import JointReplay, Views
from quantd.training.learners.maddpg import MaddpgPlan
from quantd.training.learners.optimisers import Adam
from quantd.training.learners.record import Actor
from quantd.training.market.terms import Kind
from quantd.training.networks.joint_critic import Actors, Body, Critics, Seated
from quantd.training.networks.shared import INVESTED
from quantd.training.networks.shared_agents import SharedActors, SharedCritics
from quantd.training.networks.sizes import required


class Maddpg(OffPolicy):
    """The learner MADDPG; it learns in any VectorEnv with "simplex" or "box" actions and `plan.agents` rows per desk
    (group of agents).

    Raises ValueError for discrete actions, and for a layout with more market entries than an observation has in all.
    """

    losses = ("critic", "actor", "value", "noise")

    def __init__(
        self, plan: MaddpgPlan, observation_size: int, action_size: int, kind: Kind, seed: int, device: str = "cpu"
    ) -> None:
        """Make actors, critics and their target copies. `action_size` is the number of entries of one agent's
        action."""
        if kind == "discrete":
            raise ValueError("MADDPG allocates continuously; this environment takes discrete actions")
        shared = 0 if plan.layout is None else plan.layout.market
        if shared > observation_size:
            raise ValueError(f"{plan.layout} has {shared} market entries, an observation only {observation_size}")
        self.plan: Final = plan
        self.kind: Final[Kind] = kind
        self.action_size: Final = action_size
        self.views: Final = Views(plan.agents, shared, observation_size - shared)
        self.family: Final[Family] = family(kind, action_size)
        super().__init__(
            seed, device, lambda env: JointReplay(env, self.views, plan.buffer), plan.warmup, plan.train_every
        )
        random = self.random
        self.network, self.target, self.critics, self.critics_target = _networks(
            plan, (observation_size, self.views.size), (self.family.outputs, action_size), random
        )
        for target, learned in ((self.target, self.network), (self.critics_target, self.critics)):
            target.requires_grad_(False)
            target.vector.copy_(learned.vector)
        self._vectors = {
            "actors": self.network.vector,
            "target": self.target.vector,
            "critics": self.critics.vector,
            "critics_target": self.critics_target.vector,
        }
        # 1e-8: Adam's epsilon
        self.optimisers = {
            "actors": Adam(self.network.vector, plan.actor_rate, 1e-8, plan.max_grad_norm),
            "critics": Adam(self.critics.vector, plan.critic_rate, 1e-8, plan.max_grad_norm),
        }

    def policy_networks(self) -> Actor:
        actors = tuple(Seated(self.network, agent) for agent in range(self.plan.agents))
        return Actor(actors, self.family.readout, 0, self.network)

    def vectors(self) -> tuple[Tensor, ...]:
        return (self.network.vector, self.critics.vector)

    @property
    def noise(self) -> float:
        plan = self.plan
        progress = min(max(self.steps - plan.warmup, 0) / plan.noise_steps, 1.0)
        return plan.noise + (plan.least_noise - plan.noise) * progress

    @torch.no_grad()
    def act(self, observation: Tensor, *, greedy: bool = True) -> Tensor:
        """Map observations float[G A, D] of G desks, whose A agents are adjacent rows, to actions float[G A, K].

        A desk is a group of agents on one path of the market. A single row stands for one desk whose agents all have
        the same observation. Axes: D entries of an observation, K coordinates of an action.
        """
        rows = observation.to(self.network.vector)
        if len(rows) == 1 and not self.views.own:
            rows = rows.expand(self.plan.agents, -1)
        output = self.network.forward(self.views.apart(rows))
        action = self.family.mode(output.transpose(0, 1).flatten(0, 1))
        return action if greedy else self._disturbed(action, self.noise)

    def explore(self, observation: Tensor) -> Tensor:
        """Return actions: uniform in the first `plan.warmup` steps, then the actors' actions with noise."""
        if self.steps < self.plan.warmup:
            return uniform(self.kind == "box", len(observation), self.action_size, self.random)
        return self.act(observation, greedy=False)

    def update(self, replay: JointReplay, tell: bool) -> Tensor | None:
        """Make one gradient step of all critics and all actors, and move their target networks by the fraction
        `plan.tau`.

        With `tell`, returns float[4]: the losses of critics and actors, the mean value of the actions, and the noise;
        else None. Source: Lowe et al. 2017. The critic of an agent values the joint state and the actions of all
        agents. Where an agent's episode terminated, the value of its next state counts as 0.
        """
        plan = self.plan
        batch = replay.sample(plan.batch, self.random)
        with torch.no_grad():
            # equation 6: all agents act by their target networks in the next state
            next_actions = self.family.mode(self.target.forward(self.views.each(batch.following))).transpose(0, 1)
            next_value = self.critics_target.judge(self.critics_target.read(batch.following), next_actions)
            expected = torch.addcmul(batch.reward, batch.going, next_value.t(), value=plan.gamma).t()
        encoded = self.critics.read(batch.state)
        error = self.critics.judge(encoded, batch.action) - expected
        critic_loss = (error * error).mean(1).sum()
        # equation 5, by the critics before their step: one encoding of the state serves both
        output = self.network.forward(self.views.each(batch.state))
        action_value = self.critics.judge(encoded.detach(), self.own_acts(output, batch.action))
        actor_loss = (plan.pull * (output * output).mean(-1) - action_value).mean(1).sum()
        # `backward` is restricted to the given parameters, so that an actor's gradient excludes the critics
        for network, loss in ((self.network, actor_loss), (self.critics, critic_loss)):
            network.gradient.zero_()
            loss.backward(inputs=network.leaves)  # type: ignore[no-untyped-call]
        self.optimisers["actors"].step(self.network.gradient)
        self.optimisers["critics"].step(self.critics.gradient)
        self.target.vector.lerp_(self.network.vector, plan.tau)
        self.critics_target.vector.lerp_(self.critics.vector, plan.tau)
        if not tell:
            return None
        losses = [critic_loss.detach(), actor_loss.detach(), action_value.detach().mean()]
        return torch.stack([*losses, losses[0].new_tensor(self.noise)])

    def own_acts(self, output: Tensor, done: Tensor) -> Tensor:
        """Return the joint actions float[A, R, A, K] that each of A critics evaluates, for R states.

        The joint actions are the stored actions `done` float[R, A, K], with one change. For critic i, the action of
        agent i is replaced by the present answer of actor i. `output` are the outputs of all actors at these states.
        Axes: A agents, K entries of an action.
        """
        agents = self.plan.agents
        is_own_action = torch.eye(agents, device=done.device, dtype=torch.bool).view(agents, 1, agents, 1)
        return torch.where(is_own_action, self.family.mode(output).unsqueeze(2), done)

    def _disturbed(self, action: Tensor, noise: float) -> Tensor:
        """Move the fraction `noise` of each account into a random entry; in a box, add Gaussian noise of this size."""
        random = self.random
        if self.kind == "box":
            drawn = torch.empty_like(action).normal_(generator=random)
            return torch.add(action, drawn, alpha=noise).clamp_(-1.0, 1.0)
        drawn = torch.randint(self.action_size, (len(action), 1), generator=random, device=action.device)
        return (action * (1.0 - noise)).scatter_add_(1, drawn, action.new_full((len(action), 1), noise))


Networks = tuple[Actors | SharedActors, Actors | SharedActors, Critics | SharedCritics, Critics | SharedCritics]
"""The actors and their target, the critics and their target."""


def _networks(
    plan: MaddpgPlan, input_sizes: tuple[int, int], action_sizes: tuple[int, int], random: torch.Generator
) -> Networks:
    """Return the actors and critics of MADDPG, with random initial weights.

    `input_sizes` are (size of an observation, size of the joint state), and `action_sizes` (number of coordinates, size
    of an action).
    """
    agents, (observation_size, state_size), (coordinates, action_size) = plan.agents, input_sizes, action_sizes
    if plan.network == "shared":
        layout, hidden = required(plan.layout, plan.network), plan.hidden
        # the initial score of an asset; cash beside it has the score 0. Positions of a box have no cash, and begin at 0
        invested = INVESTED if action_size > coordinates else 0.0

        def shared_actors() -> SharedActors:
            return SharedActors(
                agents, observation_size, coordinates, random, layout=layout, hidden=hidden, invested=invested
            )

        def shared_critics() -> SharedCritics:
            return SharedCritics(agents, state_size, action_size, random, layout=layout, hidden=hidden)

        return shared_actors(), shared_actors(), shared_critics(), shared_critics()
    body = Body(plan.hidden, plan.layout, plan.transformer if plan.network == "transformer" else None)
    actors, target = (Actors(agents, observation_size, coordinates, random, body) for _ in range(2))
    critics, critics_target = (Critics(agents, state_size, action_size, random, body) for _ in range(2))
    return actors, target, critics, critics_target
