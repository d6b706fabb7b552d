"""Ablation: the state really shrinks, drops are paired by seed, and a group without data has no figure."""

import json
from pathlib import Path

import numpy as np
import pytest

from quantd.research.studies.ablation import GROUPS, NO_DATA, adjusted, compared, features_of, tier, without
from tests.support.command_line import quantd
from tests.support.studies import plan, text

COLUMNS = ["daily_return_1", "rsi_14", "macd", "bollinger_position", "volatility_20"]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "plan.toml").write_text(text(steps=320, **{"sight.columns": COLUMNS, "sight.features": []}))
    arguments = ("--group", "RSI", "--group", "VIX", "--out", "rows.csv", "--json")
    done = quantd(folder, "study", "ablation", "plan.toml", *arguments)
    assert done.returncode == 0, done.stderr
    lines = (folder / "rows.csv").read_text().splitlines()
    return {**json.loads(done.stdout), "csv": lines}


@pytest.mark.requirement("R-255")
def test_the_state_shrinks_by_the_features_of_the_group_on_every_asset(document: dict) -> None:
    row = document["variants"][0]
    assert row["left_out"] == ["rsi_14"]
    assert document["width"] - row["width"] == 3  # assets
    assert row["sharpes"] != document["sharpes"]
    assert row["drops"] == pytest.approx(np.subtract(document["sharpes"], row["sharpes"]).tolist())
    assert [each.split(",")[0] for each in document["csv"]] == ["group", "RSI", "VIX"]


@pytest.mark.requirement("R-255")
def test_a_group_without_data_says_so_and_is_not_trained(document: dict) -> None:
    row = document["variants"][1]
    assert (row["group"], row["missing"], row["sharpes"], row["tier"]) == ("VIX", NO_DATA, [], "")
    assert document["test_evaluations"] == 2 * len(document["seeds"])


@pytest.mark.requirement("R-255")
def test_each_feature_of_the_requirement_is_in_one_group() -> None:
    of = {
        "daily_return_3": "returns, short", "momentum_5": "returns, short", "momentum_21": "returns, short",
        "momentum_63": "returns, long", "momentum_126": "returns, long", "momentum_252.rank": "returns, long",
        "rsi_14": "RSI", "macd_histogram": "MACD", "bollinger_width": "Bollinger", "volatility_20": "volatility",
        "esg": "ESG", "sentiment": "sentiment", "vix_level": "VIX", "yield_10": "yield",
    }  # fmt: skip
    for name, group in of.items():
        assert [each for each, names in GROUPS.items() if names.search(name)] == [group], name


def test_a_plan_without_a_group_keeps_every_other_setting() -> None:
    full = plan(**{"sight.columns": COLUMNS})
    other, gone = without(full, "returns, long")
    assert gone == ("momentum_63", "momentum_126")
    assert set(features_of(full)) - set(features_of(other)) == set(gone)
    assert (other.seeds, other.splits, other.market, other.learner) == (
        full.seeds, full.splits, full.market, full.learner,
    )  # fmt: skip


@pytest.mark.requirement("R-256")
def test_a_drop_is_paired_by_seed_with_its_interval_spread_and_tier() -> None:
    row = compared("RSI", ("rsi_14",), [1.0, 1.2, 0.8, 1.0, 1.0], 10, [0.9, 1.1, 0.7, 0.8, 1.0])
    # worked by hand: drops .1 .1 .1 .2 0, mean .1, deviation .0707, t of 4 degrees 2.776
    assert row.drop == pytest.approx(0.1)
    assert (row.low, row.high) == (pytest.approx(0.1 - 0.08779, abs=1e-4), pytest.approx(0.1 + 0.08779, abs=1e-4))
    assert row.p == pytest.approx(0.0341, abs=1e-4)
    assert (row.share, row.spread) == (pytest.approx(0.1), pytest.approx(0.0707, abs=1e-4))
    assert row.tier == "medium"


@pytest.mark.requirement("R-256")
@pytest.mark.parametrize(
    ("share", "name"),
    [(0.1501, "high"), (0.15, "medium"), (0.05, "medium"), (0.0499, "low"), (-1.0, "low"), (None, "none")],
)
def test_tiers_have_the_bounds_of_the_requirement(share: float | None, name: str) -> None:
    assert tier(share) == name


def test_a_plan_that_loses_has_no_tier_and_a_seed_without_a_ratio_no_figure() -> None:
    assert compared("RSI", (), [-1.0, -1.1], 9, [-1.2, -1.0]).tier == "none"
    idle = compared("RSI", (), [1.0, 1.1], 9, [float("nan"), 1.0])
    assert (idle.drop, idle.missing) == (None, "an account never moved, so a seed has no ratio")


def test_p_values_are_adjusted_for_all_variants_with_a_figure() -> None:
    rows = [
        compared("RSI", (), [1.0, 1.2, 0.8], 9, [0.9, 1.11, 0.7]),
        compared("MACD", (), [1.0, 1.2, 0.8], 9, [1.3, 0.2, 0.8]),
    ]
    first, second = adjusted(rows)
    assert first.p is not None
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == second.p


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--group", "RIS"), "--group 'RIS' is no group; there are: returns, short"),
        (("--set", "seeds=[1]"), "a drop over seeds needs 2 at least"),
    ],
)
def test_a_wrong_question_is_refused_with_the_remedy(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "plan.toml").write_text(text())
    done = quantd(tmp_path, "ablate", "plan.toml", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
