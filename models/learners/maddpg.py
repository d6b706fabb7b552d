"""Multi-agent deep deterministic policy gradient (Lowe et al. 2017).

Every agent acts on its own observation. In training, its critic sees the observations and actions of all agents.
Environment rows are desks with adjacent agents, as in `quantd.models.market.desks`. With one agent it is DDPG
(Lillicrap et al. 2016). Exploration moves a fraction of each account into one random entry (in a box: adds Gaussian
noise).
"""

import math
from typing import Any, Final, Literal

import msgspec
import torch
from torch import Tensor

from quantd.models.learners.distributions import Family, family, uniform
from quantd.models.learners.joint_replay import JointReplay, Views
from quantd.models.learners.off_policy import OffPolicy
from quantd.models.learners.optimisers import Adam
from quantd.models.learners.record import GAMMA, LEARNING_RATE, Actor, Between, Learner, OneOf
from quantd.models.market.desks import PROFILES as SEATS
from quantd.models.market.vector_env import Kind
from quantd.models.networks.joint_critic import Actors, Body, Critics, Seated
from quantd.models.networks.transformer import Layout, Sizes
from quantd.models.observation.return_features import FEATURES


class MaddpgPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates, tau and noise are the default profile's; gamma and the logit penalty are as published."""

    agents: int = 4
    network: Literal["mlp", "transformer"] = "mlp"
    hidden: tuple[int, ...] = (128, 64)
    """Layers of the actors and critics; with a transformer, the critics' layers over its output and the actions."""
    transformer: Sizes = Sizes()
    layout: Layout | None = None
    """Position of the market in an observation, shared by all agents of a desk; without it, nothing is shared."""
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    gamma: float = 0.95
    tau: float = 0.01
    """Step of the target networks towards the current ones at each update."""
    noise: float = 0.2
    """Random fraction of an account (in a box: deviation of a position). Before the end of the warmup it is 1."""
    least_noise: float = 0.05
    noise_steps: int = 100_000
    """Env-steps after the warmup over which the noise falls linearly to `least_noise`."""
    pull: float = 1e-3
    """Weight of the mean square of actor outputs before softmax or tanh: a saturated one has no gradient back."""
    buffer: int = 200_000
    """Env-steps, counted per agent."""
    batch: int = 64
    """Desk steps."""
    warmup: int = 1_000
    """Env-steps before the first update; until then actions are uniform."""
    train_every: int = 16
    """Env-steps for each update."""
    max_grad_norm: float = math.inf

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden {list(self.hidden)}: widths from 1 on")
        if min(self.agents, self.batch, self.train_every, self.buffer, self.noise_steps) < 1:
            raise ValueError("agents, batch, train_every, buffer and noise_steps: from 1 on")
        if not 0.0 < self.tau <= 1.0 or not 0.0 <= self.least_noise <= self.noise <= 1.0:
            raise ValueError(
                f"tau {self.tau} in (0, 1]; 0 <= least_noise {self.least_noise} <= noise {self.noise} <= 1"
            )


class Maddpg(OffPolicy):
    """Learns in any "simplex" or "box" VectorEnv with `plan.agents` rows per desk."""

    losses = ("critic", "actor", "value", "noise")

    def __init__(
        self, plan: MaddpgPlan, observation_size: int, action_size: int, kind: Kind, seed: int, device: str = "cpu"
    ) -> None:
        if kind == "discrete":
            raise ValueError("MADDPG allocates continuously; this environment takes discrete actions")
        shared = 0 if plan.layout is None else plan.layout.market
        if shared > observation_size:
            raise ValueError(f"{plan.layout} shows {shared} entries of an observation of {observation_size}")
        self.plan: Final = plan
        self.kind: Final[Kind] = kind
        self.action_size: Final = action_size
        self.views: Final = Views(plan.agents, shared, observation_size - shared)
        self.family: Final[Family] = family(kind, action_size)
        super().__init__(
            seed, device, lambda env: JointReplay(env, self.views, plan.buffer), plan.warmup, plan.train_every
        )
        random = self.random
        body = Body(plan.hidden, plan.layout, plan.transformer if plan.network == "transformer" else None)
        acting, judging = (plan.agents, observation_size, self.family.outputs), (plan.agents, self.views.size)
        self.network, self.target = (Actors(*acting, random, body) for _ in range(2))
        self.critics, self.critics_target = (Critics(*judging, action_size, random, body) for _ in range(2))
        for target, learned in ((self.target, self.network), (self.critics_target, self.critics)):
            target.requires_grad_(False)
            target.vector.copy_(learned.vector)
        self._vectors = {
            "actors": self.network.vector,
            "target": self.target.vector,
            "critics": self.critics.vector,
            "critics_target": self.critics_target.vector,
        }
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
        """The current exploration noise."""
        plan = self.plan
        gone = min(max(self.steps - plan.warmup, 0) / plan.noise_steps, 1.0)
        return plan.noise + (plan.least_noise - plan.noise) * gone

    @torch.no_grad()
    def act(self, observation: Tensor, *, greedy: bool = True) -> Tensor:
        """Map float[G A, D] with adjacent agents to float[G A, K]; one row per desk suffices where all are equal."""
        rows = observation.to(self.network.vector)
        if len(rows) == 1 and not self.views.own:
            rows = rows.expand(self.plan.agents, -1)
        output = self.network.forward(self.views.apart(rows))
        action = self.family.mode(output.transpose(0, 1).flatten(0, 1))
        return action if greedy else self._disturbed(action, self.noise)

    def explore(self, observation: Tensor) -> Tensor:
        if self.steps < self.plan.warmup:
            return uniform(self.kind == "box", len(observation), self.action_size, self.random)
        return self.act(observation, greedy=False)

    def update(self, replay: JointReplay, tell: bool) -> Tensor | None:
        plan = self.plan
        batch = replay.sample(plan.batch, self.random)
        with torch.no_grad():
            # equation 6: all agents act by their target networks in the next state
            acts = self.family.mode(self.target.forward(self.views.each(batch.following))).transpose(0, 1)
            value = self.critics_target.judge(self.critics_target.read(batch.following), acts)
            wanted = torch.addcmul(batch.reward, batch.going, value.t(), value=plan.gamma).t()
        read = self.critics.read(batch.state)
        error = self.critics.judge(read, batch.action) - wanted
        critic_loss = (error * error).mean(1).sum()
        # equation 5, by the critics before their step: one encoding of the state serves both
        output = self.network.forward(self.views.each(batch.state))
        worth = self.critics.judge(read.detach(), self.own_acts(output, batch.action))
        actor_loss = (plan.pull * (output * output).mean(-1) - worth).mean(1).sum()
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
        losses = [critic_loss.detach(), actor_loss.detach(), worth.detach().mean()]
        return torch.stack([*losses, losses[0].new_tensor(self.noise)])

    def own_acts(self, output: Tensor, done: Tensor) -> Tensor:
        """Return float[A, R, A, K]: actions float[R, A, K], where critic i sees the current answer of actor i only."""
        agents = self.plan.agents
        own = torch.eye(agents, device=done.device, dtype=torch.bool).view(agents, 1, agents, 1)
        return torch.where(own, self.family.mode(output).unsqueeze(2), done)

    def _disturbed(self, action: Tensor, noise: float) -> Tensor:
        random = self.random
        if self.kind == "box":
            drawn = torch.empty_like(action).normal_(generator=random)
            return torch.add(action, drawn, alpha=noise).clamp_(-1.0, 1.0)
        drawn = torch.randint(self.action_size, (len(action), 1), generator=random, device=action.device)
        return (action * (1.0 - noise)).scatter_add_(1, drawn, action.new_full((len(action), 1), noise))


LITE_FEATURES: Final = ("momentum_21", "momentum_63", "momentum_126", "volatility", "volatility_change")
"""Selected by benchmarks.multi_agent.ranked over the training part of the default data."""

DESKS: Final = 8
"""Number of desks that learn in parallel."""

SESSIONS: Final = 252
"""Sessions of an episode."""


def _profile(
    agents: int,
    episodes: int,
    updates: int,
    looks: int,
    learner: dict[str, Any],
    shown: dict[str, Any],
    *,
    dynamic: bool,
) -> dict[str, Any]:
    """Return the plan tables of a profile: `updates` per episode of one desk, `looks` at the validation part."""
    episode = SESSIONS * agents
    steps = episodes * episode
    return {
        "learner": {
            "agents": agents,
            "train_every": episode // updates,
            "warmup": DESKS * episode,
            "noise_steps": steps // 2,
            "buffer": 80 * episode,
            **learner,
        },
        "sight": {"book": [], **shown},
        "market": {
            "batch": DESKS * agents,
            "seats": msgspec.to_builtins(SEATS[:agents]),
            "diversity": {"dynamic": dynamic},
            # A daily reward is about 1, so that a penalty of 0.1 on similarity is a part of it. It would exceed a log
            # return.
            "reward": {"kind": "sharpe"},
            "episodes": {"length": SESSIONS},
        },
        "steps": steps,
        "evaluate_every": steps // looks,
        "checkpoint_every": steps // 4,
        "patience": 0,
    }


def _transformer(width: int) -> dict[str, Any]:
    sizes = {"width": width, "heads": 8, "layers": 4, "widening": 2}
    return {"network": "transformer", "transformer": sizes, "batch": 8}


PROFILES: Final[dict[str, dict[str, Any]]] = {
    "full": _profile(
        agents=5,
        episodes=300,
        updates=4,
        looks=6,
        learner=_transformer(64),
        shown={"features": list(FEATURES), "window": 60},
        dynamic=True,
    ),
    "lite": _profile(
        agents=4,
        episodes=200,
        updates=16,
        looks=20,
        learner={"network": "mlp", "hidden": [128, 64], "batch": 64},
        shown={"features": list(LITE_FEATURES), "window": 0},
        dynamic=False,
    ),
    "transformer": _profile(
        agents=5,
        episodes=60,
        updates=8,
        looks=6,
        learner=_transformer(256),
        shown={"features": list(FEATURES), "window": 20},
        dynamic=True,
    ),
}
"""Profile -> its changes to the defaults.

Transformers learn in batches of 8, and the wide one reads 20 sessions for 60 episodes. A seed then takes minutes on one
core.
"""


LEARNER: Final = Learner(
    name="maddpg",
    plan=MaddpgPlan,
    algorithm=Maddpg,
    # desks of a plan trade on the simplex; the algorithm also learns in a box
    kinds=("simplex",),
    several=True,
    defaults={
        "market": {"batch": 32, "seats": msgspec.to_builtins(SEATS[: MaddpgPlan().agents])},
        "sight": {"book": []},
    },
    profiles=PROFILES,
    # actor and critic have separate rates (Lowe et al. 2017 take 0.01 for both, on tasks with far less noise)
    space={
        "learner.actor_rate": LEARNING_RATE,
        "learner.critic_rate": Between(1e-4, 1e-2, log=True),
        "learner.gamma": GAMMA,
        "learner.tau": Between(0.001, 0.02, log=True),
        "learner.noise": Between(0.1, 0.4),
        "learner.batch": OneOf((64, 128, 256)),
        "learner.hidden": OneOf(("128-64", "128-128", "256-256")),
    },
)
