"""Levels of protective exits, against plain arithmetic on one position at a time."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.limits import Protective, tightest_exits
from risk.protective import Levels, breaches, entry_prices, guards, levels, touched, trailed

UNIT = np.array([1.0, 0.01])


def made(spec: Protective, lots: list[float], cost: list[float], unit: np.ndarray = UNIT[:1]) -> Levels:
    found = guards([spec])
    assert found is not None
    nothing = np.full((1, len(lots)), np.nan)
    return levels(found, np.array([lots]), np.array([cost]) * 1e6, unit, nothing)


def test_the_entry_price_is_the_average_cost_of_a_unit() -> None:
    lots, cost = np.array([[30.0, 0.0], [-500.0, 20.0]]), np.array([[3000.0, 0.0], [-600.0, 4.0]]) * 1e6
    found = entry_prices(lots, cost, np.array([1.0, 0.01]))
    assert found.tolist()[1] == [pytest.approx(1.2), pytest.approx(20.0)]
    assert found[0, 0] == 100.0
    assert np.isnan(found[0, 1])


def test_what_cost_nothing_that_a_micro_can_tell_has_no_levels() -> None:
    now = made(Protective(stop_loss=0.08, take_profit=0.2), [5.0], [0.0])
    assert not now.held
    assert not touched(now, np.array([1e-7]))


@pytest.mark.parametrize(
    ("lots", "mark", "kind"),
    [
        (10, 92.0, "stop_loss"),
        (10, 92.01, ""),
        (10, 50.0, "stop_loss"),
        (10, 120.0, "take_profit"),
        (10, 119.99, ""),
        (-10, 108.0, "stop_loss"),
        (-10, 107.99, ""),
        (-10, 80.0, "take_profit"),
        (-10, 80.01, ""),
        (0, 1.0, ""),
    ],
)
def test_a_mark_at_its_level_closes_a_position_and_one_short_of_it_does_not(lots: int, mark: float, kind: str) -> None:
    spec = Protective(stop_loss=0.08, take_profit=0.20)
    found, now = guards([spec]), made(spec, [lots], [lots * 100.0])
    assert found is not None
    marks = np.array([mark])
    assert touched(now, marks) == bool(kind)
    assert [b.kind for b in breaches(found, now, marks)] == ([kind] if kind else [])


@given(st.integers(1, 10**6), st.integers(1, 99), st.booleans())
@settings(max_examples=200, deadline=None)
def test_rounding_moves_no_level_of_a_price_in_whole_cents(cents: int, percent: int, long: bool) -> None:
    entry = Fraction(cents, 100)
    exact = entry * (Fraction(100 - percent, 100) if long else Fraction(100 + percent, 100))
    side = 1 if long else -1
    now = made(Protective(stop_loss=percent / 100), [side], [side * cents / 100])
    assert touched(now, np.array([float(exact)]))
    inside = exact + side * Fraction(1, 10**6)
    assert not touched(now, np.array([float(inside)]))


def test_a_mark_that_is_missing_closes_nothing() -> None:
    spec = Protective(stop_loss=0.08, take_profit=0.2)
    now = made(spec, [10.0, 10.0], [1000.0, 10.0], UNIT)
    found = guards([spec])
    assert found is not None
    assert not touched(now, np.array([np.nan, 100.0]))
    assert [(b.book, b.symbol) for b in breaches(found, now, np.array([np.nan, 50.0]))] == [(0, 1)]


def test_a_trailing_stop_follows_the_best_mark_since_entry_and_never_goes_back() -> None:
    spec = Protective(stop_loss=0.1, trailing=True)
    found = guards([spec])
    assert found is not None
    now = made(spec, [10.0, -1000.0], [1000.0, -1000.0], UNIT)
    assert now.stop.tolist() == [[90.0, 110.0]]
    for up, down, stop, cover in [(120.0, 80.0, 108.0, 88.0), (110.0, 87.0, 108.0, 88.0), (121.0, 87.0, 108.9, 88.0)]:
        now = trailed(found, now, np.array([up, down]))
        assert now.stop.tolist() == [[stop, cover]]
        assert not touched(now, np.array([up, down]))
    assert trailed(found, now, np.array([np.nan, 86.0])) is now
    kinds = [(b.symbol, b.kind, b.level) for b in breaches(found, now, np.array([108.9, 88.0]))]
    assert kinds == [(0, "trailing_stop", 108.9), (1, "trailing_stop", 88.0)]


def test_a_best_price_is_kept_while_the_position_stays_on_its_side_and_no_longer() -> None:
    spec = Protective(stop_loss=0.1, trailing=True)
    found = guards([spec])
    assert found is not None
    best = np.array([[150.0]])
    entry = np.array([[1e9]])
    assert levels(found, np.array([[10.0]]), entry, UNIT[:1], best).best.tolist() == [[150.0]]
    assert levels(found, np.array([[-10.0]]), -entry, UNIT[:1], best).best.tolist() == [[-100.0]]
    assert np.isnan(levels(found, np.array([[0.0]]), 0 * entry, UNIT[:1], best).best).all()


def test_one_glance_over_all_books_sees_what_a_look_at_each_sees() -> None:
    rng = np.random.default_rng(3)
    sets = [
        Protective(stop_loss=0.05, trailing=True),
        None,
        Protective(take_profit=0.1),
        Protective(stop_loss=0.1, take_profit=0.05),
    ]
    found = guards(sets)
    assert found is not None
    seen = 0
    for _ in range(300):
        lots = rng.integers(-2, 3, (4, 3)).astype(np.float64)
        entry = rng.uniform(95, 105, (4, 3))
        now = levels(found, lots, lots * entry * 1e6, np.ones(3), np.full((4, 3), np.nan))
        marks = np.where(rng.random(3) < 0.1, np.nan, rng.uniform(93, 108, 3))
        each = breaches(found, now, marks)
        assert touched(now, marks) == bool(each)
        assert all(b.book != 1 for b in each)
        seen += bool(each)
    assert 50 < seen < 300


def test_without_a_level_there_is_nothing_to_guard() -> None:
    assert guards([None, Protective()]) is None
    assert guards([None, Protective(trailing=True)]) is None


def test_the_tightest_of_two_sets_closes_when_either_does() -> None:
    a, b = Protective(stop_loss=0.1, cooldown=2), Protective(take_profit=0.2, trailing=True)
    assert tightest_exits(a, None) == a
    assert tightest_exits(None, None) is None
    assert tightest_exits(a, b) == Protective(stop_loss=0.1, take_profit=0.2, trailing=True, cooldown=5)
