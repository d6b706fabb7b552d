"""SIGKILL at random instants loses and doubles nothing, of a forked child and of the whole `quantd run`.

CI takes 20 kills and 2, `pytest -m slow` takes 100 and 5, and the program of this proof any number.
"""

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
        pytest.param(("--kills", "20"), "0 differences", id="a forked child"),
        pytest.param(("--kills", "100"), "0 differences", id="a forked child, long form", marks=pytest.mark.slow),
        pytest.param(("--kills", "0", "--whole", "2"), "damage: none", id="the whole daemon"),
        pytest.param(
            ("--kills", "0", "--whole", "5"), "damage: none", id="the whole daemon, long form", marks=pytest.mark.slow
        ),
    ],
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
