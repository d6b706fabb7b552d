"""Creates the columns of a state: of its books, agents and plans, and of the compiled fold."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.digest_rows import Names, Rows
from quantd.daemon.engine.core.lots import LATER
from quantd.daemon.engine.core.questions import Questions
from quantd.daemon.engine.core.round_plan import Plan
from quantd.daemon.engine.core.sample_columns import SampleColumns
from quantd.daemon.engine.core.venue_orders import VenueOrders
from quantd.daemon.engine.state.open_orders import OpenCrosses, Working
from quantd.daemon.engine.state.settings import Rules, buying_rooms, heaviest_of, room_of
from quantd.risk.pretrade.gate import LOOPS
from quantd.trading.events import Action, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.number_types import int_zeros

if TYPE_CHECKING:
    from quantd.daemon.engine.state.engine_state import State


def set_columns(state: "State") -> None:
    """Give a state empty columns (arrays) for its symbols, agents and books."""
    size, books = state.universe.size, len(state.agents) + 1
    state.slice_type, state.tick_type, state.action_type = MarketSlice, Tick, Action
    state.agent_columns = [
        AgentColumns(size, np.zeros(size, np.int8).data, book.request, agent.follow_up, agent.lacks)
        for book, agent in zip(state.activity.books[:-1], state.agents, strict=True)  # the last book is the house's
    ]
    state.book_columns = [BookColumns(size) for _ in range(books)]
    state.valued = int_zeros(books + 1)
    weight_buffer = bytearray(8 * size)  # float64[N], 8 bytes each; one buffer for all books, used one at a time
    state.questions = Questions(state.market_columns, state.universe, weight_buffer)
    for columns in state.book_columns:
        columns.px, columns.weights = state.market_columns.px, memoryview(weight_buffer).cast("d")
    reason = np.zeros(size, np.int8).data
    plan = state.round_plan = Plan(size, state.agent_columns, state.book_columns, state.market_columns, reason)
    plan.states, plan.loops, plan.orders_type = state.agents, LOOPS, Working
    plan.crosses, plan.later = OpenCrosses(len(state.agents), size), LATER
    state.sample_columns = SampleColumns(books, size)
    state.digest_rows = digest_rows(state)
    state.venue_orders = VenueOrders(deque())
    state.fold_items, state.fold_at, state.fold_end = None, 0, 0
    state.has_notices = state.bars_moved = state.warming = state.guarded = state.trailing = state.cooling = (
        state.pays_borrow
    ) = state.reads_returns = state.ready = state.reads_more = state.limits_move = False
    state.fold_ts = state.fold_ticked = 0
    state.returns_known = True
    state.answers_ahead = {}


def set_terms(state: "State", rules: Rules) -> None:
    """Write the terms of targets, which follow from the limits of the agents and of the whole account."""
    for agent, columns in zip(rules.agents, state.agent_columns, strict=True):
        columns.gross, columns.net = room_of(agent.limits, rules.house)
        columns.rooms = list(buying_rooms(agent.limits, rules.house))
        columns.heaviest, columns.least_trade = heaviest_of(agent.limits), agent.min_trade
        # the rest of the limit pays fees, of a sale and a purchase of all equity
        columns.at_limit = 1.0 - 2.0 * max(agent.limits.fee_bp, rules.house.fee_bp) / 1e4
        columns.most_age, columns.window = agent.limits.max_price_age_ns, agent.limits.duplicate_window_ns
    state.round_plan.heaviest = heaviest_of(rules.house)


def digest_rows(state: "State") -> Rows:
    """The writer of the rows of the state's digest (hash of its trading)."""
    symbols, books = state.universe.symbols, state.ledger.names
    book_order = sorted(range(len(books)), key=books.__getitem__)
    symbol_order = sorted(range(len(symbols)), key=symbols.__getitem__)
    names = _encoded(symbols), _encoded([books[k] for k in book_order])
    # an upper bound of the bytes of one instant: an order or fill row per symbol, and the row of the equities
    max_bytes = len(symbols) * (80 + max(map(len, symbols)) * 4) + len(books) * 16 + 2 * len(names[1].text) + 64
    return Rows(
        max_bytes, *names, np.array(book_order, dtype=np.int64).data, np.array(symbol_order, dtype=np.int64).data,
        int_zeros(len(symbols)),
    )  # fmt: skip


def _encoded(names: Sequence[str]) -> Names:
    """Names as MessagePack, one after the other, and the offset at which each begins."""
    encoded_names = [msgspec.msgpack.encode(name) for name in names]
    offsets = np.cumsum([0, *map(len, encoded_names)], dtype=np.int64)
    return Names(np.frombuffer(b"".join(encoded_names), dtype=np.uint8).copy().data, offsets.data)
