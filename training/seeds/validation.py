"""Evaluates a policy over a window as in trading: greedy, whole lots, after costs, beside equal weight.

What can go wrong. A score with fractions of shares would belong to an account that nobody can trade: so an evaluation
is in whole lots, after costs. A bankrupt account would have no Sharpe ratio: so the account keeps its last equity,
which is bounded below. The test part would be used to choose: so `judge`, which reads the test part, takes the chosen
policy as an argument.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quantd.models.artifacts.manifest import Result
from quantd.models.artifacts.window_figures import WindowFigures, window_figures
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL
from quantd.training.market.episodes import WHOLE
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market
from quantd.training.market.terms import Kind
from quantd.training.plans.plan import USUAL_ERRORS, MarketPlan, Plan
from quantd.training.seeds.environment import allocations_of
from quantd.training.seeds.learner import Policy
from quantd.training.seeds.markets import Markets, window_market

LEAST: Final = 1e-6
"""Minimum equity of a bankrupt account, as a fraction of its capital: a return of -1 or less has no ratio."""


class Walked(NamedTuple):
    """The results of one account over one window."""

    performance: WindowFigures
    """After costs. Its Sharpe ratio, annualised, is the score of the policy; NaN where equity did not move."""
    turnover_annual: float
    """Traded value, both sides, over equity."""
    equity: Floats
    """float64[T] at closes."""
    seen: Tensor
    """float64[D], the mean of the observations."""


def evaluate(policy: Policy, market: Market, of: MarketPlan, kind: Kind | None = None) -> Walked:
    """Evaluate a policy from the first row of `market` to its last. A bankrupt account keeps its last equity.

    `kind` is the kind of the policy's actions, by default the kind in the plan `of`. The second argument of the policy
    is True at the first observation.
    """
    kind = kind or of.kind
    simulator = Simulator(
        market, batch=1, kind=kind, allocations=allocations_of(of, market.symbols) if kind == "discrete" else None,
        episodes=WHOLE, costs=of.costs, capital=of.capital, lot=of.lots(market.symbols), gross=of.gross,
    )  # fmt: skip
    length = market.last - market.first
    equity, turnover = np.full(length + 1, of.capital), np.zeros(length)
    observation = simulator.reset()
    observation_sum, rows = observation[0].double(), 1
    for t in range(length):
        step = simulator.step(policy(observation, t == 0))
        account = simulator.traded
        equity[t + 1], turnover[t] = float(account.equity), float(account.turnover)
        observation = step.observation
        observation_sum, rows = observation_sum + observation[0], rows + 1
        if bool(step.terminated):
            # bankrupt: the equity stays, above 0 for its logarithm
            equity[t + 1 :] = max(equity[t + 1], LEAST * of.capital)
            break
    cash_returns = None if market.earned is None else market.earned[market.first + 1 : market.last + 1]
    risk_free = (
        RISK_FREE_ANNUAL
        if cash_returns is None
        else cash_returns.numpy(force=True).astype(np.float64) * PERIODS_PER_YEAR
    )
    figures = window_figures(equity, PERIODS_PER_YEAR, risk_free)
    return Walked(figures, float(turnover.mean()) * PERIODS_PER_YEAR, equity, observation_sum / rows)


def excess(
    walked: Walked, equal: Walked, by: Literal["excess", "growth"] = "excess", errors: float = USUAL_ERRORS
) -> float:
    """Return a yearly measure of daily log returns above the returns of the account `equal`, less `errors` standard
    errors.

    With `by` "excess" the measure is the information ratio, whose standard error for independent days is 1 /
    sqrt(years) (Lo 2002). With "growth" the measure is the mean, the log growth above that of `equal`. Both measures
    are above 0 for the same accounts. The ratio prefers a small and steady gain, growth the largest gain that is sure.
    The result is NaN for an account equal to `equal`.
    """
    daily = np.diff(np.log(walked.equity)) - np.diff(np.log(equal.equity))
    deviation = float(daily.std())
    if not deviation > 0.0:
        return float("nan")
    ratio, error = float(daily.mean()) / deviation, len(daily) ** -0.5
    margin = ratio - errors * error
    return margin * (deviation * PERIODS_PER_YEAR if by == "growth" else PERIODS_PER_YEAR**0.5)


def equal_weight(market: Market, of: MarketPlan) -> Walked:
    """Evaluate equal weights of all priced assets, rebalanced each session, with the same costs, capital and lots."""
    size = len(market.symbols)
    priced = torch.ones((len(market.close), size)) if market.known is None else market.known
    row = iter(range(market.first, market.last))

    def acts(observation: Tensor, first: bool) -> Tensor:
        is_priced = priced[next(row)].to(torch.float64)
        count = is_priced.sum()
        # without any price the account is cash: its weights must add up to 1
        return torch.cat([is_priced / count.clamp(min=1.0), (count == 0.0).to(is_priced).view(1)]).view(1, -1)

    return evaluate(acts, market, of, "simplex")


def judge(plan: Plan, markets: Markets, policies: Sequence[Policy], chosen: int) -> dict[str, Result]:
    """Evaluate the policies of all seeds in all three parts; `chosen` is the index of the chosen policy.

    The function reads the test part. Callers count each call as an evaluation on the test part (a look), and change
    nothing afterwards.
    """
    test = plan.splits.test
    parts = {"train": markets.in_sample, "validation": markets.validation}
    parts["test"] = window_market(plan, test.first, test.last)
    results = {}
    for name, market in parts.items():
        walks = [evaluate(policy, market, plan.market) for policy in policies]
        sharpes = tuple(
            None if np.isnan(seed_walk.performance.sharpe) else seed_walk.performance.sharpe for seed_walk in walks
        )
        equal, best = equal_weight(market, plan.market), walks[chosen]
        results[name] = Result(best.performance, equal.performance, best.turnover_annual, sharpes)
    return results
