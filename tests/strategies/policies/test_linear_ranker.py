"""The linear ranker: ridge regression as in scikit-learn, fitted on past outcomes alone, and ranked by its scores."""

import numpy as np
import pytest

from quantd.strategies.policies import POLICIES, ParamsError
from quantd.strategies.policies.linear_ranker import LinearRanker, centred_ranks, relative, ridge_weights
from tests.strategies.policies.policy_views import view_of


def test_the_weights_are_those_of_a_reference_for_ridge_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(1)
    ranks, outcomes = draw.normal(size=(40, 6, 3)), draw.normal(size=(40, 6))
    ranks[3, 2], outcomes[5, 1] = np.nan, np.nan
    used = np.isfinite(ranks).all(axis=2) & np.isfinite(outcomes)
    x, y = ranks[used], outcomes[used]
    alpha = 0.3 * float((x * x).sum()) / 3
    expected = linear_model.Ridge(alpha=alpha, fit_intercept=False).fit(x, y).coef_
    np.testing.assert_allclose(ridge_weights(ranks, outcomes, 0.3), expected, rtol=1e-9)


def test_ranks_are_centred_and_an_instrument_without_a_feature_has_none() -> None:
    row = np.array([[[1.0, 5.0], [3.0, 5.0], [2.0, np.nan], [9.0, 1.0]]])
    ranks = centred_ranks(row)[0]
    np.testing.assert_array_equal(ranks[[0, 1, 3]], [[-0.5, 0.25], [0.0, 0.25], [0.5, -0.5]])
    assert np.isnan(ranks[2]).all()
    np.testing.assert_allclose(relative(np.array([[1.0, 3.0, np.nan]])), [[-1.0, 1.0, np.nan]])


def drifting(seed: int) -> np.ndarray:
    """Prices of five instruments that go on as they went, in the order of their names."""
    draw = np.random.default_rng(seed)
    moves = np.array([0.004, 0.002, 0.0, -0.002, -0.004]) + draw.normal(0.0, 0.004, (90, 5))
    return 100.0 * np.cumprod(1.0 + moves, axis=0)


PARAMS = {"features": ("momentum_20",), "history": 40, "ahead": 3, "top": 2, "invested": 0.8}


def test_it_holds_what_the_past_says_of_the_future_and_learns_the_sign() -> None:
    policy = POLICIES["linear_ranker"](PARAMS)
    weights, memory = policy.act(view_of(drifting(1), "ABCDE"), {})
    assert weights.tolist() == [0.4, 0.4, 0.0, 0.0, 0.0]
    assert memory == {}
    # each instrument turns every 20 samples, so that past and future returns have opposite signs
    turns = np.where(np.arange(90) // 20 % 2 == 0, 1.0, -1.0)[:, None]
    moves = turns * np.array([0.004, 0.002, 0.0, -0.002, -0.004])
    back = view_of(100.0 * np.cumprod(1.0 + moves, axis=0), "ABCDE")
    spec = POLICIES["linear_ranker"]({**PARAMS, "ahead": 20})
    assert isinstance(spec, LinearRanker)
    scores = spec.scores(back)
    past = back.bars(21).close
    assert (np.sign(scores[[0, 4]]) == -np.sign(past[-1] / past[0] - 1.0)[[0, 4]]).all()


def test_without_a_number_it_holds_the_better_half_and_so_is_no_equal_weight() -> None:
    plain = {name: value for name, value in PARAMS.items() if name != "top"} | {"invested": 0.9}
    for names, half in (("ABCDE", 3), ("ABCD", 2)):
        view = view_of(drifting(1)[:, : len(names)], names)
        weights, _ = POLICIES["linear_ranker"](plain).act(view, {})
        np.testing.assert_allclose(weights, [0.9 / half] * half + [0.0] * (len(names) - half))


def test_it_is_fitted_on_the_outcomes_that_are_over_and_on_no_other() -> None:
    policy = POLICIES["linear_ranker"]({**PARAMS, "features": ("momentum_5", "momentum_20")})
    assert isinstance(policy, LinearRanker)
    view = view_of(drifting(2), "ABCDE")
    close, last = view.bars(90).close, 89
    rows, outcomes = [], []
    for t in range(last - 42, last - 2):  # 40 samples, the newest with its outcome at the newest close
        rows.append([(close[t] / close[t - k] - 1.0).argsort().argsort() / 4.0 - 0.5 for k in (5, 20)])
        ahead = close[t + 3] / close[t] - 1.0
        outcomes.append(ahead - ahead.mean())
    weights = ridge_weights(np.moveaxis(np.array(rows), 1, 2), np.array(outcomes), 0.1)
    now = np.array([(close[last] / close[last - k] - 1.0).argsort().argsort() / 4.0 - 0.5 for k in (5, 20)])
    np.testing.assert_allclose(policy.scores(view), weights @ now, rtol=1e-9)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"features": []}, "it needs features, such as"),
        ({"features": ["rsi14"]}, "linear_ranker: "),
        ({"features": ["beta_60"]}, "the features need benchmark; linear_ranker reads bars only"),
        ({"features": ["regime_bull"]}, "cannot rank instruments"),
    ],
)
def test_features_that_it_cannot_rank_are_refused(params: dict, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        POLICIES["linear_ranker"](params)
