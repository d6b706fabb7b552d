"""`make test` runs every part, also after one that failed, and ends with one summary."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
VARIABLES = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The planted tests need no plug-in, and the import of all takes three seconds."""

TESTS = {
    "first/test_one.py": "def test_good(): pass\ndef test_planted(): assert 1 == 2\n",
    "second/test_two.py": "import nothing_of_this_name\n",
    "third/test_three.py": "import pytest\n@pytest.mark.skip\ndef test_left(): pass\ndef test_right(): pass\n"
    "@pytest.fixture\ndef broken(): raise OSError\ndef test_error(broken): pass\n",
}


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m scripts.parts` in a folder with the planted tests."""
    for name, text in TESTS.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "scripts.parts", *words], cwd=folder, env=os.environ | VARIABLES, capture_output=True,
        text=True, timeout=280,
    )  # fmt: skip


@pytest.mark.long
def test_all_parts_run_although_the_first_fails_and_the_failed_tests_are_named(tmp_path: Path) -> None:
    process = ran(tmp_path, "one=first", "two=second", "three=third", "--", *PYTEST)
    assert process.returncode == 1
    table = process.stdout[process.stdout.index("part   passed") :].splitlines()
    assert [re.sub(r"\s+\d+$", "", line).split() for line in table[1:4]] == [
        ["one", "1", "1", "0"], ["two", "0", "1", "0"], ["three", "1", "1", "1"],
    ]  # fmt: skip
    assert table[4:] == [
        "FAILED first/test_one.py::test_planted",
        "FAILED second/test_two.py",
        "FAILED third/test_three.py::test_error",
        "2 passed, 3 failed, 1 skipped",
    ]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("true", "no report, so it is unknown which tests ran"),
        ('echo "<testsuites><testcase" > "${1#*=}"; exit 137', "pytest ended with status 137"),
    ],
    ids=["no report", "killed while it wrote the report"],
)
def test_a_part_without_a_complete_report_counts_as_a_failure(tmp_path: Path, command: str, reason: str) -> None:
    process = ran(tmp_path, "one=first", "two=second", "--", "sh", "-c", command, "sh")
    assert process.returncode == 1
    assert [line for line in process.stdout.splitlines() if line.startswith("FAILED")] == [
        f"FAILED part one: {reason}", f"FAILED part two: {reason}",
    ]  # fmt: skip


CHANCE = (
    "import pathlib\nimport pytest\n@pytest.mark.parametrize('place', ['a b', '[x]'])\ndef test_chance(place):\n"
    "    tried = pathlib.Path(__file__).with_suffix(f'.{ord(place[0])}')\n    first = not tried.exists()\n"
    "    tried.touch()\n    assert not first\n"
)
"""Two tests that fail at the first try only."""


@pytest.mark.long
def test_more_failures_than_may_be_repeated_and_one_that_stays_are_failures(tmp_path: Path) -> None:
    for name in ("test_many.py", "test_more.py", "test_few.py"):
        (tmp_path / name).write_text(CHANCE)
    parts = ("one=test_many.py test_more.py", "two=first test_few.py", "three=second")
    process = ran(tmp_path, "--again", "3", *parts, "--", *PYTEST)
    assert process.returncode == 1
    output, _, table = process.stdout.partition("part   passed")
    assert [line for line in output.splitlines() if line.startswith("second try")] == [
        "second try, one at a time: first/test_one.py::test_planted test_few.py::test_chance[a b] "
        "test_few.py::test_chance[[x]]"
    ]
    assert [line for line in table.splitlines() if line.startswith("SECOND TRY")] == [
        "SECOND TRY test_few.py::test_chance[a b]", "SECOND TRY test_few.py::test_chance[[x]]",
    ]  # fmt: skip
    assert [line for line in table.splitlines() if line.startswith("FAILED")] == [
        *(f"FAILED test_{name}.py::test_chance[{case}]" for name in ("many", "more") for case in ("a b", "[x]")),
        "FAILED first/test_one.py::test_planted", "FAILED second/test_two.py",
    ]  # fmt: skip
    assert process.stdout.endswith("\n3 passed, 6 failed, 0 skipped\n")


def test_the_makefile_gives_every_test_to_one_part() -> None:
    # a make around the tests puts its own flags in the environment
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }

    def dry(*words: str) -> str:
        return subprocess.run(
            ["make", "-n", "-o", ".venv/.full", *words], cwd=ROOT, env=environment, capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout  # fmt: skip

    all_commands = dry("test-all")
    assert all_commands.count("scripts.parts") == 1
    parts = re.findall(r"'(\w+)=([^']*)'", all_commands)
    assert [name for name, _ in parts] == ["torch", "learn", "statistics", "rest"]
    assert parts[-1][1].split()[0] == "tests"
    separate_paths = {word for _, paths in parts[:-1] for word in paths.split() if not word.startswith("--")}
    assert separate_paths == {word.removeprefix("--ignore=") for word in parts[-1][1].split()[1:]}
    module_commands = dry("test", "ARGS=tests/test_parts.py")
    assert "scripts.parts" not in module_commands
    assert module_commands.rstrip().endswith("tests/test_parts.py")
