"""Parts of the plan of a round against their definitions."""

from itertools import product
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import strategies as st

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.newest_returns import NewestReturns
from quantd.daemon.engine.batches.round_kernel import (
    change_agent,
    count_cuts,
    follows,
    level_holds,
    renew_scene,
    same_book,
)
from quantd.daemon.engine.planning.lots import Targets
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pretrade.gate import LOOPS
from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import READY, TOO_FEW, UNKNOWN, Losses, Scene, Spread
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.number_types import float_zeros
from tests.daemon.engine.batches.parts import books_with, ring_with, sets_with

N = 3
UNIVERSE = Universe(tuple(Instrument(f"S{k}") for k in range(N)))
lots_of = st.integers(-3, 3)


class Cells:
    """Both arrays of a batch, with sections as they are added; what is not added is far from any right value."""

    def __init__(self, agents: int, **head: int) -> None:
        self.ints, self.floats = np.full(4000, -77), np.full(4000, 0.123)
        self.ends = [place.HEAD, 8]
        for name, value in (head | {"SIZE": N, "AGENTS": agents}).items():
            self.ints[getattr(place, name)] = value

    def add(self, name: int, values: object, floats: bool = False) -> int:
        """Add a section behind a gap; returns its place."""
        row, array = np.ravel(np.array(values)), self.floats if floats else self.ints
        at = self.ends[floats] + 3
        array[at : at + len(row)] = row
        self.ints[name], self.ends[floats] = at, at + len(row)
        return at

    def number(self, name: int, values: object) -> int:
        return self.add(name, values, floats=True)


@pytest.mark.parametrize("count", [4, 5, 6, 7, 8, 9, 20])
@pytest.mark.parametrize("least", [2, 5, 7])
def test_a_scene_has_the_newest_prices_volumes_scenarios_and_deviations(count, least):
    """Of two sets of limits the second is renewed: a tail of 8 returns and a tail and a form of 6."""
    returns, px, end = np.random.default_rng(count).normal(0.0, 0.02, (30, N)), [5.0, 6.5, 8.0], 21
    cells, ring = Cells(2, ROW=4), ring_with(returns[end - count : end])
    prices = cells.number(place.F_PX, px)
    cells.number(place.F_VOLUME, [4.0, 6.0, 0.0])
    statistics = [
        [place.HISTORY, 0, 8, 0, least, 0], [place.DEVIATION, 0, 6, 0, least, 0],
        [place.DEVIATION_AND_MEAN, 0, 8, 0, least, 0], [place.TAIL_OF, 0, 8, 30, least, 0],
        [place.TAIL_OF, 1, 6, 39, least, 0],
    ]  # fmt: skip
    counts = [1 + rows // 3 for rows in range(9)], [1 + rows // 2 for rows in range(7)]
    at = cells.add(place.A_STATISTICS, [*(value for each in statistics for value in each), *counts[0], *counts[1]])
    cells.add(place.A_SETS, [0, 1, 1, at, 99, at, len(statistics)])
    made = sets_with(N)
    for _ in range(2):
        made.add(Gate(N, LOOPS, 0), Bounds(), scene_of(2, 1), [])
    before = cells.floats.copy()
    renew_scene(cells.ints.data, cells.floats.data, 1, prices, ring, made)
    scene, short = made.scenes[1], min(count, 8) < least or min(count, 6) < least
    assert list(scene.px) == px
    assert list(scene.volume) == [4.0, 6.0, 0.0]
    assert (scene.rows, scene.has_links) == (TOO_FEW if short else READY, False)
    assert list(made.scenes[0].px) == [0.0] * N
    assert (cells.floats == before).all()
    if short:
        return
    for own, lookback, own_counts in zip(scene.losses, (8, 6), counts, strict=True):
        rows = min(count, lookback)
        m = own_counts[rows]
        assert (own.size, own.worst, own.known) == (rows, m, False)
        assert own.beyond == sqrt((rows - m) / m) + 0.5
    longer, shorter = returns[end - min(count, 8) : end], returns[end - min(count, 6) : end]
    assert not scene.spreads[0].known
    assert list(scene.spreads[0].deviation) == pytest.approx(shorter.std(axis=0, ddof=1), rel=1e-6)
    assert list(scene.losses[0].deviation) == pytest.approx(longer.std(axis=0, ddof=1), rel=1e-6)
    assert list(scene.losses[0].mean) == pytest.approx(np.abs(longer.mean(axis=0)), rel=1e-6)


def scene_of(tails: int, forms: int) -> Scene:
    """A scene with arrays that were of an earlier sample."""
    scene = Scene(float_zeros(N), float_zeros(N), UNKNOWN, NewestReturns(rules_of(Limits(), UNIVERSE)))
    scene.volume, scene.has_links = float_zeros(N), True
    scene.losses = [Losses(float_zeros(N), float_zeros(N), 0.0, 0, 1, k) for k in range(tails)]
    scene.spreads = [Spread(False, float_zeros(N)) for _ in range(forms)]
    for each in (*scene.losses, *scene.spreads):
        each.known = True
    return scene


def test_rows_that_limits_rejected_and_cut_are_counted():
    ints = np.zeros(place.HEAD, dtype=np.int64)
    asked, passed = [5.0, -3.0, 4.0, 0.0, 7.0, 1.0], [5.0, -2.0, 0.0, 0.0, 0.0, 0.5]
    for times in (1, 2):
        count_cuts(ints.data, np.array(asked).data, np.array(passed).data)
        assert (ints[place.REFUSED], ints[place.CLIPPED]) == (2 * times, 2 * times)


BY_SALES, OTHERWISE = 3, 5
FREED = np.zeros(9, dtype=np.int8)
FREED[BY_SALES] = 1


def test_a_decision_follows_where_its_own_sales_or_those_of_others_may_permit_what_was_cut():
    rng, agents, outcomes = np.random.default_rng(2), 3, [0, 0]

    def few(*shape: int) -> np.ndarray:
        return rng.integers(1, 4, shape) * rng.choice([-1, 0, 1], shape)

    for case in range(1200):
        agent, often = case % agents, rng.choice([0.3, 0.9])
        held, change, total, surviving = few(agents + 1, N), few(agents, N), few(N), few(agents, N)
        passes = np.where(rng.random(change.shape) < often, change, few(agents, N))
        passed = np.where(rng.random(N) < often, total, few(N))
        first, house = (rng.choice(np.array([0, BY_SALES, OTHERWISE], dtype=np.int8), size) for size in (agents * N, N))
        cells = Cells(agents)
        for name, values in (
            (place.F_HELD, held), (place.F_CHANGE, change), (place.F_PASSES, passes), (place.F_PASSED, passed)
        ):  # fmt: skip
            cells.number(name, values)
        cells.add(place.A_TOTAL, total)
        cells.add(place.A_SURVIVING, surviving)
        sells = (change[agent] * held[agent + 1] < 0).any()
        own = (FREED[first.reshape(-1, N)[agent]] > 0) & (passes[agent] != change[agent])
        others = (FREED[house] > 0) & (passed != total) & (surviving[agent] != 0)
        made = sets_with(N, first=first, house=house, freed=FREED)
        found = follows(cells.ints.data, cells.floats.data, agent, made)
        assert found == int(sells and (own | others).any())
        outcomes[found] += 1
    assert min(outcomes) > 200


def lone(**other: object) -> bool:
    """Whether the second of three agents, alone in a plan, is the house; `other` changes one thing."""
    have = {
        "part": [0, 1, 0], "sets": [1, 0, 1, 0], "cash": [70, 10, 70, 20], "equity": [500, 40, 500, 41], "rows": 0,
        "held": [[1, 2, 3], [4, 5, 6], [1, 2, 3], [7, 8, 9]],
    } | other  # fmt: skip
    cells = Cells(3)
    cells.add(place.A_PART, have["part"])
    cells.add(place.A_SETS, have["sets"])
    cells.number(place.F_HELD, have["held"])
    at = cells.add(place.A_EQUITY, have["equity"])
    ledger = books_with(np.full((4, N), 3), cash=np.array(have["cash"]))
    return bool(same_book(cells.ints.data, cells.floats.data, ledger, at))


def test_the_only_agent_of_a_plan_is_the_house_with_its_limits_lots_cash_and_equity():
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
        assert lone(part=part, **same) is (sum(part) == 1) or not any(part)


@pytest.mark.parametrize("book", [0, 1])
def test_a_level_rises_where_the_lots_that_fill_exceed_its_band_of_what_fees_leave(book):
    """Of an equity of 1,000, 10 lots at 10 and 4 at 25 are held, of a short side; trades cost a fifth."""

    def rises(lots: list[float], bound: float, equity: float = 1000.0, level: int = 0) -> bool:
        cells = Cells(1)
        cells.number(place.F_HELD, [[9.0] * N, [9.0] * N])
        cells.floats[cells.ints[place.F_HELD] + book * N :][:N] = 10.0, -4.0, 0.0
        cells.number(place.F_FEES, [0.9, 0.9])
        cells.floats[cells.ints[place.F_FEES] + book] = 0.2
        cells.number(place.F_SUMS, [7.0] * N)
        cells.number(place.F_PX, [10.0, 25.0, 40.0])
        at = cells.number(place.F_CHANGE, lots)
        limits = [Limits(max_gross_exposure=bound / INFO_BEGINS if each == book else 99.0) for each in range(2)]
        made = sets_with(N, limits=limits, levels={"max_gross_exposure": level})
        ring = ring_with(np.zeros((9, N)))
        found = level_holds(cells.ints.data, cells.floats.data, book, at, equity, ring, made)
        assert cells.floats[at : at + N].tolist() == lots
        return not found

    # 10 x 10 + 4 x 25 = 200 of 1,000; nothing is traded
    assert rises([0.0, 0.0, 0.0], 0.199)
    assert not rises([0.0, 0.0, 0.0], 0.201)
    assert not rises([0.0, 0.0, 0.0], 0.4, level=1)  # it would fall, which an order that is not filled cannot show
    # 15 x 10 + 2 x 25 + 1 x 40 = 240 of 1,000 less a fifth of 50 + 50 + 40
    assert rises([5.0, 2.0, 1.0], 240.0 / 972.0 - 1e-6)
    assert not rises([5.0, 2.0, 1.0], 240.0 / 972.0 + 1e-6)
    # fees of 28 leave nothing, or just something
    assert not rises([5.0, 2.0, 1.0], 0.1, equity=28.0)
    assert not rises([5.0, 2.0, 1.0], 0.1, equity=27.0)
    assert rises([5.0, 2.0, 1.0], 0.1, equity=28.5)


INFO_BEGINS = 0.6


def requested(answers: list[float], **other: int) -> tuple[int, list[float]]:
    """What `change_agent` returns for the second of two agents, of an equity of 1,000, and the lots of its request."""
    have = {"ts": 10_000, "age": 50, "most_age": 50, "asked": 0, "window": 100, "gross": 9.0} | other
    cells = Cells(2)
    cells.number(place.F_AGENTS, [0.0, 0.0, 0.0, 0.0, have["gross"], 5.0, 0.04, have["most_age"]])
    cells.number(place.F_ANSWERS, [[9.0] * N, answers])
    cells.number(place.F_HELD, [[50.0] * N, [60.0] * N, [1.0, 0.0, 2.0]])
    change = cells.number(place.F_CHANGE, [[7.0] * N, [8.0] * N]) + N
    cells.number(place.F_PX, [10.0, 20.0, 25.0])
    cells.add(place.A_ZERO, [0] * N)
    cells.add(place.A_ASKED_AT, [9_999, have["asked"], 10**9, have["window"]])
    found = change_agent(
        cells.ints.data, cells.floats.data, Targets(N), 1, have["ts"], have["age"], have.get("micro", 1_000_000_000)
    )
    assert cells.floats[change - N : change].tolist() == [7.0] * N
    return found, cells.floats[change : change + N].tolist()


def test_an_agent_requests_the_lots_of_its_weights():
    assert requested([0.1, 0.2, -0.0]) == (1, [9.0, 10.0, -2.0])
    assert requested([0.01, 0.0, 0.05]) == (0, [0.0, 0.0, 0.0])
    # a trade of less than 4 % of equity is left out
    assert requested([0.04, 0.02, 0.1]) == (1, [0.0, 0.0, 2.0])
    # at most 5 times the equity is bought, and the gross exposure is bounded
    assert requested([4.0, 4.0, 4.0])[1] == [165.0, 83.0, 64.0]
    assert requested([0.2, 0.2, 0.0], gross=0.2) == (1, [9.0, 5.0, -2.0])
    assert requested([0.2, 0.2, 0.0], micro=500_000_000) == (1, [9.0, 5.0, -2.0])


def test_a_request_of_old_prices_or_wrong_numbers_or_of_a_moment_ago_is_left_to_the_engine():
    weights = [0.1, 0.2, 0.0]
    assert requested(weights, age=51)[0] == -1
    for k, wrong in product(range(N), (inf, -inf, np.nan, 1e300, -1e300)):
        assert requested([wrong if each == k else 0.1 for each in range(N)])[0] == -1
    for asked, found in ((9_899, 1), (9_900, 1), (9_901, -1), (9_999, -1), (0, 1), (1, 1)):
        assert requested(weights, asked=asked)[0] == found
    assert requested(weights, asked=1, window=9_999)[0] == 1
    assert requested(weights, asked=1, window=10_000)[0] == -1
    assert requested(weights, asked=0, window=10_001)[0] == 1
    assert requested([0.01, 0.0, 0.05], asked=9_999)[0] == 0
