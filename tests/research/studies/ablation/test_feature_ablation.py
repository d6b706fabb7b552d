"""Which five features the profile lite needs: the choice reads the training part only, and finds what predicts."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd import bundled
from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES
from quantd.research.studies.ablation.feature_ablation import feature_ablation, lite_features
from quantd.training.learners.maddpg import LITE_FEATURES
from tests.support.command_line import quantd


def panel_of(close: np.ndarray) -> Panel:
    ones = np.ones_like(close)
    days = np.arange(len(close)) * 86_400_000_000_000
    return Panel(tuple("abcde"), days, close, close, ones, ones * 0.0)


@pytest.mark.requirement("R-257")
def test_the_feature_that_predicts_has_the_largest_drop_and_nothing_after_the_rows_is_read() -> None:
    draw = np.random.default_rng(4)
    returns = draw.normal(0.0, 0.01, (900, 5))
    for t in range(5, 900):  # what rose over five sessions goes on
        returns[t] += 0.12 * returns[t - 5 : t].sum(axis=0)
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    rows = feature_ablation(panel_of(close), range(130, 800))
    best = max(rows, key=lambda row: row.drop or 0.0)
    assert best.name == "momentum_5"
    assert best.drop is not None
    assert best.drop > 0.5
    assert "momentum_5" in lite_features(rows)
    assert len(lite_features(rows)) == 5
    # volatility and volatility_relative order the assets alike, so that one alone would never be missed
    assert ("volatility", "volatility_relative") in [row.left_out for row in rows]
    assert [name for row in rows for name in row.left_out if name not in FEATURES] == []
    later = close.copy()
    later[800:] *= np.array([3.0, 1.0, 0.5, 2.0, 0.1])
    assert msgspec.json.encode(feature_ablation(panel_of(later), range(130, 800))) == msgspec.json.encode(rows)


@pytest.mark.long
@pytest.mark.requirement("R-257")
def test_the_choice_of_the_command_is_the_profile_but_for_one_feature(tmp_path: Path) -> None:
    done = quantd(
        tmp_path, "ablate", str(bundled.FOLDER / "examples" / "train" / "maddpg.toml"), "--features", "--json"
    )
    assert done.returncode == 0, done.stderr
    five = tuple(json.loads(done.stdout)["features"])
    # docs/learn/tuning.md states the difference, and that no drop differs from 0
    assert five == ("momentum_63", "momentum_126", "volatility", "volatility_change", "drawdown")
    assert (set(five) - set(LITE_FEATURES), set(LITE_FEATURES) - set(five)) == ({"drawdown"}, {"momentum_21"})
    assert min(row["p_holm"] for row in json.loads(done.stdout)["variants"]) > 0.5
