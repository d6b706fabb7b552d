"""Sizing around a policy, over a walked market."""

import numpy as np
import pytest

from quantd.daemon.policies.loading import probe
from quantd.strategies.policies.sizing import RegimeExposure, Sized, SizingRules
from quantd.trading.view import Hold, Noted
from tests.support.policies import made, market, prices_of, view_of, walk, weights_in

EVEN = made("equal_weight", {})
SKEWED = made("fixed_mix", {"weights": {"A": 0.6, "B": 0.2}})


def last(rules, prices, policy=EVEN, **how):
    *_, (_, said, held) = walk(Sized(policy, rules), prices, **how)
    return weights_in(said), held


def season(mean, deviation, rows=90, size=2, seed=1):
    noise = np.random.default_rng(seed).normal(size=(rows, 1))
    noise = (noise - noise.mean()) / noise.std()
    return prices_of(np.tile(mean + deviation * noise, (1, size)))


@pytest.mark.requirement("R-120")
@pytest.mark.parametrize(
    ("regime", "prices", "expected"),
    [
        ("bull", season(0.002, 0.004), [0.72, 0.24]),
        ("bear", season(-0.002, 0.004), [0.18, 0.06]),
        # half of the way to equal parts, at a half
        ("volatile", season(0.0, 0.04), [0.25, 0.15]),
    ],
)
def test_exposure_goes_up_in_a_bull_market_down_in_a_bear_and_out_in_a_volatile_one(regime, prices, expected):
    rules = SizingRules(regime=RegimeExposure(bull=1.2, bear=0.3, volatile=0.5, spread=0.5))
    policy = Sized(SKEWED, rules)
    *_, (_, said, _) = walk(policy, prices)
    np.testing.assert_allclose(weights_in(said), expected)
    assert said.note.startswith(f"{regime} since 2020-")


def test_a_volatility_target_sizes_what_the_policy_wants():
    prices = market(2, 3, 120)
    weights, _ = last(SizingRules(volatility_target=0.05), prices)
    returns = prices[-63:] / prices[-64:-1] - 1.0
    assert (returns @ weights).std(ddof=1) * 252**0.5 == pytest.approx(0.05)


def test_sizing_up_ends_at_the_gross_that_is_allowed():
    prices = season(0.0002, 0.0005)
    np.testing.assert_allclose(last(SizingRules(volatility_target=0.5), prices)[0], 0.5)
    np.testing.assert_allclose(last(SizingRules(volatility_target=0.5, max_gross=1.4), prices)[0], 0.7)


def test_kelly_without_an_edge_is_cash_and_with_one_is_its_fraction():
    losing, winning = season(-0.001, 0.01, rows=300), season(0.0002, 0.01, rows=300)
    for method in ("moments", "bets"):
        assert not last(SizingRules(kelly=0.5, kelly_method=method), losing)[0].any()
    rules = SizingRules(kelly=0.25, risk_free=0.0, kelly_lookback=252)
    returns = (winning[-252:] / winning[-253:-1] - 1.0) @ np.full(2, 0.5)
    expected = 0.25 * returns.mean() / returns.var(ddof=1)
    assert 0 < expected < 1
    assert last(rules, winning)[0].sum() == pytest.approx(expected)


def test_budgets_of_risk_size_each_symbol_the_policy_holds():
    prices = market(4, 3, 200)
    weights, _ = last(SizingRules(risk_budget=(("A", 0.02), ("C", 0.03)), max_gross=9.0), prices)
    assert weights[1] == 0.0
    centred = prices[-126:] / prices[-127:-1] - 1.0
    covariance = np.cov(centred.T)
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance))
    risk = (weights @ covariance @ weights * 252) ** 0.5
    np.testing.assert_allclose(weights * (covariance @ weights) * 252 / risk, [0.02, 0.0, 0.03], atol=1e-6)


def test_a_risk_budget_buys_nothing_of_a_price_that_stands_still() -> None:
    prices = market(4, 3, 200)
    prices[-30:, 1] = prices[-31, 1]
    weights, _ = last(SizingRules(risk_budget=(("A", 0.02), ("B", 0.02), ("C", 0.03)), max_gross=9.0), prices)
    assert weights[1] == 0.0 < weights[0]


def test_a_budget_for_what_is_not_traded_fails_by_name():
    *_, (_, said, _) = walk(Sized(EVEN, SizingRules(risk_budget=(("SPX", 0.02),))), market(4, 2, 20))
    assert "risk_budget names 'SPX', which is not traded" in said.failed


@pytest.mark.requirement("R-121")
def test_falling_prices_are_not_bought_and_what_is_held_stays():
    falls = prices_of(np.tile([0.002, -0.002], (60, 1)))
    rules = SizingRules(momentum_filter=20)
    weights, _ = last(rules, falls)
    np.testing.assert_allclose(weights, [0.5, 0.0])
    weights, held = last(rules, falls, book=np.array([0.2, 0.3]))
    np.testing.assert_allclose(weights, [0.5, held[1]])


def test_a_policy_that_holds_is_not_sized():
    rules = SizingRules(volatility_target=0.05, regime=RegimeExposure())
    policy = Sized(made("hold", {}), rules)
    given, memory = policy.act(view_of(market(1, 2, 90), policy.lookback), {})
    assert isinstance(given, Noted)
    assert isinstance(given.weights, Hold)
    assert "regime/since" in memory


ALL = SizingRules(
    regime=RegimeExposure(), risk_budget=(("A", 0.05), ("B", 0.05), ("C", 0.05)), kelly=0.5, volatility_target=0.12,
    momentum_filter=20,
)  # fmt: skip


def test_all_at_once_it_stays_long_only_unlevered_steady_and_by_name():
    prices = market(8, 3, 300) * 1.001 ** np.arange(300)[:, None]
    policy = Sized(EVEN, ALL)
    assert policy.lookback == 252
    walked = [(row, said) for row, said, _ in walk(policy, prices, every=9)]
    assert walked == [(row, said) for row, said, _ in walk(Sized(EVEN, ALL), prices, every=9)]
    for _, said in walked:
        weights = weights_in(said)
        assert (weights >= 0.0).all()
        assert weights.sum() <= 1.0 + 1e-12
    assert probe(policy, view_of(prices, policy.lookback)) == ""
    order = [2, 0, 1]
    straight, _ = policy.act(view_of(prices, policy.lookback), {})
    turned, _ = policy.act(view_of(prices[:, order], policy.lookback, order=order), {})
    assert straight.weights.any()
    np.testing.assert_allclose(turned.weights, straight.weights[order], rtol=1e-6)


def test_an_empty_history_is_no_failure():
    (_, said, _), *_ = walk(Sized(EVEN, ALL), market(1, 3, 3))
    assert np.isfinite(weights_in(said)).all()
