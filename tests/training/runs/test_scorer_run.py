"""Training end to end on bundled data, small: reproducible, blind to what comes after, honest in its card."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from quantd.models.artifacts.manifest import MANIFEST, ScorerManifest
from quantd.models.artifacts.processor import processor
from quantd.models.artifacts.scorer_policy import load, load_policy
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.table import sight
from quantd.training.runs.scorer_run import Plan, train
from tests.support.scorer_plan import ACTIONS, BARS, SMALL, SYMBOLS


def run(out: Path, bars: Path = BARS, plan: Plan = SMALL) -> ScorerManifest:
    return train(bars, ACTIONS, SYMBOLS, plan, out, "a test", lambda line: None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "scorer"
    run(out)
    return out


@pytest.mark.long
def test_the_same_command_makes_the_same_bytes(first: Path, tmp_path: Path) -> None:
    again = tmp_path / "scorer"
    run(again)
    for name in (MANIFEST, *ScorerManifest.FILES):
        assert (again / name).read_bytes() == (first / name).read_bytes(), name


@pytest.mark.long
def test_the_record_and_the_card_name_the_processor(first: Path) -> None:
    assert load(first).manifest.training.processor == processor().text
    assert f"- Trained on: {processor().text}. The same command on another processor" in (first / "card.md").read_text()


@pytest.mark.long
def test_what_comes_after_the_validation_part_cannot_change_the_weights(first: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(BARS)
    days_after = (pl.col("ts").dt.date() - SMALL.splits.validation.last).dt.total_days()
    later = (days_after > 0) & (pl.col("symbol") == "BAC")
    bubble = [
        pl.when(later).then(pl.col(c) * (1.0 + days_after / 20)).otherwise(pl.col(c)).alias(c)
        for c in ("open", "close")
    ]
    table.with_columns(bubble).write_parquet(tmp_path / "bars.parquet")
    other_manifest = run(tmp_path / "scorer", tmp_path / "bars.parquet")
    assert (tmp_path / "scorer" / "weights.safetensors").read_bytes() == (first / "weights.safetensors").read_bytes()
    manifest = load(first).manifest
    assert other_manifest.results["validation"] == manifest.results["validation"]
    assert other_manifest.results["test"] != manifest.results["test"]


@pytest.mark.long
def test_nothing_after_the_test_part_is_read(tmp_path: Path, first: Path) -> None:
    cut = tmp_path / "bars.parquet"
    pl.read_parquet(BARS).filter(pl.col("ts").dt.date() <= SMALL.splits.test.last).write_parquet(cut)
    assert run(tmp_path / "scorer", cut).results == load(first).manifest.results


def test_seeds_differ_and_all_are_reported(first: Path) -> None:
    manifest = load(first).manifest
    assert manifest.training.seeds == (1, 2)
    assert len(set(manifest.results["test"].sharpe_by_seed)) == 2
    assert set(manifest.results) == {"train", "validation", "test"}


@pytest.mark.long
def test_training_and_trading_see_the_same_features(first: Path) -> None:
    panel = read_panel(BARS, ACTIONS, SYMBOLS, SMALL.warmup_from, SMALL.splits.test.last)
    seen = sight(panel)
    policy = load_policy(first, {})
    row = 400
    features, mask = seen.features[row], seen.mask[row]
    served = policy._session.run(None, {"features": features[None], "mask": mask[None]})[0][0]
    np.testing.assert_array_equal(policy.weights(panel.returns()[row - policy.lookback + 1 : row + 1]), served)


def test_a_training_part_shorter_than_an_episode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few for an episode of 2000"):
        run(tmp_path / "x", plan=msgspec.structs.replace(SMALL, episode=2000))
