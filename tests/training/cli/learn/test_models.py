"""`quantd models` as its users meet it: training that says how it did, artifacts that say what they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ROOT, Done, answer, quantd

DATA = ("--bars", f"{ROOT}/data/us_daily.parquet", "--actions", f"{ROOT}/data/us_actions.csv")
SHORT = (
    *DATA, "--symbols", "SPY,BAC,AAPL", "--set", "first=2005-01-03", "--set", "last=2006-12-29", "--set", "folds=2",
    "--set", "leaves=8",
)  # fmt: skip
RISK = ("train", "--forest", "risk")


def models(folder: Path, *arguments: str) -> Done:
    return quantd(folder, "models", *arguments)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("models")
    process = quantd(folder, *RISK, "--out", "mine", *SHORT, "--json")
    assert process.returncode == 0, process.stderr
    return folder, json.loads(process.stdout)


@pytest.mark.long
@pytest.mark.requirement("R-097")
def test_training_tells_what_the_forest_and_the_plain_estimate_reached_out_of_sample(
    training: tuple[Path, Any],
) -> None:
    _, report = training
    assert report["predicts"] == "risk"
    assert len(report["folds"]) == 2
    assert report["threshold"] == 0.6
    for fold in (*report["folds"], report["together"]):
        assert fold["model"]["r2"] < 1.0
        assert fold["model"]["mse"] > 0.0
        assert fold["plain"]["r2"] != fold["model"]["r2"]
    assert report["training"]["window"] == {"first": "2005-01-03", "last": "2006-12-29"}


@pytest.mark.long
def test_people_read_a_table_and_a_verdict(tmp_path: Path) -> None:
    process = quantd(tmp_path, "train", "--forest", "correlation", "--out", "mine", *SHORT)
    assert process.returncode == 0, process.stderr
    assert "plain R²" in process.stdout
    assert "the plain estimate (MSE" in process.stdout
    assert "0.6 asked for" in process.stdout
    assert "Traceback" not in process.stderr


@pytest.mark.long
def test_an_artifact_says_what_it_is_and_that_it_is_whole(training: tuple[Path, Any]) -> None:
    folder, report = training
    info = answer(models(folder, "list", "mine", "--json"))
    assert info["digest"] == report["digest"]
    assert info["features"]["names"] == report["features"]["names"]
    assert "R²" in models(folder, "list", "mine").stdout
    assert answer(models(folder, "verify", "mine", "--json"))["kind"] == "forest"
    assert "a policy, whole" in models(folder, "verify", "models/shipped/scorer").stdout
    assert answer(models(folder, "list", "scorer", "--json"))["algorithm"]


def test_a_spoiled_artifact_is_refused_by_the_name_of_its_file(training: tuple[Path, Any], tmp_path: Path) -> None:
    shutil.copytree(training[0] / "mine", tmp_path / "bad")
    data = (tmp_path / "bad/policy.onnx").read_bytes()
    (tmp_path / "bad/policy.onnx").write_bytes(data[:-1] + b"\0")
    for command in ("list", "verify"):
        process = models(tmp_path, command, "bad")
        assert process.returncode == 78
        assert "bad/policy.onnx: its content is not what the manifest says" in process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((*RISK, "--out", "x", "--bars", "none.parquet"), 78,
         "none.parquet: there is no such file; name the market with --bars"),
        ((*RISK, "--out", "x", *DATA, "--symbols", "SPY,ZZZ"), 1, "no bars of ZZZ"),
        ((*RISK, "--out", "x", *DATA, "--symbols", "SPY", "--set", "first=2006-01-03", "--set", "last=2006-03-31"), 1,
         "0 rows with a known outcome; a forest needs 20: give more history (--set first=DATE) or symbols"),
        ((*RISK, "--out", "x", *DATA, "--symbols", "SPY", "--set", "first=2005-01-03", "--set", "last=2005-12-30"), 1,
         "101 rows are too few for 5 steps with a horizon of 21 and an embargo of 5; ask for fewer steps or give more "
         "history"),
        ((*RISK, "--out", "x", *DATA, "--set", "last=1997-03-31"), 1, "not after their begin"),
        ((*RISK, "--out", "x", "--set", "horizon=64"), 1, "horizon 64 must be 1 to 63 samples"),
        ((*RISK, "--out", "x", "--set", "stride=0"), 1, "Expected `int` >= 1 - at `$.stride`"),
        ((*RISK, "--out", "x", "--steps", "9"), 2, "--forest takes only --out, --bars"),
        (("evaluate", "forest_risk", *DATA, "--symbols", "SPY", "--from", "2019-01-02", "--to", "2019-01-31"), 1,
         "0 rows with a known outcome"),
        (("evaluate", "forest_risk"), 2, "a forest has no test part; name the dates with --from and --to"),
        (("models", "list", "nowhere"), 78, "nowhere: there is no such folder; name the folder of an artifact"),
        (("models", "verify", "nowhere"), 78, "nowhere: there is no such folder"),
    ],
)  # fmt: skip
def test_what_is_asked_wrong_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    process = quantd(tmp_path, *arguments)
    assert process.returncode == code
    assert says in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "x").exists()


def test_a_forest_is_judged_on_dates_it_has_not_seen_and_dates_it_has_are_counted(training: tuple[Path, Any]) -> None:
    folder, _ = training
    options = (*DATA, "--symbols", "SPY,BAC", "--to", "2007-12-31", "--json")
    later = answer(quantd(folder, "evaluate", "mine", *options, "--from", "2007-01-03"))
    assert later["sessions_in_training"] == 0
    assert later["first"] == "2007-01-03"
    assert later["last"] == "2007-11-29"  # 21 sessions before the end
    assert later["rows"] == 2 * 230
    assert later["model"] != later["plain"]
    earlier = answer(quantd(folder, "evaluate", "mine", *options, "--from", "2006-12-27"))
    assert earlier["sessions_in_training"] == 3
    process = quantd(folder, "evaluate", "mine", *DATA, "--from", "2007-01-03", "--to", "2007-01-31")
    assert process.returncode == 1
    assert "no bars of QQQ" in process.stderr


def test_a_forest_is_not_written_over_a_policy(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models/shipped/scorer", tmp_path / "scorer")
    process = quantd(tmp_path, *RISK, "--out", "scorer", *SHORT)
    assert process.returncode == 78
    assert "scorer holds another kind of artifact" in process.stderr
