"""The record of a learner: name, plan, algorithm, actions, search space.

A module of this package that declares `LEARNER` is a learner. This module imports no torch.
"""

import math
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError
from quantd.training.learners import names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quantd.training.market.terms import Kind
    from quantd.training.market.vector_env import VectorEnv
    from quantd.training.networks.onnx_nodes import Graph, Readout

V = TypeVar("V")

State = dict[str, "Tensor | int | float | bytes"]

Table = Mapping[str, Any]
"""Settings as parsed from TOML."""


def part(state: Mapping[str, V], prefix: str) -> dict[str, V]:
    """Return the entries whose names begin with `prefix`, with this prefix removed from the names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


class Diverged(ExplainedError):
    """Training reached values that are not finite; nothing after the last checkpoint is usable."""


class Report(Struct, frozen=True):
    """Progress of training, after each rollout."""

    steps: int
    """Env-steps of all environments together."""
    steps_per_s: float
    losses: dict[str, float]
    mean_return: float
    """Mean undiscounted return of the episodes that ended since the previous report; NaN without any."""
    episodes: int


def report_of(
    names: tuple[str, ...], losses: "Tensor | None", steps: int, since: int, began: float, returns: "list[Tensor]"
) -> Report:
    """Return the report after `steps` env-steps. Raises Diverged where a loss is not finite.

    `since` and `began` are the env-steps and the perf_counter at the previous report. `returns` are tensors float[E] of
    the returns of episodes that ended since the previous report. Axes: E ended episodes.
    """
    import torch

    values = dict.fromkeys(names, math.nan) if losses is None else dict(zip(names, losses.tolist(), strict=True))
    if losses is not None and not all(map(math.isfinite, values.values())):
        raise Diverged(f"a loss is not finite after {steps} steps: {values}")
    ended = torch.cat(returns) if returns else torch.empty(0)
    pace = (steps - since) / max(time.perf_counter() - began, 1e-9)
    return Report(steps, pace, values, float(ended.mean()) if len(ended) else math.nan, len(ended))


class Writes(Protocol):
    """A network that exports itself to an ONNX graph."""

    def write(self, graph: "Graph", given: str, prefix: str = "") -> str:
        """Add the nodes of the network's actor to `graph`. `given` is the name of the observation in the graph, and
        `prefix` begins the names of the new nodes.

        Returns the name of the output.
        """
        ...


class Actor(NamedTuple):
    """The acting networks of a learner, and the conversion of their outputs to actions."""

    networks: tuple[Writes, ...]
    """One network, or one per agent."""
    readout: "Readout | Literal['values']"
    carry: int
    tensors: "nn.Module"


class Algorithm(Protocol):
    """A learner in training."""

    def learn(self, env: "VectorEnv", steps: int, report: Callable[[Report], bool]) -> None:
        """Learn until `steps` env-steps in total are done, or until `report` returns True.

        Raises Diverged where a loss is not finite.
        """
        ...

    def act(self, observation: "Tensor") -> "Tensor":
        """Return greedy actions. A recurrent policy also takes `started` bool[B]: rows whose episode begins.

        Axes: B environments.
        """
        ...

    def vectors(self) -> "tuple[Tensor, ...]":
        """All learned parameters, including critics."""
        ...

    def policy_networks(self) -> Actor: ...

    def state(self) -> State:
        """Return the complete state of the training, from which it can be resumed with bit-identical results."""
        ...

    def load(self, state: State) -> None:
        """Restore a `state` that `state()` returned."""
        ...


class LearnerPlan(Protocol):
    """Hyper-parameters of any learner: a frozen struct."""

    @property
    def gamma(self) -> float:
        """The discount factor of future rewards per step."""
        ...


SHARES: Final = ("gamma", "gae_lambda", "beta", "rms_decay")
"""Settings from 0 to 1."""

NOT_NEGATIVE: Final = ("value_weight", "entropy_weight", "alpha", "pull")
"""Settings of 0 or more."""

POSITIVE: Final = (
    "learning_rate", "actor_rate", "critic_rate", "clip", "adam_epsilon", "rms_epsilon", "max_grad_norm",
)  # fmt: skip
"""Settings above 0. An infinite max_grad_norm sets no bound; any other infinite setting makes weights not finite."""


def number_mistakes(plan: LearnerPlan) -> list[str]:
    """Return a line for each real number of a learner's settings that is outside its permitted range.

    The plan class of a learner checks its other settings, such as the noise of MADDPG.
    """
    mistakes = []
    for name in type(plan).__struct_fields__:  # type: ignore[attr-defined]
        setting = getattr(plan, name)
        if not isinstance(setting, float) or (name == "max_grad_norm" and setting == math.inf):
            continue
        if name in POSITIVE and not setting > 0.0:
            rule = "above 0"
        elif name in SHARES and not 0.0 <= setting <= 1.0:
            rule = "from 0 to 1"
        elif name in NOT_NEGATIVE and not setting >= 0.0:
            rule = "0 or more"
        elif not math.isfinite(setting):
            rule = "a finite number"
        else:
            continue
        mistakes.append(f"learner.{name} {setting:g} must be {rule}")
    return mistakes


class Between(Struct, frozen=True, tag="between", forbid_unknown_fields=True):
    """A range of reals or integers, both ends inclusive; `log` makes each order of magnitude equally likely.

    Raises ValueError unless `low` < `high`, and with `log` unless `low` is above 0.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0.0):
            raise ValueError(f"from {self.low} to {self.high}: low must be below high, and above 0 where log is true")


class OneOf(Struct, frozen=True, tag="one_of", forbid_unknown_fields=True):
    """A set of unordered values; widths of networks are text such as "256-256".

    Raises ValueError for fewer than two values, and for a repeated value.
    """

    values: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values) or len(self.values) < 2:
            raise ValueError(f"one of {list(self.values)}: give two or more values, each once")


Space = Mapping[str, Between | OneOf]
"""Key of a plan ("learner.gamma") -> the range of its values."""

LEARNING_RATE: Final = Between(1e-5, 1e-3, log=True)
GAMMA: Final = Between(0.95, 0.999)
WIDTHS: Final = OneOf(("128-128", "256-256", "512-256", "256-256-128"))


class Learner(Struct, frozen=True):
    """Everything that the program knows about one learner. `name` is the name of its module."""

    name: str
    plan: Callable[[], LearnerPlan]
    """Class of its hyper-parameters; its constructor without arguments returns the defaults."""
    algorithm: Callable[..., Algorithm]
    """(plan, observation size, action size, kind of action, seed, device) -> the learner with fresh weights."""
    kinds: "tuple[Kind, ...]"
    """Supported kinds of action."""
    space: Space
    """The search space of hyper-parameters."""
    defaults: Table = {}
    """Tables of a plan that differ from the common defaults: {"market": {"kind": "discrete"}}."""
    profiles: Mapping[str, Table] = {}
    """Name -> tables of a plan that differ from `defaults`."""
    several: bool = False
    """Whether it trains several agents; its plan then has `agents`, and the market one seat for each."""
    imitates: bool = False
    """Whether it can clone a policy first; its algorithm is then an `algorithms.on_policy.OnPolicy`."""
    bfloat16: bool = False
    """Whether its plan has `bfloat16`."""
    shape: tuple[str, ...] = ()
    """Fields of its plan that describe the network, in addition to `network` and `hidden`."""


def later(module: str, name: str) -> Callable[..., Algorithm]:
    """Return a function that makes the algorithm `name` of `quantd.training.learners.algorithms`.

    The first call of the returned function imports the module and with it torch, which the records of learners must not
    import.
    """

    def algorithm_of(*arguments: Any) -> Algorithm:
        algorithm: Callable[..., Algorithm] = getattr(import_module(f"{__package__}.algorithms.{module}"), name)
        return algorithm(*arguments)

    return algorithm_of


@cache
def learners() -> Mapping[str, Learner]:
    return {name: import_module(f"{__package__}.{name}").LEARNER for name in names()}


def learner_for(plan: object) -> Learner:
    """Return the learner whose hyper-parameters `plan` contains. Raises TypeError for any other plan."""
    for learner in learners().values():
        if type(plan) is learner.plan:
            return learner
    raise TypeError(f"{type(plan).__name__} is the plan of no learner")
