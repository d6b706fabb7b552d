"""The settings of the learner SAC, and its record for the list of learners. This module imports no torch."""

import math
from typing import Final, Literal

import msgspec

from quantd.training.learners.record import GAMMA, LEARNING_RATE, Between, Learner, OneOf, later
from quantd.training.networks.sizes import Layout


class SacPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of SAC. The defaults are those of table 1 of the paper (Haarnoja et al. 2018), with two layers of 256.

    Raises ValueError for a width or count below 1, for `tau` outside (0, 1], and for a `temperature` that is not
    positive.
    """

    network: Literal["mlp", "shared"] = "mlp"
    """A shared network gives each asset its coordinate, and judges its weight, by the same parameters."""
    gains: bool = False
    """Whether each asset of a shared network multiplies its market entries by learned factors of its own."""
    hidden: tuple[int, ...] = (256, 256)
    layout: Layout | None = None
    """Position of the market in an observation, required by a shared network."""
    learning_rate: float = 3e-4
    gamma: float = 0.99
    n_step: int = 1
    buffer: int = 1_000_000
    """Env-steps that the replay memory holds."""
    batch: int = 256
    warmup: int = 1_000
    """Env-steps before the first update; until then actions are uniform."""
    train_every: int = 1
    """Env-steps for each update."""
    tau: float = 0.005
    """Step of the target networks towards the critics at each update."""
    entropy: float = -1.0
    """Target entropy per coordinate, in nats."""
    temperature: float = 1.0
    """The initial temperature."""
    pull: float = 1e-3
    """Weight of the mean square of the coordinates' means, as in the authors' code, against saturation."""
    max_grad_norm: float = math.inf
    bfloat16: bool = False
    """Products of an MLP's hidden layers in bfloat16: faster with processor support."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden {list(self.hidden)}: widths must be 1 or more")
        if min(self.n_step, self.batch, self.train_every, self.buffer) < 1:
            raise ValueError("n_step, batch, train_every and buffer must be 1 or more")
        if not 0.0 < self.tau <= 1.0 or self.temperature <= 0.0:
            raise ValueError(
                f"tau {self.tau} must be above 0 and at most 1, and temperature {self.temperature} above 0"
            )


LEARNER: Final = Learner(
    name="sac",
    plan=SacPlan,
    algorithm=later("soft_actor_critic", "Sac"),
    kinds=("simplex", "box"),
    bfloat16=True,
    # The temperature adjusts itself, but its target entropy does not. One update per step with 512 rows took 30 ms,
    # half an hour per trial (one measurement on a busy machine). These ranges take at most a fifth of that.
    space={
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.tau": Between(0.001, 0.02, log=True),
        "learner.entropy": Between(-2.0, 0.0),
        "learner.batch": OneOf((64, 128, 256)),
        "learner.train_every": OneOf((2, 4, 8)),
        "learner.n_step": OneOf((1, 3, 5)),
        "learner.hidden": OneOf(("128-64", "128-128", "256-256")),
    },
)
