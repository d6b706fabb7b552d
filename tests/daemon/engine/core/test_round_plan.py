"""Parts of the plan of a round against their definitions."""

from itertools import product
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.gate_sets import gate_set
from quantd.daemon.engine.core.limiter import (
    DEVIATION,
    DEVIATION_AND_MEAN,
    HISTORY,
    TAIL_OF,
    Limiter,
    Statistic,
)
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.newest_returns import NewestReturns, bounds_of
from quantd.daemon.engine.core.order_columns import FollowUp, Request
from quantd.daemon.engine.core.round_plan import FOR_PYTHON, NO_REQUEST, PLANNED, AgentColumns, Plan
from quantd.daemon.engine.state import AgentState
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.pretrade.gate import LOOPS
from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import READY, TOO_FEW, UNKNOWN, Losses, Scene, Spread
from quantd.trading.fill_prices import Columns
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.shares import net, share
from quantd.trading.number_types import float_zeros, int_zeros, read_floats, read_int_rows, read_rows
from tests.support.engine import block

N = 3
UNIVERSE = Universe(tuple(Instrument(f"S{k}") for k in range(N)))
BY_SALES, OTHERWISE = 3, 5
INFO_BEGINS = 0.6


def put(out: memoryview, values: object) -> None:
    """Write numbers into a buffer."""
    for k, value in enumerate(np.ravel(np.array(values)).tolist()):
        out[k] = value


def plan_of(agents: int, size: int = N) -> Plan:
    """A plan of agents without a position at prices of 10, 20 and 25."""
    columns = [AgentColumns(size, np.zeros(size, np.int8).data, Request(size), FollowUp(size)) for _ in range(agents)]
    books = [BookColumns(size) for _ in range(agents + 1)]
    for book in books:
        book.book = Book(size)
    market = Market(size, read_floats(np.ones(size)))
    put(market.px, [10.0, 20.0, 25.0][:size])
    plan = Plan(size, columns, books, market, np.zeros(size, np.int8).data)
    plan.states, plan.loops, plan.holdings = [AgentState(0, size) for _ in columns], LOOPS, Holdings(size)
    freed = np.zeros(9, dtype=np.int8)
    freed[BY_SALES] = 1
    plan.freed = freed.data
    return plan


def ring_with(returns: np.ndarray) -> Ring:
    """A ring whose newest returns are float64[R, N]."""
    ring = Ring(returns.shape[1], len(returns) + 1)
    ring.append(np.full(returns.shape[1], 100.0))
    for row in 100.0 * np.cumprod(1.0 + returns, axis=0):
        ring.append(row)
    return ring


@pytest.mark.parametrize("count", [4, 5, 6, 7, 8, 9, 20])
@pytest.mark.parametrize("least", [2, 5, 7])
def test_a_scene_has_the_newest_prices_scenarios_and_deviations(count: int, least: int) -> None:
    """A tail of 8 returns, and a tail and a form of 6."""
    returns, px, end = np.random.default_rng(count).normal(0.0, 0.02, (30, N)), [5.0, 6.5, 8.0], 21
    ring, scene, none = ring_with(returns[end - count : end]), scene_of(2, 1), int_zeros(0)
    counts = [1 + rows // 3 for rows in range(9)], [1 + rows // 2 for rows in range(7)]
    limiter = Limiter(Gate(N, LOOPS, 0), Bounds(), scene, [], rules_of(Limits(), UNIVERSE).collars, 0.0)
    limiter.bounds_of, limiter.statistics = bounds_of, [
        Statistic(HISTORY, 0, 8, least, none, None),
        Statistic(DEVIATION, 0, 6, least, none, np.asarray(scene.spreads[0].deviation)),
        Statistic(DEVIATION_AND_MEAN, 0, 8, least, none, np.asarray(scene.losses[0].deviation)),
        Statistic(TAIL_OF, 0, 8, least, np.array(counts[0]).data, None),
        Statistic(TAIL_OF, 1, 6, least, np.array(counts[1]).data, None),
    ]  # fmt: skip
    limiter.renew(ring, np.array(px).data)
    short = min(count, 8) < least or min(count, 6) < least
    assert list(scene.px) == px
    assert (scene.rows, scene.has_links) == (TOO_FEW if short else READY, False)
    if short:
        return
    for losses, lookback, own_counts in zip(scene.losses, (8, 6), counts, strict=True):
        rows = min(count, lookback)
        m = own_counts[rows]
        assert (losses.size, losses.worst, losses.ready) == (rows, m, False)
        assert losses.beyond == sqrt((rows - m) / m) + 0.5
    longer, shorter = returns[end - min(count, 8) : end], returns[end - min(count, 6) : end]
    assert not scene.spreads[0].ready
    assert list(scene.spreads[0].deviation) == pytest.approx(shorter.std(axis=0, ddof=1), rel=1e-6)
    assert list(scene.losses[0].deviation) == pytest.approx(longer.std(axis=0, ddof=1), rel=1e-6)
    assert list(scene.losses[0].mean) == pytest.approx(np.abs(longer.mean(axis=0)), rel=1e-6)
    scene.losses[0].ready = True
    limiter.renew(ring, np.zeros(N).data)
    assert (list(scene.px), scene.losses[0].ready) == (px, True), "a scene is renewed once a sample"


def scene_of(tails: int, forms: int) -> Scene:
    """A scene with arrays that were of an earlier sample."""
    scene = Scene(float_zeros(N), float_zeros(N), UNKNOWN, NewestReturns(rules_of(Limits(), UNIVERSE)))
    scene.volume, scene.has_links = float_zeros(N), True
    scene.losses = [Losses(float_zeros(N), float_zeros(N), 0.0, 0, 1, k) for k in range(tails)]
    scene.spreads = [Spread(False, float_zeros(N)) for _ in range(forms)]
    for figure in (*scene.losses, *scene.spreads):
        figure.ready = True
    return scene


def test_rows_that_limits_rejected_and_cut_are_counted() -> None:
    plan = plan_of(2, 6)
    requested, passed = [5.0, -3.0, 4.0, 0.0, 7.0, 1.0], [5.0, -2.0, 0.0, 0.0, 0.0, 0.5]
    for number, agent in enumerate(plan.agents):
        put(agent.change, requested)
        put(agent.passed, passed)
        agent.taking = number == 1
    put(plan.net, passed)
    put(plan.passed, [5.0, -2.0, 0.0, 0.0, 0.0, 0.25])
    for times in (1, 2):
        plan.count_cuts()
        assert (plan.refused, plan.clipped) == (2 * times, 3 * times)


@pytest.mark.long
def test_a_decision_follows_where_its_own_sales_or_those_of_others_may_permit_what_was_cut() -> None:
    rng, agents, outcomes = np.random.default_rng(2), 3, [0, 0]
    freed = np.array([0, 0, 0, 1, 0, 0])

    def few(*shape: int) -> np.ndarray:
        return rng.integers(1, 4, shape) * rng.choice([-1, 0, 1], shape)

    for case in range(1200):
        plan, number, often = plan_of(agents), case % agents, rng.choice([0.3, 0.9])
        held, change, total, surviving = few(N), few(N), few(N), few(N)
        passes = np.where(rng.random(N) < often, change, few(N))
        passed = np.where(rng.random(N) < often, total, few(N))
        first, house = (rng.choice([0, BY_SALES, OTHERWISE], N) for _ in range(2))
        agent = plan.agents[number]
        for out, values in (
            (plan.books[number + 1].held, held), (agent.change, change), (agent.passed, passes), (plan.net, total),
            (plan.passed, passed), (agent.surviving, surviving), (agent.reason, first), (plan.reason, house),
        ):  # fmt: skip
            put(out, values)
        sells = (change * held < 0).any()
        own_cuts, house_cuts = (
            (freed[first] > 0) & (passes != change),
            (freed[house] > 0) & (passed != total) & (surviving != 0),
        )
        follows = plan.follows(number)
        assert follows == bool(sells and (own_cuts | house_cuts).any())
        outcomes[follows] += 1
    assert min(outcomes) > 200


def lone(**other: object) -> bool:
    """Whether the second of three agents, alone in a plan, is the house; `other` changes one thing."""
    have = {
        "part": [0, 1, 0], "sets": [1, 0, 1, 0], "cash": [70, 10, 70, 20], "equity": [500, 40, 500, 41],
        "held": [[1, 2, 3], [4, 5, 6], [1, 2, 3], [7, 8, 9]],
    } | other  # fmt: skip
    plan, sets = plan_of(3), [gate_set(Limits(), UNIVERSE), gate_set(Limits(), UNIVERSE)]
    for number, book in enumerate(plan.books):
        gates = sets[have["sets"][number]]
        assert gates is not None
        book.limiter, book.micro, book.book.cash_micro = gates.limiter, have["equity"][number], have["cash"][number]
        put(book.held, have["held"][number])
    for agent, part in zip(plan.agents, have["part"], strict=True):
        agent.taking = bool(part)
    return plan.same_book()


def test_the_only_agent_of_a_plan_is_the_house_with_its_limits_lots_cash_and_equity() -> None:
    assert lone()
    assert not lone(sets=[0, 0, 1, 0])
    assert not lone(cash=[71, 10, 70, 71])
    assert not lone(equity=[501, 501, 500, 501])
    for k in range(N):
        held = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]
        held[2][k] = 9
        assert not lone(held=held)
    same = {"sets": [1] * 4, "cash": [70] * 4, "equity": [500] * 4, "held": [[1, 2, 3]] * 4}
    for part in product((0, 1), repeat=3):
        if any(part):
            assert lone(part=part, **same) is (sum(part) == 1)


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
    agent.gross, agent.longest, agent.least_trade, agent.most_age = have["gross"], 5.0, 0.04, int(have["most_age"])
    agent.window, book.micro = int(have["window"]), int(have["micro"])
    agent.request.at, agent.request.given = int(have["at"]), have["at"] > 0
    put(agent.request.lots, [0.0, have["before"], 0.0])
    put(agent.weights, weights)
    put(book.held, [1.0, 0.0, 2.0])
    return plan.request(1, int(have["ts"]), int(have["age"])), list(agent.change)


def test_an_agent_requests_the_lots_of_its_weights() -> None:
    assert requested([0.1, 0.2, -0.0]) == (PLANNED, [9.0, 10.0, -2.0])
    assert requested([0.01, 0.0, 0.05]) == (NO_REQUEST, [0.0, 0.0, 0.0])
    # a trade of less than 4 % of equity is left out
    assert requested([0.04, 0.02, 0.1]) == (PLANNED, [0.0, 0.0, 2.0])
    # at most 5 times the equity is bought, and the gross exposure is bounded
    assert requested([4.0, 4.0, 4.0])[1] == [165.0, 83.0, 64.0]
    assert requested([0.2, 0.2, 0.0], gross=0.2) == (PLANNED, [9.0, 5.0, -2.0])
    assert requested([0.2, 0.2, 0.0], micro=500_000_000) == (PLANNED, [9.0, 5.0, -2.0])


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


LOTS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=N, max_size=N)


@given(LOTS, LOTS, st.booleans(), st.integers(95, 105))
def test_a_request_keeps_the_lots_of_a_moment_ago_and_says_whether_it_is_the_same(
    before: list[float], lots: list[float], given_before: bool, age: int
) -> None:
    request = Request(N)
    if given_before:
        request.put(1_000, read_floats(np.array(before)))
    lasts = given_before and age < 100
    assert request.lasts(1_000 + age, 100) is lasts
    if given_before:
        assert request.has(np.array(lots).data) is any(k and k == b for k, b in zip(lots, before, strict=True))
    request.add(1_000 + age, read_floats(np.array(lots)), 100)
    assert list(request.lots) == [k or b if lasts else k for k, b in zip(lots, before, strict=True)]
    assert (request.at, request.given) == (1_000 + age, True)


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(
    arrays(
        np.int64, SHAPES, elements=st.integers(-20, 20) | st.integers(-(10**8), 10**8) | st.integers(-(10**17), 10**17)
    )
)
def test_crossing_is_that_of_the_books(wanted: np.ndarray) -> None:
    plan = plan_of(len(wanted), wanted.shape[1]) if wanted.shape[1] <= N else None
    if plan is None:
        return
    for agent, lots in zip(plan.agents, wanted, strict=True):
        put(agent.wanted, lots)
    plan.net_lots()
    _, surviving = net(wanted)
    assert [list(agent.surviving) for agent in plan.agents] == surviving.tolist()
    assert list(plan.total) == surviving.sum(axis=0).tolist()
    assert plan.any_lots() is bool(surviving.sum(axis=0).any())


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.integers(0, 100), st.booleans())
def test_the_parts_of_an_order_are_those_of_the_books(held: list[int], percent: int, buys: bool) -> None:
    lots = sum(held) * percent // 100
    if not lots:
        return
    plan, sign = plan_of(len(held), 1), 1 if buys else -1
    for agent, book_lots in zip(plan.agents, held, strict=True):
        agent.surviving[0] = sign * book_lots
    out = int_zeros(2 * len(held))
    end = plan.parts(out, 0, sign * lots, 0)
    pairs = list(out)[:end]
    expected = [
        (agent, sign * part)
        for agent, part in share(lots, [(k, book_lots) for k, book_lots in enumerate(held) if book_lots])
    ]
    assert list(zip(pairs[::2], pairs[1::2], strict=True)) == expected


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
        plan.market.bars = BlockColumns(bars, bars.close_nano.reshape(-1).data, columns, read_rows(bars.close))
        plan.market.row, ts = 0, bars.ts_event[0]
        plan.least_collar = 0.0625
        for tick, status in ((2.5e9, NO_REQUEST), (2.5e9 + 1.0, FOR_PYTHON)):
            plan.widest_tick = tick
            assert plan.make(ts, ring_with(np.zeros((3, N)))) == status
        plan.widest_tick = 0.0
        assert plan.make(ts - 1, ring_with(np.zeros((3, N)))) == FOR_PYTHON, "a close after the sample"
