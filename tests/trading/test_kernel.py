"""Average cost and realised profit of one account; and the kernels of the ledger against Python's integers.

The kernels run here on arrays of numpy, whose integers of 64 bits raise an error where they overflow.
"""

from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.trading import execution, kernel
from quantd.trading.books import Ledger
from quantd.trading.execution import MOST, portion, ratio
from quantd.trading.instruments import ATTO_PER_MICRO, Instrument, Universe
from quantd.trading.jit import LOOPS
from quantd.trading.kernel import EQUITY, POST, Account, LedgerFull
from tests.support.checkout import printed
from tests.support.examples import examples

trades = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-1000, 1000).filter(bool), st.integers(1, 10**9)), max_size=40
)


def played(rows: list[tuple[int, int, int]]) -> Account:
    account = Account(3)
    for column, lots, price in rows:
        account.trade([(column, lots, -lots * price)])
    return account


def test_a_partial_sale_realises_against_the_average_cost() -> None:
    account = played([(0, 10, 100), (0, 10, 200), (0, -5, 190)])
    assert (account.lots[0], account.cost_micro[0], account.realised_micro) == (15, 2250, 5 * 190 - 750)


def test_a_short_that_is_bought_back_realises_the_fall() -> None:
    account = played([(1, -10, 100), (1, 4, 90)])
    assert (account.lots[1], account.cost_micro[1], account.realised_micro) == (-6, -600, 40)


def test_a_trade_through_zero_closes_the_old_side_and_opens_the_new_at_the_price() -> None:
    account = played([(0, 10, 100), (0, -25, 120)])
    assert (account.lots[0], account.cost_micro[0], account.realised_micro) == (-15, -1800, 200)


@given(trades)
def test_trades_in_columns_equal_trades_one_by_one(rows: list[tuple[int, int, int]]) -> None:
    together = Account(3)
    together.trade((column, lots, -lots * price) for column, lots, price in rows)
    assert together.freeze() == played(rows).freeze()


@given(trades)
def test_profit_is_within_a_micro_a_trade_of_the_rational_average(rows: list[tuple[int, int, int]]) -> None:
    account = played(rows)
    lots, cost, realised = [0] * 3, [Fraction(0)] * 3, Fraction(0)
    for column, change, price in rows:
        held = lots[column]
        closing = -max(-abs(held), -abs(change)) * (1 if change > 0 else -1) if held * change < 0 else 0
        if closing:
            part = cost[column] * closing / held
            realised += -closing * price + part
            cost[column] += part
        cost[column] += (change - closing) * price
        lots[column] = held + change
    assert account.lots == lots
    assert abs(account.realised_micro - realised) <= len(rows)
    assert account.unexplained_micro() == 0
    assert all(not cost for cost, held in zip(account.cost_micro, lots, strict=True) if not held)


@given(trades, st.integers(-(10**30), 10**30))
def test_a_frozen_account_comes_back_whole(rows: list[tuple[int, int, int]], residue: int) -> None:
    account = played(rows)
    account.residue_atto = residue
    account.pay(7)
    account.receive(-3)
    account.flow(11)
    other = Account(3)
    other.trade([(0, 5, 99)])
    other.thaw(account.freeze())
    assert other.freeze() == account.freeze()
    assert other.residue_atto == residue


def test_unexplained_cash_is_measured() -> None:
    account = played([(0, 10, 100)])
    account.cash_micro += 5
    assert account.unexplained_micro() == 5


LOTS = (10**9, 10, 123_456_789, 10**12, 10**9)
UNIVERSE = Universe(tuple(Instrument(f"S{k}", lot_nano=size) for k, size in enumerate(LOTS)))
TIES = Universe(tuple(Instrument(f"S{k}", lot_nano=10**9) for k in LOTS))

sizes = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 62).map(lambda k: 2**k), st.integers(0, 10**6))
divisors = sizes.filter(bool)


@pytest.fixture
def int64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels as they are compiled, on integers that cannot wrap."""
    for module, name in ((execution, "ratio"), (kernel, "ratio"), (kernel, "portion")):
        monkeypatch.setattr(module, name, LOOPS[getattr(module, name)])
    for entry in (POST, EQUITY):
        monkeypatch.setattr(entry, "run", entry.python)
        monkeypatch.setattr(entry, "arrays", True)
    with np.errstate(over="raise"):
        yield


@given(sizes, sizes, st.one_of(st.just(1), sizes), divisors)
@settings(max_examples=examples(1000), deadline=None)
def test_a_quotient_in_64_bits_equals_that_of_unbounded_integers(a: int, b: int, up: int, down: int) -> None:
    with np.errstate(over="raise"):
        found = LOOPS[ratio](*map(np.int64, (a, b, up, down)))
    whole, rest = divmod(a * b * up, down)
    assert found == ratio(a, b, up, down) == ((whole, rest) if whole <= MOST else (MOST + 1, 0))


def test_quotients_at_the_widths_of_their_digits_are_those_of_unbounded_integers() -> None:
    """Sums that equal the divisor, and numbers of one digit, of several and of all bits."""
    edges = [1, 3, 2**20 + 1, 2**31, 2**44 - 1, 2**45, 2**51, 2**57 + 1, 2**59, 2**60 - 1, 2**60, 2**62 - 1, 2**62]
    with np.errstate(over="raise"):
        for a, b, down in product(edges, edges, edges):
            whole, rest = divmod(a * b, down)
            found = LOOPS[ratio](*map(np.int64, (a, b, 1, down)))
            assert found == ((whole, rest) if whole <= MOST else (MOST + 1, 0)), (a, b, down)
    assert (portion(MOST, -1, 1), portion(-MOST, 1, 1), portion(MOST, 1, 1)) == (-MOST, -MOST, MOST)


@given(sizes, sizes, divisors, st.tuples(*[st.booleans()] * 3))
@settings(max_examples=examples(500), deadline=None)
def test_a_portion_in_64_bits_is_floored_for_every_sign(a: int, b: int, down: int, minus: tuple[bool, ...]) -> None:
    amount, part, whole = (-size if below else size for size, below in zip((a, b, down), minus, strict=True))
    with np.errstate(over="raise"), patch.object(execution, "ratio", LOOPS[ratio]):
        found = LOOPS[portion](*map(np.int64, (amount, part, whole)))
    exact = amount * part // whole
    assert found == portion(amount, part, whole)
    assert found == exact or (abs(exact) > MOST and found == (MOST + 1) * (1 if exact > 0 else -1))


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], ...]:
    """Fills of lots from one to nearly the bound, at prices from a nano to 4e9."""
    count = draw(st.integers(1, 6))
    lots = [draw(st.integers(1, 10 ** draw(st.integers(1, 18)))) * draw(st.sampled_from((-1, 1))) for _ in range(count)]
    price = [draw(st.integers(1, 10 ** draw(st.integers(1, 18)))) for _ in range(count)]
    if draw(st.booleans()):  # half a micro, to be rounded to even
        price = [500 * each for each in range(1, count + 1)]
    columns = [draw(st.integers(0, len(LOTS) - 1)) for _ in range(count)]
    return columns, lots, price, [draw(st.integers(-(10**6), 10 ** draw(st.integers(1, 15)))) for _ in range(count)]


def shared(lots: list[int], shares: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """The rows' lots divided among books by weights; the last takes the remainder."""
    found = []
    for whole in lots:
        sign = 1 if whole > 0 else -1
        parts = [abs(whole) * weight // sum(shares) for weight in shares[:-1]]
        found.append([(k, sign * part) for k, part in enumerate([*parts, abs(whole) - sum(parts)])])
    return found


@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from([(1,), (1, 2), (3, 1, 5), (0, 1, 1)]), st.booleans())
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernels_post_and_value_as_unbounded_integers_do_or_change_nothing(
    int64: None, baskets: list[tuple[list[int], ...]], weights: tuple[int, ...], ties: bool
) -> None:
    universe, agents = TIES if ties else UNIVERSE, ["ann", "bob", "cy"]
    own, exact = Ledger(universe, agents), Ledger(universe, agents)
    for ledger in (own, exact):
        ledger.deposit(10**12)
    for columns, lots, price, fee in baskets:
        shares = shared(lots, weights)
        before = own.cells.copy()
        try:
            own.fills(columns, lots, price, fee, shares)
        except LedgerFull:
            assert (own.cells == before).all()
            return
        POST.arrays = False
        exact.fills(columns, lots, price, fee, shares)
        POST.arrays = True
        assert (own.cells == exact.cells).all()
        own.check()
        marks = [price[-1]] * len(LOTS)
        try:
            found = own.equity(np.array(marks))
        except LedgerFull:
            return
        EQUITY.arrays = False
        assert found == exact.equity(marks)
        EQUITY.arrays = True


@pytest.mark.parametrize("way", ["exact", "kernel"])
def test_what_the_ledger_cannot_hold_is_refused_before_anything_is_booked(
    way: str, request: pytest.FixtureRequest
) -> None:
    if way == "kernel":
        request.getfixturevalue("int64")
    ledger = Ledger(UNIVERSE, ["ann"])
    ledger.deposit(MOST)
    before = ledger.cells.copy()
    tried = (
        lambda: ledger.deposit(1),
        lambda: ledger.fills([0], [10**12], [10**18], [0], [[(0, 10**12)]]),
        lambda: ledger.fills([0], [1 - 2**63], [1], [0], [[(0, 1 - 2**63)]]),
        lambda: ledger.fills([0, 0], [1, 1], [1, 1], [-(2**61), -(2**61)], [[(0, 1)], [(0, 1)]]),
        lambda: ledger.fills([0], [1], [10**9], [0], [[(0, 1)]]),
        lambda: ledger.cross(0, 10**18, [(0, 10**12), (1, -(10**12))]),
        lambda: ledger.in_kind(0, 1, 10**6, 0),
        lambda: ledger.income(1, []),
    )
    for booking in tried:
        with pytest.raises(LedgerFull):
            booking()
        assert (ledger.cells == before).all()
    ledger = Ledger(UNIVERSE, ["ann"])
    ledger.fills([0], [10**9], [10**12], [0], [[(0, 10**9)]])
    before = ledger.cells.copy()
    with pytest.raises(LedgerFull):
        ledger.split(0, 10**18, 1, 1)
    with pytest.raises(LedgerFull):
        ledger.equity([5 * 10**18] * len(LOTS))
    assert (ledger.cells == before).all()
    ledger.check()


SAME = """
import random
import sys
import numpy as np
from quantd.daemon.assembly.compiler import compile_kernels
from quantd.trading.books import Ledger
from tests.trading.test_kernel import LOTS, UNIVERSE, shared
if sys.argv[1] == "compiled":
    assert compile_kernels(wait=True) == ""
draw, ledger = random.Random(3), Ledger(UNIVERSE, ["ann", "bob", "cy"])
ledger.deposit(10**15)
for _ in range(300):
    lots = [draw.choice((-1, 1)) * draw.randint(1, 10 ** draw.randint(1, 6)) for _ in range(8)]
    price = [draw.randint(1, 10 ** draw.randint(1, 11)) for _ in lots]
    weights = draw.choice([(1,), (2, 5), (1, 1, 1)])
    columns, fee = [draw.randrange(len(LOTS)) for _ in lots], [draw.randint(0, 10**9) for _ in lots]
    ledger.fills(columns, lots, price, fee, shared(lots, weights))
    print(ledger.cells.tobytes().hex(), ledger.equity(np.array(price[: len(LOTS)])))
"""


@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
def test_compiled_kernels_give_the_bits_of_interpreted_ones(tmp_path_factory: pytest.TempPathFactory) -> None:
    compiled, interpreted = (printed(SAME, way, tmp_path_factory) for way in ("compiled", "interpreted"))
    assert compiled == interpreted != ""


def test_a_residue_has_two_parts_that_fit() -> None:
    account = Account(1)
    account.residue_atto = -1
    assert (account.freeze().residue, account.residue_atto) == ((-1, ATTO_PER_MICRO - 1), -1)


SMALL = [lots for lots in range(-6, 7) if lots]


@pytest.mark.parametrize("held", SMALL)
@pytest.mark.parametrize("change", SMALL)
def test_every_trade_of_a_few_lots_keeps_its_part_of_the_cost_to_the_last_lot(held: int, change: int) -> None:
    """100 each were paid and 7 more in all; a trade is at 113 each."""
    before = 100 * held + 7
    own = Account(1)
    own.trade([(0, held, -before), (0, change, -113 * change)])
    after = held + change
    if held * change > 0:
        cost, realised = before + 113 * change, 0
    elif after * held > 0:
        # what is closed takes its share, which is rounded down as an amount of cash
        part = before * change // held
        cost, realised = before + part, -113 * change + part
    else:
        cost, realised = 113 * after, 113 * held - before
    assert (own.lots, own.cost_micro, own.realised_micro) == ([after], [cost], realised)
    by_kernel = np.zeros(2 + kernel.SINGLE, dtype=np.int64)
    for lots, amount in ((held, -before), (change, -113 * change)):
        kernel.trade(by_kernel, 0, 1, 0, lots, amount)
    assert by_kernel.tolist() == own.cells.tolist()


def test_a_posting_grows_by_all_amounts_of_its_rows_and_parts_and_none_is_booked_without_room() -> None:
    """4 lots at 25 micro with a fee of 10: 3 lots and 7 of the fee for one book, the rest for the other."""
    units, fills = np.array([1, 1000]), np.array([0, 4, 25_000, 10, 2, 0, 3, 1, 1])
    grown = (100 + 4 + 10) + (75 + 7 + 3) + (25 + 3 + 1)
    for room, found in ((grown + 1.0, float(grown)), (float(grown), -1.0), (grown - 4.0, -1.0), (50.0, -1.0)):
        cells, scratch = np.zeros(3 * (2 + kernel.SINGLE), dtype=np.int64), np.zeros(2 * len(fills), dtype=np.int64)
        assert kernel.post(cells, units, fills, 1, -1, scratch, room) == found
        assert cells.any() == (found > 0.0)


def test_the_value_of_every_account_and_their_differences_stay_within_the_bound() -> None:
    """Cash alone: of the house, of the only agent, and so of what belongs to none."""
    units, prices, width, half, near = np.array([1, 1000]), np.array([1]), 2 + kernel.SINGLE, MOST // 2, 10_000
    for house, agent, fits in (
        (half, near - half, True), (half, half, True), (near + half, -half, False), (-near - half, half, False),
        (MOST + near, near, False), (-MOST - near, -near, False), ((MOST + 1) // 2, -(MOST + 1) // 2, False),
    ):  # fmt: skip
        cells, out = np.zeros(3 * width, dtype=np.int64), np.zeros(3, dtype=np.int64)
        cells[2], cells[width + 2] = house, agent
        assert kernel.equity(cells, units, prices, out) is fits
        assert not fits or out.tolist() == [house, agent, house - agent]
    for lots, fits in ((MOST // 2, True), (-MOST // 2, True), (MOST, False), (-MOST, False)):
        cells, out = np.zeros(2 * width, dtype=np.int64), np.zeros(2, dtype=np.int64)
        cells[0] = lots
        assert kernel.equity(cells.data, units.data, np.array([1000]).data, out.data) is fits
        assert not fits or out.tolist() == [lots, lots]


@pytest.mark.parametrize("way", ["exact", "kernel"])
def test_rows_that_each_belong_to_one_book_are_booked_there(way: str, request: pytest.FixtureRequest) -> None:
    if way == "kernel":
        request.getfixturevalue("int64")
    ledger = Ledger(UNIVERSE, ["ann", "bob"])
    ledger.fills([], [], [], [], [])
    ledger.fills([0, 0], [5, 3], [10**9] * 2, [0, 0], [[(0, 5)], [(1, 3)]])
    assert [account.held(0) for account in (ledger.house, *ledger.books)] == [8, 5, 3, 0]
    ledger.check()


def test_the_book_of_fills_is_known_where_it_owns_every_row_alone() -> None:
    assert kernel._only_book([[(2, 5)], [(2, -3)]]) == 2
    assert kernel._only_book([[(0, 5)]]) == 0
    assert kernel._only_book([]) == -1
    for others in ([[(2, 5), (1, 3)]], [[(2, 5)], [(1, 3)]], [[(2, 5)], [(2, 3), (1, 3)]]):
        assert kernel._only_book(others) is None


@pytest.mark.parametrize("arrays", [True, False])
def test_the_kernels_post_and_value_where_they_are_meant_for_arrays(
    arrays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry in (POST, EQUITY):
        monkeypatch.setattr(entry, "arrays", arrays)
    own, calls = Ledger(UNIVERSE, ["ann", "bob"]), []
    for entry in (POST, EQUITY):
        monkeypatch.setattr(entry, "run", lambda *args, run=entry.run, entry=entry: calls.append(entry) or run(*args))
    own.fills([0], [5], [10**9], [0], [[(1, 5)]])
    own.fills([0, 1], [-2, 4], [10**9] * 2, [0, 0], [[(-1, -2)], [(-1, 4)]])
    assert own.equity([10**9] * len(LOTS)) == (0, [0, 0, 0])
    assert [account.held(0) for account in (own.house, *own.books)] == [3, 0, 5, -2]
    assert set(calls) == ({POST, EQUITY} if arrays else set())


def test_a_refusal_of_fills_names_the_most_lots_and_the_highest_price(int64: None) -> None:
    ledger = Ledger(UNIVERSE, ["ann"])
    with pytest.raises(LedgerFull, match=r"^fills of 2000000000000 lots at 1000000000000000000 nano"):
        ledger.fills(
            [0, 1, 0], [1, -2 * 10**12, 3], [5, 10**18, 7], [9, 2 * 10**18, 9], [[(0, 1)], [(0, -2 * 10**12)], [(0, 3)]]
        )
