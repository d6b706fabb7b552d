"""Settings of simulated training accounts: actions, costs, rewards and the agents of a desk.

This module imports no torch.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from quantd.trading.execution import Costs

Kind = Literal["simplex", "box", "discrete"]
"""Kinds of actions, with A the number of entries or choices.

"simplex" is float[B, A], 0 or more, adding up to 1 (the last is cash); "box" is float[B, A] in [-1, 1]; "discrete" is
int64[B] in 0 to A - 1.
"""

USUAL_COSTS: Final = Costs(commission_bp=10.0, slippage_bp=5.0)
"""Default costs, both in the reward and in every reported figure."""

NOT_SIMULATED: Final = ("impact", "participation", "slippage_noise", "latency_ns")
"""Fields of `Costs` that only the daemon's paper venue has."""

DECAY: Final = 1.0 / 60
"""Decay of the moving moments: about three months."""

CAPITAL: Final = 1_000_000.0
"""Default capital of each agent."""


class Composite(Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the seven terms of a reward. A positive weight makes its term a bonus, a negative one a penalty."""

    profit: float = 2.0
    """x the step's simple return."""
    risk: float = -0.5
    """x the moving standard deviation of returns."""
    cost: float = -0.1
    """x trading costs."""
    stability: float = -0.05
    """x the fraction of assets traded."""
    sharpe: float = 1.0
    """x the moving daily Sharpe ratio, in excess of the risk-free rate."""
    momentum: float = 0.3
    """x the held weights times the assets' returns over the past 20 sessions."""
    diversification: float = 0.2
    """x 1 for equal weights, 0 for a single asset (1 less the Herfindahl index, scaled); cash counts as an asset."""


class RewardPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """The kind of reward of a training, and its penalties.

    "log" is log utility, "simple" the simple return, "sharpe" the differential Sharpe ratio, "composite" the seven
    terms of `Composite`. Raises ValueError for a benchmark or a scale that the kind does not have.
    """

    kind: Literal["log", "simple", "sharpe", "composite"] = "log"
    drawdown_penalty: float = 0.0
    """x the step's increase of the drawdown."""
    turnover_penalty: float = 0.0
    """x traded value, in addition to the account's costs."""
    decay: float = DECAY
    composite: Composite = Composite()
    benchmark: Literal["none", "equal_weight"] = "none"
    """Growth that is subtracted from the account's. "equal_weight" is the mean growth of all priced assets, without
    costs. It removes the market's noise, which no action changes, from every reward."""
    scale: Literal["none", "volatility"] = "none"
    """The divisor of the reward. "volatility" divides by the volatility of the equal-weight market over the 20 sessions
    up to the decision, relative to its mean, so that a calm session teaches as much as a volatile one. It applies to
    log and simple rewards only."""

    def __post_init__(self) -> None:
        if self.benchmark != "none" and self.kind == "composite":
            raise ValueError(
                f"benchmark {self.benchmark}: a composite reward uses no benchmark; write benchmark = none"
            )
        if self.scale != "none" and self.kind not in ("log", "simple"):
            raise ValueError(
                f"scale {self.scale}: only kinds log and simple are scaled by it, not {self.kind}; write scale = none"
            )


class Seat(Struct, frozen=True, forbid_unknown_fields=True):
    """One agent of a desk, a group of agents that are trained together.

    `symbols` are the permitted assets (all when empty), `invested` the maximum invested fraction of equity.
    `drawdown_penalty` times an increase of the agent's drawdown is subtracted from the agent's reward.
    """

    name: str
    symbols: tuple[str, ...] = ()
    capital: float = CAPITAL
    invested: float = 1.0
    drawdown_penalty: float = 0.0


class Diversity(Struct, frozen=True, forbid_unknown_fields=True):
    """Penalty on the mean absolute correlation of an agent's returns with those of other agents over `window` sessions.

    The penalty is `weight` times that correlation. With `dynamic`, the weight moves from `low` to `high` as the
    market's annual volatility over `window` sessions goes from `calm` to `wild`. In a crash, similar portfolios thus
    cost more. Raises ValueError for a negative weight, low above high, calm not below wild, and a window below 3.
    """

    weight: float = 0.1
    dynamic: bool = False
    low: float = 0.05
    high: float = 0.2
    calm: float = 0.15
    wild: float = 0.35
    window: int = 30

    def __post_init__(self) -> None:
        if self.weight < 0.0 or not 0.0 <= self.low <= self.high or not 0.0 <= self.calm < self.wild or self.window < 3:
            raise ValueError(f"diversity: {self} must have weights >= 0, low <= high, calm < wild, window >= 3")


PROFILES: Final = (
    Seat("defensive", invested=0.4, drawdown_penalty=2.0),
    Seat("careful", invested=0.6, drawdown_penalty=1.0),
    Seat("balanced", invested=0.8, drawdown_penalty=0.5),
    Seat("growth", invested=1.0, drawdown_penalty=0.2),
    Seat("bold", invested=1.0),
)
"""Five agents with different risk limits and risk penalties."""


def by_sector(sectors: Mapping[str, str], capital: float = CAPITAL) -> tuple[Seat, ...]:
    """Return one agent per sector of `sectors` (symbol to sector), with the sector's name, in order of name."""
    names = sorted(set(sectors.values()))
    return tuple(Seat(n, tuple(s for s, of in sectors.items() if of == n), capital) for n in names)
