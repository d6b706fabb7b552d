"""Parts of the plan of a round against their definitions."""

from itertools import product
from math import inf

import numpy as np
import pytest

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.gate_sets import gate_set
from quantd.daemon.engine.core.lacks import Lacks
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.order_columns import FollowUp, Request
from quantd.daemon.engine.core.round_plan import FOR_PYTHON, NO_REQUEST, PLANNED, Plan
from quantd.daemon.engine.state import AgentState
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.pretrade.gate import LOOPS
from quantd.trading.fill_prices import Columns
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.book import Book
from quantd.trading.number_types import read_floats, read_int_rows, read_rows
from tests.support.engine import block

N = 3
UNIVERSE = Universe(tuple(Instrument(f"S{k}") for k in range(N)))

INFO_BEGINS = 0.6


def put(out: memoryview, values: object) -> None:
    """Write numbers into a buffer."""
    for k, value in enumerate(np.ravel(np.array(values)).tolist()):
        out[k] = value


def plan_of(agents: int, size: int = N) -> Plan:
    """A plan of agents without a position at prices of 10, 20 and 25."""
    columns = [
        AgentColumns(size, np.zeros(size, np.int8).data, Request(size), FollowUp(size), Lacks(size))
        for _ in range(agents)
    ]
    for column in columns:
        column.at_limit = 1.0  # an engine that is not compiled has no zeros
    books = [BookColumns(size) for _ in range(agents + 1)]
    for book in books:
        book.book = Book(size)
    market = Market(size, read_floats(np.ones(size)), True)
    put(market.px, [10.0, 20.0, 25.0][:size])
    plan = Plan(size, columns, books, market, np.zeros(size, np.int8).data)
    plan.states, plan.loops, plan.holdings = [AgentState(0, size) for _ in columns], LOOPS, Holdings(size)
    return plan


def ring_with(returns: np.ndarray) -> Ring:
    """A ring whose newest returns are float64[R, N]."""
    ring = Ring(returns.shape[1], len(returns) + 1)
    ring.append(np.full(returns.shape[1], 100.0))
    for row in 100.0 * np.cumprod(1.0 + returns, axis=0):
        ring.append(row)
    return ring


@pytest.mark.parametrize("book", [0, 1])
def test_a_level_rises_where_the_lots_that_fill_exceed_its_band_of_what_fees_leave(book: int) -> None:
    """Of an equity of 1,000, 10 lots at 10 and 4 at 25 are held, of a short side; trades cost a fifth."""

    def rises(lots: list[float], bound: float, equity: int = 1_000_000_000, level: int = 0) -> bool:
        plan = plan_of(1)
        columns, limits = plan.books[book], Limits(max_gross_exposure=bound / INFO_BEGINS)
        put(columns.held, [10.0, -4.0, 0.0])
        put(plan.market.px, [10.0, 25.0, 40.0])
        gates = gate_set(Limits(), UNIVERSE)
        assert gates is not None
        columns.limiter, columns.micro, gates.limiter.fee = gates.limiter, equity, 0.2
        columns.rising = Bands(rules_of(limits, UNIVERSE), {"max_gross_exposure": level}, True)
        ring = ring_with(np.zeros((9, N)))
        holds = plan.holds(book, np.array(lots).data, ring)
        assert [key for key, *_ in plan.doubts(columns.rising, book, np.array(lots).data, ring)] == [
            "max_gross_exposure"
        ] * (not holds)
        return not holds

    # 10 x 10 + 4 x 25 = 200 of 1,000; nothing is traded
    assert rises([0.0, 0.0, 0.0], 0.199)
    assert not rises([0.0, 0.0, 0.0], 0.201)
    assert not rises([0.0, 0.0, 0.0], 0.4, level=1)  # it would fall, which an order that is not filled cannot show
    # 15 x 10 + 2 x 25 + 1 x 40 = 240 of 1,000 less a fifth of 50 + 50 + 40
    assert rises([5.0, 2.0, 1.0], 240.0 / 972.0 - 1e-6)
    assert not rises([5.0, 2.0, 1.0], 240.0 / 972.0 + 1e-6)
    # fees of 28 leave nothing, or just something
    assert not rises([5.0, 2.0, 1.0], 0.1, equity=28_000_000)
    assert not rises([5.0, 2.0, 1.0], 0.1, equity=27_000_000)
    assert rises([5.0, 2.0, 1.0], 0.1, equity=28_500_000)


def requested(weights: list[float], **other: float) -> tuple[int, list[float]]:
    """What `request` returns for the second of two agents, of an equity of 1,000, and the lots of its request."""
    have = {"ts": 10_000, "age": 50, "most_age": 50, "at": 0, "window": 100, "before": 10, "gross": 9.0, "micro": 10**9}
    have |= other
    plan = plan_of(2)
    agent, book = plan.agents[1], plan.books[2]
    agent.gross, agent.net, agent.least_trade, agent.most_age = have["gross"], 5.0, 0.04, int(have["most_age"])
    agent.window, book.micro = int(have["window"]), int(have["micro"])
    agent.request.at, agent.request.given = int(have["at"]), have["at"] > 0
    put(agent.request.lots, [0.0, have["before"], 0.0])
    put(agent.weights, weights)
    put(book.held, [1.0, 0.0, 2.0])
    return plan.request(1, int(have["ts"]), int(have["age"])), list(agent.change)


def test_a_request_of_old_prices_or_wrong_numbers_or_the_same_of_a_moment_ago_is_left_to_the_engine() -> None:
    weights = [0.1, 0.2, 0.0]
    assert requested(weights, age=51)[0] == FOR_PYTHON
    for k, wrong in product(range(N), (inf, -inf, np.nan, 1e300, -1e300)):
        assert requested([wrong if column == k else 0.1 for column in range(N)])[0] == FOR_PYTHON
    for at, status in (
        (9_899, PLANNED),
        (9_900, PLANNED),
        (9_901, FOR_PYTHON),
        (9_999, FOR_PYTHON),
        (0, PLANNED),
        (1, PLANNED),
    ):
        assert requested(weights, at=at)[0] == status
    assert requested(weights, at=1, window=9_999)[0] == PLANNED
    assert requested(weights, at=1, window=10_000)[0] == FOR_PYTHON
    assert requested(weights, at=0, window=10_001)[0] == PLANNED
    assert requested([0.01, 0.0, 0.05], at=9_999)[0] == NO_REQUEST
    assert requested([0.1, 0.0, 0.0], at=9_999, before=0)[0] == PLANNED  # no lots are the same again
    for before in (-10, 0, 9, 11):
        assert requested(weights, at=9_999, before=before)[0] == PLANNED


def test_a_plan_needs_a_collar_of_a_tick_at_least_of_every_close() -> None:
    bars = block(np.full((1, N), 80.0))
    for k in range(N):
        close = np.full((1, N), 80.0)
        close[0, k] = 40.0
        bars = block(close)
        columns = Columns(
            read_int_rows(bars.open_nano), read_rows(bars.low), read_rows(bars.high), read_rows(bars.volume)
        )
        plan = plan_of(1)
        plan.market.bars = BlockColumns(
            bars, bars.close_nano.reshape(-1).data, columns, read_rows(bars.close), len(bars)
        )
        plan.market.row, ts = 0, bars.ts_event[0]
        plan.least_collar = 0.0625
        for tick, status in ((2.5e9, NO_REQUEST), (2.5e9 + 1.0, FOR_PYTHON)):
            plan.widest_tick = tick
            assert plan.make(ts, ring_with(np.zeros((3, N)))) == status
        plan.widest_tick = 0.0
        assert plan.make(ts - 1, ring_with(np.zeros((3, N)))) == FOR_PYTHON, "a close after the sample"
