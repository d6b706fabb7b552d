"""The command prints what is attainable, judges no learner elsewhere, and goes on where it stopped."""

import json
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from quantd.training.runs import scorer_run
from tests.support.checkout import DATA
from tests.support.command_line import quantd
from tests.support.studies import text

SMALL = {"steps": 640, "evaluate_every": 320, "market.batch": 4, "learner.hidden": [8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("power")
    (folder / "plan.toml").write_text(text(**SMALL))
    (folder / "plants.toml").write_text("[mine]\nic = 1.0\n[noise]\nic = 0.0\n[faint]\nic = 0.01\n")
    return folder


def study(folder: Path, *more: str) -> dict:
    done = quantd(folder, "study", "power", "plan.toml", "--signal", "plants.toml", "--cost", "15", *more, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_a_certain_signal_is_attainable_and_none_and_a_faint_one_are_not(folder: Path) -> None:
    rows = {row["plant"]: row for row in study(folder)["attainable"]}
    assert rows["mine"]["passes"]
    assert rows["mine"]["low"] > 0.5
    assert rows["mine"]["reference"] - rows["mine"]["equal_weight"] > rows["mine"]["low"]
    assert not rows["faint"]["passes"]
    assert not rows["noise"]["passes"]
    assert rows["noise"]["reference"] == rows["noise"]["equal_weight"]


@pytest.mark.long
def test_findings_are_appended_and_resumed_and_the_unattainable_is_not_fitted(folder: Path) -> None:
    arguments = ("--learner", "plan", "--seeds", "1", "--out", "found.jsonl")
    first = study(folder, *arguments)["findings"]
    assert sorted((finding["plant"], finding["seed"]) for finding in first) == [("mine", 1), ("noise", 1)]
    assert all(finding["cpu_s"] > 0.0 and finding["learner"] == "ppo" for finding in first)
    lines = (folder / "found.jsonl").read_text().splitlines()
    again = quantd(folder, "study", "power", "plan.toml", "--signal", "plants.toml", "--cost", "15", *arguments)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    study(folder, *arguments, "--resume")
    assert (folder / "found.jsonl").read_text().splitlines() == lines
    more = study(folder, "--learner", "plan", "--seeds", "2", "--out", "found.jsonl", "--resume")["findings"]
    assert len(more) == 4
    assert (folder / "found.jsonl").read_text().splitlines()[:2] == lines


@pytest.mark.long
def test_a_table_of_few_seeds_prints_no_verdict(folder: Path) -> None:
    arguments = ("--learner", "plan", "--seeds", "1", "--out", "table.jsonl")
    done = quantd(folder, "study", "power", "plan.toml", "--signal", "plants.toml", "--cost", "15", *arguments)
    assert "no verdict (1 of 10 seeds)" in done.stdout
    assert "no rule that was tried" in done.stdout


@pytest.mark.long
def test_the_scorer_sees_the_plant_as_a_feature_of_each_symbol(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_run, "Plan", partial(scorer_run.Plan, iterations=60))
    # an episode of the scorer is longer than the small plan's parts
    (folder / "one.toml").write_text("[mine]\nic = 1.0\n")
    done = quantd(
        folder, "study", "power", "plan.toml", "--signal", "one.toml", "--cost", "15", "--learner", "scorer",
        "--seeds", "1", "--out", "scorer.jsonl", "--json",
    )  # fmt: skip
    findings = {finding["plant"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["mine"]["learner"] == "scorer"
    assert findings["mine"]["growth"] > findings["mine"]["equal_weight"] + 0.2


@pytest.mark.long
def test_the_line_of_a_plan_and_of_a_trained_policy_is_that_of_their_cards(folder: Path) -> None:
    done = quantd(folder, "study", "power", "plan.toml", "--line")
    assert done.stdout.startswith("power: 2007-10-01 to 2008-06-30, 3 symbols, 15 bp a side: ")
    assert json.loads(quantd(folder, "study", "power", "plan.toml", "--line", "--json").stdout) == {
        "power": done.stdout.strip().removeprefix("power: ")
    }
    shipped = quantd(folder, "study", "power", "models/shipped/ppo", "--line")
    assert "5 symbols, 15 bp a side: with a daily signal of IC 1 a rule beats equal weight, with" in shipped.stdout
    refused = quantd(folder, "study", "power", "models/shipped/scorer", "--line")
    assert (refused.returncode, "its record has no plan" in refused.stderr) == (2, True)
    assert quantd(folder, "study", "power", "models/shipped/ppo", "--line", "--set", "steps=1").returncode == 2


@pytest.mark.long
def test_a_plant_from_a_file_is_fitted_and_its_content_decides_the_cell(folder: Path) -> None:
    bars = pl.read_parquet(DATA / "us_daily.parquet", columns=["ts", "symbol", "open"])
    bars = bars.filter(pl.col("symbol").is_in(["SPY", "AAPL", "BAC"])).sort("symbol", "ts")
    later = pl.col("open").shift(-2).over("symbol") / pl.col("open").shift(-1).over("symbol") - 1.0
    mine = bars.select("ts", "symbol", later.fill_null(0.0).alias("expected")).with_columns(mine=pl.col("expected"))
    (folder / "file.toml").write_text('[mine]\nshape = "file"\nvalues = "mine.parquet"\n')
    cells = []
    for factor in (1.0, 0.5):
        mine.with_columns(pl.col("expected") * factor).write_parquet(folder / "mine.parquet")
        arguments = ("--signal", "file.toml", "--cost", "15", "--learner", "plan", "--seeds", "1", "--json")
        arguments += ("--out", f"file-{factor}.jsonl")
        done = quantd(folder, "study", "power", "plan.toml", *arguments)
        assert done.returncode == 0, done.stderr
        cells += [finding["cell"] for finding in json.loads(done.stdout)["findings"]]
    assert len(set(cells)) == 2


@pytest.mark.parametrize("arguments", [("--signal", "none.toml"), ("--shape", "wave")])
def test_an_unknown_plant_is_refused(folder: Path, arguments: tuple[str, ...]) -> None:
    done = quantd(folder, "study", "power", "plan.toml", *arguments)
    assert done.returncode == 2
    assert arguments[1] in done.stderr
