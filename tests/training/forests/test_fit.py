"""Training the forests: blind to what comes after, the same every time, and honest about what it is worth."""

from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import FOREST_KINDS, MANIFEST, ForestKind, ForestManifest
from quantd.models.forests.allocation import LearnedAllocation
from quantd.models.forests.forest_features import LOOKBACK, look
from quantd.models.forests.prediction import load_forest
from quantd.models.history.splits import walk_forward
from quantd.trading.market import Floats
from quantd.training.forests.fit import Plan, fit, gather, judge, score, train, train_on
from tests.support.checkout import DATA
from tests.support.forests import garch, noise, panel_of

BARS, ACTIONS = DATA / "us_daily.parquet", DATA / "us_actions.csv"
SYMBOLS = ("SPY", "AAPL", "BAC")
SMALL = Plan("risk", first=date(2005, 1, 3), last=date(2006, 12, 29), folds=1, leaves=16)


def quiet(line: str) -> None:
    pass


def made(out: Path, returns: Floats, plan: Plan) -> ForestManifest:
    return train_on(panel_of(returns), {}, plan, out, "a test", quiet)


@pytest.mark.long
def test_the_same_command_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(BARS, ACTIONS, SYMBOLS, SMALL, tmp_path / name / "forest", "a test", quiet)
    for name in (MANIFEST, *ForestManifest.FILES):
        assert (tmp_path / "a/forest" / name).read_bytes() == (tmp_path / "b/forest" / name).read_bytes(), name


@pytest.mark.long
def test_nothing_after_the_last_day_is_read(tmp_path: Path) -> None:
    table = pl.read_parquet(BARS)
    later = pl.col("ts").dt.date() > SMALL.last
    changed = table.with_columns(pl.when(later).then(pl.col("close") * 9.0).otherwise(pl.col("close")).alias("close"))
    changed.write_parquet(tmp_path / "us_daily.parquet")
    first = train(BARS, ACTIONS, SYMBOLS, SMALL, tmp_path / "a/forest", "a test", quiet)
    other = train(tmp_path / "us_daily.parquet", ACTIONS, SYMBOLS, SMALL, tmp_path / "b/forest", "a test", quiet)
    assert other.training.data != first.training.data
    assert other.files["policy.onnx"] == first.files["policy.onnx"]
    assert (other.together, other.folds) == (first.together, first.folds)


@pytest.mark.long
def test_a_step_is_not_touched_by_what_comes_after_it() -> None:
    returns = np.vstack([np.full((1, 3), np.nan), garch(5, 900, 3)])
    plan = Plan("risk", folds=3, leaves=8)
    days = panel_of(returns[1:]).day_ns
    rows = gather("risk", returns, plan.horizon, plan.stride)
    _, steps = judge(rows, days, plan, quiet)
    folds = walk_forward(int(rows.at[0]), int(rows.at[-1]) + 1, 3, plan.horizon, plan.embargo)
    # everything after the outcomes of the second step's judged rows is another world
    changed = returns.copy()
    changed[folds[1].test[1] + plan.horizon :] *= 5.0
    _, changed_steps = judge(gather("risk", changed, plan.horizon, plan.stride), days, plan, quiet)
    assert changed_steps[:2] == steps[:2]
    assert changed_steps[2] != steps[2]


@pytest.mark.long
def test_where_volatility_can_be_known_the_forest_beats_the_plain_estimate_in_every_step(tmp_path: Path) -> None:
    manifest = made(tmp_path / "forest", garch(1, 2_400, 4), Plan("risk", folds=2, leaves=32))
    for fold in (*manifest.folds, manifest.together):
        assert fold.model.mse < 0.9 * fold.plain.mse
        assert fold.model.r2 > fold.plain.r2
    assert manifest.beats_plain()


@pytest.mark.long
def test_where_nothing_can_be_known_of_returns_the_optimiser_starts_switched_off(tmp_path: Path) -> None:
    manifest = made(tmp_path / "forest", noise(1, 1_500, 4), Plan("allocation", folds=2, leaves=32))
    assert not manifest.beats_plain()
    assert manifest.together.model.r2 < 0.0
    policy = load_artifact(tmp_path / "forest", {})
    assert isinstance(policy, LearnedAllocation)
    assert "it starts switched off" in (tmp_path / "forest/card.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize("kind", FOREST_KINDS)
def test_the_artifact_answers_as_the_fitted_forest_does(tmp_path: Path, kind: ForestKind) -> None:
    made_up, plan = garch(2, 420, 3), Plan(kind, folds=1, leaves=16)
    made(tmp_path / "forest", made_up, plan)
    returns = panel_of(made_up).returns()  # rounded by the way through prices
    rows = gather(kind, returns, plan.horizon, plan.stride)
    expected = fit(rows, plan).predict(rows)
    forest = load_forest(tmp_path / "forest", kind)
    answers = np.concatenate(
        [
            forest.predict(look(returns[t - LOOKBACK + 1 : t + 1])).model
            for t in range(LOOKBACK, len(returns) - plan.horizon, plan.stride)
        ]
    )
    # float32 leaves, added in float32
    np.testing.assert_allclose(answers, expected, atol=5e-6)


def test_r2_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import mean_squared_error, r2_score

    predictions, outcomes = np.random.default_rng(1).normal(size=(2, 50))
    assert score(predictions, outcomes).r2 == pytest.approx(r2_score(outcomes, predictions))
    assert score(predictions, outcomes).mse == pytest.approx(mean_squared_error(outcomes, predictions))
    assert msgspec.json.encode(score(predictions, np.ones(50)))  # no spread: still a value, not a crash
