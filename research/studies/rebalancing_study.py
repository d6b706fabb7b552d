"""Compares rebalancing rules: one agent's policy under each rule and cost, over the same bars, dates and capital.

A cost is a commission on each trade; spread and slippage are zero. The profile `research` has no portfolio limits, so
that only the rule determines the trades.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.daemon.assembly.engine_rules import rules_of
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.assembly.simulated_costs import costs_of
from quantd.daemon.config import Agent, Config
from quantd.daemon.config.agent_tables import RebalanceTable
from quantd.daemon.policies.composed import policy_of
from quantd.research.runs.comparison import Drive, mean_equity, performance_of, recorded, samples_a_year, unlimited
from quantd.research.runs.looks import Known, Look, look_of, try_note_looks
from quantd.research.runs.run_record import Counter
from quantd.trading.instruments import MICRO
from quantd.trading.orders import OrderBasket

RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "daily": {},
    "weekly": {"when": "calendar", "every": "week"},
    "two weeks": {"when": "calendar", "every": "two_weeks"},
    "monthly": {"when": "calendar", "every": "month"},
    "quarterly": {"when": "calendar", "every": "quarter"},
    "half-yearly": {"when": "calendar", "every": "half_year"},
    "threshold 5 %": {"when": "threshold", "risk_drift": 1.0},
    "threshold 5 %, risk 3 %": {"when": "threshold"},
    "events": {"when": "event"},
    "cost-aware": {"cost_aware": {}},
}
"""The studied rules: row name -> the agent's `rebalance` table."""

COSTS_BP: Final = (1.0, 5.0, 10.0, 20.0)


class Row(Struct, frozen=True):
    """One rule at one cost. Values are fractions, not percent.

    `turnover_annual` is the annual value traded over average equity, and `cost_drag_annual` the annual costs over
    average equity. `rebalances` counts the samples with orders.
    """

    rule: str
    cost_bp: float
    total_return: float
    annual_return: float
    sharpe: float
    max_drawdown: float
    turnover_annual: float
    rebalances: int
    cost_drag_annual: float
    best: bool = False


class Rebalancing(Struct, frozen=True):
    """The result of a study: its rows, grouped by cost, and the looks known after it."""

    rows: tuple[Row, ...]
    known: Known


def study(config: Config, agent: str, drive: Drive, state: Path, *, costs: tuple[float, ...] = COSTS_BP) -> Rebalancing:
    """Run each rule at each cost, mark the best Sharpe ratio of a cost, and note every run as a look in `state`.

    Raises the errors of `assemble`, and ValueError for an unknown agent.
    """
    found = [each for each in config.agents if each.name == agent]
    if not found:
        names = ", ".join(each.name for each in config.agents)
        raise ValueError(f"there is no agent {agent!r}; there are: {names}")
    market = assemble(_with(config, found[0], {}, costs[0]), cache=state / "cache")
    rows: list[Row] = []
    looks: list[Look] = []
    for cost in costs:
        pairs = [_row(market, _with(config, found[0], rule, cost), name, cost, drive) for name, rule in RULES.items()]
        best = max((row for row, _ in pairs), key=lambda row: row.sharpe)
        rows += (msgspec.structs.replace(row, best=row is best) for row, _ in pairs)
        looks += (look for _, look in pairs if isfinite(look.sharpe))
    return Rebalancing(tuple(rows), try_note_looks(state, looks))


def _with(config: Config, agent: Agent, rule: Mapping[str, Any], cost_bp: float) -> Config:
    broker = config.broker.model_copy(
        update={"commission_bp": cost_bp, "spread_bp": 0.0, "slippage_bp": 0.0, "slippage_noise": 0.0, "impact": 0.0,
                "commission_min_micro": None, "borrow_bp_annual": 0.0, "participation": 0.0}
    )  # fmt: skip
    return unlimited(
        config, {"manual": None, "broker": broker}, name=agent.name, policy=agent.policy, params=dict(agent.params),
        sizing=agent.sizing, rebalance=RebalanceTable.model_validate(dict(rule)),
    )  # fmt: skip


def _row(market: Assembly, config: Config, name: str, cost_bp: float, drive: Drive) -> tuple[Row, Look]:
    policies = (policy_of(config, config.instruments(), config.agents[0], lambda weights: 1.0),)
    rules = rules_of(config, market.universe, market.sessions, policies, (), market.interval_ns)
    assembly = replace(market, config=config, rules=rules, policies=policies, schedules=(), costs=costs_of(config))
    baskets = Counter(lambda effect: type(effect) is OrderBasket)
    record = recorded(assembly, drive, baskets)
    periods = samples_a_year(assembly)
    found = performance_of(record, periods, assembly.risk_free_annual(record.days_ns, periods))
    years = (found.samples - 1) / periods
    money = mean_equity(record)
    row = Row(
        rule=name,
        cost_bp=cost_bp,
        total_return=found.total_return,
        annual_return=found.annual_return,
        sharpe=found.sharpe,
        max_drawdown=found.max_drawdown,
        turnover_annual=record.traded / money / years,
        rebalances=baskets.count,
        cost_drag_annual=record.commission_micro / MICRO / money / years,
    )
    return row, look_of(assembly, record.ts, found.sharpe, periods, "study")
