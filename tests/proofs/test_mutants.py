"""The mutation runner changes what is run, one place at a time, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs.mutants import PACKAGES, RISK, asked_again, module_name, module_path, mutants, survivors_in
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


def texts(folder: Path) -> list[str]:
    (folder / "small.py").write_text(SOURCE)
    return [m.text for m in mutants(folder / "small.py")]


def test_each_operator_number_and_branch_of_a_function_is_changed_once(tmp_path: Path) -> None:
    changes = texts(tmp_path)
    for change in (
        "most is None  ->  most is not None",
        "most is None or not x < 7  ->  most is None and (not x < 7)",
        "not x < 7  ->  x < 7",
        "x < 7  ->  x <= 7",
        "7  ->  8",
        "max  ->  min",
        "x += 2  ->  x -= 2",
        "return x  ->  return None",
        "if most is None or not x < 7:  ->  if True:",
        "if most is None or not x < 7:  ->  if False:",
    ):
        assert changes.count(change) == 1, change


def test_constants_of_the_module_defaults_and_words_are_left_alone(tmp_path: Path) -> None:
    changes = texts(tmp_path)
    assert "return None  ->  return None" not in changes
    assert not any(text.startswith(("5 ", "3 ", "'No", "'A")) for text in changes)
    assert (tmp_path / "small.py").read_text() == SOURCE


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


def test_survivors_are_found_again_as_they_were_printed_though_their_lines_moved(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SOURCE)
    before = list(mutants(tmp_path / "small.py"))
    (tmp_path / "small.py").write_text("# one line more\n" + SOURCE)
    after = list(mutants(tmp_path / "small.py"))
    assert [m.line + 1 for m in before] == [m.line for m in after]
    for outcome in ("  (survived)", "  (no test)", ""):
        printed = f"82 tests, 15 s\n{before[3]}{outcome}\n1 of 2 mutants killed, 50.0%\n"
        assert [str(m) for m in after if asked_again(m, survivors_in(printed))] == [str(after[3])]


@pytest.mark.long
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


def test_a_module_is_named_by_its_path_in_risk_or_among_the_packages_and_found_by_that_name() -> None:
    places = {
        "pretrade/gate": RISK / "pretrade" / "gate.py",
        "switch": RISK / "switch.py",
        "trading/ledger/book": PACKAGES / "trading" / "ledger" / "book.py",
    }
    assert {name: module_path(name) for name in places} == places
    assert [module_name(path) for path in places.values()] == list(places)


def test_survivors_outside_risk_are_found_again_too() -> None:
    mutant = next(mutants(module_path("daemon/engine/core/lots")))
    assert str(mutant).startswith("daemon/engine/core/lots.py:")
    assert asked_again(mutant, survivors_in(f"{mutant}  (survived)\n"))
    assert not asked_again(mutant, survivors_in(f"{mutant} or not  (survived)\n"))
