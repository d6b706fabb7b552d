"""The settings of the learner A2C, and its record for the list of learners. This module imports no torch."""

from typing import Final

from quantd.training.learners.network_plan import NetworkPlan
from quantd.training.learners.record import GAMMA, WIDTHS, Between, Learner, OneOf, later


class A2cPlan(NetworkPlan, frozen=True, forbid_unknown_fields=True):
    """Settings of A2C. The defaults are those of the paper (Mnih et al. 2016), with the rates that are usual for the
    synchronous form.

    Raises ValueError for a `horizon` below 1, and for widths `hidden` that `NetworkPlan` refuses, such as a width of 0.
    """

    horizon: int = 5
    """Steps of each environment in a rollout."""
    learning_rate: float = 7e-4
    gamma: float = 0.99
    gae_lambda: float = 1.0
    """1: the n-step return of the paper."""
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    max_grad_norm: float = 0.5
    rms_decay: float = 0.99
    rms_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 1:
            raise ValueError(f"horizon {self.horizon}: it must be 1 or more")


LEARNER: Final = Learner(
    name="a2c",
    plan=A2cPlan,
    algorithm=later("synchronous_actor_critic", "A2c"),
    kinds=("simplex", "box", "discrete"),
    imitates=True,
    bfloat16=True,
    # one gradient step per rollout: its steps are larger than PPO's, and the length of its rollout matters most
    space={
        "learner.learning_rate": Between(1e-5, 3e-3, log=True),
        "learner.gamma": GAMMA,
        "learner.gae_lambda": Between(0.9, 1.0),
        "learner.horizon": OneOf((5, 10, 20)),
        "learner.value_weight": Between(0.3, 0.7),
        "learner.entropy_weight": Between(0.0, 0.1),
        "learner.hidden": WIDTHS,
    },
)
