"""The power of a learner: its share of what a rule that knows a planted signal earns above equal weight.

What can go wrong: a learner is blamed for a signal that nobody could trade. A cell is one plant at one cost. A learner
has a share only where the reference rule itself is above equal weight by a 95 % interval on the test part.

The rule is chosen on the training part alone. Cells of strength 0 are fitted too: there a learner must be no different
from equal weight. All accounts have the same sessions, costs, capital and lots.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.runtime.version import commit
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import file_digest, read_panel
from quantd.research.power.findings import Finding
from quantd.research.power.plants import Plant, Planted, planted, planted_plan
from quantd.research.significance.sharpe_intervals import Interval
from quantd.research.significance.stationary_bootstrap import row_means, stationary_interval
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import Plan, replaced
from quantd.training.runs.reference_rule import Grown, Rule, chosen_rule, run_rules
from quantd.training.runs.scorer_fit import fitted_scorer
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import markets_of, window_market
from quantd.training.seeds.seed_run import fit
from quantd.training.seeds.validation import evaluate

COSTS_BP: Final = (1.0, 5.0, 15.0)
"""Costs of one side, in basis points of the traded value."""

Learner = Literal["plan", "scorer"]


class Attainable(Struct, frozen=True):
    """What can be earned in one cell: log growth a year of the reference rule and of equal weight on the test part.

    `low` and `high` are the 95 % interval of the difference; None where the two are equal.
    """

    plant: str
    shape: str
    ic: float
    cost_bp: float
    rule: Rule
    reference: float
    equal_weight: float
    low: float | None
    high: float | None
    turnover_annual: float

    @property
    def passes(self) -> bool:
        """Whether the reference rule is above equal weight, so that a learner can be judged."""
        return self.low is not None and self.low > 0.0


class Field:
    """The market of a plan with its plants: prices of all parts, and the cells by plant and cost."""

    def __init__(self, plan: Plan, plants: Mapping[str, Plant]) -> None:
        self.plan: Final = plan
        self.plants: Final = dict(plants)
        self._planted: dict[str, Planted] = {}
        self._known: dict[tuple[object, ...], Attainable] = {}

    @cached_property
    def panel(self) -> Panel:
        """All sessions from the warm-up to the end of the test part."""
        plan, splits = self.plan, self.plan.splits
        begins = splits.train.first - timedelta(days=plan.warmup_days)
        bars, actions = plan.data.files
        rate, data = plan.market.cash_rate, plan.data
        return read_panel(bars, actions, data.symbols, begins, splits.test.last, rate, data.sources)

    def planted(self, name: str) -> Planted:
        """Return a plant in the panel. Raises PlantError."""
        if name not in self._planted:
            train = self.plan.splits.train.rows(self.panel.day_ns)
            self._planted[name] = planted(self.plants[name], self.panel, train)
        return self._planted[name]

    def costing(self, cost_bp: float) -> Plan:
        """Return the plan with this cost of one side in place of its own costs."""
        free = {f"market.costs.{name}": 0.0 for name in ("slippage_bp", "spread_bp", "borrow_bp_annual")}
        return replaced(self.plan, {**free, "market.costs.commission_bp": cost_bp})

    def attainable(self, name: str, cost_bp: float) -> Attainable:
        """Return what can be earned; the rule is chosen on the training part alone."""
        plant, seen, panel = self.plants[name], self.planted(name), self.panel
        # the reference knows the signal: it is the same for every shape with the same expectation
        key = (cost_bp, blake2b(seen.expected.tobytes(), digest_size=16).digest())
        if key not in self._known:
            of = self.costing(cost_bp).market
            train, test = (part.rows(panel.day_ns) for part in (self.plan.splits.train, self.plan.splits.test))
            rule = chosen_rule(panel, train, seen.expected, of, len(test) - 1)
            tilted, equal = run_rules(panel, test, train, seen.expected, of, [rule])[0], self._equal(cost_bp)
            bounds = interval(tilted.daily - equal.daily)
            self._known[key] = Attainable(
                name, plant.shape, plant.ic, cost_bp, rule, tilted.annual, equal.annual,
                None if bounds is None else bounds.low, None if bounds is None else bounds.high, tilted.turnover_annual,
            )  # fmt: skip
        return msgspec.structs.replace(self._known[key], plant=name, shape=plant.shape)

    def _equal(self, cost_bp: float) -> Grown:
        panel, splits = self.panel, self.plan.splits
        train, test = (part.rows(panel.day_ns) for part in (splits.train, splits.test))
        return run_rules(panel, test, train, np.zeros_like(panel.open), self.costing(cost_bp).market, [Rule()])[0]

    def cell(self, learner: Learner, name: str, cost_bp: float) -> str:
        """Return the hex BLAKE2b of everything that decides a fit but its seed: plan, plant, cost, data, learner."""
        plan = msgspec.structs.replace(self.costing(cost_bp), seeds=(0,), name="")
        paths = [path for path in plan.data.files if path is not None]
        plant = self.plants[name]
        paths += [Path(plant.values)] if plant.values else []
        given = (learner, plan, msgspec.structs.replace(plant, values=""), [file_digest(path) for path in paths])
        return blake2b(msgspec.json.encode(given), digest_size=16).hexdigest()

    def finding(self, learner: Learner, name: str, cost_bp: float, seed: int, folder: Path) -> Finding:
        """Fit one seed on the planted market, and evaluate it on the test part. Raises PlanError, Diverged, OSError."""
        cell = self.attainable(name, cost_bp)
        began = time.process_time()
        grown = self._scorer(name, cost_bp, seed) if learner == "scorer" else self._learned(name, cost_bp, seed, folder)
        spent = time.process_time() - began
        equal = self._equal(cost_bp)
        bounds = interval(grown.daily - equal.daily)
        return Finding(
            cell=self.cell(learner, name, cost_bp),
            plan=self.plan.name,
            learner="scorer" if learner == "scorer" else self.plan.agent,
            plant=name,
            shape=cell.shape,
            ic=cell.ic,
            cost_bp=cost_bp,
            seed=seed,
            growth=grown.annual,
            equal_weight=equal.annual,
            reference=cell.reference,
            attainable=cell.passes,
            low=None if bounds is None else bounds.low,
            high=None if bounds is None else bounds.high,
            turnover_annual=grown.turnover_annual,
            cpu_s=round(spent, 1),
            commit=commit(),
        )

    def _learned(self, name: str, cost_bp: float, seed: int, folder: Path) -> Grown:
        plan = planted_plan(self.costing(cost_bp), self.planted(name).columns, self.panel, folder / name)
        markets, test = markets_of(plan), window_market(plan, plan.splits.test.first, plan.splits.test.last)
        fitted = fit(plan, markets, seed, None, lambda news: False)
        policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
        walked = evaluate(policy, test, plan.market)
        return Grown(np.diff(np.log(walked.equity)), walked.turnover_annual)

    def _scorer(self, name: str, cost_bp: float, seed: int) -> Grown:
        return fitted_scorer(self.costing(cost_bp), self.panel, self.planted(name).columns, seed)


def interval(daily: Floats) -> Interval | None:
    """Return the 95 % interval of a yearly difference of log growth from its days; None where all days are equal."""
    if not daily.any():
        return None
    bounds = stationary_interval(daily, row_means)
    if bounds is None:
        return None
    return Interval(bounds.low * PERIODS_PER_YEAR, bounds.high * PERIODS_PER_YEAR)


def run(
    field: Field, learner: Learner, cells: Sequence[tuple[str, float]], seeds: Sequence[int], folder: Path,
    done: set[tuple[str, int]], add: Callable[[Finding], None],
) -> int:  # fmt: skip
    """Fit every seed of every cell that is not in `done`, and give each finding to `add`. Returns their number.

    A cell that is not attainable is fitted too where its strength is 0: there the learner must be no different from
    equal weight.
    """
    count = 0
    for name, cost_bp in cells:
        if field.plants[name].ic > 0.0 and not field.attainable(name, cost_bp).passes:
            continue
        for seed in seeds:
            if (field.cell(learner, name, cost_bp), seed) not in done:
                add(field.finding(learner, name, cost_bp, seed, folder))
                count += 1
    return count
