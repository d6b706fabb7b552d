"""Artifacts of a few kilobytes whose graphs compute for hours or take gigabytes, tried at each door that opens one."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

import quantd
from quantd.daemon.policies.deadline import Deadline
from quantd.models.artifacts.folder import write
from quantd.models.artifacts.scorer_policy import load
from quantd.models.isolation import graph_process
from quantd.research.runs.failures import DecisionFailed
from tests.support import command_line
from tests.support.api_world import standing_at_the_end
from tests.support.checkout import ROOT

pytestmark = pytest.mark.long

HOURS, GIGABYTES = (6_000, 300), (40_000, 1)
"""Rows of a square matrix, and how often it is multiplied by itself."""

SENTENCE = re.compile(
    r"(at_run|at_probe)/policy\.onnx: its graph gives no answer; name another artifact: "
    r"(no answer of its graph within 1 s|.*Failed to allocate memory)"
)

DATA = ("--bars", f"{ROOT}/data/us_daily.parquet", "--actions", f"{ROOT}/data/us_actions.csv")
CONFIG = command_line.CONFIG.replace('policy = "equal_weight"', 'policy = "models/at_run"')


def hostile(folder: Path, attack: tuple[int, int], assets: int) -> None:
    """An artifact whose probe has `assets` assets, and whose matrix has rows for each asset above two."""
    (rows, times), node, port = attack, helper.make_node, helper.make_tensor_value_info
    constants = {"two": np.float32(2), "rows": np.float32(rows), "zero": np.zeros(1, np.float32), "one": np.array([1])}
    nodes = [
        node("ReduceSum", ["mask"], ["known"], keepdims=0), node("Sub", ["known", "two"], ["more"]),
        node("Mul", ["more", "rows"], ["number"]), node("Cast", ["number"], ["size"], to=TensorProto.INT64),
        node("Reshape", ["size", "one"], ["extent"]), node("Concat", ["extent", "extent"], ["shape"], axis=0),
        node("Expand", ["zero", "shape"], ["m0"]),
        *(node("MatMul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]) for k in range(times)),
        node("ReduceSum", [f"m{times}"], ["nothing"], keepdims=0), node("Div", ["mask", "known"], ["equal"]),
        node("Add", ["equal", "nothing"], ["weights"]),
    ]  # fmt: skip
    ports = [port("features", TensorProto.FLOAT, [1, "n", 9]), port("mask", TensorProto.FLOAT, [1, "n"])]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ports, [port("weights", TensorProto.FLOAT, [1, "n"])], tensors)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    shipped = load(ROOT / "models" / "shipped" / "scorer")
    probe = np.append(shipped.golden_returns[:, :assets].ravel(), np.full(assets, 1.0 / assets))
    contents = {
        "card.md": b"# a card\n", "golden.bin": probe.astype("<f8").tobytes(),
        "policy.onnx": bytes(model.SerializeToString()), "weights.safetensors": shipped.weights,
    }  # fmt: skip
    assert len(contents["policy.onnx"]) < 12_000
    write(folder, replace(shipped.manifest, golden=replace(shipped.manifest.golden, assets=assets)), contents)


@pytest.fixture(params=[HOURS, GIGABYTES], ids=["hours", "gigabytes"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a configuration of three symbols and two artifacts: one that fails at its probe already, and one
    that fails in a run."""
    hostile(tmp_path / "models" / "at_probe", request.param, 3)
    hostile(tmp_path / "models" / "at_run", request.param, 2)
    command_line.write(tmp_path, CONFIG)
    monkeypatch.setattr(graph_process, "PATIENT_S", 1.0)
    monkeypatch.setattr(graph_process, "LIMIT_S", 1.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends(folder: Path, code: int, *words: str) -> str:
    """What a command printed that ended with `code` and the sentence."""
    done = command_line.quantd(folder, *words)
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert SENTENCE.search(printed), printed
    assert "Traceback" not in printed
    return printed


def test_commands_that_load_an_artifact_refuse_it_at_its_probe(place: Path) -> None:
    ends(place, 78, "models", "verify", "models/at_probe")
    ends(place, 78, "models", "combine", "both", "models/at_probe", "models/at_run")
    assert command_line.quantd(place, "models", "verify", "models/at_run").returncode == 0


def test_a_backtest_says_which_agent_failed_and_goes_on_with_the_others(place: Path) -> None:
    assert "even failed on 3 of 3 decisions" in ends(place, 1, "backtest", "--no-compare")


def test_an_evaluation_ends_at_its_first_decision(place: Path) -> None:
    window = ("--symbols", "SPY,QQQ,IWM", "--from", "2017-01-01", "--to", "2017-06-30")
    ends(place, 78, "evaluate", "models/at_run", *DATA, *window)


def test_a_backtest_in_python_raises_and_its_process_goes_on(place: Path) -> None:
    with pytest.raises(DecisionFailed, match=SENTENCE):
        quantd.backtest("config.toml")
    assert quantd.backtest(command_line.write(place, command_line.CONFIG)).digest


async def test_a_prediction_is_refused_and_the_daemon_answers_the_next(place: Path) -> None:
    async with standing_at_the_end(place, CONFIG) as world:
        for artifact in ("models/at_probe", "models/at_run", "scorer"):
            async with world.session.post(
                "/api/v1/predict", json={"artifact": artifact}, headers=world.bearer
            ) as response:
                told = await response.json()
                assert (response.status == 200) == (artifact == "scorer"), told
                assert artifact == "scorer" or SENTENCE.search(told["detail"]), told


def test_the_explanation_of_an_order_names_the_artifact_that_stands_in_the_place_of_the_one_that_decided(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (1.0,))
    beside = '[[agents]]\nname = "plain"\npolicy = "equal_weight"\ncapital = 0.1\n[[schedules]]'
    command_line.write(place, CONFIG.replace("2019-03-29", "2019-01-04").replace("[[schedules]]", beside))
    assert command_line.quantd(place, "run").returncode == 0
    order = command_line.answer(command_line.quantd(place, "orders", "--json"))["orders"][-1]["id"]
    for file in (place / "models" / "at_probe").iterdir():
        file.rename(place / "models" / "at_run" / file.name)
    assert "agent plain: target" in ends(place, 0, "why", order)
