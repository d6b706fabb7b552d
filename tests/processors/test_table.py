"""The table of processors is red for a difference, for a setting without effect and for another number of checks."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.processors.settings import ALL, CLEARED, PLAIN, QUICK, SETTINGS, TUNABLES, Setting, environment, named
from tests.processors.table import ABSENT, Row, judged, line_of, table_rows, verdict

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


def test_a_setting_without_effect_is_red() -> None:
    for entry in SETTINGS:
        row = judged(entry, HERE, HERE, 1.0)
        expected = entry.name in (PLAIN, "OpenBLAS Haswell", "qemu Haswell")
        assert (row.faults == ()) is expected, entry.name
        assert expected or row.faults[0].startswith("the setting has no effect: ")


def test_other_weights_are_a_fault_only_where_a_training_must_be_the_same() -> None:
    other = changed(training_dqn={"graph": "bb", "test": -0.541})
    text = "training dqn: other weights, test -0.500000 -> -0.541000"
    assert judged(setting(PLAIN), other, HERE, 1.0).faults == (text,)
    free = judged(setting("OpenBLAS Haswell"), other, HERE, 1.0)
    assert (free.faults, free.remarks) == ((), (text,))
    assert line_of(free).endswith(f"({text})")
    wide = copy.deepcopy(HERE)
    wide["processor"]["numpy"] = "X86_V3 X86_V4"
    assert judged(setting(PLAIN), other, wide, 1.0).faults == ()


def test_rows_with_other_numbers_of_checks_are_red_and_what_is_not_installed_is_said() -> None:
    rows = [Row(name, "", number, 1.0, (), (), ()) for name, number in (("a", 3), ("b", 2))]
    assert verdict(rows) == ("2 settings, checks differ: 2, 3, 1 faults", False)
    assert verdict([]) == ("0 settings, checks differ: , 0 faults", False)
    absent = Setting("x", lambda plain: {}, lambda facts: True, same_training=False, emulator=("no-such-program",))
    (row,) = table_rows([absent], "quick", None, lambda row: None)  # type: ignore[arg-type]
    assert row.state == ABSENT
    assert line_of(row).endswith(ABSENT)


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


def test_a_row_has_its_own_variables_and_none_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert not set(CLEARED) & environment({}).keys()
    assert environment({"ATEN_CPU_CAPABILITY": "default"})["OMP_NUM_THREADS"] == "1"
    united = setting(ALL).variables(HERE)
    assert united is not None
    assert united.pop("GLIBC_TUNABLES", TUNABLES) == TUNABLES
    assert united == {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3", "OPENBLAS_CORETYPE": "Prescott", "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }  # fmt: skip


def test_the_settings_of_continuous_integration_are_those_without_an_emulator() -> None:
    assert [entry.name for entry in QUICK] == [
        PLAIN, "numpy without AVX2", "OpenBLAS Prescott", "OpenBLAS Haswell", "ATen default", "oneDNN SSE4.1",
    ]  # fmt: skip
    assert [entry.name for entry in named(["openblas"])] == [PLAIN, "OpenBLAS Prescott", "OpenBLAS Haswell"]
    assert named([]) == SETTINGS
