"""The states of a book at the gate, beside a search of all fills and plain sums, in exact numbers."""

from itertools import product

import numpy as np
import pytest

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.standing import Standing
from tests.risk.pretrade.drawn_books import basket_of

SEEDS = range(400)
NOT_FINITE, CROSSING = 7, 8


def test_an_order_against_a_position_reduces_it_by_whole_lots_that_no_open_order_closes() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _split_as_by_hand(rng, int(rng.integers(1, 6)))


def _split_as_by_hand(rng: np.random.Generator, n: int) -> None:
    asked, lots = (rng.choice([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 4.0], n) for _ in range(2))
    up, down = (rng.choice([0.0, 0.0, 0.0, 1.0, 1.5], n) for _ in range(2))
    if rng.random() < 0.3:
        for column, value in ((asked, 1e308), (lots, 1e308), (up, 0.0), (down, 0.0)):
            column[0] = value
    px, barred = rng.choice([1.0, 2.0, 0.0, np.nan], n, p=[0.6, 0.3, 0.05, 0.05]), rng.choice([0.0, 0.0, 1.0, 5.0], n)
    if rng.random() < 0.5:
        (asked, lots, up, down)[int(rng.integers(4))][int(rng.integers(n))] = rng.choice([np.nan, np.inf, -np.inf])
    money = float(rng.choice([1.0, np.nan, np.inf], p=[0.8, 0.1, 0.1]))
    basket = basket_of(px=px, wish=asked, lots=lots, up=up, down=down, cash=money)
    basket.split(barred.data, NOT_FINITE, CROSSING)

    finite = bool(np.isfinite(money))
    size, reducing, reason = np.zeros(n), np.zeros(n), np.zeros(n)
    for k in range(n):
        held = [lots[k], up[k], down[k]]
        finite = finite and bool(np.isfinite(held).all() and (px[k] > 0.0 or not any(held)))
        if not np.isfinite([asked[k], *held]).all():
            reason[k] = NOT_FINITE if asked[k] != 0.0 else 0
            asked[k] = 0.0
        lots_asked, sign = np.floor(abs(asked[k])), np.sign(asked[k])
        if sign == 0.0 or sign * lots[k] >= 0.0:
            size[k] = lots_asked
            continue
        free = np.floor(max(abs(lots[k]) - (down[k] if lots[k] > 0.0 else up[k]), 0.0))
        if lots_asked > free:
            reason[k] = CROSSING
        if barred[k] and abs(asked[k]) >= 1.0:
            reason[k] = barred[k]
        reducing[k] = 0.0 if barred[k] else sign * min(lots_asked, free)
    assert list(basket.wish) == asked.tolist()
    assert list(basket.size) == size.tolist()
    assert list(basket.reduced) == reducing.tolist()
    assert list(basket.reason) == reason.tolist()
    assert basket.finite == finite
    assert (basket.adding, basket.reductions) == (np.count_nonzero(size), np.count_nonzero(reducing))


@pytest.mark.parametrize("most", [np.nan, -1.0, 0.0, 0.9, 1.0, 2.0 - 1e-6, 2.0, 2.0 - SLACK / 4, 2.5, 3.0, np.inf])
def test_a_cap_leaves_the_whole_lots_within_it(most: float) -> None:
    for size in (0.0, 1.0, 2.0, 3.0):
        basket = basket_of(px=np.ones(1), size=np.array([size]), changes=4)
        basket.cap(0, most, 5)
        lots = max([0.0, *(x for x in range(int(size) + 1) if x <= most * (1 + SLACK))])
        assert basket.size[0] == lots
        assert basket.reason[0] == (0 if size == 0.0 or size <= most else 5)
        assert basket.changes == (5 if lots < size else 4)


@pytest.mark.parametrize("settled", [False, True])
def test_a_state_has_the_widest_exposures_the_least_equity_and_the_most_cash_of_all_fills(settled: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _settled_as_by_hand(rng, int(rng.integers(1, 4)), settled)


def _settled_as_by_hand(rng: np.random.Generator, n: int, settled: bool) -> None:
    px, lots = rng.choice([1.0, 2.0, 4.0], n), rng.integers(-3, 4, n) * 1.0
    up, down = (rng.integers(0, 3, n) * 1.0 * (rng.random(n) < 0.6) for _ in range(2))
    back = -np.sign(lots) * rng.integers(0, 3, n)
    paid, covered, fee, reserve, in_flight = rng.choice([0.0, 0.125, 0.25, 0.5], 5).tolist()
    sold, debit = float(rng.choice([0.0, 0.125, 0.5])), float(rng.choice([0.0, 0.5, 2.0, 8.0]))
    cash, equity, up_cash, loss, gain, traded = rng.integers(-8, 32, 6).astype(float).tolist()
    derived = int(rng.integers(2))
    basket = basket_of(
        px=px, lots=lots, up=up, down=down, reduced=back, cash=cash, equity=equity, up_cash=up_cash, open_loss=loss,
        derived=bool(derived), open_gain=gain, traded=traded,
    )  # fmt: skip
    bounds = Bounds()
    bounds.paid, bounds.covered, bounds.fee, bounds.reserve, bounds.in_flight = paid, covered, fee, reserve, in_flight
    bounds.sold, bounds.debit = sold, debit
    state = Standing(basket, settled)
    state.settle(bounds)

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
    if not settled:
        _holds(state, np.concatenate((-least, most)), {
            "equity": equity - loss - turned * covered, "before": equity + gain, "slip": paid, "spent": max(owed),
            "traded": turnover, "wider": 1 + in_flight, "now": equity,
        })  # fmt: skip
        return
    end, fees = (lots + up - down + back) * px, equity - (opened + closed) * fee
    spent = up_cash - cash + reserve * equity + covers * (1 + fee) - (sales + closed) * (1 - fee)
    _holds(state, np.concatenate((-end, end)), {
        "equity": fees - turned * fee, "before": fees, "slip": fee, "spent": spent, "traded": turnover, "wider": 1.0,
        "now": fees,
    })  # fmt: skip


def _holds(state: Standing, wide: np.ndarray, expected: dict[str, float]) -> None:
    """Whether a state has these exposures and numbers, and their sums."""
    n, outer = len(wide) // 2, np.maximum(wide, 0.0)
    assert [*state.low, *state.high] == wide.tolist()
    assert [*state.shorts, *state.longs] == outer.tolist()
    sums = {
        "sum_low": wide[:n].sum(), "sum_high": wide[n:].sum(), "sum_short": outer[:n].sum(), "sum_long": outer[n:].sum()
    }  # fmt: skip
    assert {name: getattr(state, name) for name in expected | sums} == expected | sums
    assert [state.outer(side) for side in range(2 * n)] == outer.tolist()
