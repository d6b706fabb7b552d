"""`quantd train` and `quantd evaluate` from outside: an artifact that trades, every setting shown, stopped in order and
taken up again."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest
import torch

import quantd as api
from quantd.daemon.cli.failures import guarded
from quantd.daemon.cli.program import run
from quantd.models.artifacts.folder import read_manifest
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
from quantd.models.history.panel_files import file_digest
from tests.support import training as world
from tests.support.checkout import ROOT

PLAN = world.PLAN.replace("steps = 800\nevaluate_every = 400", "steps = 2_400\nevaluate_every = 800")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    world.bars(folder)
    (folder / "small.toml").write_text(PLAN)
    return folder


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    # "" first: a fresh interpreter would not look into the checkout
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def quantd(folder: Path, *words: str) -> tuple[int, str, str]:
    """(exit code, what was printed, what was said beside it), in this process: torch takes seconds to load."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(lambda: run(list(words)))
    return code, out.getvalue(), err.getvalue()


def manifest_of(folder: Path) -> AgentManifest:
    return read_manifest(folder / MANIFEST, AgentManifest)


@pytest.fixture(scope="module")
def outputs(place: Path) -> tuple[str, str]:
    code, out, err = quantd(place, "train", "small.toml", "--out", "mine", "--tracker", "files")
    assert code == 0, err
    return out, err


@pytest.mark.long
@pytest.mark.requirement("R-085", "R-202")
def test_a_plan_becomes_an_artifact_with_a_card_of_every_seed(place: Path, outputs: tuple[str, str]) -> None:
    out, err = outputs
    manifest = manifest_of(place / "mine")
    assert out == (place / "mine/card.md").read_text()
    for name, result in manifest.results.items():
        assert len(result.sharpe_by_seed) == 2, name
        assert f"{result.sharpe_by_seed[0]:.2f}" in out
    lines = out.splitlines()
    head = next(place for place, line in enumerate(lines) if line.startswith("| part | policy |"))
    assert lines[head - 2] == f"**Power.** {manifest.power}"
    assert manifest.power.startswith("2017-01-01 to 2017-06-30, 3 symbols, ")
    assert "equal weight, same days" in out
    assert "mean ± spread" in out
    assert "learner.learning_rate = 0.0003" in err
    assert "seed 2: 2,4" in err
    assert manifest.training.test_looks == 1
    assert all(result.policy.sortino is not None for result in manifest.results.values())
    assert manifest.training.windows["train"].last < "2016-06-30", "the embargo is not trained on"
    assert "\x1b" not in err, "no bar where nobody looks"


@pytest.mark.long
def test_a_split_that_no_action_announces_stops_training_and_evaluation_until_it_is_explained(
    place: Path, outputs: tuple[str, str]
) -> None:
    frame, late = pl.read_parquet(place / "bars.parquet"), pl.col("ts").dt.date() >= date(2017, 3, 1)
    halved = pl.when(late & (pl.col("symbol") == "AAA")).then(0.5).otherwise(1.0)
    frame = frame.with_columns((pl.col("open") * halved).round(6), (pl.col("close") * halved).round(6))
    frame.with_columns(
        high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close"),
        volume=pl.int_range(pl.len()) % 50 + 1000.0 / halved,
    ).write_parquet(place / "halved.parquet")  # fmt: skip
    evaluation = ("evaluate", "mine", "--from", "2017-01-01", "--to", "2017-06-30", "--bars", "halved.parquet")
    for words in (evaluation, ("train", "small.toml", "--bars", "halved.parquet", "--out", "none")):
        code, out, err = quantd(place, *words)
        assert (code, out) == (1, ""), err
        assert "near a 2:1 split, and no action announces one" in err
        assert "add 2017-03-01,AAA,split,2:1," in err
        assert "add 2017-03-01,AAA,split,1:1," in err
    assert not (place / "none").exists()
    for ratio in ("2:1", "1:1"):
        (place / "known.csv").write_text(f"ts,symbol,kind,ratio,cash\n2017-03-01,AAA,split,{ratio},\n")
        assert quantd(place, *evaluation, "--actions", "known.csv")[0] == 0


@pytest.mark.long
def test_what_is_evaluated_is_what_the_card_says_and_what_it_knew_is_counted(
    place: Path, outputs: tuple[str, str]
) -> None:
    test = manifest_of(place / "mine").results["test"]
    code, out, err = quantd(place, "evaluate", "mine", "--from", "2017-01-01", "--to", "2017-06-30", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["policy"]["total_return"] == pytest.approx(test.policy.total_return, abs=1e-4)
    assert report["equal_weight"]["total_return"] == pytest.approx(test.equal_weight.total_return, abs=1e-9)
    assert (report["inside"], report["sessions"], report["same_data"]) == (0, 181, True)
    code, out, err = quantd(place, "evaluate", "mine", "--from", "2016-12-01", "--to", "2017-01-31")
    assert "31 of 62 sessions lie inside the policy's training window" in out


@pytest.mark.long
def test_the_python_api_trains_and_evaluates_as_the_commands_do(
    place: Path, outputs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    shares: list[float] = []
    artifact = api.train("small.toml", "ours", progress=shares.append)
    for name in ("weights.safetensors", "policy.onnx", "golden.bin"):
        assert (place / "ours" / name).read_bytes() == (place / "mine" / name).read_bytes()
    assert artifact.manifest.results == manifest_of(place / "mine").results
    assert "Made by: `quantd.train('small.toml', 'ours')`" in artifact.card
    assert 0.0 < shares[0] <= shares[-1] == 1.0
    report = json.loads(quantd(place, "evaluate", "mine", "--from", "2017-01-01", "--to", "2017-06-30", "--json")[1])
    evaluation = api.evaluate(artifact, date(2017, 1, 1), date(2017, 6, 30))
    for side in ("policy", "equal_weight"):
        assert msgspec.to_builtins(getattr(evaluation, side)) == report[side]
    assert (evaluation.inside, evaluation.sessions) == (report["inside"], report["sessions"])
    with pytest.raises(api.Error, match="no such plan file; name a TOML file"):
        api.train("smal.toml", "none")
    with pytest.raises(api.Error, match="no bars of AAA, BBB, CCC between"):
        api.evaluate("mine", date(2000, 1, 1), date(2000, 2, 1))


@pytest.mark.long
def test_other_bars_come_with_the_actions_beside_them_and_other_symbols_must_be_those_of_the_policy(
    place: Path, outputs: tuple[str, str]
) -> None:
    window = ("evaluate", "mine", "--from", "2017-01-01", "--to", "2017-06-30", "--json")
    frame = pl.read_parquet(place / "bars.parquet")
    frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%d")).write_csv(place / "other.csv")
    code, plain, err = quantd(place, *window, "--bars", "other.csv")
    assert code == 0, err
    assert json.loads(plain)["equal_weight"] == json.loads(quantd(place, *window)[1])["equal_weight"]
    (place / "other.actions.csv").write_text("ts,symbol,kind,ratio,cash\n2017-03-01,AAA,dividend,,5.0\n")
    beside = json.loads(quantd(place, *window, "--bars", "other.csv")[1])
    assert beside["equal_weight"]["total_return"] > json.loads(plain)["equal_weight"]["total_return"]
    without, again = (json.loads(quantd(place, *window, "--bars", "other.csv", "--actions", "")[1]) for _ in range(2))
    assert without == again  # no new trial
    assert without.pop("trials") == beside["trials"] > json.loads(plain)["trials"]
    assert without == {k: v for k, v in json.loads(plain).items() if k != "trials"}
    code, _, err = quantd(place, *window, "--symbols", "AAA,BBB")
    assert code == 78
    assert "trained on AAA, BBB, CCC; the universe lacks CCC" in err


@pytest.mark.requirement("R-246")
@pytest.mark.long
def test_another_training_of_the_same_plan_gives_the_same_bytes_and_counts_its_look(
    place: Path, outputs: tuple[str, str]
) -> None:
    code, _, err = quantd(place, "train", "small.toml", "--out", "mine2", "--tracker", "files", "--experiment", "again")
    assert code == 0, err
    for name in ("policy.onnx", "weights.safetensors", "golden.bin"):
        assert (place / "mine2" / name).read_bytes() == (place / "mine" / name).read_bytes()
    # everything is there: it is judged and written once more
    code, _, err = quantd(
        place, "train", "small.toml", "--out", "mine2", "--tracker", "files", "--experiment", "again", "--resume"
    )
    assert code == 0, err
    assert manifest_of(place / "mine2").training.test_looks == 2


@pytest.mark.requirement("R-093")
@pytest.mark.long
def test_an_interrupted_training_says_how_to_go_on_and_comes_to_the_same_bytes(
    place: Path, outputs: tuple[str, str]
) -> None:
    words = ("train", "small.toml", "--out", "late", "--tracker", "files", "--experiment", "late")
    process = begun(place, *words)
    deadline = time.monotonic() + 60
    while not list((place / "state/training/late").glob("seed-*/step-*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume goes on from there" in err
    assert not (place / "late").exists()
    code, _, err = quantd(place, *words)
    assert code == 78
    assert "has an unfinished run" in err
    code, _, err = quantd(place, *words, "--resume")
    assert code == 0, err
    assert (place / "late/weights.safetensors").read_bytes() == (place / "mine/weights.safetensors").read_bytes()
    assert manifest_of(place / "late").results == manifest_of(place / "mine").results


@pytest.mark.long
@pytest.mark.requirement("R-066")
def test_prioritised_dqn_trains_evaluates_and_writes_checkpoints_in_the_rhythm_of_its_plan(place: Path) -> None:
    """The short form: a hundredth of the steps of the profile. A learner reports each 1,000 steps."""
    text = "".join(f"{line}\n" for line in PLAN.partition("[learner]")[0].splitlines() if not line.startswith("agent"))
    (place / "dqn.toml").write_text('agent = "dqn"\nprofile = "prioritized"\n' + text)
    short = {
        "steps": 5_000, "evaluate_every": 1_000, "checkpoint_every": 2_000, "keep": 20, "patience": 0, "seeds": [1],
        "learner.hidden": [8], "learner.streams": 8, "market.batch": 4,
    }  # fmt: skip
    sets = [word for key, value in short.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    words = ("train", "dqn.toml", "--out", "dqn", "--tracker", "files", "--experiment", "dqn")
    code, _, err = quantd(place, *words, *sets)
    assert code == 0, err
    folder = place / "state/training/dqn/seed-1"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row["step"] for row in rows if row.get("validation_score") is not None]
    assert evaluated == [1_000, 2_000, 3_000, 4_000, 5_000]
    written = sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json"))
    assert written == [2_000, 4_000, 5_000], "each checkpoint of the plan, and the last step"
    assert all(path.with_suffix(".safetensors").exists() for path in folder.glob("step-*.json"))
    assert (place / "dqn/weights.safetensors").exists()


@pytest.mark.requirement("R-061", "R-083")
def test_every_setting_is_shown_with_the_unit_of_the_decay(place: Path) -> None:
    code, out, _ = quantd(place, "train", "--agent", "dqn", "--show")
    assert code == 0
    assert "learner.epsilon_decay = 0.995   (multiplies after each completed episode" in out
    assert "learner.target_every = 10" in out
    code, out, _ = quantd(
        place, "train", "--episodes", "10", "--seeds", "3", "--envs", "4", "--learning-rate", "0.001", "--symbols",
        "SPY,QQQ", "--bf16", "--set", "learner.gamma=0.9", "--set", "market.episodes.length=20", "--show",
    )  # fmt: skip
    for line in (
        "agent = ppo", "steps = 200", "seeds = 1, 2, 3", "market.batch = 4", "learner.learning_rate = 0.001",
        "data.symbols = SPY, QQQ", "learner.bfloat16 = False", "learner.gamma = 0.9",
    ):  # fmt: skip
        assert f"{line}\n" in out, line


@pytest.mark.parametrize("available", [True, False])
def test_bf16_is_set_in_the_plan_where_the_processor_multiplies_it_and_the_reason_is_reported(
    place: Path, monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    features = frozenset({"amx_bf16"} if available else {"avx2"})
    monkeypatch.setattr("quantd.training.plans.precision.instructions", lambda: features)
    code, out, err = quantd(place, "train", "--agent", "sac", "--bf16", "--show")
    assert code == 0
    assert f"learner.bfloat16 = {available}\n" in out
    assert ("--bf16: bfloat16: the processor has amx_bf16" in err) == available
    assert ("--bf16: float32: this processor has neither" in err) != available


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--agent", "dqn", "--bf16"), 2, "dqn does not support bfloat16"),
        (("--steps", "5", "--episodes", "5"), 2, "exclude each other"),
        (("--set", "learner.gama=1"), 78, "learner.gama is not a key of a plan. Did you mean gamma?"),
        (("small.toml", "--agent", "a2c"), 2, "has its own agent and profile"),
        (("--agent", "scorer"), 2, "needs --out"),
        (("--agent", "scorer", "--out", "x", "--steps", "4"), 2, "remove other options"),
        (("--iterations", "4"), 2, "--iterations is an option of the scorer"),
        (("--bars", "none.parquet"), 78, "data.bars = 'none.parquet': there is no such file"),
    ],
)
def test_what_cannot_be_is_said_without_a_traceback(
    place: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    exit_code, out, err = quantd(place, "train", *words, "--tracker", "files")
    assert (exit_code, out) == (code, ""), err
    assert message in err
    assert "Traceback" not in err
    assert "fault of quantd" not in err


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    "words", [("train", "small.toml"), ("tune", "small.toml"), ("train", "--agent", "scorer", "--out", "x")]
)
def test_a_damaged_parquet_file_is_read_in_a_child_process_first(place: Path, words: tuple[str, ...]) -> None:
    bars = place / "damaged.parquet"
    bars.write_bytes(b"PAR1" + bytes(4_000))
    code, out, err = quantd(place, *words, "--bars", bars.name)
    assert (code, out) == (78, ""), err
    assert "damaged.parquet: it cannot be read as parquet" in err
    assert "Write the file again" in err


@pytest.mark.long
def test_an_artifact_records_the_rate_on_cash_that_it_was_trained_with_and_is_judged_by_it(place: Path) -> None:
    (place / "bills.csv").write_text("date,rate\n2015-01-01,0.3\n")
    words = ("--set", "seeds=[1]", "--set", "steps=800", "--experiment", "bills")
    code, _, err = quantd(
        place, "train", "small.toml", *words, "--set", "market.cash_rate=bills.csv", "--out", "earning"
    )
    assert code == 0, err
    manifest = manifest_of(place / "earning")
    assert manifest.plan["market"]["cash_rate"] == "bills.csv"  # type: ignore[index]
    assert manifest.training.data["bills.csv"] == file_digest(place / "bills.csv")
    definition = "risk-free: cash_rate = bills.csv, a year, by calendar days over 365"
    assert definition in (place / "earning" / "card.md").read_text()
    code, out, err = quantd(place, "evaluate", "earning", "--from", "2017-01-01", "--to", "2017-06-30", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert definition in report["sharpe_definition"]
    equal_weight = manifest.results["test"].equal_weight
    assert report["equal_weight"]["sharpe"] == pytest.approx(equal_weight.sharpe, rel=1e-6)


@pytest.mark.long
@pytest.mark.requirement("R-026")
def test_training_writes_into_the_named_folders_only(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("RESULTS_DIR", "MODELS_DIR", "DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "DATA_DIR").mkdir()
    (tmp_path / "DATA_DIR/named.parquet").write_bytes((place / "bars.parquet").read_bytes())
    code, _, err = quantd(
        here, "train", str(place / "small.toml"), "--bars", "data/named.parquet", "--actions", "", "--seeds", "1",
        "--steps", "1024", "--tracker", "mlflow",
    )  # fmt: skip
    assert code == 0, err
    assert list(here.iterdir()) == []
    assert (tmp_path / "MODELS_DIR/small" / MANIFEST).is_file()
    assert (tmp_path / "RESULTS_DIR/training/small").is_dir()
    assert (tmp_path / "RESULTS_DIR/mlflow.db").is_file()


@pytest.mark.requirement("R-010")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_here_is_refused_in_one_sentence_before_anything_is_written(
    place: Path, tmp_path: Path
) -> None:
    code, out, err = quantd(place, "train", "small.toml", "--device", "cuda", "--out", str(tmp_path / "made"))
    assert (code, out) == (78, "")
    assert err == "device = 'cuda': PyTorch finds no such device on this machine; write \"cpu\"\n"
    assert list(tmp_path.iterdir()) == []
    assert quantd(place, "train", "small.toml", "--device", "cpu", "--show")[0] == 0
