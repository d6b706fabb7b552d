"""The settings of the learner MADDPG, and its record for the list of learners. This module imports no torch."""

import math
from typing import Any, Final, Literal

import msgspec

from quantd.models.observation.return_features import FEATURES
from quantd.training.learners.record import GAMMA, LEARNING_RATE, Between, Learner, OneOf, later
from quantd.training.market.terms import PROFILES as SEATS
from quantd.training.networks.sizes import Layout, Sizes


class MaddpgPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of MADDPG: rates, tau and noise of the default profile; gamma and the penalty on logits as published.

    Raises ValueError for a width or count below 1, for `tau` outside (0, 1], and unless 0 <= `least_noise` <= `noise`
    <= 1.
    """

    agents: int = 4
    network: Literal["mlp", "transformer", "shared"] = "mlp"
    """A shared network scores each asset, and judges what all agents do with it, by the same parameters."""
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
        """Raise ValueError for widths, counts, tau or noise out of range."""
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden {list(self.hidden)}: widths must be 1 or more")
        if min(self.agents, self.batch, self.train_every, self.buffer, self.noise_steps) < 1:
            raise ValueError("agents, batch, train_every, buffer and noise_steps must be 1 or more")
        if not 0.0 < self.tau <= 1.0 or not 0.0 <= self.least_noise <= self.noise <= 1.0:
            raise ValueError(
                f"tau {self.tau} must be above 0 and at most 1, noise {self.noise} at most 1, and least_noise "
                f"{self.least_noise} within 0 and noise"
            )


LITE_FEATURES: Final = ("momentum_21", "momentum_63", "momentum_126", "volatility", "volatility_change")
"""Selected by benchmarks.multi_agent.ranked over the training part of the default data.

`quantd ablate --features` has drawdown in place of momentum_21 (docs/learn/tuning.md).
"""


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
    """Return the tables of a training plan for a profile.

    `updates` are the gradient steps for each episode of one desk (group of agents), `looks` the evaluations on the
    validation part, `learner` and `shown` are further settings of the learner and of its input (sight). With `dynamic`,
    the penalty on similar returns of the agents changes with the volatility of the market.
    """
    episode = SESSIONS * agents
    steps = episodes * episode
    return {
        "learner": {
            "agents": agents,
            "train_every": episode // updates,
            "warmup": DESKS * episode,
            "noise_steps": steps // 2,
            "buffer": 80 * episode,  # the newest 80 episodes
            **learner,
        },
        "sight": {"book": [], **shown},
        "market": {
            "batch": DESKS * agents,
            "seats": msgspec.to_builtins(SEATS[:agents]),
            "diversity": {"dynamic": dynamic},
            # A daily reward of this kind is about 1, so that a penalty of 0.1 on similarity is a tenth of it. The
            # penalty would exceed a daily log return.
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
    algorithm=later("deterministic_agents", "Maddpg"),
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
