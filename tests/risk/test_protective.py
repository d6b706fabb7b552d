"""Levels of protective exits, against plain arithmetic on one position at a time."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits.catalogue import Protective
from quantd.risk.protective import Breach, Levels, breaches, entry_prices, guards, levels, touched, trailed
from tests.support.examples import examples

UNIT = np.array([1.0, 0.01])


def made(spec: Protective, lots: list[float], cost: list[float], unit: np.ndarray = UNIT[:1]) -> Levels:
    settings = guards([spec])
    assert settings is not None
    nothing = np.full((1, len(lots)), np.nan)
    return levels(settings, np.array([lots]), np.array([cost]) * 1e6, unit, nothing)


def test_the_entry_price_is_the_average_cost_of_a_unit() -> None:
    lots, cost = np.array([[30.0, 0.0], [-500.0, 20.0]]), np.array([[3000.0, 0.0], [-600.0, 4.0]]) * 1e6
    prices = entry_prices(lots, cost, np.array([1.0, 0.01]))
    assert prices.tolist()[1] == [pytest.approx(1.2), pytest.approx(20.0)]
    assert prices[0, 0] == 100.0
    assert np.isnan(prices[0, 1])


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
    settings, now = guards([spec]), made(spec, [lots], [lots * 100.0])
    assert settings is not None
    marks = np.array([mark])
    assert touched(now, marks) == bool(kind)
    assert [b.kind for b in breaches(settings, now, marks)] == ([kind] if kind else [])


@given(st.integers(1, 10**6), st.integers(1, 99), st.booleans())
@settings(max_examples=examples(200), deadline=None)
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
    settings = guards([spec])
    assert settings is not None
    assert not touched(now, np.array([np.nan, 100.0]))
    assert [(b.book, b.symbol) for b in breaches(settings, now, np.array([np.nan, 50.0]))] == [(0, 1)]


def test_a_trailing_stop_follows_the_best_mark_since_entry_and_never_goes_back() -> None:
    spec = Protective(stop_loss=0.1, trailing=True)
    settings = guards([spec])
    assert settings is not None
    now = made(spec, [10.0, -1000.0], [1000.0, -1000.0], UNIT)
    assert now.stop.tolist() == [[90.0, 110.0]]
    for up, down, stop, cover in [(120.0, 80.0, 108.0, 88.0), (110.0, 87.0, 108.0, 88.0), (121.0, 87.0, 108.9, 88.0)]:
        now = trailed(settings, now, np.array([up, down]))
        assert now.stop.tolist() == [[stop, cover]]
        assert not touched(now, np.array([up, down]))
    assert trailed(settings, now, np.array([np.nan, 86.0])) is now
    kinds = [(b.symbol, b.kind, b.level) for b in breaches(settings, now, np.array([108.9, 88.0]))]
    assert kinds == [(0, "trailing_stop", 108.9), (1, "trailing_stop", 88.0)]


def test_a_best_price_is_kept_while_the_position_stays_on_its_side_and_no_longer() -> None:
    spec = Protective(stop_loss=0.1, trailing=True)
    settings = guards([spec])
    assert settings is not None
    best = np.array([[150.0]])
    entry = np.array([[1e9]])
    assert levels(settings, np.array([[10.0]]), entry, UNIT[:1], best).best.tolist() == [[150.0]]
    assert levels(settings, np.array([[-10.0]]), -entry, UNIT[:1], best).best.tolist() == [[-100.0]]
    assert np.isnan(levels(settings, np.array([[0.0]]), 0 * entry, UNIT[:1], best).best).all()


def test_without_a_level_there_is_nothing_to_guard() -> None:
    assert guards([None, Protective()]) is None
    assert guards([None, Protective(trailing=True)]) is None


@pytest.mark.parametrize(
    ("spec", "lots", "best", "mark", "breach"),
    [
        (Protective(stop_loss=0.08), 10, None, 90.0, ("stop_loss", 92.0, 0.10, 0.08)),
        (Protective(stop_loss=0.08), -10, None, 110.0, ("stop_loss", 108.0, 0.10, 0.08)),
        (Protective(take_profit=0.2), 10, None, 125.0, ("take_profit", 120.0, 0.25, 0.2)),
        (Protective(take_profit=0.2), -10, None, 75.0, ("take_profit", 80.0, 0.25, 0.2)),
        (Protective(stop_loss=0.1, trailing=True), 10, 200.0, 150.0, ("trailing_stop", 180.0, 0.25, 0.1)),
        (Protective(stop_loss=0.1, trailing=True), -10, -80.0, 100.0, ("trailing_stop", 88.0, 0.25, 0.1)),
        # a stop that trails but has not moved yet is the plain one
        (Protective(stop_loss=0.1, trailing=True), 10, None, 80.0, ("stop_loss", 90.0, 0.20, 0.1)),
        (Protective(stop_loss=0.1, trailing=True), 10, 100.0, 80.0, ("stop_loss", 90.0, 0.20, 0.1)),
    ],
)
def test_a_breach_says_how_far_the_mark_moved_and_how_far_it_might_have(
    spec: Protective, lots: int, best: float | None, mark: float, breach: tuple[str, float, float, float]
) -> None:
    settings = guards([spec])
    assert settings is not None
    before = np.array([[np.nan if best is None else best]])
    now = levels(settings, np.array([[float(lots)]]), np.array([[lots * 100.0 * 1e6]]), UNIT[:1], before)
    kind, level, moved, bound = breach
    expected = Breach(0, 0, kind, 100.0, mark, level, pytest.approx(moved), bound)  # type: ignore[arg-type]
    assert breaches(settings, now, np.array([mark])) == [expected]


def test_whose_stops_rest_at_the_venue_is_said_book_by_book() -> None:
    sets = [Protective(stop_loss=0.1, at_venue=True), None, Protective(at_venue=True), Protective(stop_loss=0.1)]
    settings = guards(sets)
    assert settings is not None
    assert settings.rests == (True, False, True, False)


def own(stop: float, target: float) -> tuple[np.ndarray, np.ndarray]:
    """Levels that one position of two has from people."""
    return np.array([[stop, np.nan]]), np.array([[target, np.nan]])


def test_levels_of_its_own_take_the_place_of_the_sets_whatever_trails() -> None:
    settings = guards([Protective(stop_loss=0.1, take_profit=0.2, trailing=True)])
    assert settings is not None
    lots, cost, nothing = np.array([[10.0, 10.0]]), np.array([[1000.0, 1000.0]]) * 1e6, np.full((1, 2), np.nan)
    unit = np.ones(2)
    now = levels(settings, lots, cost, unit, nothing, own(97.0, 104.0))
    assert now.stop.tolist() == [[97.0, 90.0]]
    assert now.target.tolist() == [[104.0, 120.0]]
    later = trailed(settings, now, np.array([103.0, 110.0]))
    assert later.stop.tolist() == [[97.0, 99.0]]
    (stopped,) = breaches(settings, later, np.array([96.0, 110.0]))
    assert (stopped.kind, stopped.entry, stopped.level) == ("stop_loss", 100.0, 97.0)
    assert (stopped.moved, stopped.bound) == (pytest.approx(0.04), pytest.approx(0.03))
    (hit,) = breaches(settings, later, np.array([105.0, 110.0]))
    assert (hit.kind, hit.moved, hit.bound) == ("take_profit", pytest.approx(0.05), pytest.approx(0.04))
    half = levels(settings, lots, cost, unit, nothing, own(np.nan, 104.0))
    assert half.stop.tolist() == [[90.0, 90.0]]


def test_levels_of_its_own_are_those_of_a_position_and_of_a_short_one_on_the_other_side() -> None:
    settings = guards([None], always=True)
    assert settings is not None
    nothing = np.full((1, 2), np.nan)
    flat = levels(settings, np.zeros((1, 2)), np.zeros((1, 2)), np.ones(2), nothing, own(97.0, 104.0))
    assert not flat.held
    short = levels(
        settings, np.array([[-10.0, 0.0]]), np.array([[-1000.0, 0.0]]) * 1e6, np.ones(2), nothing, own(103.0, 96.0)
    )
    assert [b.kind for b in breaches(settings, short, np.array([103.0, 1.0]))] == ["stop_loss"]
    (hit,) = breaches(settings, short, np.array([95.0, 1.0]))
    assert (hit.kind, hit.bound) == ("take_profit", pytest.approx(0.04))
