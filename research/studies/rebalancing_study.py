"""Compares rebalancing rules: one agent's policy under each rule and cost, over the same bars, dates and capital.

A cost is a commission on each trade; spread and slippage are zero. The runs have no portfolio limits (profile
`research`), so that only the policy and the rule determine the trades.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.daemon.assembly.broker_costs import costs_of
from quantd.daemon.assembly.engine_rules import rules_of
from quantd.daemon.assembly.first_session import longest_history
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import Agent, Config
from quantd.daemon.config.agent_tables import RebalanceTable
from quantd.daemon.policies.composed import policy_of
from quantd.daemon.runtime.step_log import Unanswered
from quantd.daemon.views.report import rendering
from quantd.daemon.views.report.section_parts import Cell, Note, Section, Table, bar
from quantd.daemon.views.report.section_parts import Row as TableRow
from quantd.research.runs.comparison import Drive, mean_equity, performance_of, recorded, samples_a_year, unlimited
from quantd.research.runs.looks import look_of, try_note_looks
from quantd.research.runs.trials import Known, Look
from quantd.trading.effects import Effect
from quantd.trading.events import Event
from quantd.trading.instruments import MICRO
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import Policy

RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "daily": {},
    "weekly": {"when": "calendar", "every": "week"},
    "two weeks": {"when": "calendar", "every": "two_weeks"},
    "monthly": {"when": "calendar", "every": "month"},
    "quarterly": {"when": "calendar", "every": "quarter"},
    "half-yearly": {"when": "calendar", "every": "half_year"},
    "threshold 5 %": {"when": "threshold", "drift": 0.05},
    "threshold 5 %, risk 3 %": {"when": "threshold"},
    "events": {"when": "event"},
    "cost-aware": {"cost_aware": {}},
}
"""The studied rules: row name -> the agent's `rebalance` table."""

COSTS_BP: Final = (1.0, 5.0, 10.0, 20.0)
"""The studied commissions, in basis points of the traded value."""


class Row(Struct, frozen=True):
    """One rule at one cost. Values are fractions, not percent.

    `turnover_annual` is the annual value traded over average equity, and `cost_drag_annual` the annual costs over
    average equity. `orders` counts the orders, `rebalances` the samples with orders.
    """

    rule: str
    cost_bp: float
    total_return: float
    annual_return: float
    sharpe: float
    max_drawdown: float
    turnover_annual: float
    orders: int
    rebalances: int
    cost_drag_annual: float
    best: bool = False
    failed: str = ""
    """The decisions that the policy failed to take; a row with failures is no result, and never the best."""


class Rebalancing(Struct, frozen=True):
    """The result of a rebalancing study: its rows, grouped by cost, and the market's trials, this study's included."""

    rows: tuple[Row, ...]
    known: Known

    @property
    def failures(self) -> list[str]:
        """One line for each row whose policy failed."""
        return [f"{row.rule} at {row.cost_bp:g} bp: {row.failed}" for row in self.rows if row.failed]


def _measure(place: int, title: str, field: str, unit: str) -> Section[Rebalancing]:
    """The section of one figure: a row for each rule, a column for each cost, a star for the best rule of a cost."""

    def table(result: Rebalancing) -> tuple[Table]:
        values = [getattr(row, field) for row in result.rows if not row.failed]
        cells: dict[str, list[Cell | str]] = {}
        for k, row in enumerate(result.rows):
            value = getattr(row, field)
            shown = f"{rendering.formatted(value, unit)} ★" if row.best else ""
            cell = Cell(f"rows.{k}.{field}", value, unit, "n bar", shown, bar(value, values))
            cells.setdefault(row.rule, []).append("failed" if row.failed else cell)
        heads = [f"{cost:g} bp" for cost in dict.fromkeys(row.cost_bp for row in result.rows)]
        return (Table(("", *heads), [TableRow(rule, row_cells) for rule, row_cells in cells.items()]),)

    return Section(field, place, title, table)


SECTIONS: Final = (
    _measure(1, "Net Sharpe ratio", "sharpe", "ratio"),
    _measure(2, "Costs a year, of average equity", "cost_drag_annual", "fraction"),
    _measure(3, "Turnover a year", "turnover_annual", "ratio"),
    _measure(4, "Maximum drawdown", "max_drawdown", "fraction"),
)


def page(agent: str, result: Rebalancing, definition: str) -> str:
    """Return the page of a study as HTML, which opens without a network; `definition` is that of the Sharpe ratio."""
    about = "★ is the best Sharpe ratio of its cost. Each cost is charged once, as commission."
    notes = [Note(text) for text in (about, *result.failures, definition)]
    return rendering.page(f"Rebalancing of {agent}", notes, SECTIONS, result)


def study(
    config: Config, agent: str, drive: Drive, state: Path, *, costs: tuple[float, ...] = COSTS_BP, family: str = ""
) -> Rebalancing:
    """Run each rule at each cost, and mark the rule with the best Sharpe ratio of each cost.

    Every run is noted as a look (evaluation) in the ledger of the folder `state`, in `family` if it is named. Raises
    FeedError, UnsoundPrices, CalendarError or PolicyError for market or policy, and ValueError for an unknown agent.
    """
    agents = [agent_config for agent_config in config.agents if agent_config.name == agent]
    if not agents:
        names = ", ".join(agent_config.name for agent_config in config.agents)
        raise ValueError(f"there is no agent {agent!r}; choose one of: {names}")
    # every run begins after the longest lookback of any rule, so that all have the same dates
    rule_policies = [_policy(_with_rule(config, agents[0], rule, costs[0])) for rule in RULES.values()]
    history = longest_history(rule_policies, config.instruments())
    # {} is no rule: of this assembly each run takes the market only
    base_assembly = assemble(_with_rule(config, agents[0], {}, costs[0]), cache=state / "cache", history=history)
    rows: list[Row] = []
    looks: list[Look] = []
    for cost in dict.fromkeys(costs):
        pairs = [
            _row(base_assembly, _with_rule(config, agents[0], rule, cost), name, cost, drive)
            for name, rule in RULES.items()
        ]
        best = max((row for row, _ in pairs if not row.failed), key=lambda row: row.sharpe, default=None)
        rows += (msgspec.structs.replace(row, best=row is best) for row, _ in pairs)
        looks += (msgspec.structs.replace(look, family=family) for _, look in pairs if isfinite(look.sharpe))
    known_trials = try_note_looks(state, looks)
    return Rebalancing(tuple(rows), known_trials.like(looks[0]) if looks else known_trials)


def _with_rule(config: Config, agent: Agent, rule: Mapping[str, Any], cost_bp: float) -> Config:
    """Return the configuration with `agent` alone, under the rebalancing `rule`, with one commission and no limits."""
    broker = config.broker.model_copy(
        update={"commission_bp": cost_bp, "spread_bp": 0.0, "slippage_bp": 0.0, "slippage_noise": 0.0, "impact": 0.0,
                "commission_min_micro": None, "borrow_bp_annual": 0.0, "participation": 0.0}
    )  # fmt: skip
    return unlimited(
        config, {"manual": None, "broker": broker}, name=agent.name, policy=agent.policy, params=dict(agent.params),
        sizing=agent.sizing, rebalance=RebalanceTable.model_validate(dict(rule)),
    )  # fmt: skip


class _OrderCount(Unanswered):
    """A log that counts orders, and the samples with orders."""

    def __init__(self) -> None:
        self.orders = 0
        self.samples: set[int] = set()

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, OrderBasket):
                self.orders += len(effect.sym)
                self.samples.add(effect.sample)


def _policy(config: Config) -> Policy:
    return policy_of(config, config.instruments(), config.agents[0], lambda weights: 1.0)


def _row(market: Assembly, config: Config, name: str, cost_bp: float, drive: Drive) -> tuple[Row, Look]:
    """Run the rule `name` of a configuration over the market. Returns (row of results, look: entry for the ledger)."""
    policies = (_policy(config),)
    rules = rules_of(config, market.universe, market.sessions, policies, (), market.interval_ns)
    assembly = replace(market, config=config, rules=rules, policies=policies, schedules=(), costs=costs_of(config))
    order_count = _OrderCount()
    record = recorded(assembly, drive, order_count)
    periods = samples_a_year(assembly)
    performance = performance_of(record, periods, assembly.risk_free_annual(record.days_ns, periods))
    years = (performance.samples - 1) / periods
    average_equity = mean_equity(record)
    row = Row(
        rule=name,
        cost_bp=cost_bp,
        total_return=performance.total_return,
        annual_return=performance.annual_return,
        sharpe=performance.sharpe,
        max_drawdown=performance.max_drawdown,
        turnover_annual=record.traded / average_equity / years,
        orders=order_count.orders,
        rebalances=len(order_count.samples),
        cost_drag_annual=record.commission_micro / MICRO / average_equity / years,
        failed="; ".join(failure.text for failure in record.failures.of(rules.names())),
    )
    values = {"rule": name, "cost_bp": f"{cost_bp:g}"}
    return row, look_of(assembly, record.ts, performance.sharpe, periods, "study", values=values)
