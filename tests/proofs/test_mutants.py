"""The mutation runner changes what is run, one place at a time, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs.mutants import mutants
from tests.support.checkout import ROOT

SOURCE = '''"""A module."""

LIMIT = 5


def capped(x: int = 3, most: float | None = None) -> int:
    """No change here."""
    if most is None or not x < 7:
        return max(x, LIMIT)
    x += 2
    return x


def nothing() -> None:
    return None
'''


def test_a_mutant_is_code_that_does_something_else(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SOURCE)
    answers = {}
    for mutant in mutants(tmp_path / "small.py"):
        names: dict[str, object] = {}
        exec(mutant.code, names)
        capped = names["capped"]
        answers[mutant.text] = capped(1, 2.0), capped(9, 2.0)  # type: ignore[operator]
    assert answers["x += 2  ->  x -= 2"] == (-1, 9)
    assert answers["max  ->  min"] == (3, 5)
    assert answers["not x < 7  ->  x < 7"] == (5, 11)


@pytest.mark.slow
def test_the_program_kills_mutants_of_a_module_that_is_imported_through_the_package() -> None:
    """The whole program on a few mutants: a module named as the user names it, tests that reach its lines."""
    words = ["--share", "0.3", "--longest", "3", "--tests", "risk/test_switch", "switch"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.proofs.mutants", *words], cwd=ROOT, check=False, capture_output=True, text=True
    )
    killed = re.search(r"^switch +(\d+) +(\d+) +0 ", done.stdout, re.MULTILINE)
    assert killed, done.stdout + done.stderr
    assert int(killed[1]) > 10
    assert done.returncode == 0
