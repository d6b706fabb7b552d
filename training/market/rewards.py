"""Reward functions of training: weighted sums of terms of one account step. Costs are already in the account.

What can go wrong. Growth of 0 has no logarithm: so growth is bounded below. A flat account has a deviation of 0 and
would be infinitely good: so the variance is bounded below. An episode would inherit the moving moments of returns of
the previous episode: so the moments are reset. The rounding of a power depends on the number of accounts: so a root and
a product replace it.

The log growth of an account is mostly the growth of the market, which no action changes. So a reward with a benchmark
subtracts the market's growth; in tests with a planted signal this raised the share of the signal that PPO found.

Most of the sum of rewards comes from the most volatile sessions, and a policy learned from them trades too little in
calm sessions. So the reward can be divided by the volatility at the decision: all sessions get the same weight, and no
comparison of two actions in one session changes. The reported `terms` are not divided.

What the order guarantees. The differential Sharpe ratio is computed from the moments before the step's return is added
to them.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL
from quantd.training.market.terms import DECAY, RewardPlan

SMALLEST: Final = 1e-6
"""Minimum growth under a logarithm, so that an account that lost everything has a finite reward."""

TRADED: Final = 1e-3
"""An asset counts as traded above this fraction of equity."""

USUAL_VARIANCE: Final = 0.01**2
"""Variance of a daily return, the initial value of moving moments."""


class Outcome(NamedTuple):
    """The outcome of one step of B simulated accounts, in fractions of the equity at the decision."""

    growth: Tensor
    """float[B] equity over previous equity."""
    turnover: Tensor
    """float[B] traded value, both sides."""
    drawdown_before: Tensor
    drawdown: Tensor
    """float[B] loss from the highest equity, 0 or more."""
    detail: "Detail | None" = None
    """For the composite reward only."""
    earned: Tensor | None = None
    """float[B] interest on cash in the step; None without interest."""
    market: Tensor | None = None
    """float[B] growth of equal weight before costs; None where no reward is relative to it."""
    volatility: Tensor | None = None
    """float[B] volatility of the market at the decision over its mean; None where no reward is divided by it."""


class Detail(NamedTuple):
    """Further figures of the same step."""

    cost: Tensor
    """float[B] trading costs."""
    weights: Tensor
    """float[B, N] held after the step."""
    trades: Tensor
    """float[B, N] traded, unsigned."""
    momentum: Tensor
    """float[B, N] each asset's return over the 20 sessions before the decision."""


class Moments:
    """Moving first and second moments of returns of B accounts, for rewards over several steps.

    Raises ValueError for a decay outside (0, 1).
    """

    def __init__(self, batch: int, decay: float, device: torch.device, dtype: torch.dtype) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay = {decay} must be between 0 and 1, for example {DECAY:.4f}")
        self.decay = decay
        self.first = torch.zeros(batch, device=device, dtype=dtype)
        self.second = torch.full((batch,), USUAL_VARIANCE, device=device, dtype=dtype)

    def reset(self, rows: Tensor) -> None:
        """Reset the moments of the K accounts in `rows` int64[K], whose new episodes begin."""
        self.first[rows] = 0.0
        self.second[rows] = USUAL_VARIANCE

    def add(self, returns: Tensor) -> None:
        """Add returns float[B], one of each account, to the moments."""
        self.first = torch.lerp(self.first, returns, self.decay)
        self.second = torch.lerp(self.second, returns.square(), self.decay)

    def variance(self) -> Tensor:
        """Return the variance of returns float[B], at least a hundredth of its initial value: a flat account would
        otherwise have an infinite Sharpe ratio.

        Axes: B accounts.
        """
        return (self.second - self.first.square()).clamp(min=USUAL_VARIANCE / 100)

    def differential_sharpe(self, returns: Tensor) -> Tensor:
        """Return float[B], the derivative D of the moving Sharpe ratio with respect to the decay rate; then add
        `returns` to the moments.

        For each account, D = (B ΔA - A ΔB / 2) / (B - A²)^(3/2), where A and B are the first and second moment without
        the return R of this step, ΔA = R - A and ΔB = R² - B. Source: J. Moody and M. Saffell, "Reinforcement learning
        for trading" (1998).
        """
        rise, rise_second = returns - self.first, returns.square() - self.second
        variance = self.variance()
        # not pow, whose rounding depends on the number of accounts
        derivative = (self.second * rise - 0.5 * self.first * rise_second) / (variance * variance.sqrt())
        self.add(returns)
        return derivative


class Reward:
    """Converts outcomes to rewards: the sum of the products of `weights` and `terms`, which have the same names.

    `terms` (float[B] each) are the terms of the last step. Axes: B accounts.
    """

    def __init__(self, plan: RewardPlan, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        """Take the weight of each term from `plan`: 1 for a reward of one term; a penalty is a term with a negative
        weight."""
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

    def __call__(self, step: Outcome) -> Tensor:
        """Return rewards float[B] of outcomes float[B].

        `step.growth` is the equity over the previous equity, and `step.market` the growth of the benchmark (None
        without one). The reward is divided by `step.volatility` (None: no division). Axes: B accounts.
        """
        terms: dict[str, Tensor]
        match self.plan.kind:
            case "log":
                terms = {"log": step.growth.clamp(min=SMALLEST).log()}
                if step.market is not None:
                    terms["log"] = terms["log"] - step.market.clamp(min=SMALLEST).log()
            case "simple":
                terms = {"simple": step.growth - (1.0 if step.market is None else step.market)}
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
            # a weight of 1 needs no product
            part = term if weight == 1.0 else term * weight
            total = part if total is None else total + part
        assert total is not None
        return total if step.volatility is None else total / step.volatility

    def _composite(self, outcome: Outcome, step: Detail) -> dict[str, Tensor]:
        """Return the terms of the composite reward, and add the step's excess return to the moments.

        With interest on cash (`outcome.earned`), the moments are of returns above this interest. Without it, the Sharpe
        term subtracts a fixed risk-free rate.
        """
        returns = outcome.growth - 1.0
        self.moments.add(_excess(outcome))
        risk_free = RISK_FREE_ANNUAL / PERIODS_PER_YEAR if outcome.earned is None else 0.0
        deviation = self.moments.variance().sqrt()
        entries = step.weights.shape[1] + 1
        cash = 1.0 - step.weights.sum(-1)
        # 0 for one position alone; the factor below makes it 1 for equal parts
        spread = 1.0 - step.weights.square().sum(-1) - cash.square()
        return {
            "profit": returns,
            "risk": deviation,
            "cost": step.cost,
            "stability": (step.trades > TRADED).to(returns.dtype).mean(-1),
            "sharpe": (self.moments.first - risk_free) / deviation,
            "momentum": (step.weights * step.momentum).sum(-1),
            "diversification": spread * (entries / (entries - 1)),
        }


def _excess(step: Outcome) -> Tensor:
    """Return simple returns float[B], in excess of the benchmark, or else of the interest on cash, if there is any.

    Axes: B accounts.
    """
    if step.market is not None:
        return step.growth - step.market
    returns = step.growth - 1.0
    return returns if step.earned is None else returns - step.earned
