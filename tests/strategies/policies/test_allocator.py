"""Allocating policies in every weather: what they owe when the market gives them nothing sensible to work with, what
their parameters do, and what they say when they cannot do what they were asked."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantd.strategies.allocators.mean_variance import annual_volatility
from quantd.strategies.policies import POLICIES, ParamsError
from quantd.strategies.policies.allocator import Allocator
from quantd.strategies.weights.rebalancing_rules import risk_shares
from quantd.trading.covariance import covariance
from quantd.trading.view import Hold, Noted
from tests.strategies.policies.policy_views import LOOKBACK, market, view_of
from tests.support.examples import examples

ALLOCATORS = sorted(
    name for name in POLICIES if name not in ("fixed_mix", "signals") and isinstance(POLICIES[name]({}), Allocator)
)
WHOLE = [name for name in ALLOCATORS if name not in ("merton", "kelly")]
Floats = NDArray[np.float64]


def asked(
    name: str, params: Mapping[str, object], prices: Floats, symbols: str = "ABCDEFGHIJKL", held: Floats | None = None
) -> tuple[Floats | Hold, str, bool]:
    policy = POLICIES[name]({"lookback": LOOKBACK, **params})
    given, memory = policy.act(view_of(prices, symbols[: prices.shape[1]], held), {})
    assert memory == {}
    return (given.weights, given.note, given.warns) if isinstance(given, Noted) else (given, "", False)


def weights_of(name: str, params: Mapping[str, object], prices: Floats, held: Floats | None = None) -> Floats:
    weights, _, _ = asked(name, params, prices, held=held)
    assert not isinstance(weights, Hold)
    return weights


@st.composite
def nasty(draw: st.DrawFn) -> Floats:
    """Prices of a market with young, dead, doubled, hedged, wild and all but constant instruments."""
    size = draw(st.integers(1, 9))
    prices = market(draw(st.integers(0, 10_000)), size, LOOKBACK + 1)
    moves = prices[1:] / prices[:-1] - 1.0
    for column in range(size):
        match draw(
            st.sampled_from(["plain"] * 4 + ["young", "dead", "double", "hedge", "wild", "calm", "falling", "jump"])
        ):
            case "young":
                moves[: draw(st.integers(1, LOOKBACK)), column] = np.nan
            case "dead":
                moves[:, column] = 0.0
            case "double":
                moves[:, column] = moves[:, 0]
            case "hedge":
                moves[:, column] = -moves[:, 0]
            case "wild":
                moves[:, column] *= 30.0
                moves[:, column] = np.clip(moves[:, column], -0.99, 50.0)
            case "calm":
                moves[:, column] *= 1e-7
            case "falling":
                moves[:, column] = -0.02 - np.abs(moves[:, column])
            case "jump":
                moves[:, column] = 0.0
                moves[draw(st.integers(0, LOOKBACK - 1)), column] = draw(st.sampled_from([-0.999, 1e-6, 1e3]))
    path = np.concatenate((np.ones((1, size)), np.cumprod(1.0 + np.nan_to_num(moves), axis=0))) * 100.0
    path[:-1][np.isnan(moves)] = np.nan
    return path


@pytest.mark.long
@pytest.mark.parametrize("name", ALLOCATORS)
@settings(max_examples=examples(60), deadline=None)
@given(
    prices=nasty(),
    kind=st.sampled_from(["sample", "ledoit_wolf", "ewma", "denoised"]),
    invested=st.sampled_from([1.0, 0.7]),
    target=st.sampled_from([0.0, 0.1]),
    low=st.sampled_from([0.0, 0.01, 0.3]),
    high=st.sampled_from([1.0, 0.4, 0.3]),
)
def test_whatever_the_market_the_answer_is_weights_within_the_bounds_and_the_same_when_asked_again(
    name: str, prices: Floats, kind: str, invested: float, target: float, low: float, high: float
) -> None:
    params: dict[str, object] = {
        "covariance": kind, "invested": invested, "volatility_target": target, "max_weight": high,
        **({"min_weight": min(low, high)} if name in WHOLE else {}),
    }  # fmt: skip
    weights, note, warns = asked(name, params, prices)
    again = asked(name, params, prices)
    assert again[1:] == (note, warns)
    # no figure that moves from day to day
    assert not re.search(r"\d", re.sub(rf" and \d+ more|not {LOOKBACK} |has {LOOKBACK} ", "", note))
    if isinstance(weights, Hold):
        assert isinstance(again[0], Hold)
        assert warns
        return
    assert weights.tobytes() == again[0].tobytes()  # type: ignore[union-attr]
    assert np.isfinite(weights).all()
    assert (weights >= 0.0).all()
    assert weights.sum() <= invested + 1e-6
    if "min_weight is too large" not in note and "equal weight in its place" not in note:
        assert weights.max() <= high + 1e-6
    returns = prices[1:] / prices[:-1] - 1.0
    still = ~(np.nan_to_num(returns).std(axis=0) > 0.0) | np.isnan(returns).any(axis=0)
    assert not weights[still].any()
    if name in WHOLE and not still.all() and not target and not note:
        assert weights.sum() == pytest.approx(invested)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_plain_market_is_answered_without_a_word(name: str) -> None:
    prices = 100.0 * np.cumprod(1.0005 + np.diff(np.log(market(1, 6)), axis=0), axis=0)
    _, note, _ = asked(name, {}, prices)
    assert note == ""


@pytest.mark.requirement("R-113")
@pytest.mark.parametrize("name", WHOLE)
def test_weights_between_one_and_forty_percent_are_between_them(name: str) -> None:
    for seed in range(5):
        weights, note, _ = asked(name, {"min_weight": 0.01, "max_weight": 0.4}, market(seed, 8))
        assert not isinstance(weights, Hold)
        assert "bounds" not in note
        assert weights.min() >= 0.01 - 1e-9
        assert weights.max() <= 0.4 + 1e-9
        assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", WHOLE)
def test_bounds_that_no_portfolio_meets_are_said_and_the_cap_holds(name: str) -> None:
    weights, note, warns = asked(name, {"max_weight": 0.2}, market(1, 3))
    np.testing.assert_allclose(weights, 0.2)  # type: ignore[arg-type]
    assert warns
    assert note == "max_weight is too small for so few instruments; the rest is cash"
    weights, note, warns = asked(name, {"min_weight": 0.4}, market(1, 3))
    np.testing.assert_allclose(weights, 1.0 / 3.0)  # type: ignore[arg-type]
    assert warns
    assert note == "min_weight is too large for so many instruments; equal weight in its place"


def falling(size: int) -> Floats:
    return 100.0 * np.cumprod(0.999 + 0.2 * np.diff(np.log(market(2, size)), axis=0), axis=0)


def test_where_nothing_beats_cash_minimum_variance_stands_in_for_maximum_sharpe_and_says_so() -> None:
    weights, note, warns = asked("max_sharpe", {}, falling(4))
    np.testing.assert_array_equal(weights, weights_of("min_variance", {}, falling(4)))  # type: ignore[arg-type]
    assert note == (
        "maximum Sharpe ratio: no instrument is expected to earn more than the risk-free rate; "
        "minimum variance in its place"
    )
    assert warns


@pytest.mark.parametrize("name", ["merton", "kelly"])
def test_where_nothing_beats_cash_all_is_cash(name: str) -> None:
    weights, note, _ = asked(name, {}, falling(4))
    assert not weights.any()  # type: ignore[union-attr]
    assert note == ""


def test_a_sample_covariance_of_too_few_samples_is_replaced_and_said() -> None:
    prices = market(1, 12, LOOKBACK + 1)
    short = {"covariance": "sample", "lookback": 10}
    weights, note, warns = asked("min_variance", short, prices)
    assert note == "a sample covariance of no more samples than instruments is singular: Ledoit-Wolf in its place"
    assert warns
    np.testing.assert_array_equal(weights, weights_of("min_variance", {"lookback": 10}, prices))  # type: ignore[arg-type]


def test_who_takes_no_part_is_named_without_a_warning() -> None:
    prices = market(1, 4)
    prices[:30, 1] = np.nan
    prices[:, 3] = 50.0
    weights, note, warns = asked("min_variance", {}, prices)
    assert note == f"without B, D: not {LOOKBACK} samples of a price that moves"
    assert not warns
    assert weights[1] == weights[3] == 0.0  # type: ignore[index]


OTHERS: list[tuple[str, str, object]] = [
    *((name, "lookback", 20) for name in ALLOCATORS),
    *((name, "covariance", "ewma") for name in ALLOCATORS if name != "min_cvar"),
    *((name, "invested", 0.3) for name in ALLOCATORS),
    *((name, "volatility_target", 0.02) for name in ALLOCATORS),
    *((name, "max_weight", 0.2) for name in ALLOCATORS),
    *((name, "min_weight", 0.15) for name in WHOLE),
    *((name, "risk_free", 0.3) for name in ("max_sharpe", "merton", "kelly")),
    *((name, "expected_returns", "equilibrium") for name in ("max_sharpe", "mean_variance", "merton", "kelly")),
    *((name, "samples_a_year", 50.0) for name in ("max_sharpe", "merton", "kelly")),
    ("mean_variance", "risk_aversion", 50.0),
    ("mean_variance", "cost_bp", 500.0),
    ("mean_variance", "horizon", 1),
    ("merton", "risk_aversion", 30.0),
    ("kelly", "fraction", 0.05),
    ("min_cvar", "confidence", 0.7),
    ("risk_parity", "budgets", {"A": 5.0}),
    ("grouped", "threshold", 0.0),
    ("grouped", "by", "sector"),
    ("grouped", "between", "inverse_volatility"),
    ("grouped", "inside", "risk_parity"),
    ("black_litterman", "market", {"A": 3.0, "B": 1.0}),
    ("black_litterman", "views", [{"symbol": "C", "annual_return": 0.3}]),
]  # fmt: skip


BASE: dict[str, Mapping[str, object]] = {
    "black_litterman": {"views": [{"symbol": "A", "over": "B", "annual_return": 0.2}]},
    "mean_variance": {"cost_bp": 20.0},
    "merton": {"risk_aversion": 60.0},
    "kelly": {"fraction": 0.02},
    "grouped": {"threshold": 0.3},
}
"""From which each parameter is changed: where no bound holds all weights in place."""


def rising() -> Floats:
    return 100.0 * np.cumprod(1.0015 + np.diff(np.log(market(4, 6)), axis=0), axis=0)


@pytest.mark.parametrize(("name", "key", "value"), OTHERS)
def test_every_parameter_changes_the_answer(name: str, key: str, value: object) -> None:
    base = BASE.get(name, {})
    held = np.full(6, 1.0 / 6.0)
    one, other = (weights_of(name, params, rising(), held) for params in (base, {**base, key: value}))
    assert not np.allclose(one, other)


def test_parameters_of_what_is_chosen_by_another_one_change_the_answer_too() -> None:
    for name, base, key, value in (
        ("min_variance", {"covariance": "ewma"}, "decay", 0.8),
        ("min_cvar", {"volatility_target": 0.03}, "covariance", "ewma"),
        ("min_variance", {"volatility_target": 0.03}, "samples_a_year", 100.0),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": 0.3}]}, "risk_free", 0.2),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": 0.3}]}, "risk_aversion", 10.0),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": 0.3}]}, "objective", "utility"),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": 0.3}]}, "tau", 5.0),
        ("max_sharpe", {"expected_returns": "sample"}, "expected_returns", "james_stein"),
        ("max_sharpe", {"expected_returns": "equilibrium", "max_weight": 0.9}, "max_weight", 0.1),
    ):
        one, other = (weights_of(name, params, rising()) for params in (base, {**base, key: value}))
        assert not np.allclose(one, other), (name, key)


def test_budgets_are_by_name() -> None:
    prices = market(5, 4, LOOKBACK + 1)
    w = weights_of("risk_parity", {"budgets": {"C": 3.0}}, prices)
    cov = covariance(prices[1:] / prices[:-1] - 1.0)
    np.testing.assert_allclose(risk_shares(w, cov), [1 / 6, 1 / 6, 1 / 2, 1 / 6], rtol=1e-4)


def test_without_views_black_litterman_holds_the_market() -> None:
    market_weights = {"A": 5.0, "B": 3.0, "C": 2.0}
    for objective in ("sharpe", "utility"):
        weights = weights_of("black_litterman", {"market": market_weights, "objective": objective}, market(3, 4))
        np.testing.assert_allclose(weights, [0.5, 0.3, 0.2, 0.0], atol=1e-6)


def test_a_view_moves_black_litterman_by_its_confidence_and_towards_it() -> None:
    def share(confidence: float, annual: float) -> float:
        view = {"symbol": "A", "over": "B", "annual_return": annual, "confidence": confidence}
        return float(weights_of("black_litterman", {"views": [view]}, market(3, 4))[0])

    assert 0.25 < share(0.1, 0.1) < share(0.5, 0.1) < share(0.9, 0.1)
    assert share(0.8, -0.5) < 0.25


def test_a_view_on_what_takes_no_part_is_left_out() -> None:
    prices = market(3, 4)
    prices[:, 1] = 50.0
    views = [{"symbol": "B", "annual_return": 0.5}]
    np.testing.assert_allclose(
        weights_of("black_litterman", {"views": views}, prices), [1 / 3, 0, 1 / 3, 1 / 3], atol=1e-7
    )


def test_a_pick_is_the_same_view_in_other_words() -> None:
    one = [{"symbol": "A", "over": "B", "annual_return": 0.1}]
    other = [{"pick": {"A": 1.0, "B": -1.0}, "annual_return": 0.1}]
    np.testing.assert_array_equal(
        *(weights_of("black_litterman", {"views": views}, market(3, 4)) for views in (one, other))
    )


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("min_variance", {"min_weight": 0.5, "max_weight": 0.4}, "min_weight = 0.5 is above max_weight = 0.4"),
        ("black_litterman", {"views": [{"annual_return": 0.1}]}, "view 1 names nothing"),
        ("black_litterman", {"views": [{"symbol": "A", "pick": {"B": 1.0}, "annual_return": 0.1}]}, "both a symbol"),
        ("black_litterman", {"views": [{"symbol": "A", "over": "A", "annual_return": 0.1}]}, "A over itself"),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": float("nan")}]}, "view 1 has a number"),
        ("black_litterman", {"views": [{"symbol": "A"}]}, "annual_return"),
        ("black_litterman", {"views": [{"symbol": "A", "annual_return": 0.1, "confidence": 0.0}]}, "float > 0.0"),
        ("black_litterman", {"market": {"A": 0.0}}, "market weights are all 0"),
        ("risk_parity", {"budgets": {"A": 0.0}}, "budgets"),
        ("merton", {"min_weight": 0.1}, "merton has no parameter 'min_weight'"),
    ],
)
def test_a_wrong_parameter_is_refused_in_words(name: str, params: Mapping[str, object], text: str) -> None:
    with pytest.raises(ParamsError, match=text):
        POLICIES[name](params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("risk_parity", {"budgets": {"AA": 2.0}}),
        ("black_litterman", {"market": {"AA": 2.0}}),
        ("black_litterman", {"views": [{"symbol": "AA", "annual_return": 0.1}]}),
    ],
)
def test_a_name_that_is_not_traded_is_refused_when_it_is_asked(name: str, params: Mapping[str, object]) -> None:
    with pytest.raises(ParamsError, match=r"'AA', which is not traded; did you mean 'A'\?"):
        asked(name, params, market(1, 3))


@pytest.mark.requirement("R-111")
def test_a_volatility_target_is_met() -> None:
    prices = market(5, 4, LOOKBACK + 1)
    cov = covariance(prices[1:] / prices[:-1] - 1.0)
    w = weights_of("risk_parity", {"volatility_target": 0.05}, prices)
    assert annual_volatility(cov, w, 252.0) == pytest.approx(0.05)
    assert 0.0 < w.sum() < 1.0
