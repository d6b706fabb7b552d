"""The power of a learner: its share of what a rule that knows a planted signal earns above equal weight.

What can go wrong: a learner is blamed for missing a signal that is too weak to trade after costs. So a learner has a
share only where the reference rule, which knows the signal, is significantly above equal weight on the test part, by a
95 % interval.

A plant is a signal of known strength that is added to real prices, and a cell is one plant at one cost. The reference
rule is chosen on the training part alone. Cells of strength 0 are fitted, too, as a control: a learner must not differ
from equal weight in them. All accounts have the same sessions, costs, capital and lots.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from quantd.daemon.runtime.version import commit
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import read_panel
from quantd.training.plans.plan import Plan
from quantd.training.power.attainable import Attained, attained, interval
from quantd.training.power.cells import Learner, cell_of, costing
from quantd.training.power.findings import Finding
from quantd.training.power.plants import Plant, Planted, planted, planted_plan
from quantd.training.power.reference_rule import Grown, Rule, run_cases
from quantd.training.runs.scorer_fit import fitted_scorer
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import markets_of, window_market
from quantd.training.seeds.seed_run import fit
from quantd.training.seeds.validation import evaluate

COSTS_BP: Final = (1.0, 5.0, 15.0)
"""Costs of one side, in basis points of the traded value."""


class Attainable(Attained, frozen=True, kw_only=True):
    """What the reference rule earns on the test part with one planted signal, of the strength `ic`, at one cost."""

    plant: str
    shape: str
    ic: float
    cost_bp: float


class Field:
    """The market of a training plan with planted (artificial) signals, and the results of the reference rule."""

    def __init__(self, plan: Plan, plants: Mapping[str, Plant]) -> None:
        self.plan: Final = plan
        self.plants: Final = dict(plants)
        self._planted: dict[str, Planted] = {}
        self._attained: dict[tuple[object, ...], Attained] = {}

    @cached_property
    def panel(self) -> Panel:
        """All sessions from the warm-up to the end of the test part."""
        plan, splits = self.plan, self.plan.splits
        begins = splits.train.first - timedelta(days=plan.warmup_days)
        bars, actions = plan.data.files
        rate, data = plan.market.cash_rate, plan.data
        return read_panel(bars, actions, data.symbols, begins, splits.test.last, rate, data.sources)

    def planted(self, name: str) -> Planted:
        """Return the plan's prices with the planted signal `name` in them. Raises PlantError for an unusable signal."""
        if name not in self._planted:
            train = self.plan.splits.train.rows(self.panel.day_ns)
            self._planted[name] = planted(self.plants[name], self.panel, train)
        return self._planted[name]

    def costing(self, cost_bp: float) -> Plan:
        """Return the plan with `cost_bp`, the cost of one side in basis points, in place of the plan's own costs."""
        return costing(self.plan, cost_bp)

    def attainable(self, name: str, cost_bp: float) -> Attainable:
        """Return what the reference rule earns on the test part; the rule is chosen on the training part alone.

        The reference rule knows the strength of the planted signal `name`; `cost_bp` is the cost of one side.
        """
        plant, expected = self.plants[name], self.planted(name).expected
        # plants with the same expected returns share a result, because the reference rule sees only these
        key = (cost_bp, blake2b(expected.tobytes(), digest_size=16).digest())
        if key not in self._attained:
            train, test = (part.rows(self.panel.day_ns) for part in (self.plan.splits.train, self.plan.splits.test))
            # one result, because there is one signal
            (self._attained[key],) = attained(self.panel, train, test, [expected], self.costing(cost_bp).market)
        return Attainable(
            **msgspec.structs.asdict(self._attained[key]), plant=name, shape=plant.shape, ic=plant.ic, cost_bp=cost_bp
        )

    def _equal_weight(self, cost_bp: float) -> Grown:
        panel, splits = self.panel, self.plan.splits
        train, test = (part.rows(panel.day_ns) for part in (splits.train, splits.test))
        return run_cases(panel, test, train, [(np.zeros_like(panel.open), Rule())], self.costing(cost_bp).market)[0]

    def cell(self, learner: Learner, name: str, cost_bp: float) -> str:
        """Return the hex digest that identifies a cell (learner, planted signal, cost) in a file of findings."""
        return cell_of(self.plan, learner, self.plants[name], cost_bp)

    def finding(self, learner: Learner, name: str, cost_bp: float, seed: int, folder: Path) -> Finding:
        """Train one seed on the planted market, and evaluate it on the test part.

        Raises PlanError for data that do not fit the plan, Diverged for a loss that is not finite, OSError for an
        unreadable file.
        """
        cell = self.attainable(name, cost_bp)
        began = time.process_time()
        growth = (
            self._scorer(name, cost_bp, seed) if learner == "scorer" else self._learned(name, cost_bp, seed, folder)
        )
        cpu_s = time.process_time() - began
        equal_weight = self._equal_weight(cost_bp)
        # the 95 % interval of a year's difference; None for too few days, or where all are equal
        low, high = interval(growth.daily - equal_weight.daily) or (None, None)
        return Finding(
            cell=self.cell(learner, name, cost_bp),
            plan=self.plan.name,
            learner="scorer" if learner == "scorer" else self.plan.agent,
            plant=name,
            shape=cell.shape,
            ic=cell.ic,
            cost_bp=cost_bp,
            seed=seed,
            growth=growth.annual,
            equal_weight=equal_weight.annual,
            reference=cell.reference,
            attainable=cell.passes,
            low=low,
            high=high,
            turnover_annual=growth.turnover_annual,
            cpu_s=round(cpu_s, 1),
            commit=commit(),
        )

    def _learned(self, name: str, cost_bp: float, seed: int, folder: Path) -> Grown:
        """Train the plan's learner on the market with the planted signal, and trade its policy on the test part."""
        plan = planted_plan(self.costing(cost_bp), self.planted(name), self.panel, folder / name)
        markets, test = markets_of(plan), window_market(plan, plan.splits.test.first, plan.splits.test.last)
        fitted = fit(plan, markets, seed, None, lambda news: False)
        policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
        account = evaluate(policy, test, plan.market)
        return Grown(np.diff(np.log(account.equity)), account.turnover_annual)

    def _scorer(self, name: str, cost_bp: float, seed: int) -> Grown:
        """Fit the scorer, a network that scores each asset, on the planted market, and trade its scores on the test
        part.
        """
        return fitted_scorer(self.costing(cost_bp), self.panel, self.planted(name).seen, seed)


def run(
    field: Field, learner: Learner, cells: Sequence[tuple[str, float]], seeds: Sequence[int], folder: Path,
    done: set[tuple[str, int]], add: Callable[[Finding], None],
) -> int:  # fmt: skip
    """Fit every seed of every cell, and pass each finding (result of a seed) to `add`. Returns the number of findings.

    A cell is (name of a planted signal, cost of one side in basis points). Seeds in `done`, as (digest of the cell,
    seed), are not fitted again. A cell whose signal is too weak to trade is skipped, except at strength 0, where the
    learner must not differ from equal weight.
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
