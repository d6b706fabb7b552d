"""Parts of a row: crosses are those of the ledger, closes are those of the rings, levels those of the books."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.rows_kernel import (
    DAY_OPEN,
    MARKS,
    WEEK_OPEN,
    book_crosses,
    crosses_fit,
    observe,
    value_books,
)
from quantd.risk.limits.catalogue import Limits, Tail
from quantd.trading.execution import MOST
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.books import Ledger
from tests.daemon.engine.batches.parts import bars_with, books_with, ring_with, sets_with
from tests.daemon.engine.batches.test_round_kernel import Cells

Ints = np.ndarray

LOTS = (10**9, 500_000_000, 123_456_789, 10)
FIRST = 2


def crossing(ledger: Ledger, lots: list[list[int]], low: int, high: int) -> Ints:
    """The integers of a batch whose agents exchange lots float64[A, N] between two prices."""
    agents, n = len(lots), len(lots[0])
    ints, at = np.zeros(place.HEAD + 2 * agents * n + 4 * n, dtype=np.int64), place.HEAD
    ints[place.SIZE], ints[place.AGENTS], ints[place.FIRST], ints[place.CROSSES] = n, agents, FIRST, 1
    for name, values in (
        (place.A_CROSSED, [*np.ravel(lots).tolist(), *[-7] * (agents * n)]),
        (place.A_CROSS_WORST, [high] * n + [low] * n),
    ):  # fmt: skip
        ints[name], ints[at : at + len(values)] = at, values
        at += len(values)
    return ints


def ledger_of(agents: int, size: int) -> Ledger:
    universe = Universe(tuple(Instrument(f"S{k}", lot_nano=LOTS[k]) for k in range(size)))
    made = Ledger(universe, [f"a{k}" for k in range(agents)])
    made.deposit(10**14)
    return made


def opens(row: int, prices: list[int]) -> Ints:
    """int64 opens of some rows, of which one counts."""
    found = np.full((FIRST + row + 2, len(prices)), 10**17)
    found[FIRST + row] = prices
    return found


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Lots of agents that add up to 0 by symbol, and prices; some amounts are half a micro."""
    agents, size = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    lots = [[draw(st.integers(-9, 9)) for _ in range(size)] for _ in range(agents - 1)]
    lots.append([-sum(column) for column in zip(*lots, strict=True)])
    lots = draw(st.permutations(lots))
    return lots, [draw(st.integers(1, 40) | st.integers(1, 10**13)) for _ in range(size)]


@given(exchanges(), st.integers(0, 2))
def test_crosses_of_a_row_are_booked_as_the_ledger_books_them(given_, row):
    lots, prices = given_
    prices = [price * 500 if price <= 40 else price for price in prices]
    agents, size = len(lots), len(prices)
    expected, own = ledger_of(agents, size), ledger_of(agents, size)
    for symbol, price in enumerate(prices):
        shares = [(agent, each[symbol]) for agent, each in enumerate(lots) if each[symbol]]
        if shares:
            expected.cross(symbol, price, shares)
    ints = crossing(own, lots, min(prices), max(prices))
    assert crosses_fit(ints.data, row, own, opens(row, prices).data) is True
    book_crosses(ints.data, own)
    assert own.cells().tolist() == expected.cells().tolist()
    assert ints[place.CROSSES] == 0
    assert not ints[ints[place.A_CROSSED] :][: agents * size].any()


@pytest.mark.parametrize(("price", "fits"), [(99, False), (100, True), (110, True), (111, False)])
@pytest.mark.parametrize("symbol", range(3))
def test_a_cross_fits_between_both_worst_prices_only_of_the_symbols_that_cross(price, fits, symbol):
    ledger, prices = ledger_of(2, 3), [105] * 3
    prices[symbol] = price
    assert crosses_fit(crossing(ledger, [[1] * 3, [-1] * 3], 100, 110).data, 0, ledger, opens(0, prices).data) is fits
    lots = [[int(k != symbol) for k in range(3)], [-int(k != symbol) for k in range(3)]]
    assert crosses_fit(crossing(ledger, lots, 100, 110).data, 0, ledger, opens(0, prices).data) is True


def test_without_crosses_no_price_matters():
    ledger = ledger_of(2, 1)
    ints = crossing(ledger, [[1], [-1]], 100, 110)
    ints[place.CROSSES] = 0
    assert crosses_fit(ints.data, 0, ledger, opens(0, [5]).data) is True


def test_an_exchange_of_too_much_money_is_left_to_the_engine():
    ledger = ledger_of(2, 1)
    for lots, fits in ((MOST // 65, True), (MOST // 63, False), (MOST // 2, False)):
        for sign in (1, -1):
            ints = crossing(ledger, [[sign * lots], [-sign * lots]], 1, 10**9)
            assert crosses_fit(ints.data, 0, ledger, opens(0, [1000]).data) is fits


BOOKS = 3
WIDE = [-inf, inf] * 3
LARGEST = 2**53 - 1


def valued(**other: object) -> tuple[bool, list[int], int]:
    """What `value_books` returns of the second row, the equities that it writes, and whether a level may have changed.

    The house, two agents and the rest hold 5, 2, 3 and 0 lots at a price of 10 of a first symbol, and none of a second.
    Cash is in currency.
    """
    have = {
        "cash": [150, 80, 70, 0], "lots": [5, 2, 3, 0], "short": [0, 0, 0], "bounds": {}, "limits": {}, "level": {},
        "LONE": 0, "BORROW": 0, "CHECKED": 1, "LEVELS": 0, "micro": None,
    } | other  # fmt: skip
    heads = {name: have[name] for name in ("LONE", "BORROW", "CHECKED", "LEVELS")}
    cells, n, row = Cells(2, FIRST=FIRST, REALISED=0, **heads), 2, 1
    cells.ints[place.SIZE] = n
    cells.add(place.A_TIMES, [[0, 0, 0, 99], [0, 0, 0, 20], [0, 0, 0, 98]])
    at = cells.add(place.A_EQUITY, [-1] * (3 * 7)) + row * 7
    marks = [[200_000_000] * 3 + [20, 23 // 7, 200_000_000]] * BOOKS
    cells.add(place.A_MARKS, [marks, np.zeros((BOOKS, MARKS), dtype=np.int64)])
    cells.number(place.F_BOUNDS, [have["bounds"].get(book, WIDE) for book in range(BOOKS)])
    cells.number(place.F_HELD, [[have["lots"][book], have["short"][book]] for book in range(BOOKS)])
    cells.number(place.F_LOT_SIZE, [1.0, 1.0])
    cells.number(place.F_PX, [0.0] * 2)
    ledger = books_with(np.array([[each, 0] for each in have["lots"]]), cash=np.array(have["cash"]) * 1_000_000)
    if have["micro"] is not None:
        book, micro = have["micro"]
        (ledger.house, *ledger.books)[book].cash_micro = micro - 10_000_000 * have["lots"][book]
    closes = np.full((FIRST + 3, n), 7.0)
    closes[FIRST + row] = 10.0
    returns = np.zeros((len(have.get("returns", [])) or 4, n))
    returns[:, 0] = have.get("returns", 0.0)
    bars = bars_with(closes, (closes * 1e9).astype(np.int64))
    limits = [have["limits"].get(book, Limits()) for book in range(BOOKS)]
    sets = sets_with(n, limits=limits, levels=have["level"])
    found = value_books(cells.ints.data, cells.floats.data, row, ledger, bars, ring_with(returns), sets)
    return found, cells.ints[at : at + 4].tolist(), int(cells.ints[place.LEVELS])


def test_a_row_writes_the_equity_of_the_house_of_each_agent_and_of_the_rest():
    assert valued() == (True, [200_000_000, 100_000_000, 100_000_000, 0], 0)
    assert valued(cash=[151, 80, 70, 1]) == (True, [201_000_000, 100_000_000, 100_000_000, 1_000_000], 0)


@pytest.mark.parametrize("book", range(BOOKS))
def test_an_equity_that_is_not_positive_or_beyond_53_bits_is_left_to_the_engine(book):
    for micro, found in ((0, False), (-1, False), (1, True), (LARGEST, True), (LARGEST + 1, False)):
        assert valued(micro=(book, micro))[0] is found
    assert valued(lots=[5, 2, 3, 0], cash=[MOST // 10**6, 0, 0, 0])[0] is False


@pytest.mark.parametrize("book", range(BOOKS))
def test_a_loss_of_any_book_outside_its_band_is_left_to_the_engine(book):
    for k in range(3):
        bounds = [*WIDE]
        bounds[2 * k] = 1.0
        assert valued(bounds={book: bounds})[0] is False


def test_a_short_position_of_the_house_that_pays_a_fee_is_left_to_the_engine():
    for short, found in (([-1, 0, 0], False), ([0, -1, 0], True), ([1, 0, 0], True)):
        assert valued(short=short, BORROW=1)[0] is found
        assert valued(short=short)[0] is True


@pytest.mark.parametrize("book", range(BOOKS))
@pytest.mark.parametrize("checked", [0, 1])
def test_a_level_of_a_watched_book_may_have_changed_where_its_measure_leaves_its_band(book, checked):
    """The house and the agents have a gross exposure of 25, 20 and 30 %; INFO begins at 60 % of a bound and ends at
    55 %."""
    share = [0.25, 0.2, 0.3][book]
    for edge, level, inside in ((0.61, {}, 0), (0.59, {}, 1), (0.56, INFO_OF, 1), (0.54, INFO_OF, 0), (0.54, {}, 1)):
        limits = {book: Limits(max_gross_exposure=share / edge)}
        found = valued(limits=limits, level=level, CHECKED=checked)
        others = level != {}  # those without the limit have no level of it
        assert found[2] == 1 - inside, (edge, level, others)
        assert found[0] is bool(inside or checked)
        assert valued(limits=limits, level=level, LONE=1)[2] == (0 if book else 1 - inside)
    assert valued(LEVELS=1, CHECKED=checked) == (bool(checked), valued()[1], 1)


INFO_OF = {"max_gross_exposure": 1}


def test_a_measure_of_losses_has_the_return_of_the_row():
    """A loss of 64 % in one of the newest four returns, weighed with 25 %."""
    for place_of in range(4):
        returns = [0.0] * 4
        returns[place_of] = -0.64
        for lookback, inside in ((3, place_of == 0), (4, False)):
            limits = Limits(var=Tail(0.2, confidence=0.9, lookback=lookback), min_history=2)
            assert valued(limits={0: limits}, returns=returns)[2] == (0 if inside else 1), (place_of, lookback)
    limits = Limits(var=Tail(0.2, confidence=0.9, lookback=8), min_history=5)
    assert valued(limits={0: limits}, returns=returns)[2] == 0


def bands(value: float) -> list[tuple[float, float]]:
    """Bands that a value is in, at an edge of, and beyond."""
    near = max(BEYOND * abs(value), BEYOND**3)
    edges = [-inf, value - near, value, value + near, inf]
    return [(low, high) for low in edges for high in edges if low < high]


BEYOND = 1 / 1024


MONDAY = 4 + 7 * 2_000
"""Days since 1970 of a Monday."""


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(80, 120)), min_size=1, max_size=12))
def test_a_switch_has_the_equity_at_the_beginning_of_its_day_and_week_and_its_maximum(steps):
    """The equity of each sample is marked after some days."""
    day, marks = MONDAY + 5, np.zeros(3 * MARKS, dtype=np.int64)
    days, values = [day], [100]
    marks[:MARKS] = 100, 100, 100, day, (day + 3) // 7, 100
    wide = np.array([-1.0, 2.0] * 3)
    for later, value in steps:
        day += later
        before = [k for k, each in enumerate(days) if each < day]
        week = [k for k, each in enumerate(days) if (each - MONDAY) // 7 < (day - MONDAY) // 7]
        days.append(day)
        values.append(value)
        opened = values[before[-1]] if before else 100
        began = values[week[-1]] if week else 100
        high = max(values)
        assert observe(marks.data, 0, 2 * MARKS, value, day, wide.data, 0)
        assert marks[2 * MARKS :].tolist() == [high, opened, began, day, (day - MONDAY) // 7 + 2_001, value]
        losses = [max(0.0, 1.0 - value / each) for each in (high, opened, began)]
        for k, loss in enumerate(losses):
            for low, high_end in bands(loss):
                bounds = np.array([9.0, 9.0, *wide])
                bounds[2 + 2 * k], bounds[3 + 2 * k] = low, high_end
                assert observe(marks.data, 0, 2 * MARKS, value, day, bounds.data, 2) is (low < loss < high_end)
        marks[:MARKS] = marks[2 * MARKS :]


@pytest.mark.parametrize("opening", [DAY_OPEN, WEEK_OPEN])
@pytest.mark.parametrize("value", [0, 1, -5])
def test_a_loss_since_an_opening_that_is_not_positive_is_left_to_the_engine(opening, value):
    marks, wide = np.zeros(2 * MARKS, dtype=np.int64), np.array([-inf, inf] * 3)
    marks[:MARKS] = 100, 100, 100, MONDAY, (MONDAY + 3) // 7, 100
    marks[opening] = value
    assert observe(marks.data, 0, MARKS, 90, MONDAY, wide.data, 0) is (value > 0)
