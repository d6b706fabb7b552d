"""Plants have the strength that they state, are known at the decision's close, and are drawn from their seed."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from quantd.models.history.splits import day_of
from quantd.training.plans.plan import read
from quantd.training.power.plants import (
    Plant,
    PlantError,
    next_returns,
    planted,
    planted_plan,
    read_plants,
)
from tests.support.checkout import ROOT
from tests.support.panels import panel_of

PANEL = panel_of(3, 3_000, 4, actions=False)
TRAIN = range(100, 2_000)


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.corrcoef(one, two)[0, 1])


def test_the_return_of_a_decision_is_from_the_next_open_to_the_one_after_with_its_actions() -> None:
    panel = panel_of(1, 40, 3)
    returns = next_returns(panel)
    for row in (0, 7, 36):
        paid = panel.open[row + 2] * panel.split[row + 2] + panel.dividend[row + 2]
        assert returns[row] == pytest.approx(paid / panel.open[row + 1] - 1.0)
    assert returns[-2] == pytest.approx(panel.close[-1] / panel.open[-1] - 1.0)
    assert np.isnan(returns[-1]).all()


@pytest.mark.parametrize("ic", [0.0, 0.3, 1.0])
def test_the_signal_correlates_with_the_next_return_as_stated(ic: float) -> None:
    seen, returns = planted(Plant(ic=ic), PANEL, TRAIN), next_returns(PANEL)
    for column in range(4):
        assert correlation(seen.columns["plant"][:-1, column], returns[:-1, column]) == pytest.approx(ic, abs=0.06)
    if ic == 1.0:
        assert seen.expected[:-1] == pytest.approx(returns[:-1])
    if ic == 0.0:
        assert not seen.expected.any()


def test_each_shape_hides_the_same_signal() -> None:
    signal, returns = planted(Plant(), PANEL, TRAIN).columns["plant"], next_returns(PANEL)
    ratio = planted(Plant(shape="ratio"), PANEL, TRAIN).columns
    assert np.log(ratio["plant"] / ratio["plant_below"]) == pytest.approx(0.5 * signal)
    assert abs(correlation(ratio["plant_below"][:-1, 0], returns[:-1, 0])) < 0.06
    turn = planted(Plant(shape="turn"), PANEL, TRAIN).columns
    assert turn["plant"] * np.sign(turn["plant_turn"]) == pytest.approx(signal)
    for name in ("plant", "plant_turn"):
        assert abs(correlation(turn[name][:-1, 0], returns[:-1, 0])) < 0.06
    late = planted(Plant(shape="lag", lag=2), PANEL, TRAIN)
    lag = late.columns["plant"]
    assert (late.past, planted(Plant(), PANEL, TRAIN).past) == (2, 0)
    assert list(late.seen) == ["plant", "plant_ago_1", "plant_ago_2"]
    assert late.seen["plant_ago_2"][2:] == pytest.approx(signal[2:])
    assert lag[:-2] == pytest.approx(signal[2:])
    one = planted(Plant(shape="symbol", symbol="S2"), PANEL, TRAIN)
    assert one.columns["plant"][:, 2] == pytest.approx(signal[:, 2])
    assert abs(correlation(one.columns["plant"][:-1, 0], returns[:-1, 0])) < 0.06
    assert not one.expected[:, [0, 1, 3]].any()


@pytest.mark.parametrize(("shape", "seen"), [
    ("feature", ["series_plant"]),
    ("ratio", ["series_plant", "series_plant_below"]),
    ("lag", ["series_plant", "series_plant_ago_1", "series_plant_ago_2"]),
    ("turn", ["series_plant", "series_plant_turn"]),
])  # fmt: skip
def test_a_plan_sees_the_columns_of_a_plant_and_as_many_sessions_as_it_lags(
    shape: Literal["feature", "ratio", "lag", "turn"], seen: list[str], tmp_path: Path
) -> None:
    plan = read(ROOT / "examples/train/ppo.toml")
    shown = planted_plan(plan, planted(Plant(shape=shape, lag=2), PANEL, TRAIN), PANEL, tmp_path)
    assert list(shown.sight.columns) == seen
    assert [Path(series.path).name for series in shown.data.series] == [
        f"{name.removeprefix('series_')}.csv" for name in seen if "_ago_" not in name
    ]


def test_a_plant_of_a_file_is_read_by_date_and_symbol(tmp_path: Path) -> None:
    days = [day_of(ns) for ns in PANEL.day_ns[5:7]]
    rows = pl.DataFrame({"ts": [*days, days[0]], "symbol": ["S1", "S1", "S3"], "expected": [0.01, 0.02, 0.03],
                         "mine": [1.0, 2.0, 3.0]})  # fmt: skip
    rows.write_parquet(tmp_path / "mine.parquet")
    (tmp_path / "plants.toml").write_text('[mine]\nshape = "file"\nvalues = "mine.parquet"\n')
    plant = planted(read_plants(tmp_path / "plants.toml")["mine"], PANEL, TRAIN)
    assert plant.expected[5:7, [1, 3]].tolist() == [[0.01, 0.03], [0.02, 0.0]]
    assert plant.columns["plant_mine"][5:7, 1].tolist() == [1.0, 2.0]
    assert np.count_nonzero(plant.expected) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no plant"),
        ("[a]\nic = 2.0\n", "from 0 to 1"),
        ("[a]\nstrength = 1.0\n", "unknown field"),
        ('[a]\nshape = "file"\n', "give `values`, a file"),
    ],
)
def test_a_file_that_is_no_plant_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "plants.toml").write_text(text)
    with pytest.raises(PlantError, match=reason):
        read_plants(tmp_path / "plants.toml")


def test_a_file_without_a_column_for_a_learner_is_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame({"ts": [day_of(PANEL.day_ns[5])], "symbol": ["S1"], "expected": [0.01]})
    rows.write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(PlantError, match="no column for a learner"):
        planted(Plant(shape="file", values=str(tmp_path / "mine.parquet")), PANEL, TRAIN)
