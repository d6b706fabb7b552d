"""Walk-forward by year of a training plan: each seed is trained again for each year, and trades that year alone.

What can go wrong: a policy is tested on a year that it was trained on. So the policy of a year Y is trained on the
years up to Y - 2, chosen by the year Y - 1, and trades the year Y once. An account that ran through all years would pay
for each change of its policy. So every account begins each year with cash, and pays for its first purchases. The rules
without training decide on the same days, at the same costs and in the same lots.
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

DAYS_PER_SESSION: Final = 3
"""Calendar days that are read before a year for each session of a rule's lookback: enough with all holidays."""

Rules = Mapping[str, Callable[[], Policy]]
"""Functions that create a policy, by the name of its account."""

RULES: Final[Rules] = {
    EQUAL_WEIGHT: lambda: POLICIES[EQUAL_WEIGHT]({}),
    "inverse_volatility": lambda: POLICIES["inverse_volatility"]({}),
    "linear_ranker": lambda: POLICIES["linear_ranker"]({}),
    "linear_ranker_monthly": lambda: Rebalanced(POLICIES["linear_ranker"]({}), RebalanceRules(when="calendar")),
}
"""Policies without training. All decide each day, but `linear_ranker_monthly` trades once a month only."""


class YearlyWalk:
    """The walk-forward of one training plan, at `cost_bp` basis points a side or, for None, at the plan's costs."""

    def __init__(self, plan: Plan, cost_bp: float | None = None) -> None:
        self.plan: Final = plan if cost_bp is None else costing(plan, cost_bp)
        self.cost_bp: Final = one_side_bp(self.plan.market.costs)

    @property
    def digest(self) -> str:
        """The hex BLAKE2b of what the accounts of all years depend on: plan, costs, data and first training day."""
        plan = msgspec.structs.replace(self.plan, seeds=(0,), name="", splits=USUAL_SPLITS)
        files = [file_digest(path) for path in plan.data.files if path is not None]
        decisive = (plan, self.plan.splits.train.first, files)
        return blake2b(msgspec.json.encode(decisive), digest_size=16).hexdigest()

    def plan_of(self, year: int) -> Plan:
        """Return the plan with the splits of one test year. Raises ValueError where no year remains for training."""
        return msgspec.structs.replace(self.plan, splits=splits_of(year, self.plan.splits.train.first))

    def learned(self, year: int, seed: int) -> WalkedYear:
        """Train a policy with one seed for a year, and trade the year with this policy.

        Raises PlanError for data that do not fit the plan, Diverged for a loss that is not finite, OSError for an
        unreadable file, and ValueError where no year remains for training.
        """
        plan = self.plan_of(year)
        test = plan.splits.test
        began_s = time.process_time()
        markets, test_market = markets_of(plan), window_market(plan, test.first, test.last)
        fitted = fit(plan, markets, seed, None, lambda news: False)  # no folder for records; False never stops it
        policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
        account = evaluate(policy, test_market, plan.market)
        growth = Growth.of(np.diff(np.log(account.equity)), account.turnover_annual)
        return self._record(plan.agent, year, seed, growth, time.process_time() - began_s, fitted.step)

    def ruled(self, name: str, year: int) -> WalkedYear:
        """Trade a year by `name`, a rule that needs no training.

        Raises ValueError for data that do not fit the plan or a year without an earlier year for training, OSError
        for an unreadable file.
        """
        plan, policy = self.plan_of(year), RULES[name]()
        test, data = plan.splits.test, plan.data
        began = time.process_time()
        # the bars begin before the year, for the features of the plan and the lookback of the rule
        first_day = test.first - timedelta(days=max(plan.warmup_days, DAYS_PER_SESSION * policy.lookback))
        panel = read_panel(*data.files, data.symbols, first_day, test.last, plan.market.cash_rate, data.sources)
        market = plan.market
        account = walk(
            policy,
            panel,
            test.rows(panel.day_ns),
            costs=market.costs,
            capital=market.capital,
            lot=market.lots(panel.symbols),
        )
        turnover = float(account.turnover.mean()) * PERIODS_PER_YEAR
        growth = Growth.of(np.diff(np.log(account.equity)), turnover)
        # 0 and 0: a rule has no seed and no training step
        return self._record(name, year, 0, growth, time.process_time() - began, 0)

    def _record(self, account: str, year: int, seed: int, growth: Growth, cpu_s: float, step: int) -> WalkedYear:
        """Return the record of one account in one year; a rule has the seed 0 and the training step 0."""
        return WalkedYear(
            walk=self.digest,
            plan=self.plan.name,
            account=account,
            cost_bp=self.cost_bp,
            year=year,
            seed=seed,
            step=step,
            turnover_annual=growth.turnover_annual,
            cpu_s=round(cpu_s, 1),
            commit=commit(),
            daily=growth.daily,
        )


def splits_of(year: int, first: date) -> Splits:
    """Return the splits of a test `year`: training from `first` on, then one year of validation before `year`."""
    return Splits(
        Split("train", first, date(year - 2, 12, 31)),
        Split("validation", date(year - 1, 1, 1), date(year - 1, 12, 31)),
        Split("test", date(year, 1, 1), date(year, 12, 31)),
    )


def run(
    yearly_walk: YearlyWalk, years: Sequence[int], seeds: Sequence[int], done: Collection[tuple[str, str, int, int]],
    add: Callable[[WalkedYear], None],
) -> int:  # fmt: skip
    """Trade every year by every rule, then by every trained seed, and pass each record to `add`. Returns their number.

    Records in `done`, as (digest of the walk-forward, account, year, seed), are not computed again.
    """
    count = 0
    cases = [(name, year, 0) for name in RULES for year in years]  # rules draw nothing: their records have seed 0
    cases += [(yearly_walk.plan.agent, year, seed) for seed in seeds for year in years]
    for account, year, seed in cases:
        if (yearly_walk.digest, account, year, seed) not in done:
            add(yearly_walk.ruled(account, year) if account in RULES else yearly_walk.learned(year, seed))
            count += 1
    return count
