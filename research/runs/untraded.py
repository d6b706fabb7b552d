"""The reason why a run traded nothing, with its remedy.

What can go wrong: a configuration that trades nothing is read as a policy that earned nothing. The record of a run does
not distinguish the two. So a run without fills is run once more with a log of its decisions, plans and orders.

The reason is the first step at which everything stopped: all decisions hold, every weight is worth less than one lot
(smallest tradable quantity), limits refuse all lots, or all orders expire. Outside agents are not asked again.

Rejected: this log in every run, because it would slow down runs with fills.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.assembly.small_shares import most_of
from quantd.daemon.engine.state.settings import AgentRules
from quantd.daemon.runtime.step_log import Unanswered
from quantd.research.runs.backtest import POINT, drive
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import LIMIT_OF, REASON_NAMES
from quantd.strategies.policies.holding import OutsidePolicy
from quantd.trading.display_text import session_date, some
from quantd.trading.effects import AgentPlan, Ask, Effect, Ended, Planned
from quantd.trading.events import Decided, Event
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats, Ints
from quantd.trading.orders import OrderBasket, OrderState

NOTHING: Final = "No verdict: nothing was traded, so the figures are no result of a policy."
"""Replaces the verdict on a run without fills."""

LOST: Final = "the account lost everything on {date}: its equity was {equity:,.2f}"


class Untraded(Struct, frozen=True):
    """The reason why a run traded nothing, the remedy, and both as sentences (`text`)."""

    reason: str
    remedy: str

    @property
    def text(self) -> str:
        """The reason and its remedy, as sentences."""
        return f"Nothing was traded: {self.reason}. {self.remedy}."


class Obstacles(Unanswered):
    """A log that counts the outcomes of decisions: holds, empty weights, refused changes, orders and expired orders.

    `asked` counts the questions, `held` the answers that keep the positions, `empty` the answers with weights of 0
    only.
    """

    def __init__(self, agents: int) -> None:
        """`agents` is the number of trading agents. Shadow (untraded) agents follow; their weights are not stored."""
        # questions, answers that hold, and answers with weights of 0 only
        self.asked = self.held = self.empty = 0
        self.largest: list[float] = [0.0] * agents
        """Largest absolute weight of each agent so far."""
        self.lots = 0
        """Number of planned changes, each of one symbol by one agent, before limits."""
        self.reasons: Counter[int] = Counter()
        """Number of changes that limits refused, by the code of the limit."""
        self.orders = self.expired = 0
        self.symbols: set[int] = set()
        self._weights: dict[int, Floats] = {}

    def answer(self, ask: Ask) -> Decided | None:
        """Count the question. Returns None, so that the policy answers."""
        self.asked += 1
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Count decisions, planned and refused lots, orders, and the orders that expired."""
        if isinstance(event, Decided) and not event.failed:
            self._decided(event)
        for effect in effects:
            if isinstance(effect, Planned):
                self._planned(effect)
            elif isinstance(effect, OrderBasket):
                self.orders += len(effect.sym)
                self.symbols.update(effect.sym)
            elif isinstance(effect, Ended):
                self.expired += effect.state.count(OrderState.EXPIRED)

    def _decided(self, event: Decided) -> None:
        """Count an answer that holds or has only weights of 0.

        Of each agent's answers, the one with the largest absolute weight is stored.
        """
        if event.weights is None:
            self.held += 1
            return
        weights = np.frombuffer(event.weights)
        largest = float(np.abs(weights).max(initial=0.0))
        self.empty += largest == 0.0
        if event.agent < len(self.largest) and largest > self.largest[event.agent]:
            self.largest[event.agent] = largest
            self._weights[event.agent] = weights

    def _planned(self, effect: Planned) -> None:
        for plan in effect.agents:
            self._count_refused(plan)
            self.lots += int(np.count_nonzero(np.frombuffer(plan.asked, dtype=np.int64)))
        self._count_refused(effect)

    def _count_refused(self, plan: AgentPlan | Planned) -> None:
        planned_lots = np.frombuffer(plan.asked if isinstance(plan, AgentPlan) else plan.net, dtype=np.int64)
        refused = (planned_lots != 0) & (np.frombuffer(plan.allowed, dtype=np.int64) == 0)
        self.reasons.update(np.frombuffer(plan.reason, dtype=np.int8)[refused].tolist())

    def weights_of(self, agent: int) -> Floats:
        """Return the agent's answer with the largest absolute weight, float64[N]; empty without an answer."""
        return self._weights.get(agent, np.zeros(0))


def untraded(assembly: Assembly, record: Record) -> Untraded | None:
    """Return why a run without fills traded nothing; None for a run with fills."""
    if record.fill_columns:
        return None
    if any(isinstance(policy, OutsidePolicy) for policy in assembly.policies):
        return Untraded("no proposal of an outside agent was filled", "Its answers are in `quantd why` and its log")
    log = Obstacles(len(assembly.rules.agents))
    drive(assembly, assembly.config, POINT, log, None, lambda share: None)
    return reason_of(assembly, log)


def reason_of(assembly: Assembly, log: Obstacles) -> Untraded:
    """Return the step at which a run that traded nothing stopped, as a reason with its remedy."""
    names = some([agent.name for agent in assembly.rules.agents])
    if not log.asked:
        return Untraded("no agent was asked to decide", "Give earlier bars, a shorter lookback or another schedule")
    if log.held == log.asked:
        return Untraded(
            f'{names} answered "hold" at each of {log.asked:,} decisions, without a position',
            "Return weights at the first decision, keep the policy's state in its memory, act(view, memory), or use "
            "another policy",
        )
    if not any(log.largest):
        return Untraded(
            f"{names} asked for no position at any of {log.asked:,} decisions",
            "Return a weight above 0, or give the policy more or other bars",
        )
    if not log.lots:
        return _without_lots(assembly, log)
    if not log.orders:
        code = log.reasons.most_common(1)[0][0] if log.reasons else 0
        name = LIMIT_OF.get(code) or (REASON_NAMES[code] if 0 < code < len(REASON_NAMES) else "a limit")
        return Untraded(
            f"limits refused all {log.reasons.total():,} changes, most of them {name}",
            f"Change {name} in [risk] or in the limits of the agent, or ask for less",
        )
    return _unfilled(assembly, log)


def _without_lots(assembly: Assembly, log: Obstacles) -> Untraded:
    """Return the reason for a run whose weights were too small: below `min_trade` together, or each below a lot."""
    rules = assembly.rules
    agent: AgentRules
    index, agent = max(enumerate(rules.agents), key=lambda pair: log.largest[pair[0]])
    largest = log.largest[index]
    weights = log.weights_of(index)
    together = float(np.abs(weights).sum())
    if together < agent.min_trade:
        # half of the largest weight, rounded to one digit
        suggestion = f"{float(f'{largest / 2:.1g}'):g}"
        return Untraded(
            f"{agent.name} does not trade changes that are together below {agent.min_trade:.2%} of its equity "
            f"(min_trade), and its weights were together {together:.3%} ({assembly.universe.size:,} symbols)",
            f"Write min_trade = {suggestion} for it (--set agents.{agent.name}.min_trade={suggestion}; "
            f'Python: settings={{"agents.{agent.name}.min_trade": {suggestion}}})',
        )
    bounded = ""
    most, limit = most_of(assembly, agent)
    if most <= 0.0:
        return Untraded(f"the targets of {agent.name} may hold nothing, by {limit}", "Raise this limit")
    if most < together:  # the targets are scaled to the limit
        weights, largest = weights * (most / together), largest * (most / together)
        bounded = f" after {limit}" if most < 0.9 * together else ""
    # the price of one lot of each symbol at its highest close
    lot_prices = np.fmax.reduce(assembly.feed.columns.close, axis=0) * assembly.universe.lot_size
    requested = np.flatnonzero(weights)
    needed_capital = float(np.fmin.reduce(lot_prices[requested] / np.abs(weights[requested])))
    capital_share = max(agent.capital_micro, 1) / max(rules.cash_micro, 1)
    # the agent has a share of the cash; 10 % more, because prices move
    cash = f"{_rounded_up(needed_capital / capital_share * 1.1):.0f}"
    return Untraded(
        f"no weight of {agent.name} is worth one lot: its capital is {agent.capital_micro / MICRO:,.2f}, and its "
        f"largest weight {largest:.2%}{bounded}",
        f'Write [broker] cash = "{cash}" or more, or a smaller [[universe.instruments]] lot',
    )


def _rounded_up(value: float) -> float:
    unit = 10.0 ** max(np.floor(np.log10(max(value, 1.0))) - 1, 0)
    return float(np.ceil(value / unit) * unit)


def _unfilled(assembly: Assembly, log: Obstacles) -> Untraded:
    """Return the reason for a run whose orders were not filled: too little volume, or unreached limit prices."""
    columns = sorted(log.symbols)
    volume: Floats = assembly.feed.columns.volume[:, columns]
    volumes = volume[np.isfinite(volume)]
    costs, orders = assembly.costs, f"{log.orders:,} order{'' if log.orders == 1 else 's'}"
    outcome = f"{log.expired:,} of {orders} expired, and none was filled"
    symbols = some([assembly.universe.symbols[column] for column in columns])
    # the settings by which the volume of a bar bounds a fill
    caps = [name for name in ("participation", "impact") if getattr(costs, name)]
    cli_options = " ".join(f"--set broker.{name}=0" for name in caps)
    settings = ", ".join(f'"broker.{name}": 0' for name in caps)
    remedy = (
        f"Write [broker] {' and '.join(f'{name} = 0' for name in caps)} ({cli_options}; "
        f"Python: settings={{{settings}}})"
    )
    if costs.needs_volume and caps and not volumes.any():
        return Untraded(f"{outcome}: every volume of {symbols} is 0, and fills are a share of the volume", remedy)
    lots: Ints = np.array(assembly.universe.lot_nano, dtype=np.int64)[columns]
    if costs.participation and caps and float(np.median(volumes)) * costs.participation < float(lots.min()) / NANO:
        return Untraded(
            f"{outcome}: the median volume of {symbols} is {float(np.median(volumes)):,.0f}, and a share of "
            f"{costs.participation:.0%} of it is less than a lot",
            remedy,
        )
    return Untraded(
        f"{outcome}: no later bar of {symbols} opened within the limit prices of the orders",
        "Raise [risk] collar, or give later bars",
    )


class AccountLost(ExplainedError, ValueError):
    """The account lost everything, so it has no returns after that. The text has the date."""


def lost_text(record: Record) -> str:
    """Return the sentence about an account that lost everything, with the date of the loss; else empty."""
    lost_row = next((k for k, micro in enumerate(record.equity_micro) if micro <= 0), None)
    if lost_row is None:
        return ""
    date = session_date(record.days_ns[lost_row]).isoformat()
    return LOST.format(date=date, equity=record.equity_micro[lost_row] / MICRO)
