"""What a learner is paid for: terms of one step of an account, weighted, each reported. Costs are in the account itself."""

from typing import Final, Literal, NamedTuple

import torch
from msgspec import Struct
from torch import Tensor

from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL

SMALLEST: Final = 1e-6
"""Least growth that a logarithm is taken of: an account that lost all has a reward, not minus infinity."""

TRADED: Final = 1e-3
"""An asset counts as traded where more than this part of equity was."""

DECAY: Final = 1.0 / 60
"""Of the moving moments: about three months."""

USUAL_VARIANCE: Final = 0.01**2
"""Of a day's return, what moving moments begin with."""


class Outcome(NamedTuple):
    """One step of B accounts, in fractions of the equity it was decided on."""

    growth: Tensor
    """float[B] equity over equity."""
    turnover: Tensor
    """float[B] value traded, both sides."""
    drawdown_before: Tensor
    drawdown: Tensor
    """float[B] loss from the highest equity, 0 or more."""
    detail: "Detail | None" = None
    """For the composite alone."""
    earned: Tensor | None = None
    """float[B] what cash earned in the step; None where it earns nothing."""


class Detail(NamedTuple):
    """More of the same step."""

    cost: Tensor
    """float[B] paid for trading."""
    weights: Tensor
    """float[B, N] held after the step."""
    trades: Tensor
    """float[B, N] traded, unsigned."""
    momentum: Tensor
    """float[B, N] each asset's return of the past 20 sessions when it was decided."""


class Composite(Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the seven parts. Each part is one minus or plus that its sign here says."""

    profit: float = 2.0
    """x the step's simple return."""
    risk: float = -0.5
    """x the moving standard deviation of returns."""
    cost: float = -0.1
    """x what trading cost."""
    stability: float = -0.05
    """x the part of the assets that was traded."""
    sharpe: float = 1.0
    """x the moving Sharpe ratio of a day, in excess of the risk-free rate."""
    momentum: float = 0.3
    """x the held weights times the assets' returns of the past 20 sessions."""
    diversification: float = 0.2
    """x 1 for equal weights, 0 for all in one asset (1 less the Herfindahl index, scaled); cash counts as an asset."""


class RewardPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Which reward, and what is taken off it.

    "log" is log utility, "simple" the simple return, "sharpe" the differential Sharpe ratio, "composite" seven parts.
    """

    kind: Literal["log", "simple", "sharpe", "composite"] = "log"
    drawdown_penalty: float = 0.0
    """x the step's rise of the drawdown."""
    turnover_penalty: float = 0.0
    """x value traded, beyond what the account paid for it."""
    decay: float = DECAY
    composite: Composite = Composite()


class Moments:
    """Moving first and second moments of returns of B accounts, for what looks at more than one step."""

    def __init__(self, batch: int, decay: float, device: torch.device, dtype: torch.dtype) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay = {decay}: a number between 0 and 1, for example {DECAY:.4f}")
        self.decay = decay
        self.first = torch.zeros(batch, device=device, dtype=dtype)
        self.second = torch.full((batch,), USUAL_VARIANCE, device=device, dtype=dtype)

    def reset(self, rows: Tensor) -> None:
        """New episodes in rows int64[K]."""
        self.first[rows] = 0.0
        self.second[rows] = USUAL_VARIANCE

    def add(self, returns: Tensor) -> None:
        self.first = torch.lerp(self.first, returns, self.decay)
        self.second = torch.lerp(self.second, returns.square(), self.decay)

    def variance(self) -> Tensor:
        """float[B], never less than a hundredth of the usual one: a flat account is not infinitely good."""
        return (self.second - self.first.square()).clamp(min=USUAL_VARIANCE / 100)

    def differential_sharpe(self, returns: Tensor) -> Tensor:
        """float[B]: how `returns` moves the moving Sharpe ratio, over the decay; then it is added.

        D = (B ΔA - A ΔB / 2) / (B - A²)^(3/2), with A and B the moments before and ΔA = R - A, ΔB = R² - B. J. Moody and M.
        Saffell, "Reinforcement learning for trading" (1998).
        """
        rise, rise_second = returns - self.first, returns.square() - self.second
        found = (self.second * rise - 0.5 * self.first * rise_second) / self.variance().pow(1.5)
        self.add(returns)
        return found


class Reward:
    """Turns outcomes into rewards. `weights` and, of the last step, `terms` (float[B] each) have the same names; the reward
    is the sum of their products."""

    def __init__(self, plan: RewardPlan, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        self.plan = plan
        self.moments: Final = Moments(batch, plan.decay, device, dtype)
        self.terms: dict[str, Tensor] = {}
        self.weights: Final[dict[str, float]] = {plan.kind: 1.0}
        if plan.kind == "composite":
            self.weights.clear()
            self.weights.update({name: getattr(plan.composite, name) for name in plan.composite.__struct_fields__})
        for name, penalty in (("drawdown", plan.drawdown_penalty), ("turnover", plan.turnover_penalty)):
            if penalty:
                self.weights[name] = -penalty

    def reset(self, rows: Tensor) -> None:
        self.moments.reset(rows)

    def __call__(self, step: Outcome) -> Tensor:
        """float[B] reward of float[B] outcomes."""
        terms: dict[str, Tensor]
        match self.plan.kind:
            case "log":
                terms = {"log": step.growth.clamp(min=SMALLEST).log()}
            case "simple":
                terms = {"simple": step.growth - 1.0}
            case "sharpe":
                terms = {"sharpe": self.moments.differential_sharpe(_excess(step))}
            case "composite":
                assert step.detail is not None
                terms = self._composite(step, step.detail)
        if self.plan.drawdown_penalty:
            terms["drawdown"] = (step.drawdown - step.drawdown_before).clamp(min=0.0)
        if self.plan.turnover_penalty:
            terms["turnover"] = step.turnover
        self.terms = terms
        total = None
        for name, term in terms.items():
            weight = self.weights[name]
            part = term if weight == 1.0 else term * weight
            total = part if total is None else total + part
        assert total is not None
        return total

    def _composite(self, outcome: Outcome, step: Detail) -> dict[str, Tensor]:
        returns = outcome.growth - 1.0
        self.moments.add(_excess(outcome))
        free = RISK_FREE_ANNUAL / PERIODS_PER_YEAR if outcome.earned is None else 0.0
        deviation = self.moments.variance().sqrt()
        size = step.weights.shape[1] + 1
        cash = 1.0 - step.weights.sum(-1)
        spread = 1.0 - step.weights.square().sum(-1) - cash.square()
        return {
            "profit": returns,
            "risk": deviation,
            "cost": step.cost,
            "stability": (step.trades > TRADED).to(returns.dtype).mean(-1),
            "sharpe": (self.moments.first - free) / deviation,
            "momentum": (step.weights * step.momentum).sum(-1),
            "diversification": spread * (size / (size - 1)),
        }


def _excess(step: Outcome) -> Tensor:
    """float[B] simple returns, over what cash earned where it has a rate."""
    returns = step.growth - 1.0
    return returns if step.earned is None else returns - step.earned
