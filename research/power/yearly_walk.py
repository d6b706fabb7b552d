"""Walk-forward by year of a training plan: each seed is trained again for each year, and trades that year alone.

What can go wrong: a year is judged by a policy that saw it. A policy of a year is fitted on the years up to two before
it, chosen by the year before it, and then trades the year once. An account that goes on through all years would pay for
the change of its policy; here each year begins with cash, for every account alike, so that all pay for the same entry.
The rules without training decide on the same days, at the same costs and in the same lots.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from quantd.daemon.runtime.version import commit
from quantd.models.history.panel_files import file_digest, read_panel
from quantd.models.history.splits import USUAL_SPLITS, Split, Splits
from quantd.research.power.walk_records import EQUAL_WEIGHT, Growth, WalkedYear
from quantd.strategies.policies import POLICIES
from quantd.strategies.policies.rebalancing import Rebalanced, RebalanceRules
from quantd.trading.ports import Policy
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.market.walk import walk
from quantd.training.plans.plan import Plan
from quantd.training.power.cells import costing
from quantd.training.power.power_line import one_side_bp
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import markets_of, window_market
from quantd.training.seeds.seed_run import fit
from quantd.training.seeds.validation import evaluate

HISTORY: Final = 3
"""Calendar days before a year for each session of a rule's lookback."""

Rules = Mapping[str, Callable[[], Policy]]

RULES: Final[Rules] = {
    EQUAL_WEIGHT: lambda: POLICIES[EQUAL_WEIGHT]({}),
    "inverse_volatility": lambda: POLICIES["inverse_volatility"]({}),
    "linear_ranker": lambda: POLICIES["linear_ranker"]({}),
    "linear_ranker_monthly": lambda: Rebalanced(POLICIES["linear_ranker"]({}), RebalanceRules(when="calendar")),
}
"""Policies without training. They decide each day, the last one on the first day of each month."""


class YearlyWalk:
    """The walk-forward of one plan, at its own costs or at `cost_bp` of one side."""

    def __init__(self, plan: Plan, cost_bp: float | None = None) -> None:
        self.plan: Final = plan if cost_bp is None else costing(plan, cost_bp)
        self.cost_bp: Final = one_side_bp(self.plan.market.costs)

    @property
    def digest(self) -> str:
        """The hex BLAKE2b of what decides the accounts of every year: plan, costs and data, without seeds and dates."""
        plan = msgspec.structs.replace(self.plan, seeds=(0,), name="", splits=USUAL_SPLITS)
        files = [file_digest(path) for path in plan.data.files if path is not None]
        given = (plan, self.plan.splits.train.first, files)
        return blake2b(msgspec.json.encode(given), digest_size=16).hexdigest()

    def plan_of(self, year: int) -> Plan:
        """Return the plan of one year. Raises ValueError where no year remains to fit on."""
        return msgspec.structs.replace(self.plan, splits=splits_of(year, self.plan.splits.train.first))

    def learned(self, year: int, seed: int) -> WalkedYear:
        """Fit one seed for a year, and trade the year. Raises PlanError, Diverged, OSError, ValueError."""
        plan = self.plan_of(year)
        test = plan.splits.test
        began = time.process_time()
        markets, market = markets_of(plan), window_market(plan, test.first, test.last)
        fitted = fit(plan, markets, seed, None, lambda news: False)
        policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
        walked = evaluate(policy, market, plan.market)
        growth = Growth.of(np.diff(np.log(walked.equity)), walked.turnover_annual)
        return self._record(plan.agent, year, seed, growth, time.process_time() - began, fitted.step)

    def ruled(self, name: str, year: int) -> WalkedYear:
        """Trade a year by a rule without training. Raises ValueError, OSError."""
        plan, policy = self.plan_of(year), RULES[name]()
        test, data = plan.splits.test, plan.data
        began = time.process_time()
        begins = test.first - timedelta(days=max(plan.warmup_days, HISTORY * policy.lookback))
        panel = read_panel(*data.files, data.symbols, begins, test.last, plan.market.cash_rate, data.sources)
        of = plan.market
        walked = walk(
            policy, panel, test.rows(panel.day_ns), costs=of.costs, capital=of.capital, lot=of.lots(panel.symbols)
        )
        turnover = float(walked.turnover.mean()) * PERIODS_PER_YEAR
        growth = Growth.of(np.diff(np.log(walked.equity)), turnover)
        return self._record(name, year, 0, growth, time.process_time() - began, 0)

    def _record(self, account: str, year: int, seed: int, growth: Growth, spent: float, step: int) -> WalkedYear:
        return WalkedYear(
            walk=self.digest,
            plan=self.plan.name,
            account=account,
            cost_bp=self.cost_bp,
            year=year,
            seed=seed,
            step=step,
            turnover_annual=growth.turnover_annual,
            cpu_s=round(spent, 1),
            commit=commit(),
            daily=growth.daily,
        )


def splits_of(year: int, first: date) -> Splits:
    """Return the parts of a year: fitted from `first` to two years before, chosen by the year before."""
    return Splits(
        Split("train", first, date(year - 2, 12, 31)),
        Split("validation", date(year - 1, 1, 1), date(year - 1, 12, 31)),
        Split("test", date(year, 1, 1), date(year, 12, 31)),
    )


def run(
    of: YearlyWalk, years: Sequence[int], seeds: Sequence[int], done: Collection[tuple[str, str, int, int]],
    add: Callable[[WalkedYear], None],
) -> int:  # fmt: skip
    """Trade every year by every rule and every seed that is not in `done`, the rules first. Returns their number.

    `done` has (digest, account, year, seed).
    """
    count = 0
    cases = [(name, year, 0) for name in RULES for year in years]
    cases += [(of.plan.agent, year, seed) for seed in seeds for year in years]
    for account, year, seed in cases:
        if (of.digest, account, year, seed) not in done:
            add(of.ruled(account, year) if account in RULES else of.learned(year, seed))
            count += 1
    return count
