"""The states of a book in the gate's kernel, beside a search of all fills and plain sums, in exact numbers."""

from itertools import product

import numpy as np
import pytest
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel
from tests.daemon.engine.batches.gate_arrays import Arrays, drawn

SEEDS = range(400)
NOT_FINITE, CROSSING = 7, 8


def test_an_order_against_a_position_reduces_it_by_whole_lots_that_no_open_order_closes() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _split_as_by_hand(rng, int(rng.integers(1, 6)))


def _split_as_by_hand(rng: np.random.Generator, n: int) -> None:
    book = Arrays(n)
    asked, lots = (rng.choice([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 4.0], n) for _ in range(2))
    up, down = (rng.choice([0.0, 0.0, 0.0, 1.0, 1.5], n) for _ in range(2))
    if rng.random() < 0.3:
        for each, value in ((asked, 1e308), (lots, 1e308), (up, 0.0), (down, 0.0)):
            each[0] = value
    px, barred = rng.choice([1.0, 2.0, 0.0, np.nan], n, p=[0.6, 0.3, 0.05, 0.05]), rng.choice([0.0, 0.0, 1.0, 5.0], n)
    if rng.random() < 0.5:
        (asked, lots, up, down)[int(rng.integers(4))][int(rng.integers(n))] = rng.choice([np.nan, np.inf, -np.inf])
    book.part(kernel.ASKED)[:], book.part(kernel.LOTS)[:] = asked, lots
    book.part(kernel.UP)[:], book.part(kernel.DOWN)[:] = up, down
    book.px[:], book.barred[:] = px, barred
    book.codes[kernel.C_NOT_FINITE], book.codes[kernel.C_ZERO_CROSSING] = NOT_FINITE, CROSSING
    before = book.work[kernel.KNOWN] = float(rng.integers(2))
    interpreted(kernel.split)(n, book.work, book.market, book.codes, book.reason)

    known = before == 1.0
    size, reducing, reason = np.zeros(n), np.zeros(n), np.zeros(n)
    for k in range(n):
        held = [lots[k], up[k], down[k]]
        known = known and bool(np.isfinite(held).all() and (px[k] > 0.0 or not any(held)))
        if not np.isfinite([asked[k], *held]).all():
            reason[k] = NOT_FINITE if asked[k] != 0.0 else 0
            asked[k] = 0.0
        whole, sign = np.floor(abs(asked[k])), np.sign(asked[k])
        if sign == 0.0 or sign * lots[k] >= 0.0:
            size[k] = whole
            continue
        free = np.floor(max(abs(lots[k]) - (down[k] if lots[k] > 0.0 else up[k]), 0.0))
        if whole > free:
            reason[k] = CROSSING
        if barred[k] and abs(asked[k]) >= 1.0:
            reason[k] = barred[k]
        reducing[k] = 0.0 if barred[k] else sign * min(whole, free)
    assert book.part(kernel.ASKED).tolist() == asked.tolist()
    assert book.part(kernel.SIZE).tolist() == size.tolist()
    assert book.part(kernel.REDUCED).tolist() == reducing.tolist()
    assert book.reason.tolist() == reason.tolist()
    assert book.work[kernel.KNOWN] == known
    assert book.work[kernel.ADDING] == np.count_nonzero(size)
    assert book.work[kernel.REDUCTIONS] == np.count_nonzero(reducing)


@pytest.mark.parametrize("states", [1, 2])
def test_a_state_has_the_widest_exposures_the_least_equity_and_the_most_cash_of_all_fills(states: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _settled_as_by_hand(rng, int(rng.integers(1, 4)), states)


def _settled_as_by_hand(rng: np.random.Generator, n: int, states: int) -> None:
    book = Arrays(n)
    px, lots = rng.choice([1.0, 2.0, 4.0], n), rng.integers(-3, 4, n) * 1.0
    up, down = (rng.integers(0, 3, n) * (rng.random(n) < 0.6) for _ in range(2))
    back = -np.sign(lots) * rng.integers(0, 3, n)
    paid, covered, fee, reserve, in_flight = rng.choice([0.0, 0.125, 0.25, 0.5], 5).tolist()
    sold, debit = float(rng.choice([0.0, 0.125, 0.5])), float(rng.choice([0.0, 0.5, 2.0, 8.0]))
    cash, equity, up_cash, loss, gain, traded = rng.integers(-8, 32, 6).astype(float).tolist()
    derived = int(rng.integers(2))
    for place, values in (
        (kernel.LOTS, lots), (kernel.UP, up), (kernel.DOWN, down), (kernel.REDUCED, back)
    ):  # fmt: skip
        book.part(place)[:] = values
    book.px[:], book.codes[kernel.C_STATES] = px, states
    places = [kernel.N_PAID, kernel.N_COVERED, kernel.N_FEE, kernel.N_RESERVE, kernel.N_IN_FLIGHT, kernel.N_SOLD,
              kernel.N_DEBIT]  # fmt: skip
    book.numbers[places] = paid, covered, fee, reserve, in_flight, sold, debit
    interpreted(kernel.settle)(
        n, cash, equity, up_cash, loss, derived, gain, traded, book.work, book.market, book.numbers, book.codes
    )

    opened, closed = float(up @ px), float(down @ px)
    covers, sales = float(back.clip(0) @ px), float((-back).clip(0) @ px)
    if derived:
        loss = max(opened * paid, up_cash - opened) + closed * (sold + fee)
    fills = np.array([
        [a * up[k] - b * down[k] + c * back[k] for a, b, c in product((0.0, 1.0), repeat=3)] for k in range(n)
    ])  # fmt: skip
    exposure = (lots[:, None] + fills) * px[:, None]
    least, most = exposure.min(axis=1), exposure.max(axis=1)
    owed = [
        up_cash - cash + reserve * equity + covers * (1 + covered) - filled * sales * (1 - covered)
        - debit * (equity - loss - (covers + filled * sales) * covered)
        for filled in (0.0, 1.0)
    ]  # fmt: skip
    turnover, turned = traded + opened + closed + covers + sales, covers + sales
    expected = {
        kernel.EQUITY: equity - loss - turned * covered, kernel.BEFORE: equity + gain, kernel.SLIP: paid,
        kernel.CASH_USED: max(owed), kernel.TURNOVER: turnover, kernel.WIDER: 1 + in_flight, kernel.NOW: equity,
    }  # fmt: skip
    _holds(book, 0, np.concatenate((-least, most)), expected)
    if states == 1:
        assert np.isnan(book.state(1)[: kernel.LEFT]).all()
        assert np.isnan(book.range(1)).all()
        return
    end, fees = (lots + up - down + back) * px, equity - (opened + closed) * fee
    cash_used = up_cash - cash + reserve * equity + covers * (1 + fee) - (sales + closed) * (1 - fee)
    expected = {
        kernel.EQUITY: fees - turned * fee, kernel.BEFORE: fees, kernel.SLIP: fee, kernel.CASH_USED: cash_used,
        kernel.TURNOVER: turnover, kernel.WIDER: 1.0, kernel.NOW: fees,
    }  # fmt: skip
    _holds(book, 1, np.concatenate((-end, end)), expected)


def _holds(book: Arrays, e: int, wide: np.ndarray, expected: dict[int, float]) -> None:
    """Whether a state has these exposures and numbers, and their sums."""
    n, outer = book.n, np.maximum(wide, 0.0)
    assert book.range(e).tolist() == wide.tolist()
    assert book.outer(e).tolist() == outer.tolist()
    sums = {
        kernel.LOW: wide[:n].sum(), kernel.HIGH: wide[n:].sum(), kernel.SHORT: outer[:n].sum(),
        kernel.LONG: outer[n:].sum(),
    }  # fmt: skip
    assert {place: book.state(e)[place] for place in expected | sums} == expected | sums


@pytest.mark.parametrize("e", [0, 1])
def test_the_reach_of_a_state_is_its_exposures_with_all_orders_and_the_equity_that_they_leave(e: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        book = drawn(rng, n)
        book.outer(e)[:] = rng.integers(0, 4, 2 * n)
        book.state(e)[[kernel.EQUITY, kernel.SLIP]] = equity, slip = float(rng.integers(1, 40)), 0.25
        book.work[kernel.FRESH] = float(e)
        interpreted(kernel.reach)(n, e, book.work, book.market)
        assert np.isnan(book.part(kernel.FULL, 2)).all()
        added = book.added()
        # what has no order needs no price
        book.px[book.part(kernel.SIZE) == 0.0] = np.nan
        book.work[kernel.FRESH] = float(rng.choice([-1.0, 1.0 - e]))
        interpreted(kernel.reach)(n, e, book.work, book.market)
        full = book.outer(e) + added
        assert book.work[kernel.FRESH] == e
        assert book.part(kernel.FULL, 2).tolist() == full.tolist()
        state = book.state(e)
        assert (state[kernel.ADDED_SHORT], state[kernel.ADDED_LONG]) == (added[:n].sum(), added[n:].sum())
        assert (state[kernel.HEAVIEST], state[kernel.LEFT]) == (full.max(), equity - slip * added.sum())


def test_a_book_stands_at_its_positions_in_flight_and_at_its_exposures_after_all_fills() -> None:
    book = Arrays(2)
    book.part(kernel.LOTS)[:], book.px[:] = [3.0, -2.0], [4.0, 2.0]
    book.part(kernel.RANGE + 3)[:] = [5.0, -7.0]
    found = [[interpreted(kernel.standing)(2, e, k, book.work, book.market) for k in range(2)] for e in range(2)]
    assert found == [[12.0, -4.0], [5.0, -7.0]]
