"""`quantd models` on learned artifacts as its users meet it: lists, copies, signatures, versions, and what the daemon
takes of them."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from quantd.models.observation.sight import SightSpec
from quantd.training.export.writer import write as write_artifact
from tests.support.artifacts import TRAINING, learner_of, manifest_of, scaling_of, written
from tests.support.command_line import CONFIG, Done, answer, quantd, write

SYMBOLS = ("SPY", "QQQ", "IWM")
LEARNED = CONFIG.replace('policy = "momentum"', 'policy = "./mine"').replace("params = { lookback = 60 }\n", "")


def models(folder: Path, *arguments: str) -> Done:
    return quantd(folder, "models", *arguments)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with two versions of one policy, and a configuration that trades it."""
    for seed, version in ((3, "one"), (4, "two")):
        written(tmp_path / "mine" / version, universe=SYMBOLS, spec=SightSpec(), seed=seed)
    write(tmp_path, LEARNED)
    return tmp_path


@pytest.mark.long
def test_a_list_says_what_there_is_and_what_would_not_be_traded(desk: Path) -> None:
    (desk / "mine" / "two" / "golden.bin").write_bytes(b"")
    rows = {row["folder"]: row for row in answer(models(desk, "list", "mine", "--json"))}
    assert rows["shipped/scorer"]["fault"] == ""
    assert rows["shipped/scorer"]["test_sharpe"] is not None
    assert rows["mine/one"] | {"folder": ""} == {
        "folder": "", "kind": "learned", "algorithm": "ppo", "precision": "float32",
        "trained_until": "2012-12-31T00:00:00Z",
        "test_sharpe": None, "signed": False, "current": False, "fault": "",
    }  # fmt: skip
    assert "golden.bin: 0 bytes; the manifest says" in rows["mine/two"]["fault"]
    assert "golden.bin" in models(desk, "list", "mine").stdout


@pytest.mark.requirement("R-099")
def test_all_that_a_policy_was_made_of_is_printed(desk: Path) -> None:
    text = models(desk, "list", "mine/one").stdout
    for word in (
        "algorithm: ppo",
        "momentum_5",
        "universe: SPY, QQQ, IWM",
        "train: 2000-01-03",
        "seeds 1",
        "bars.parquet",
    ):
        assert word in text
    assert answer(models(desk, "list", "mine/one", "--json"))["sight"]["book"] == ["weights", "cash"]
    assert "a learned policy, whole" in models(desk, "verify", "mine/one").stdout


def test_the_processor_of_a_training_is_printed_or_said_to_be_unknown(desk: Path) -> None:
    unknown = "processor of the training: not recorded"
    assert all(unknown in models(desk, "list", name).stdout for name in ("ppo", "scorer", "forest_risk", "mine/one"))
    record = replace(TRAINING, processor="a processor, no VNNI; NumPy X86_V3")
    learner = learner_of("ppo simplex")
    write_artifact(desk / "new", replace(manifest_of(learner), training=record), learner, scaling_of(), b"# a card\n")
    assert "processor of the training: a processor, no VNNI; NumPy X86_V3\n" in models(desk, "list", "new").stdout
    assert answer(models(desk, "list", "new", "--json"))["training"]["processor"] == record.processor


@pytest.mark.requirement("R-104")
def test_a_copy_reports_its_size_speed_and_agreement(desk: Path) -> None:
    report = answer(models(desk, "compress", "mine/one", "--out", "half", "--fp16", "--json"))
    assert report["agreement"]["size_ratio"] < 0.9
    assert report["agreement"]["p99_us"] > 0.0
    assert answer(models(desk, "verify", "half", "--json"))["whole"]
    again = models(desk, "compress", "mine/one", "--out", "half", "--fp16")
    assert (again.returncode, again.stderr) == (78, "half: there is something already; name a new folder (--out)\n")
    assert models(desk, "compress", "mine/one", "--out", "x").returncode == 2
    assert models(desk, "compress", "mine/one", "--out", "x", "--distil", "64,0").returncode == 2
    wrong = models(desk, "compress", "scorer", "--out", "x", "--int8")
    assert wrong.returncode == 78
    assert "only policies of kind learned can be quantized or distilled" in wrong.stderr


def test_eight_bits_that_answer_otherwise_fail_with_the_figure(desk: Path) -> None:
    written(desk / "sharp", "ppo box")
    process = models(desk, "compress", "sharp", "--out", "small", "--int8")
    assert process.returncode == 1
    assert "0.005 is allowed" in process.stderr
    assert not (desk / "small").exists()


@pytest.mark.long
@pytest.mark.requirement("R-102", "R-109")
def test_the_daemon_trades_the_version_that_a_name_means_and_rolls_back(desk: Path) -> None:
    assert answer(models(desk, "use", "mine", "two", "--json"))["current"] == "two"
    second = answer(quantd(desk, "backtest", "--json"))
    assert second["fills"] > 0
    rolled = answer(models(desk, "use", "mine", "one", "--why", "it was better", "--json"))
    assert (rolled["before"], rolled["current"]) == ("two", "one")
    assert answer(quantd(desk, "backtest", "--json"))["digest"] != second["digest"]
    assert "one (current)\ntwo" in models(desk, "use", "mine").stdout
    assert (desk / "mine" / "history").read_text().endswith("it was better\n")
    none = models(desk, "use", "mine", "three")
    assert none.returncode == 78
    assert "there is no version 'three'; there are: one, two" in none.stderr


def test_with_trusted_keys_nothing_unsigned_starts(desk: Path) -> None:
    answer(models(desk, "use", "mine", "one", "--json"))
    signed = models(desk, "sign", "mine/two", "--key", "desk.key", "--new-key", "desk.pem")
    assert "desk.pem: public; name it in [models] trusted_keys" in signed.stdout
    write(desk, LEARNED + '[models]\ntrusted_keys = ["desk.pem"]\n')
    refused = quantd(desk, "backtest", "--json")
    assert refused.returncode == 78
    assert "config.toml" in refused.stderr
    assert "mine/one: it is not signed" in refused.stderr
    assert models(desk, "verify", "mine/one", "--key", "desk.pem").returncode == 78
    assert answer(models(desk, "sign", "mine/one", "--key", "desk.key", "--json"))["digest"]
    assert answer(quantd(desk, "backtest", "--json"))["fills"] > 0
    assert answer(models(desk, "verify", "mine/one", "--key", "desk.pem", "--json"))["signed"]
    write(desk, LEARNED + '[models]\ntrusted_keys = ["lost.pem"]\n')
    lost = quantd(desk, "backtest", "--json")
    assert lost.returncode == 78
    assert "lost.pem" in lost.stderr


@pytest.mark.long
@pytest.mark.requirement("R-105")
def test_an_ensemble_of_copies_trades_and_the_graph_of_a_member_is_copied(desk: Path) -> None:
    report = answer(models(desk, "combine", "both", "mine/one", "mine/two", "--by", "mean", "--json"))
    assert [m["share"] for m in report["members"]] == [0.5, 0.5]
    assert "an ensemble, whole" in models(desk, "verify", "both").stdout
    write(desk, LEARNED.replace('"./mine"', '"./both"'))
    assert answer(quantd(desk, "backtest", "--json"))["fills"] > 0
    assert "name a member" in models(desk, "compress", "both", "--onnx", "--out", "policy.onnx").stderr
    answer(models(desk, "compress", "mine/one", "--onnx", "--out", "policy.onnx", "--json"))
    assert (desk / "policy.onnx").read_bytes() == (desk / "mine" / "one" / "policy.onnx").read_bytes()


@pytest.mark.requirement("R-107", "R-108")
def test_inference_is_timed_one_by_one_and_many_at_once(desk: Path) -> None:
    process = quantd(desk, "bench", "mine/one", "scorer", "--part=inference", "--batch=8", "--threads=2", "--json")
    rows = json.loads(process.stdout)["parts"]
    assert process.returncode == (0 if all(row["within"] for row in rows) else 1)
    assert [(row["part"], row["allowed_ms"]) for row in rows] == [
        ("one x 8", 120.0), ("one with features", 15.0), ("scorer x 8", 120.0), ("scorer with features", 15.0)
    ]  # fmt: skip
    assert all(0.0 < row["p50_ms"] <= row["p99_ms"] for row in rows)
