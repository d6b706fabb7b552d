"""What a search may change of a plan, as data: of each learner, names of hyper-parameters and where their values lie."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from optuna.trial import Trial

AgentName = Literal["ppo", "a2c", "dqn", "sac", "maddpg"]


class Between(Struct, frozen=True, tag="between", forbid_unknown_fields=True):
    """Reals, or whole numbers, from `low` to `high`, both included; `log`: each order of magnitude is as likely."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0.0):
            raise ValueError(f"from {self.low} to {self.high}: rising, and above 0 by the logarithm")


class OneOf(Struct, frozen=True, tag="one_of", forbid_unknown_fields=True):
    """Values without an order among them; widths of networks are text such as "256-256"."""

    values: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values) or len(self.values) < 2:
            raise ValueError(f"one of {list(self.values)}: two or more, each once")


Space = Mapping[str, Between | OneOf]
"""Key of a plan ("learner.gamma") -> where its values lie."""

Value = float | int | tuple[int, ...]

LEARNING_RATE: Final = Between(1e-5, 1e-3, log=True)
GAMMA: Final = Between(0.95, 0.999)
WIDTHS: Final = OneOf(("128-128", "256-256", "512-256", "256-256-128"))

SPACES: Final[Mapping[AgentName, Space]] = {
    "ppo": {
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.gae_lambda": Between(0.9, 0.99),
        "learner.clip": Between(0.1, 0.4),
        "learner.value_weight": Between(0.3, 0.7),
        "learner.entropy_weight": Between(0.0, 0.1),
        "learner.hidden": WIDTHS,
    },
    "dqn": {
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.buffer": OneOf((50_000, 100_000, 200_000)),
        "learner.batch": OneOf((32, 64, 128, 256)),
        "learner.target_every": Between(500, 2_000, whole=True),
        "learner.alpha": Between(0.4, 0.8),
        "learner.beta": Between(0.3, 0.6),
        "learner.hidden": OneOf(("128-64", "256-128", "256-256", "512-256")),
    },
    # one gradient step a rollout: it takes larger steps than PPO, and its rollout's length is what it cannot do without
    "a2c": {
        "learner.learning_rate": Between(1e-5, 3e-3, log=True),
        "learner.gamma": GAMMA,
        "learner.gae_lambda": Between(0.9, 1.0),
        "learner.horizon": OneOf((5, 10, 20)),
        "learner.value_weight": Between(0.3, 0.7),
        "learner.entropy_weight": Between(0.0, 0.1),
        "learner.hidden": WIDTHS,
    },
    # the temperature finds itself; what it is to find, the entropy asked of each coordinate, does not. An update for each step, with
    # 512 rows, took 30 ms: half an hour a trial (seen once on a busy machine); these take a fifth of it at most
    "sac": {
        "learner.learning_rate": LEARNING_RATE,
        "learner.gamma": GAMMA,
        "learner.tau": Between(0.001, 0.02, log=True),
        "learner.entropy": Between(-2.0, 0.0),
        "learner.batch": OneOf((64, 128, 256)),
        "learner.train_every": OneOf((2, 4, 8)),
        "learner.n_step": OneOf((1, 3, 5)),
        "learner.hidden": OneOf(("128-64", "128-128", "256-256")),
    },
    # actor and critic learn at rates of their own (Lowe et al. 2017 take 0.01 for both, on tasks far less noisy)
    "maddpg": {
        "learner.actor_rate": LEARNING_RATE,
        "learner.critic_rate": Between(1e-4, 1e-2, log=True),
        "learner.gamma": GAMMA,
        "learner.tau": Between(0.001, 0.02, log=True),
        "learner.noise": Between(0.1, 0.4),
        "learner.batch": OneOf((64, 128, 256)),
        "learner.hidden": OneOf(("128-64", "128-128", "256-256")),
    },
}


def suggest(space: Space, draw: "Trial") -> dict[str, Value]:
    """One value for each key, for `quantd.models.training.plans.plan.replaced`; an Optuna trial chooses."""
    return {name: _one(name, where, draw) for name, where in space.items()}


def value(where: Between | OneOf, drawn: float | int | str) -> Value:
    """What a plan takes, of what a study keeps."""
    return widths(drawn) if isinstance(drawn, str) else drawn


def widths(text: str) -> tuple[int, ...]:
    """Of the layers of a network: (256, 128) of "256-128"."""
    return tuple(int(part) for part in text.split("-"))


def dump(space: Space) -> str:
    """As JSON, key after key."""
    return msgspec.json.format(msgspec.json.encode(space), indent=2).decode()


def lines(space: Space) -> list[tuple[str, str]]:
    """(key, where its values lie) in words."""
    return [(name, _words(where)) for name, where in space.items()]


def _one(name: str, where: Between | OneOf, draw: "Trial") -> Value:
    if isinstance(where, OneOf):
        drawn = draw.suggest_categorical(name, where.values)
        assert isinstance(drawn, int | str)
        return value(where, drawn)
    if where.whole:
        return draw.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return draw.suggest_float(name, where.low, where.high, log=where.log)


def _words(where: Between | OneOf) -> str:
    if isinstance(where, OneOf):
        return "one of " + ", ".join(f"{each:,}" if isinstance(each, int) else each for each in where.values)
    low, high = (f"{int(end):,}" if where.whole else f"{end:g}" for end in (where.low, where.high))
    return f"{low} to {high}" + (", by the logarithm" if where.log else "")
