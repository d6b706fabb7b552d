"""Real daemons with hostile policy files: kill switches answer, the gate holds, nothing of the working folder runs."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantd.daemon.policies.isolation.worker import LIMIT_S
from quantd.models.isolation.confinement import missing
from tests.support.calendar_files import with_calendar
from tests.support.command_line import quantd
from tests.support.isolated_policies import CONFIG, ENV, WITHOUT_LANDLOCK

HELD = """
import ctypes
asked = 0
def act(view):
    global asked
    asked += 1
    if asked == 20:
        ctypes.PyDLL(None).sleep(600)
    return "hold"
"""
"""Holds its interpreter's lock, and needs no CPU for it, at the twentieth question of its process: one second after
each start of it, in which a resume is taken."""
PATIENT = """
import sys
import quantd.daemon.policies.isolation.worker as worker
worker.LIMIT_S = 120.0
from quantd.daemon.cli import main
sys.argv = ["quantd", "run"]
main()
"""
"""A daemon that waits two minutes for an answer: what happens within WITHIN_S did not wait for it."""
WITHIN_S = 30.0


def write(folder: Path, source: str, policy: str = "mine.py:act", params: str = "{}", live: bool = False) -> None:
    (folder / "mine.py").write_text(source)
    pace, at_end = ("20/s", "wait") if live else ("fast", "stop")
    (folder / "config.toml").write_text(CONFIG.format(policy=policy, params=params, pace=pace, at_end=at_end))


def printed(folder: Path, *words: str) -> str:
    """What a command prints; it runs in this process."""
    done = quantd(folder, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def command(folder: Path, *words: str) -> str:
    """What a command prints; it runs as the installed program."""
    program = Path(sys.executable).parent / "quantd"
    with_calendar(folder)
    done = subprocess.run(
        [program, *words], cwd=folder, env=ENV, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def digest_of(text: str) -> str:
    match = re.search(r"digest\"?:? \"?([0-9a-f]{64})", text)
    assert match, text
    return match[1]


@contextmanager
def running(folder: Path) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """A daemon and the address of its API."""
    with_calendar(folder)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PATIENT],
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = None
        while address is None:
            line = process.stdout.readline()
            assert line, "it ended"
            address = re.search(r"http://[0-9.:]+", line)
        yield process, address[0]
    finally:
        process.kill()
        process.communicate()


def status(address: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{address}/api/v1/status", timeout=WITHIN_S) as answer:
        document: dict[str, object] = json.loads(answer.read())
    return document


def wait_for(address: str, what: str, *values: object) -> None:
    until = time.monotonic() + WITHIN_S
    while status(address)[what] not in values:
        assert time.monotonic() < until, status(address)
        time.sleep(0.1)


def held(address: str) -> int:
    """Waits until the newest question is held: the daemon answers twenty requests in a second and takes no bar.
    Returns the number of bars that it has taken."""
    until = time.monotonic() + WITHIN_S
    taken = [0]
    while len(set(taken[-20:])) > 1 or len(taken) < 20:
        assert time.monotonic() < until, taken
        time.sleep(0.05)
        taken.append(int(str(status(address)["slices"])))
    return taken[-1]


def command_of(folder: Path, address: str, word: str) -> None:
    body = json.dumps({"command": word, "reason": "test"}).encode()
    token = (folder / "state" / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{address}/api/v1/commands", body, headers), timeout=WITHIN_S
    ).close()


def halt(way: str, folder: Path, process: "subprocess.Popen[str]", address: str) -> None:
    match way:
        case "api":
            command_of(folder, address, "halt")
        case "file":
            (folder / "state" / "HALT").touch()
        case "signal":
            process.send_signal(signal.SIGUSR1)


@pytest.mark.long
def test_a_policy_that_holds_its_interpreters_lock_delays_no_kill_switch_no_stop_and_no_reader(tmp_path: Path) -> None:
    """One daemon for the three ways to halt, because a start is most of the time."""
    write(tmp_path, HELD, live=True)
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("2019-03-29", "2020-12-31"))  # bars for all of the time
    with running(tmp_path) as (process, address):
        taken = held(address)  # its question is asked, and never answered
        for _ in range(50):
            assert status(address)["switch"] == "RUN"
        assert status(address)["slices"] == taken > 101, "the question is still held"
        for way in ("api", "file", "signal"):
            held(address)
            halt(way, tmp_path, process, address)
            wait_for(address, "switch", "HALT")
            (tmp_path / "state" / "HALT").unlink(missing_ok=True)
            command_of(tmp_path, address, "resume")
            wait_for(address, "switch", "RUN")
        held(address)
        process.terminate()
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
    alerts = printed(tmp_path, "alerts")
    assert alerts.count("mine: the question was withdrawn: what stops trading came first") == 4, (
        "three halts and the stop"
    )
    assert "policy failed" not in alerts


EVIL = """
import quantd.daemon.engine.planning.plan as planning, quantd.risk.pretrade.gate
def evil(*arguments, **keywords):
    raise SystemExit(1)
planning.gate = quantd.risk.pretrade.gate.gate = evil
for name in list(vars(planning)):
    if name.startswith("pass") or "limit" in name:
        setattr(planning, name, evil)
def act(view):
    return [0.9, 0.05, 0.05]
"""


@pytest.mark.long
def test_a_gate_that_a_policy_replaces_is_not_the_daemons(tmp_path: Path) -> None:
    write(tmp_path, EVIL)
    command(tmp_path, "run", "--quiet")
    held = json.loads(printed(tmp_path, "positions", "--json"))["positions"]
    weights = {position["symbol"]: position["weight"] for position in held}
    assert 0.3 < weights["SPY"] < 0.4, "0.35 and what the market did since"
    printed(tmp_path, "replay")  # ends with 1 where a step differs


SEEING = """
import numpy as np
LOOKBACK = 20
USES_BARS = True
def act(view, memory):
    seen, old = view.bars(15), memory.get("old", np.zeros(3))
    score = np.nan_to_num(view.returns(LOOKBACK).mean(axis=0) + (seen.high / seen.low - 1.0).mean(axis=0)) + 0.1 * old
    weights = np.clip(score * 20.0, 0.0, 0.3)
    return dict(zip(view.universe.symbols, weights)), {"old": weights}
"""


LATE = f"within {LIMIT_S:g} s"
"""What an alert says of a policy whose answer or process came after its deadline."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "params"),
    [
        ("mine.py:act", "{}"),
        ("ensemble", '{ members = [{ policy = "mine.py:act" }, { policy = "inverse_volatility" }] }'),
    ],
)
def test_a_run_has_the_digest_of_its_backtest(tmp_path: Path, policy: str, params: str) -> None:
    write(tmp_path, SEEING, policy, params)
    run = digest_of(printed(tmp_path, "run"))
    if LATE in printed(tmp_path, "alerts"):
        pytest.skip("this machine was too busy for the deadline of a policy, whose agent then holds")
    assert run == digest_of(printed(tmp_path, "backtest", "--json"))


@pytest.mark.long
def test_a_module_of_the_working_folder_is_not_run(tmp_path: Path) -> None:
    write(tmp_path, SEEING)
    for name in ("pickle", "struct", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w').close()\n")
    command(tmp_path, "run", "--quiet", "--set", "feed.end=2019-01-08")
    assert not (tmp_path / "owned").exists()


CHILDREN = """
import os, sys
from pathlib import Path
from quantd.daemon.cli import main
sys.argv = ["quantd", "run", "--quiet"]
try:
    main()
except SystemExit:
    pass
stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
print([fields[0] for fields in stats if int(fields[1]) == os.getpid()])
"""


@pytest.mark.long
def test_no_process_outlives_the_run(tmp_path: Path) -> None:
    # a program that begins anew under other agents replaces itself, and keeps its children
    write(with_calendar(tmp_path), SEEING)
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN],
        cwd=tmp_path,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")
def test_the_token_is_unreadable_for_a_policy_of_a_run(tmp_path: Path) -> None:
    write(
        tmp_path,
        f"def act(view):\n    return [0.1, 0.1, len(open({str(tmp_path / 'state' / 'token')!r}).read()) / 1000]\n",
    )
    printed(tmp_path, "run", "--quiet")
    alerts = printed(tmp_path, "alerts")
    assert "PermissionError: [Errno 13] Permission denied" in alerts
    assert "suspended after 3 failures" in alerts


RUN_AND_DOCTOR = """
from contextlib import suppress
from quantd.daemon.cli import main
for word in ("run", "doctor"):
    with suppress(SystemExit):
        main([word])
    print("the next command" if word == "run" else "", flush=True)
"""


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")
def test_a_kernel_that_lacks_something_is_named_at_the_start_and_by_the_doctor(tmp_path: Path) -> None:
    write(with_calendar(tmp_path), SEEING)

    program = WITHOUT_LANDLOCK.partition("from quantd")[0] + RUN_AND_DOCTOR
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    run, doctor = done.stdout.split("the next command\n")
    assert "policy.not_isolated" in run
    assert "no Landlock" in run
    assert "digest" in run
    assert "policy files are not isolated: this machine lacks Landlock" in doctor
    assert "policy files run confined" in printed(tmp_path, "doctor")


@pytest.mark.skipif(bool(missing()), reason=f"this kernel lacks {missing()}")
def test_a_check_of_the_configuration_runs_a_policy_file_in_its_process_only(tmp_path: Path) -> None:
    write(tmp_path, "open(__file__ + '.ran', 'w')\ndef act(view):\n    return [0.1, 0.1, 0.1]\n")
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert "mine.py:1: PermissionError" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "mine.py"]


QUIET = """
try:
    open(__file__ + ".ran", "w")
except OSError:
    pass
def act(view):
    return [0.1, 0.1, 0.1]
"""


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")
def test_no_command_that_looks_at_a_run_loads_a_policy_file_with_the_rights_of_the_user(tmp_path: Path) -> None:
    write(tmp_path, QUIET)
    for words in (["run", "--quiet"], ["status"], ["orders"], ["why", "SPY"], ["plan"], ["report"], ["replay"]):
        printed(tmp_path, *words)
        assert not (tmp_path / "mine.py.ran").exists(), words
