"""The states of a book at the gate, beside a search of all fills and plain sums, in exact numbers."""

import numpy as np
import pytest

from quantd.risk.limits.case import SLACK
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
