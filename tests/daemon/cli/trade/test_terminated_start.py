"""SIGTERM during a start that takes long: systemd's stop, and a person's, ends it at once."""

import signal
import time
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG, begun, quantd, write

ENDS_S = 30.0
"""Seconds within which a start ends; the policies load for longer."""

SLOW = {
    "import": "import time\ntime.sleep(250)\n\ndef act(view):\n    return [0.0] * len(view.prices)\n",
    "endless": "while True:\n    pass\n",
}


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("load", SLOW)
def test_a_start_whose_policy_loads_for_long_ends_at_sigterm_with_its_processes(tmp_path: Path, load: str) -> None:
    head, _, tail = CONFIG.partition("[[agents]]")
    slow = '[[agents]]\nname = "slow"\npolicy = "slow.py:act"\ncapital = 1.0\n'
    write(tmp_path, f"{head}{slow}[bus]{tail.partition('[bus]')[2]}")
    (tmp_path / "slow.py").write_text(SLOW[load])
    start = begun(tmp_path, "run")
    try:
        limit = time.monotonic() + 60
        while not (workers := children(start.pid)):
            assert start.poll() is None, start.communicate()
            assert time.monotonic() < limit
            time.sleep(0.02)
        time.sleep(0.3)
        start.send_signal(signal.SIGTERM)
        _, errors = start.communicate(timeout=ENDS_S)
    finally:
        start.kill()
    assert start.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM), errors
    assert "Traceback" not in errors
    limit = time.monotonic() + ENDS_S
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < limit, "the process of the policy is left"
        time.sleep(0.02)
    (tmp_path / "slow.py").write_text("def act(view):\n    return [0.0] * len(view.prices)\n")
    assert quantd(tmp_path, "run", "--quiet").returncode == 0, "nothing is left that the next start would stumble over"
