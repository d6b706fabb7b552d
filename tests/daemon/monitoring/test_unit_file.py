"""The service as systemd reads it, and that what it forbids is not needed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config.overrides import SECRETS
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, quantd, running, write
from tests.support.services import require

UNIT = ROOT / "systemd" / "quantd@.service"


def settings() -> dict[str, list[str]]:
    entries: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            entries.setdefault(key, []).append(value)
    return entries


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = require("systemd-analyze")["systemd-analyze"]
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.requirement("R-005", "R-227")
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name  # the program is where `make install` puts it, which is not on this machine
    here.write_text(UNIT.read_text().replace("/opt/quantd/.venv/bin/quantd", sys.executable))
    done = analyze("verify", str(here))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.requirement("R-227")
def test_the_service_is_confined_to_an_exposure_of_at_most_1_1() -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level.group(1)) <= 1.1


@pytest.mark.requirement("R-221")
def test_a_wrong_configuration_is_not_started_again_and_a_crash_is() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert unit["ExecStart"] == ["/opt/quantd/.venv/bin/quantd run --config /etc/quantd/%i.toml"]
    assert unit["ExecReload"] == ["/opt/quantd/.venv/bin/quantd config check --config /etc/quantd/%i.toml --reload"]
    assert float(unit["WatchdogSec"][0]) > 0


@pytest.mark.long
def test_a_reload_of_the_unit_fails_with_each_key_that_is_not_in_force(tmp_path: Path) -> None:
    (words,) = (value.replace("/etc/quantd/%i.toml", "config.toml").split() for value in settings()["ExecReload"])
    reload = lambda: quantd(tmp_path, *words[1:])  # noqa: E731
    at_end = CONFIG.replace('at_end = "stop"', 'at_end = "wait"')
    write(tmp_path, at_end)
    before = reload()
    assert before.returncode == 75, "no daemon runs yet"
    assert "no daemon trades in the state folder state" in before.stderr
    with running(tmp_path) as daemon:
        tighter = at_end.replace("max_drawdown = 0.25", "max_drawdown = 0.10")
        write(tmp_path, tighter.replace("capital = 0.5", "capital = 0.4"))
        line = at_end.splitlines().index("capital = 0.5") + 1
        refused = reload()
        assert refused.returncode == 1
        assert f'config.toml:{line}: [[agents]] "even" capital = 0.4 is not in force, 0.5 is' in refused.stderr
        status = json.loads(quantd(tmp_path, "status", "--json").stdout)
        assert len(status["differs"]) == 1, "the tighter limit of the same edit is in force"
        write(tmp_path, at_end.replace("max_drawdown", "max_drawdwon"))
        faulty = quantd(tmp_path, *words[1:], "--json")
        assert (faulty.returncode, json.loads(faulty.stdout)["ok"]) == (1, False)
        assert "max_drawdwon" in faulty.stdout
        write(tmp_path, tighter)
        done = reload()
        assert (done.returncode, done.stderr) == (0, "")
        assert "all of it is in force" in done.stdout
    assert daemon.returncode == 0
    assert reload().returncode == 75, "the daemon has stopped"


@pytest.mark.requirement("R-232")
def test_each_secret_that_the_daemon_can_ask_for_is_handed_to_each_instance_under_its_own_name() -> None:
    assert set(settings()["LoadCredential"]) == {
        f"{name}:quantd.%i.{name}" for name in {*SECRETS, *known_names().secrets}
    }


CONFINED = """
import ctypes, mmap, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, Linux 6.3
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=7)
except OSError:
    pass
else:
    sys.exit("the kernel still gives memory that is writable and executable")
import aiohttp, aiomqtt, amqtt.broker, msgspec, onnxruntime, sqlalchemy, sqlmodel, structlog
import numpy as np, polars as pl
from onnx import TensorProto, helper
assert pl.DataFrame({"a": [1, 2, 3]}).with_columns(b=pl.col("a").cum_sum())["b"][2] == 6
assert np.linalg.svd(np.eye(8) * 3.0)[1][0] == 3.0
nodes = [helper.make_node("Gemm", ["x", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["z"])]
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64])
weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 64], np.eye(64, dtype="f").ravel().tolist())
graph = helper.make_graph(nodes, "g", [value("x")], [value("z")], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(answer,) = session.run(None, {"x": np.zeros((1, 64), dtype="f")})
assert abs(answer.sum() - 1.0) < 1e-5
print("runs")
"""


def confined(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if not k.startswith("POLARS")} | environment
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], capture_output=True, text=True, env=env, timeout=120, cwd=ROOT
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3), so MemoryDenyWriteExecute cannot be tried")
    return done


@pytest.mark.long
def test_the_libraries_run_where_memory_cannot_become_code() -> None:
    assert settings()["MemoryDenyWriteExecute"] == ["yes"]
    environment = dict(pair.split("=", 1) for value in settings()["Environment"] for pair in value.split())
    done = confined(environment)
    assert (done.returncode, done.stdout.strip()) == (0, "runs"), done.stderr
