"""The settings of the learner PPO, and its record for the list of learners. This module imports no torch."""

from typing import Final

from quantd.training.learners.network_plan import NetworkPlan
from quantd.training.learners.record import GAMMA, LEARNING_RATE, WIDTHS, Between, Learner, later


class PpoPlan(NetworkPlan, frozen=True, forbid_unknown_fields=True):
    """Settings of PPO; the defaults are the default profile.

    Raises ValueError for `horizon`, `epochs` or `minibatch` below 1, and for widths `hidden` that `NetworkPlan`
    refuses, such as a width of 0.
    """

    horizon: int = 256
    """Steps of each environment in a rollout."""
    learning_rate: float = 3e-4
    clip: float = 0.2
    gamma: float = 0.99
    gae_lambda: float = 0.95
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    epochs: int = 10
    minibatch: int = 64
    """Rows; a recurrent network uses whole sequences, to the nearest number."""
    max_grad_norm: float = 0.5
    adam_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.horizon, self.epochs, self.minibatch) < 1:
            raise ValueError(
                f"horizon {self.horizon}, epochs {self.epochs}, minibatch {self.minibatch}: each must be 1 or more"
            )


LEARNER: Final = Learner(
    name="ppo",
    plan=PpoPlan,
    algorithm=later("proximal_policy", "Ppo"),
    kinds=("simplex", "box", "discrete"),
    imitates=True,
    bfloat16=True,
    profiles={"window": {"sight": {"window": 60}}},
    space={
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.gae_lambda": Between(0.9, 0.99),
        "learner.clip": Between(0.1, 0.4),
        "learner.value_weight": Between(0.3, 0.7),
        "learner.entropy_weight": Between(0.0, 0.1),
        "learner.hidden": WIDTHS,
    },
)
