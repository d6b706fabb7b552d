"""The settings of the learner DQN and its extensions, and its record for the list of learners.

This module imports no torch.
"""

from typing import Final, Literal

import msgspec

from quantd.training.learners.record import GAMMA, LEARNING_RATE, Between, Learner, OneOf, later
from quantd.training.networks.sizes import Layout


class DqnPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of DQN; the defaults are the default profile, without extensions.

    Raises ValueError for a width or count below 1, for a negative `streams`, and for a network "shared" that is dueling
    or noisy. The same error is raised unless 0 <= `epsilon_least` <= `epsilon` <= 1 and 0 < `epsilon_decay` <= 1.
    """

    network: Literal["mlp", "shared"] = "mlp"
    """A shared network values the holding of each asset by the same parameters; an allocation is of one part, or of
    several distinct assets."""
    gains: bool = False
    """Whether each asset of a shared network multiplies its market entries by learned factors of its own."""
    hidden: tuple[int, ...] = (128, 64)
    layout: Layout | None = None
    """Position of the market in an observation, required by a shared network."""
    streams: int = 0
    """Width of the two streams of a dueling network; 0: not dueling."""
    double: bool = False
    noisy: bool = False
    """Explores by noisy layers instead of epsilon; without noise when acting greedily."""
    learning_rate: float = 1e-4
    gamma: float = 0.99
    n_step: int = 1
    epsilon: float = 1.0
    """Probability of a uniformly random action in the first episode."""
    epsilon_least: float = 0.01
    """Minimum of epsilon."""
    epsilon_decay: float = 0.995
    """Factor of epsilon for each ended episode, counted over all environments."""
    buffer: int = 10_000
    """Env-steps that the replay memory holds."""
    batch: int = 64
    warmup: int = 1_000
    """Env-steps before the first update."""
    train_every: int = 1
    """Env-steps for each update."""
    target_every: int = 10
    """Updates between copies to the target network."""
    alpha: float = 0.0
    """Exponent of priorities; 0 draws uniformly."""
    beta: float = 0.4
    """Fraction of the priorities' bias that importance weights correct at first; it increases linearly to 1."""
    beta_updates: int = 500_000
    """The update at which beta reaches 1."""
    max_grad_norm: float = 10.0

    def __post_init__(self) -> None:
        """Raise ValueError for widths, counts and shares out of range, and for a shared network that is dueling or
        noisy."""
        if not self.hidden or min(self.hidden) < 1 or self.streams < 0:
            raise ValueError(
                f"hidden {list(self.hidden)}, streams {self.streams}: widths of hidden must be 1 or more, streams 0 or "
                "more"
            )
        if self.network == "shared" and (self.streams or self.noisy):
            raise ValueError("network shared is neither dueling nor noisy; write streams = 0 and noisy = false")
        counts = (self.n_step, self.batch, self.train_every, self.target_every, self.beta_updates, self.buffer)
        if min(counts) < 1:
            raise ValueError("n_step, batch, train_every, target_every, beta_updates and buffer must be 1 or more")
        if not 0.0 <= self.epsilon_least <= self.epsilon <= 1.0 or not 0.0 < self.epsilon_decay <= 1.0:
            raise ValueError(
                f"epsilon {self.epsilon} must be at most 1, epsilon_least {self.epsilon_least} within 0 and epsilon, "
                f"and epsilon_decay {self.epsilon_decay} above 0 and at most 1"
            )


PROFILES: Final = {
    "plain": DqnPlan(),
    "prioritized": DqnPlan(
        hidden=(256,),
        streams=256,
        double=True,
        noisy=True,
        n_step=3,
        buffer=100_000,
        train_every=4,
        target_every=1_000,
        alpha=0.6,
        beta_updates=125_000,
    ),
}
"""Profiles by name; "prioritized" is designed for 500,000 env-steps, at the last of which beta is 1."""


LEARNER: Final = Learner(
    name="dqn",
    plan=DqnPlan,
    algorithm=later("deep_q", "Dqn"),
    kinds=("discrete",),
    shape=("streams", "noisy"),
    defaults={"market": {"kind": "discrete"}},
    profiles={
        "prioritized": {
            "learner": msgspec.to_builtins(PROFILES["prioritized"]),
            "steps": 500_000,
            "evaluate_every": 10_000,
        }
    },
    space={
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.buffer": OneOf((50_000, 100_000, 200_000)),
        "learner.batch": OneOf((32, 64, 128, 256)),
        "learner.target_every": Between(500, 2_000, whole=True),
        "learner.alpha": Between(0.4, 0.8),
        "learner.beta": Between(0.3, 0.6),
        "learner.hidden": OneOf(("128-64", "256-128", "256-256", "512-256")),
    },
)
