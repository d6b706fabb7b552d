"""When a rebalance is due and how far it goes, as arrays."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from quantd.strategies.weights.rebalancing_rules import (
    PERIODS,
    covariance_of,
    limited,
    net_cost,
    worth_trading,
)
from tests.support.examples import examples


def day(text):
    return int(np.datetime64(text, "D").astype(int))


def world(seed, size, short=False):
    """(target, held, risk, cost): long-only books, or books with shorts, and a covariance that may be singular."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(0.0, 0.01, (int(draw.integers(3, 200)), size)) + draw.normal(0.0, 0.01, (1, 1))
    books = draw.dirichlet(np.ones(size), 2) * draw.uniform(0.3, 1.0, (2, 1))
    if short:
        books = books * draw.choice([-1.0, 1.0], (2, size))
    return books[0], books[1], covariance_of(rows) * draw.uniform(1.0, 500.0), draw.uniform(0.0, 0.003, size)


WORLDS = {"seed": st.integers(0, 10**6), "size": st.integers(1, 8), "short": st.booleans()}


@settings(max_examples=examples(300), deadline=None)
@given(**WORLDS, fixed=st.sampled_from([0.0, 1e-6, 1e-4]))
@example(seed=79, size=2, short=True, fixed=0.0)  # the full rebalance is better than what the cut of the gross leaves
def test_utility_net_of_cost_is_never_worse_than_holding_or_than_going_all_the_way(seed, size, short, fixed):
    target, held, risk, cost = world(seed, size, short)
    weights = worth_trading(target, held, risk, cost, fixed)
    now = net_cost(weights, target, held, risk, cost, fixed)
    assert now <= net_cost(held, target, held, risk, cost, fixed) + 1e-12
    if fixed == 0.0:
        assert now <= net_cost(target, target, held, risk, cost) + 1e-9


@settings(max_examples=examples(200), deadline=None)
@given(**WORLDS)
def test_every_weight_is_between_held_and_target_and_no_cash_is_borrowed(seed, size, short):
    target, held, risk, cost = world(seed, size, short)
    weights = worth_trading(target, held, risk, cost)
    assert (weights >= np.minimum(held, target) - 1e-12).all()
    assert (weights <= np.maximum(held, target) + 1e-12).all()
    assert np.abs(weights).sum() <= max(np.abs(held).sum(), np.abs(target).sum()) + 1e-9
    if not short:  # with shorts the gross comes first
        assert weights.sum() <= max(held.sum(), target.sum()) + 1e-9
        # nor is cash left over that a full rebalance would not leave; a fit to rounding
        assert weights.sum() >= min(held.sum(), target.sum()) - 1e-7


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 6))
def test_it_is_the_optimum_that_a_general_solver_finds(seed, size):
    target, held, risk, cost = world(seed, size)
    weights = worth_trading(target, held, risk, cost)
    side, scale = np.sign(target - held), 1e4
    box = list(zip(np.minimum(held, target), np.maximum(held, target), strict=True))
    best = min(
        (
            minimize(
                lambda w: scale * (0.5 * (w - target) @ risk @ (w - target) + cost @ (side * (w - held))),
                start, jac=lambda w: scale * (risk @ (w - target) + cost * side), bounds=box, method="SLSQP",
                constraints=[
                    {"type": "ineq", "fun": lambda w: max(held.sum(), target.sum()) - w.sum()},
                    {"type": "ineq", "fun": lambda w: w.sum() - min(held.sum(), target.sum())},
                ],
                options={"maxiter": 500, "ftol": 1e-14},
            )
            for start in (held, target)
        ),
        key=lambda solution: solution.fun,
    )  # fmt: skip
    assert net_cost(weights, target, held, risk, cost) <= best.fun / scale + 1e-9


@pytest.mark.requirement("R-131")
def test_a_trade_that_does_not_earn_its_fixed_cost_is_not_made():
    risk, cost = np.eye(2) * 0.02, np.zeros(2)
    target, held = np.array([0.5, 0.32]), np.array([0.1, 0.3])
    gains = 0.5 * 0.02 * (target - held) ** 2
    weights = worth_trading(target, held, risk, cost, fixed=float(gains[1]) * 1.01)
    np.testing.assert_allclose(weights, [0.5, 0.3])
    np.testing.assert_allclose(worth_trading(target, held, risk, cost, fixed=float(gains[1]) * 0.99), target)


RULES = {
    "band": st.floats(0, 0.1), "max_change": st.floats(0.01, 1), "max_trades": st.integers(1, 8),
    "max_turnover": st.floats(0.01, 2), "least": st.floats(0, 0.05),
}  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 8), rules=st.fixed_dictionaries(RULES))
def test_a_limited_trade_keeps_every_limit_stays_long_only_and_borrows_nothing(seed, size, rules):
    target, held, _, _ = world(seed, size)
    weights = limited(target, held, **rules)
    change = np.abs(weights - held)
    assert (weights >= np.minimum(held, target) - 1e-12).all()
    assert (weights <= np.maximum(held, target) + 1e-12).all()
    assert change.max() <= rules["max_change"] + 1e-12
    assert (change > 1e-15).sum() <= rules["max_trades"]
    assert change.sum() <= rules["max_turnover"] + 1e-9
    assert weights.sum() <= max(held.sum(), target.sum()) + 1e-12
    small = np.abs(target - held) <= rules["band"]
    np.testing.assert_array_equal(weights[small], held[small])


OFF = {"band": 0.0, "max_change": 1.0, "max_trades": 99, "max_turnover": 9.0, "least": 0.0}


@pytest.mark.requirement("R-132")
def test_at_most_so_many_trades_the_largest_first():
    weights = limited(np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.3, 0.25]), **{**OFF, "max_trades": 2})
    np.testing.assert_allclose(weights, [0.1, 0.2, 0.25])


@pytest.mark.requirement("R-132")
def test_no_weight_changes_by_more_than_a_fifth():
    weights = limited(np.array([0.0, 0.9]), np.array([0.9, 0.0]), **{**OFF, "max_change": 0.2})
    np.testing.assert_allclose(weights, [0.7, 0.2])


@pytest.mark.requirement("R-132")
def test_a_change_below_the_least_is_not_made_but_a_holding_is_closed():
    weights = limited(np.array([0.305, 0.0, 0.3]), np.array([0.3, 0.005, 0.2]), **{**OFF, "least": 0.01, "band": 0.01})
    np.testing.assert_allclose(weights, [0.3, 0.0, 0.3])


@pytest.mark.requirement("R-128")
@pytest.mark.parametrize(
    ("every", "same", "new"),
    [
        ("day", ("2020-01-02", "2020-01-02"), ("2020-01-02", "2020-01-03")),
        # weeks begin with Friday's session
        ("week", ("2020-01-03", "2020-01-09"), ("2020-01-09", "2020-01-10")),
        ("two_weeks", ("2020-01-03", "2020-01-09"), ("2020-01-03", "2020-01-17")),
        ("month", ("2020-01-31", "2020-01-02"), ("2020-01-31", "2020-02-03")),
        ("month", ("2020-01-31", "2020-01-02"), ("2020-01-31", "2021-01-29")),
        ("quarter", ("2020-01-02", "2020-03-31"), ("2020-03-31", "2020-04-01")),
        ("half_year", ("2020-01-02", "2020-06-30"), ("2020-06-30", "2020-07-01")),
        ("year", ("2020-01-02", "2020-12-31"), ("2020-12-31", "2021-01-04")),
    ],
)
def test_a_period_ends_where_a_calendar_says(every, same, new):
    period = PERIODS[every]
    assert period(day(same[0])) == period(day(same[1]))
    assert period(day(new[0])) != period(day(new[1]))


def test_a_week_whose_friday_is_a_holiday_begins_with_the_next_session():
    # Good Friday, 2020-04-10
    assert PERIODS["week"](day("2020-04-09")) != PERIODS["week"](day("2020-04-13"))
