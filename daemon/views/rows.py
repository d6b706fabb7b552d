"""Rows of the store for API and command line: exact text, names for codes, UTC text beside int64 ns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec import Struct

from quantd.adapters.bus.decision_lines import AgentLine, decision_lines
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import RiskPoint
from quantd.daemon.runtime.recent_history import Allocation
from quantd.daemon.views.limit_rows import reason_name
from quantd.daemon.views.overview import LimitNow, limit_now
from quantd.daemon.views.shortfall import Costed
from quantd.trading.display_text import instant_text, some
from quantd.trading.effects import Planned, Valued
from quantd.trading.instruments import Universe
from quantd.trading.orders import Order, money_text

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Parts

LIMIT_ROWS: Final = 10_000
"""Maximum number of rows in one response of the API."""


class OrderLine(Order, frozen=True):
    """One order with the name of the limit that cut it, and its cost of execution where that was requested."""

    shortfall: Costed | None = None


class EquityLine(Struct, frozen=True):
    """The account at one sample.

    `limit_drawdown` is from the highest equity since the last resume: it counts for the limit `max_drawdown`.
    `books` are the equities of agents, `shadows` the equities of shadows (agents on paper), which are not part of the
    account.
    """

    ts: int
    time: str
    equity: str
    cash: str
    gross: float
    limit_drawdown: float
    books: dict[str, str]
    shadows: dict[str, str] = {}


class RiskLine(Struct, frozen=True):
    """The house's limits at one instant.

    `kind` is "plan" for the values once all orders of a decision have filled, and "held" for the values at a sample.
    """

    ts: int
    time: str
    kind: str
    limits: list[LimitNow]


class Portion(Struct, frozen=True):
    """One agent's decision: `weights` maps a symbol to its target weight in the agent's book.

    `scale` is the factor by which the weights were reduced to fit the limits; 1 for no reduction.
    """

    scale: float
    weights: dict[str, float]


class AllocationLine(Struct, frozen=True):
    """The agents' decisions (target weights) of one round."""

    ts: int
    time: str
    agents: dict[str, Portion]


class DecisionLine(Struct, frozen=True):
    """How one round of decisions became orders. `quantd why ADDRESS:SYMBOL` explains each symbol.

    `n` is the number of the round's basket (orders sent together) in its sample, and 0 where it has no orders.
    """

    address: str
    ts: int
    time: str
    sample: int
    n: int
    follow_up: int
    agents: list[AgentLine]
    crossed: dict[str, str]
    net: dict[str, str]
    allowed: dict[str, str]
    reasons: dict[str, str]


def order_line(order: Order, shortfall: Costed | None = None) -> OrderLine:
    """A stored order as a row of API, bus and commands, with the name of its reason.

    `shortfall` is its cost of execution, None unless it was requested.
    """
    fields = msgspec.structs.asdict(order) | {"reason": reason_name(int(order.reason or 0))}
    return OrderLine(**fields, shortfall=shortfall)


def equity_line(
    valued: Valued, names: Sequence[str], shadows: Mapping[int, Mapping[str, str]] | None = None
) -> EquityLine:
    """The row of a valuation. `names` are the agents; a book without equity is left out, because it is vacant.

    `shadows`: instant -> equity of each shadow (agent on paper), by name.
    """
    pairs = zip((*names, "unallocated"), valued.books, strict=False)
    books = {name: money_text(micro) for name, micro in pairs if micro or name == "unallocated"}
    shadow_equities = dict((shadows or {}).get(valued.ts, {}))
    equity, cash = money_text(valued.equity_micro), money_text(valued.cash_micro)
    return EquityLine(
        valued.ts, instant_text(valued.ts), equity, cash, valued.gross, valued.drawdown, books, shadow_equities
    )


def shadow_books(reader: Reader, names: Iterable[str], since: int = 0) -> dict[int, dict[str, str]]:
    """Instant (ns UTC) -> equity of each of these shadows (agents on paper), by name."""
    equities: dict[int, dict[str, str]] = {}
    for name in names:
        for point in reader.shadow(name, since=since):
            equities.setdefault(point.ts, {})[name] = money_text(point.equity_micro)
    return equities


def risk_line(point: RiskPoint) -> RiskLine:
    """The stored limit values of one instant as rows, sorted by the limit's key; an unknown value or bound is NaN."""
    nan = float("nan")
    limits = [
        limit_now(key, nan if value is None else value, nan if bound is None else bound)
        for key, (value, bound) in sorted(point.measures.items())
    ]
    return RiskLine(point.ts, instant_text(point.ts), point.kind, limits)


def allocation_line(allocation: Allocation, universe: Universe, names: Sequence[str]) -> AllocationLine:
    """The agents' answers of one round (decision of all agents): by agent, target weights that are not zero, and scale.

    The scale is the factor by which the weights were reduced to fit the limits. An agent without a name in `names` is
    shown by its index.
    """
    agents = {}
    for agent, data, scale in allocation.parts:
        weights = np.frombuffer(data, dtype="<f8")
        nonzero_weights = {universe.symbols[k]: float(weights[k]) for k in np.flatnonzero(weights).tolist()}
        agents[names[agent] if agent < len(names) else str(agent)] = Portion(scale, nonzero_weights)
    return AllocationLine(allocation.ts, instant_text(allocation.ts), agents)


def decision_line(plan: Planned, universe: Universe, names: Sequence[str], address: str = "") -> DecisionLine:
    """One decision of all agents as a row for API and command line; `names` are the agents' names by index."""
    fields = decision_lines(plan, universe, lambda k: names[k] if k < len(names) else str(k), reason_name)
    return DecisionLine(address, plan.ts, instant_text(plan.ts), plan.sample, plan.n, plan.follow_up, *fields)


def thinned(rows: Sequence[Valued], points: int) -> Iterable[Valued]:
    """At most `points` of the rows, including the first and the last, for a chart."""
    if len(rows) <= points:
        return rows
    step = len(rows) / (points - 1)
    return [rows[min(int(k * step), len(rows) - 1)] for k in range(points - 1)] + [rows[-1]]


NEWEST: Final = 16
"""Number of plans that are read: more than a realistic house has agents and follow-ups."""


_plan: Final = msgspec.msgpack.Decoder(Planned)


def newest_plans(records: Records, run: str) -> list[Planned]:
    """The newest plans of a run, oldest first."""
    sql = "SELECT plan FROM decisions WHERE run = ? ORDER BY seq DESC, k DESC LIMIT ?"
    with records.connection() as driver:
        rows = driver.execute(sql, (run, NEWEST)).fetchall()
    return [_plan.decode(row[0]) for row in reversed(rows)]


def decided(plans: list[Planned], parts: "Parts") -> dict[str, str]:
    """Agent -> its newest decision among `plans`."""
    universe = parts.universe
    names = [agent.name for agent in parts.rules.agents]
    zone = ZoneInfo(parts.sessions[universe.calendar].zone)
    text_by_agent: dict[str, str] = {}
    for plan in plans:
        clock = datetime.fromtimestamp(plan.ts // 10**9, UTC).astimezone(zone).strftime("%m-%d %H:%M")
        for agent_line in decision_line(plan, universe, names).agents:
            trades = [
                f"{'sell' if qty.startswith('-') else 'buy'} {qty.lstrip('-')} {symbol}"
                for symbol, qty in agent_line.allowed.items()
            ]
            cut_text = f"; {len(agent_line.reasons)} cut" if agent_line.reasons else ""
            whose = f" (policy of {agent_line.policy})" if agent_line.policy else ""
            text_by_agent[agent_line.agent] = f"{clock} {some(trades, 2) or 'nothing'}{cut_text}{whose}"
    return text_by_agent
