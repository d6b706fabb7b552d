"""Protective exits at a bar: closes that reach a protective level, and the plan of the orders that close positions.

At a bar the closes are new and no sample is taken of them yet, so a plan first values the books at these closes.

An exit begins before it is known whether the fold, the compiled fast path, can plan its order. The handlers of `step`,
in Python, do the same; so Python can go on with the alerts of the exits that began.

Rejected: to find out before the exits begin whether they can be planned, which would need the lots of exits that do not
exist yet. Rejected too: a separate plan for exits, which would be a second gate (check of orders).
"""

from typing import Any

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import EXACT, BookColumns
from quantd.daemon.engine.core.limiter import Limiter
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.round_plan import FOR_PYTHON, Plan
from quantd.trading.history.rings import Ring
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import Ints


def touches(plan: Plan, ledger: Postings) -> bool:
    """Whether a close is at or beyond a protective level of an agent's position, or within rounding of it.

    `stop` and `target` of an agent are fractions of the entry price, infinite for none. `cost` is signed like the lots.
    """
    market: Market = plan.market
    bars: BlockColumns = market.bars
    row: int = market.row
    for number in range(len(plan.agents)):
        agent: AgentColumns = plan.agents[number]
        book: Book = ledger.books[number]
        for k in range(market.size):
            lots: int = book.held[k]
            cost: int = book.cost[k]
            # a position without a cost of its own sign has no entry price, and so no levels
            if lots == 0 or (lots > 0) != (cost > 0) or cost == 0:
                continue
            entry: float = float(cost) / (float(lots) * market.lot_size[k] * 1e6)
            close: float = bars.close[row, k]
            gain: float = close - entry if lots > 0 else entry - close
            # more than the rounding of `entry` and of nano prices: a close that is nearer is decided by Python
            near: float = 1e-9 * entry + 2e-9
            if gain <= near - agent.stop * entry or gain >= agent.target * entry - near:
                return True
    return False


def all_ordered(agents: list[Any], now: int) -> bool:
    """Whether every protective exit in progress was ordered at the instant `now`."""
    ordered: bool = True
    for agent in agents:
        for protective_exit in agent.exits.values():
            ordered = ordered and protective_exit.tried == now
    return ordered


def plan_exits(plan: Plan, ledger: Postings, equities: Ints, ts: int, ring: Ring) -> int:
    """Plan the `change` (lots) of the agents that take part, and write the equities at the closes, in micro-currency.

    `equities` is int64[B + 1]: the whole account, the agents, and what no agent has. Returns a status of
    `Plan.make`: NO_REQUEST, PLANNED, RAISES_LEVEL, or FOR_PYTHON where only Python can plan. The changed columns then
    do no harm, because Python and the next sample write all of them anew.
    """
    market: Market = plan.market
    columns: BookColumns
    limiter: Limiter
    try:
        ledger.write_values(market.closes(), equities)
    except OverflowError:
        return FOR_PYTHON
    for number in range(len(plan.books)):
        if not 0 < equities[number] < EXACT:  # not positive, or not exact as a float
            return FOR_PYTHON
    market.take_prices()
    for number in range(len(plan.books)):
        columns = plan.books[number]
        columns.micro = equities[number]
        limiter = columns.limiter
        limiter.renewed = -1  # the prices of its scene are those of the last sample
    plan.open, plan.closing = False, True  # no order is open; the lots are those of `change`, not of weights
    return plan.make(ts, ring)
