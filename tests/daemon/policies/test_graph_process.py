"""Graphs of trained policies run in a process of their own: the same bits, a deadline, a limit of memory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantd.daemon.policies.deadline import Deadline, isolated
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.loading import load
from quantd.models.artifacts.loader import load_artifact
from quantd.models.isolation.graph_process import FarGraph, GraphProcess
from quantd.models.isolation.session import PolicyFailed, Session
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.effects import Publish
from tests.support.checkout import ROOT
from tests.support.engine import World, block, walk
from tests.support.isolated_policies import WITHOUT_LANDLOCK

SHIPPED = ROOT / "models" / "shipped"
QUICK = {"x": np.ones((1, 3), np.float32)}


@pytest.fixture
def process() -> Iterator[GraphProcess]:
    opened = GraphProcess(())
    yield opened
    opened.close()


def products(size: int, times: int) -> bytes:
    """A graph that multiplies matrices of `size` as often as its input is not zero, which no check of shapes knows."""
    return model(multiplied("x", times, "y"), size)


def multiplied(source: str, times: int, mean: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceSum", [source], ["s"]),
        helper.make_node("Expand", ["s", "shape"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]) for k in range(times)),
        helper.make_node("ReduceMean", [f"m{times}"], [mean]),
    ]


Ports = dict[str, list[int | str] | None]


def model(
    nodes: list[onnx.NodeProto], size: int = 0, inputs: Ports | None = None, output: Ports | None = None
) -> bytes:
    shape = numpy_helper.from_array(np.array([size, size], np.int64), "shape")
    taken, given = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents) for name, extents in ports.items()]
        for ports in (inputs or {"x": [1, 3]}, output or {"y": None})
    )
    graph = helper.make_graph(nodes, "g", taken, given, [shape] if size else [])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


DOUBLE = model([helper.make_node("Add", ["x", "x"], ["y"])])


def opened(process: GraphProcess, graph: bytes) -> FarGraph:
    return process.open(graph, Path("policy.onnx"), 1)


def pid(process: GraphProcess) -> int:
    assert process._child is not None
    return process._child.process.pid


def feeds(session: Session) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5)
    shapes = {
        port.name: [5 if isinstance(extent, str) else extent for extent in port.shape] for port in session.get_inputs()
    }
    return {
        name: draw.random([int(extent or 1) for extent in shape]).astype(np.float32) for name, shape in shapes.items()
    }


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("name", ["ppo", "dqn", "lite", "scorer", "forest_risk"])
def test_the_answer_of_another_process_is_the_same_bits(name: str) -> None:
    near, far = load_artifact(SHIPPED / name, {}), load_artifact(SHIPPED / name, {}, Apart().graphs())
    (here,), (there,) = near.sessions, far.sessions
    assert isinstance(there, FarGraph)
    given = feeds(here)
    for one, other in zip(here.run(None, given), there.run(None, given), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert [port.name for port in here.get_outputs()] == [port.name for port in there.get_outputs()]
    there.process.close()


@pytest.mark.long
def test_a_graph_that_computes_for_hours_fails_at_its_deadline_and_the_next_question_is_answered(
    process: GraphProcess,
) -> None:
    endless, double = opened(process, products(1_500, 2_000)), opened(process, DOUBLE)
    first = pid(process)
    process.limit_s = 0.5
    with pytest.raises(PolicyFailed, match=r"no answer of its graph within 0\.5 s; its process is started anew"):
        endless.run(None, QUICK)
    assert process.fault
    process.limit_s = 20.0
    process.expect()
    assert double.run(None, QUICK)[0].tolist() == [[2.0, 2.0, 2.0]]
    assert (pid(process) != first, process.fault) == (True, "")


def test_a_graph_takes_no_more_memory_than_its_process_has(process: GraphProcess) -> None:
    large = opened(process, products(40_000, 1))
    with pytest.raises((PolicyFailed, ValueError)):
        large.run(None, QUICK)  # 6.4 GB for each matrix
    process.expect()
    assert opened(process, DOUBLE).run(None, QUICK)[0].tolist() == [[2.0, 2.0, 2.0]]


def test_a_graph_that_is_opened_after_a_kill_is_not_taken_for_an_earlier_one(process: GraphProcess) -> None:
    opened(process, products(2, 1))
    child = process._child
    assert child is not None
    os.kill(pid(process), signal.SIGKILL)
    while child.alive:
        time.sleep(0.01)
    double = opened(process, DOUBLE)
    assert [port.shape for port in double.get_outputs()] == [[1, 3]]  # a sum of products is one number
    assert double.run(None, QUICK)[0].tolist() == [[2.0, 2.0, 2.0]]


@pytest.mark.long
def test_a_withdrawn_question_ends_at_once_and_the_next_is_answered(process: GraphProcess) -> None:
    endless, double = opened(process, products(1_500, 2_000)), opened(process, DOUBLE)
    texts: list[str] = []

    def ask() -> None:
        try:
            endless.run(None, QUICK)
        except PolicyFailed as failed:
            texts.append(str(failed))

    thread = Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    process.withdraw()
    thread.join(100.0)
    assert len(texts) == 1
    process.expect()
    assert double.run(None, QUICK)[0].tolist() == [[2.0, 2.0, 2.0]]


def test_a_graph_that_the_runtime_refuses_is_refused_with_its_reason(process: GraphProcess) -> None:
    with pytest.raises(ValueError, match=r"Unable to|No Op registered|INVALID|protobuf"):
        opened(process, b"\x08\x08no graph")
    with pytest.raises(ValueError, match=r"Invalid (rank|input)|Unexpected input|INVALID_ARGUMENT"):
        opened(process, DOUBLE).run(None, {"x": np.ones((2, 2), np.float32)})


def test_the_process_reads_no_file_of_the_user_and_reaches_no_network(process: GraphProcess) -> None:
    opened(process, DOUBLE)
    status = Path(f"/proc/{pid(process)}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    limits = Path(f"/proc/{pid(process)}/limits").read_text()
    assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max file size")] == ["0"]


@pytest.mark.long
def test_a_trained_policy_is_asked_in_a_thread_and_an_endless_one_is_suspended_while_the_others_go_on() -> None:
    symbols = load_artifact(SHIPPED / "scorer", {}).lookback
    world = World(block(walk(symbols + 12, 2, 1)), [lambda v: np.array([0.3, 0.3])] * 2, house=PROFILES["research"])
    items = list(world.items())
    trained = load(str(SHIPPED / "scorer"), {}, ROOT, Apart())
    (process,) = isolated(trained)
    assert isinstance(process, GraphProcess)
    process._graphs[0] = process._graphs[0].__class__(0, endless_scorer(), 1)
    process.close()
    deadline = Deadline([world.policies[0], trained], limit_s=1.0)
    world.shell.answer = deadline
    world.run(iter(items))
    deadline.close()
    texts = [p.text for p in world.of(Publish) if isinstance(p, Publish) and p.agent == "a1"]
    assert sum("within 1 s; its process is started anew" in text for text in texts) == 3
    assert world.shell.state.agents[1].suspended
    assert not world.shell.state.agents[0].suspended


NAMES_WHAT_IS_MISSING = """
import json
from pathlib import Path
from quantd.daemon.policies.isolation.worker import Apart, lacking
from quantd.daemon.policies.loading import load
policies = [load(name, {}, Path(sys.argv[1]), Apart()) for name in sys.argv[2:]]
print(json.dumps(lacking(policies)))
"""


@pytest.mark.long
def test_a_kernel_without_landlock_is_named_for_the_graphs_of_each_trained_policy() -> None:
    trained = ["models/shipped/scorer", "models/shipped/dqn", "models/shipped/forest_allocation"]
    program = WITHOUT_LANDLOCK.partition("from quantd")[0] + NAMES_WHAT_IS_MISSING
    printed = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), *trained], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert printed.returncode == 0, printed.stderr
    pairs = json.loads(printed.stdout)
    assert [name for name, _ in pairs] == [f"the graphs of {name.rpartition('/')[2]}" for name in trained]
    assert all("Landlock" in rights for _, rights in pairs)


def endless_scorer() -> bytes:
    """A graph with the inputs of a scorer that never ends."""
    nodes = [*multiplied("features", 2_000, "mean"), helper.make_node("Add", ["mask", "mean"], ["weights"])]
    return model(nodes, 1_500, {"features": [1, "n", 9], "mask": [1, "n"]}, {"weights": [1, "n"]})
