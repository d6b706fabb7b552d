"""Combining rules as arrays: what they owe whatever the votes, and each against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantd.strategies.weights.combination import agreed_of, drifted, mean_of, median_of, performance_shares
from tests.support.examples import examples


def books(members: int, size: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    raw = draw.uniform(0, 1, (members, size)) * draw.integers(0, 2, (members, size))
    return raw / np.maximum(raw.sum(axis=1, keepdims=True), 1.0)


@settings(max_examples=examples(200), deadline=None)
@given(members=st.integers(1, 7), size=st.integers(1, 6), seed=st.integers(0, 10**6), quorum=st.floats(0.1, 1.0))
def test_long_only_books_combine_to_a_long_only_book_that_borrows_nothing(members, size, seed, quorum):
    votes, held = books(members, size, seed), books(1, size, seed + 1)[0]
    for weights in (mean_of(votes), median_of(votes), agreed_of(votes, held, quorum, 0.01)):
        assert np.isfinite(weights).all()
        assert (weights >= 0.0).all()
        assert weights.sum() <= 1.0 + 1e-12


@pytest.mark.requirement("R-079")
def test_what_one_member_wants_alone_is_not_traded_and_what_most_want_is():
    held = np.array([0.5, 0.2, 0.0])
    votes = np.array([[0.2, 0.2, 0.3], [0.3, 0.2, 0.0], [0.5, 0.6, 0.1]])
    # two of three would sell the first to 0.25, one would buy the second, two would buy the third
    np.testing.assert_allclose(agreed_of(votes, held, 0.6, 0.01), [0.25, 0.2, 0.2])
    np.testing.assert_allclose(agreed_of(votes, held, 1.0, 0.01), held)


def test_a_quorum_of_a_half_met_both_ways_changes_nothing():
    np.testing.assert_array_equal(agreed_of(np.array([[0.1], [0.9]]), np.array([0.5]), 0.5, 0.01), [0.5])


def test_purchases_are_cut_evenly_where_kept_and_bought_come_to_more_than_anybody_wanted():
    held = np.array([0.6, 0.0, 0.4])
    votes = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0]])
    weights = agreed_of(votes, held, 0.6, 0.01)
    assert weights.sum() <= 1.0 + 1e-12
    np.testing.assert_allclose(weights, [0.6, 0.4, 0.0])


def test_medians_that_add_up_to_more_than_the_grossest_member_are_scaled():
    votes = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(median_of(votes), 1 / 3)


@given(
    weights=arrays(float, (2, 3), elements=st.floats(0, 0.33)),
    returns=arrays(float, (5, 3), elements=st.floats(-0.3, 0.3)),
)
def test_what_a_drifting_book_earns_is_what_its_lots_and_cash_earn(weights, returns):
    earned, after = drifted(weights, returns)
    lots = weights * np.cumprod(1.0 + returns, axis=0)[-1]
    wealth = lots.sum(axis=1) + 1.0 - weights.sum(axis=1)
    np.testing.assert_allclose(np.prod(1.0 + earned, axis=0), wealth)
    np.testing.assert_allclose(after, lots / wealth[:, None], atol=1e-12)


def test_a_price_that_is_missing_moves_no_book():
    earned, after = drifted(np.array([[0.5, 0.5]]), np.array([[np.nan, 0.1]]))
    np.testing.assert_allclose(earned, [[0.05]])
    np.testing.assert_allclose(after, [[0.5 / 1.05, 0.55 / 1.05]])


@settings(max_examples=examples(200))
@given(
    earned=arrays(float, st.tuples(st.integers(0, 30), st.integers(1, 5)), elements=st.floats(-0.1, 0.1)),
    measure=st.sampled_from(["return", "sharpe"]),
    shrink=st.floats(0, 1),
)
def test_shares_of_performance_sum_to_one_and_are_never_negative(earned, measure, shrink):
    shares = performance_shares(earned, measure, shrink, 30)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= 0.0).all()


def test_who_earned_more_weighs_more_and_shrinkage_takes_it_back():
    draw = np.random.default_rng(1).normal(0, 0.01, (60, 1))
    earned = np.hstack([draw + 0.004, draw + 0.001, draw - 0.02])
    full = performance_shares(earned, "return", 0.0, 60)
    mean = np.maximum(earned.mean(axis=0), 0.0)
    np.testing.assert_allclose(full, mean / mean.sum())
    assert full[2] == 0.0
    np.testing.assert_allclose(performance_shares(earned, "return", 1.0, 60), 1 / 3)
    half = performance_shares(earned, "return", 0.5, 60)
    np.testing.assert_allclose(half, (full + 1 / 3) / 2)
    # a record of half the window is trusted half as far
    young = performance_shares(earned, "return", 0.5, 120)
    np.testing.assert_allclose(young, 0.25 * full + 0.75 / 3)


def test_where_nobody_earned_anything_all_are_equal():
    np.testing.assert_allclose(performance_shares(np.full((9, 3), -0.01), "return", 0.0, 9), 1 / 3)
