"""The table of all settings: a row for each, with the number of checks that ran in it and what differs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.processors.settings import Facts, Setting, emulator_of, environment
from tests.support.checkout import ROOT

ABSENT: Final = "not installed"
IMPOSSIBLE: Final = "not on this processor"
TIMEOUT_S: Final = 7_200


class Row(NamedTuple):
    """A row. `faults` makes the table red; `remarks` is what may differ. `state` says why nothing ran, or is empty."""

    name: str
    state: str
    checks: int
    seconds: float
    ratios: tuple[tuple[str, float | None], ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]


def table_rows(
    settings: Sequence[Setting],
    form: str,
    shared: Path,
    report: Callable[[Row], None],
    timeout_s: float = TIMEOUT_S,
) -> list[Row]:
    """Run the checks under the settings in order; the first one is the plain one. `report` gets each row.

    The plain row is the only one when its process fails.
    """
    rows: list[Row] = []
    plain: Facts = {}
    for setting in settings:
        row, facts = _row(setting, form, shared, plain, timeout_s)
        rows.append(row)
        report(row)
        if row.faults and not facts and not plain:
            break  # without the plain row no other one has variables, or results to compare with
        plain = plain or facts
    return rows


def _row(setting: Setting, form: str, shared: Path, plain: Facts, timeout_s: float) -> tuple[Row, Facts]:
    front, variables = emulator_of(setting), setting.variables(plain)
    if front is None or variables is None:
        return Row(setting.name, ABSENT if front is None else IMPOSSIBLE, 0, 0.0, (), (), ()), {}
    out, began = shared / "row.json", time.monotonic()
    out.unlink(missing_ok=True)
    command = [*front, sys.executable, "-W", "ignore", "-m", "tests.processors.checks", form, str(shared), str(out)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(variables), capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip
        words = (done.stderr.strip().splitlines() or ["no output"])[-1]
        fault = f"ended with status {done.returncode}: {words}"
    except subprocess.TimeoutExpired:
        fault = f"did not end within {timeout_s:g} s"
    seconds = time.monotonic() - began
    if not out.exists():
        return Row(setting.name, "", 0, seconds, (), (fault,), ()), {}
    facts: Facts = json.loads(out.read_text())
    return judged(setting, facts, plain or facts, seconds), facts


def judged(setting: Setting, facts: Facts, plain: Facts, seconds: float) -> Row:
    """Compare the results of a row with those of the plain one."""
    checks: dict[str, Any] = facts["checks"]
    faults = [f"{name}: {text}" for name, text in checks.items() if isinstance(text, str) and text]
    if not setting.effect(facts):
        faults.append(f"the setting has no effect: {facts['processor']}, oneDNN {facts['onednn']}")
    lacking = plain["checks"].keys() ^ checks.keys()
    faults += [f"{name} ran in one of the two rows only" for name in sorted(lacking)]
    remarks: list[str] = []
    trained = {name: result for name, result in checks.items() if isinstance(result, dict)}
    for name, result in trained.items():
        before = plain["checks"].get(name, result)
        if result["graph"] != before["graph"]:
            text = f"{name}: other weights, test {_ratio(before['test'])} -> {_ratio(result['test'])}"
            must = setting.same_training and "X86_V4" not in plain["processor"]["numpy"]
            (faults if must else remarks).append(text)
    ratios = tuple((name.removeprefix("training "), result["test"]) for name, result in trained.items())
    return Row(setting.name, "", len(checks), seconds, ratios, tuple(faults), tuple(remarks))


HEAD: Final = f"{'setting':24} {'checks':>6} {'seconds':>7}  {'test Sharpe ratios':28}  differences"


def line_of(row: Row) -> str:
    """The line of a row in the table."""
    ratios = ", ".join(f"{name} {_ratio(value)}" for name, value in row.ratios)
    words = row.state or "; ".join([*row.faults, *(f"({remark})" for remark in row.remarks)]) or "none"
    return f"{row.name:24} {row.checks or '':>6} {row.seconds or 0:7.0f}  {ratios:28}  {words}"


def verdict(rows: Sequence[Row]) -> tuple[str, bool]:
    """The last line, and whether all is well: no fault, and the same number of checks in every row that ran."""
    ran = [row for row in rows if not row.state]
    numbers = sorted({row.checks for row in ran})
    faults = sum(len(row.faults) for row in ran) + (len(numbers) > 1)
    count = f"{numbers[0]} checks in each" if len(numbers) == 1 else f"checks differ: {', '.join(map(str, numbers))}"
    return f"{len(ran)} settings, {count}, {faults} faults", bool(ran) and not faults


def _ratio(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"
