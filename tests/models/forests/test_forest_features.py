"""What forests read is a function of the past, of each column alone and of means over all."""

import numpy as np
import pytest

from quantd.models.artifacts.manifest import FOREST_KINDS, ForestKind
from quantd.models.forests.forest_features import (
    ASSET_FEATURES,
    LOOKBACK,
    look,
    realised,
    relative,
    see,
)
from quantd.training.forests.fit import gather
from tests.support.forests import garch


@pytest.mark.parametrize("kind", FOREST_KINDS)
def test_what_comes_after_a_session_is_in_its_outcome_and_not_in_its_features(kind: ForestKind) -> None:
    returns = np.vstack([np.full((1, 4), np.nan), garch(1, 260, 4)])
    cut = 200
    changed = returns.copy()
    changed[cut:] *= np.array([7.0, 1.0, -3.0, 0.2])
    dataset, other = (gather(kind, series, 21, 1) for series in (returns, changed))
    before, before_other = dataset.between(0, cut), other.between(0, cut)
    assert before.at.max() == cut - 1
    np.testing.assert_array_equal(before_other.features, before.features)
    np.testing.assert_array_equal(before_other.plain, before.plain)
    assert (other.between(cut, cut + 1).features != dataset.between(cut, cut + 1).features).any()
    first = int(before.at[(before_other.true != before.true)].min())
    assert first == cut - 21  # its outcome is the first that reaches the changed return


def test_only_the_level_of_volatility_depends_on_the_scale_of_returns() -> None:
    returns = garch(2, LOOKBACK, 5)
    small, large = (see("risk", look(r)).features for r in (returns, 3.0 * returns))
    same = np.isclose(small, large, atol=1e-9).all(axis=0)
    assert [name for name, equal in zip(ASSET_FEATURES, same, strict=True) if not equal] == ["volatility_level"]


def test_an_asset_without_whole_history_or_that_stands_still_is_not_known() -> None:
    returns = garch(3, LOOKBACK, 4)
    returns[5, 1] = np.nan
    returns[-30:, 2] = 0.0
    past = look(returns)
    assert see("risk", past).known.tolist() == [True, False, False, True]
    assert see("correlation", past).known.tolist() == [False, False, True, False, False, False]
    for kind in FOREST_KINDS:
        seen = see(kind, past)
        assert np.isfinite(seen.features).all()
        assert np.isfinite(seen.plain).all()
        nobody = see(kind, look(np.full((LOOKBACK, 3), np.nan)))
        assert not nobody.known.any()


def test_what_came_true_is_volatility_correlation_and_relative_return() -> None:
    future = garch(4, 21, 3)
    np.testing.assert_allclose(np.exp(realised("risk", future)), np.sqrt((future**2).mean(axis=0)))
    expected = np.corrcoef(future.T)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(np.tanh(realised("correlation", future)), expected)
    scores = relative(realised("allocation", future))
    assert scores.sum() == pytest.approx(0.0, abs=1e-12)
    assert np.argmax(scores) == np.argmax(future.sum(axis=0) / np.sqrt((future**2).sum(axis=0)))
    future[3, 1] = np.nan
    for kind, missing in (("risk", [1]), ("correlation", [0, 2]), ("allocation", [1])):
        assert np.flatnonzero(np.isnan(realised(kind, future))).tolist() == missing  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FOREST_KINDS)
def test_rows_up_to_a_session_are_the_same_when_the_data_end_there_or_go_on(kind: ForestKind) -> None:
    returns = np.vstack([np.full((1, 4), np.nan), garch(1, 400, 4)])
    dataset, horizon = gather(kind, returns, 21, 5), 21
    for cut in (200, 301, 370):
        early = gather(kind, returns[:cut], horizon, 5)
        upto = dataset.between(0, cut - horizon)
        for name in ("at", "features", "plain", "true"):
            np.testing.assert_array_equal(getattr(early, name), getattr(upto, name), err_msg=name)
        assert len(early.at) > 0
