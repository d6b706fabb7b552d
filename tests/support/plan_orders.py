"""The orders of a verdict of the gate, as the columns of a plan price them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.lacks import Lacks
from quantd.daemon.engine.core.market_columns import Market
from quantd.daemon.engine.core.order_columns import FollowUp, Request, write_ends
from quantd.daemon.engine.core.round_plan import Plan
from quantd.daemon.engine.state.open_orders import OpenCrosses, Working
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pretrade.gate import Account, Verdict
from quantd.trading.market import Floats
from quantd.trading.number_types import read_floats, read_ints


class Part(NamedTuple):
    """One agent's part of the orders: lots and positions, float64[N] signed, and its limits."""

    lots: Floats
    held: Floats
    limits: Limits


def priced_orders(
    verdict: Verdict, ctx: Context, account: Account, limits: Limits, parts: Sequence[Part] = (), end: Any = 1
) -> Working | None:
    """The orders of a verdict, which agents share as `parts` say, None for one agent; None where nothing passes."""
    size = len(verdict.lots)
    parts = parts or [Part(verdict.lots, account.lots, limits)]
    agents, books = [], []
    for _, held, of_book in ((verdict.lots, account.lots, limits), *parts):
        columns = BookColumns(size)
        columns.held[:] = np.array(held, dtype=np.float64).data
        columns.collars = rules_of(of_book, ctx.universe).collars
        books.append(columns)
    for lots, _, _ in parts:
        agent = AgentColumns(size, np.zeros(size, np.int8).data, Request(size), FollowUp(size), Lacks(size))
        agent.take(read_floats(lots), read_floats(lots), agent.reason)
        agents.append(agent)
    market = Market(size, read_floats(ctx.universe.lot_size), True)
    plan = Plan(size, agents, books, market, np.zeros(size, np.int8).data)
    plan.orders_type, plan.crosses = Working, OpenCrosses(len(agents), size)
    plan.net_lots()
    plan.take(read_floats(verdict.lots), verdict.reason.data)
    if not plan.count():
        return None
    assert plan.order_prices(read_ints(ctx.prices_nano), read_ints(ctx.age_ns))
    write_ends(plan.crosses.end, end)
    orders = plan.orders(1, 2, 3)
    assert isinstance(orders, Working)
    return orders
