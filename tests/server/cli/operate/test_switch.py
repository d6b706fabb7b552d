"""`quantd halt`, `resume` and `reduce` of a running daemon."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import answer, environment, quantd, write


@pytest.mark.long
def test_commands_to_a_running_daemon_take_effect_and_are_journalled(live):
    folder, _ = live
    done = answer(quantd(folder, "halt", "--reason", "lunch", "--json"))
    assert (done["switch"], done["way"]) == ("HALT", "api")
    assert answer(quantd(folder, "status", "--json"))["switch"] == "HALT"
    assert any("lunch" in a["text"] for a in answer(quantd(folder, "alerts", "--json"))["alerts"])
    assert answer(quantd(folder, "resume", "--reason", "back", "--json"))["switch"] == "RUN"
    assert answer(quantd(folder, "reduce", "--agent", "trend", "--json"))["agent"] == "trend"
    agents = answer(quantd(folder, "status", "--json"))["agents"]
    assert {a["name"]: a["switch"] for a in agents} == {"even": "RUN", "trend": "REDUCE"}
    wrong = quantd(folder, "halt", "--agent", "trendy")
    assert wrong.returncode == 2
    assert "even, trend" in wrong.stderr


def test_the_kill_switch_loads_neither_the_engine_nor_the_store_nor_the_checks_of_the_configuration():
    code = "import sys, quantd.server.cli.operate.halt\n"
    code += "heavy = ('numpy', 'rich', 'pydantic', 'polars', 'onnxruntime', 'sqlmodel')\n"
    code += "heavy += ('quantd.daemon.engine', 'quantd.daemon.config', 'quantd.adapters.store')\n"
    code += "print([m for m in heavy if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@contextlib.contextmanager
def silent_daemon(folder: Path) -> Iterator[socket.socket]:
    """A state folder whose daemon accepts connections and never answers."""
    state = folder / "state"
    state.mkdir()
    (state / "token").write_text("secret\n")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        (state / "api.json").write_text(json.dumps({"host": host, "port": port, "halt_port": port, "pid": 4_194_000}))
        yield listening


@pytest.mark.long
@pytest.mark.requirement("R-157")
def test_a_halt_that_the_api_does_not_answer_is_made_by_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    with silent_daemon(tmp_path) as listening:
        host, port = listening.getsockname()
        halt = answer(quantd(tmp_path, "halt", "--json"))
    # whichever of the two ends first: the wait for the answer, or the time-out of the connection
    whys = ("the API did not answer within 1 s", f"the daemon at {host}:{port} does not answer: timed out")
    assert halt.pop("why") in whys
    assert halt == {"file": "state/HALT", "way": "file"}
    assert (tmp_path / "state" / "HALT").exists()
    again = quantd(tmp_path, "halt")  # nobody listens, and the file exists already
    assert again.returncode == 0
    assert again.stdout.startswith("halted by the file state/HALT, not by the API: the daemon at 127.0.0.1:")
    assert "remove the file before `quantd resume`" in again.stdout


def test_a_halt_without_a_daemon_is_the_file_that_the_next_start_reads(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "state").mkdir()
    first, second = quantd(tmp_path, "halt").stdout.splitlines()
    assert first.startswith("halted by the file state/HALT, not by the API: no daemon runs on the state folder state")
    assert "one that starts is halted" in second
    assert (tmp_path / "state" / "HALT").exists()


@pytest.mark.long
def test_a_halt_that_the_api_refuses_is_made_by_the_file_too(live: Any, tmp_path: Path) -> None:
    write(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(live[0] / "state" / "api.json", state)
    (state / "token").write_text("another token\n")
    done = quantd(tmp_path, "halt")
    assert done.returncode == 0
    assert "not by the API: requests that change the daemon need a token" in done.stdout
    assert (state / "HALT").exists()


@pytest.mark.parametrize("narrow", [("--agent", "even"), ("--symbol", "SPY")])
def test_no_file_halts_an_agent_or_a_symbol(tmp_path: Path, narrow: tuple[str, str]) -> None:
    write(tmp_path)
    with silent_daemon(tmp_path):
        pass
    done = quantd(tmp_path, "halt", *narrow)
    assert (done.returncode, done.stdout) == (75, "")
    assert "`quantd halt` halts the whole house" in done.stderr
    assert not (tmp_path / "state" / "HALT").exists()


def test_a_halt_that_is_possible_in_no_way_names_the_signal(tmp_path: Path) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "halt", "--state", "/proc")  # a folder in which nobody can make a file
    assert (done.returncode, done.stdout) == (75, "")
    assert "NOT halted: no daemon runs on the state folder /proc" in done.stderr
    assert "kill -USR1 PID" in done.stderr
