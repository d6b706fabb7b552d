"""The table of processors is red for a difference, for a setting without effect and for another number of checks."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.processors.settings import PLAIN, SETTINGS, Setting
from tests.processors.table import judged, line_of, table_rows, verdict

HERE: dict[str, Any] = {
    "processor": {"model": "a processor", "numpy": "X86_V3", "blas": "Haswell", "torch": "AVX2", "vnni": False},
    "onednn": "Intel AVX2",
    "glibc_avx2": True,
    "checks": {"golden a": "", "artifact b": "", "training dqn": {"graph": "aa", "test": -0.5}},
}


def setting(name: str) -> Setting:
    return next(entry for entry in SETTINGS if entry.name == name)


def changed(**checks: object) -> dict[str, Any]:
    """The facts of another row; a check that is None did not run."""
    facts = copy.deepcopy(HERE)
    facts["checks"] |= {name.replace("_", " "): value for name, value in checks.items()}
    facts["checks"] = {name: value for name, value in facts["checks"].items() if value is not None}
    return facts


def test_equal_results_are_green_and_their_line_has_the_number_of_checks() -> None:
    rows = [judged(setting(PLAIN), HERE, HERE, 3.0), judged(setting("OpenBLAS Haswell"), HERE, HERE, 4.0)]
    assert [row.checks for row in rows] == [3, 3]
    assert line_of(rows[1]).split() == ["OpenBLAS", "Haswell", "3", "4", "dqn", "-0.500000", "none"]
    assert verdict(rows) == ("2 settings, 3 checks in each, 0 faults", True)


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        (changed(golden_a="digest 2be2 -> 77aa"), "golden a: digest 2be2 -> 77aa"),
        (changed(artifact_b="b/golden.bin: differs"), "artifact b: b/golden.bin: differs"),
        (changed(golden_a=None), "golden a ran in one of the two rows only"),
        (changed(golden_c=""), "golden c ran in one of the two rows only"),
    ],
)
def test_a_difference_or_a_check_that_did_not_run_is_red(facts: dict[str, Any], fault: str) -> None:
    row = judged(setting(PLAIN), facts, HERE, 1.0)
    assert row.faults == (fault,)
    assert not verdict([row])[1]


@pytest.mark.parametrize(
    ("command", "timeout_s", "fault"),
    [("echo refused >&2; exit 3", 60.0, "ended with status 3: refused"), ("sleep 60", 0.1, "did not end within 0.1 s")],
)
def test_a_plain_row_that_fails_is_the_only_one(command: str, timeout_s: float, fault: str, tmp_path: Path) -> None:
    (tmp_path / "emulator").write_text(f"#!/bin/sh\n{command}\n")
    (tmp_path / "emulator").chmod(0o755)
    plain = setting(PLAIN)._replace(emulator=(str(tmp_path / "emulator"),))
    rows = table_rows([plain, *SETTINGS[1:]], "quick", tmp_path, lambda row: None, timeout_s)
    assert [row.faults for row in rows] == [(fault,)]
    assert not verdict(rows)[1]
