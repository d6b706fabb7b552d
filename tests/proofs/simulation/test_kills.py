"""SIGKILL at random instants loses and doubles nothing: 100 of a forked child, 5 of the whole `quantd run`."""

import os
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT


@pytest.mark.requirement("R-008")
@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kills", "100"), "0 differences"),
        (("--kills", "0", "--whole", "5"), "damage: none"),
    ],
    ids=["a forked child", "the whole daemon"],
)
def test_a_run_that_is_killed_and_taken_up_again_ends_as_if_nothing_had_happened(
    words: tuple[str, ...], said: str
) -> None:
    # a process of its own: a fork of the test runner would inherit its threads
    done = subprocess.run(
        [sys.executable, "-m", "tests.proofs.simulation.kills", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert said in done.stdout
