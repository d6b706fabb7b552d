"""`.ci/run`, with a `make` of the test in its place: which targets it runs, and that each failure fails it."""

import os
import subprocess

import pytest

from tests.support.checkout import ROOT

COMPILED = ["build-checked", "build", ".venv/.full", "test-all", "check", "test-patched", "size", "test-processors"]
"""The targets where an engine can be compiled. `build` and the packages are made at the same time, and so are `check`
and what follows it."""

MAKE = """#!/bin/sh
echo "$1 checked=${QUANTD_CHECKED:-}" >> "$RECORD"
[ "$1" != "$FAILS" ] || { echo "$1 failed"; exit 1; }
"""


def run(folder, fails):
    """(exit code, targets, output) of a copy of the script whose `make` fails at one target."""
    for name, text in ((".ci/run", (ROOT / ".ci/run").read_text()), ("scripts/install-services", "#!/bin/sh\nexit 1\n"),
                       ("bin/make", MAKE)):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    record = folder / "record"
    process = subprocess.run(
        [folder / ".ci/run"], capture_output=True, text=True,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "RECORD": str(record), "FAILS": fails},
    )  # fmt: skip
    return process.returncode, record.read_text().splitlines(), process.stdout


def targets(lines):
    """The first word of each line."""
    return [line.split()[0] for line in lines]


@pytest.mark.requirement("R-229")
def test_it_runs_all_tests_and_checks_on_an_engine_with_checks(tmp_path):
    code, lines, _ = run(tmp_path, "")
    assert code == 0
    assert sorted(targets(lines)) == sorted(COMPILED)
    assert [line for line in lines if "checked=1" in line] == ["test-all checked=1"]
    assert targets(lines).index("test-all") < targets(lines).index("check")
    assert [name for name in targets(lines) if name in COMPILED[5:]] == COMPILED[5:]


LAST = {"build": ".venv/.full", "check": "test-processors"}
"""Target -> the last target that begins although this one fails beside it; else no later one begins."""


@pytest.mark.requirement("R-229")
@pytest.mark.parametrize("fails", [name for name in COMPILED if name != "build-checked"])
def test_the_failure_of_each_step_fails_it_and_ends_it_and_is_printed(tmp_path, fails):
    code, lines, output = run(tmp_path, fails)
    assert code != 0
    assert COMPILED.index(LAST.get(fails, fails)) == max(COMPILED.index(name) for name in targets(lines))
    assert output.endswith(f"{fails} failed\n")


@pytest.mark.requirement("R-229")
def test_without_a_compiler_it_runs_the_same_tests_on_the_source(tmp_path):
    code, lines, _ = run(tmp_path, "build-checked")
    assert code == 0
    assert targets(lines)[:2] == ["build-checked", "test-all"]
    assert sorted(targets(lines)[2:]) == ["check", "size", "test-processors"]
