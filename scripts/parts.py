"""Runs pytest once for each part of the tests, also after a part that failed, and ends with one summary.

    python -m scripts.parts [--again N] 'NAME=PATH ...' ... -- PYTEST ARGUMENT ...

Each part is a process of `PYTEST ARGUMENT ... PATH ...`. The last line of the output is
`N passed, N failed, N skipped`. The exit status is 0 only if every part ended with status 0, and 130 after Ctrl-C.

With `--again N`, a part with at most N failed tests runs these once more, by themselves and with one worker. A test
that passes then counts as passed, and the summary names it as `SECOND TRY`: it is to be mended all the same. Several
thousand of the 18,000 tests start processes, send signals and read clocks, and on a busy machine one of them fails by
chance now and then. To repeat every failed test was rejected: a fault in the product fails many, which is no chance.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple
from xml.etree import ElementTree

from quantd.regular_file import remove

FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
"""Exit statuses."""

TESTS_FAILED: Final = 1
"""Exit status of pytest when tests failed; others say that it could not run them."""


class Part(NamedTuple):
    """The tests of one process."""

    name: str
    paths: tuple[str, ...]


class Outcome(NamedTuple):
    """The result of a part. A status without a failed test counts as one failure, named in `failures`."""

    name: str
    passed: int
    failures: tuple[str, ...]
    skipped: int
    seconds: float
    second: tuple[str, ...] = ()
    """Tests that failed first and passed at the second try; they are counted in `passed`."""


def again_of(words: Sequence[str]) -> tuple[int, Sequence[str]]:
    """Return the number after `--again`, and the other arguments. Raises ValueError for anything but a number."""
    if words[:1] != ["--again"]:
        return 0, words
    if len(words) < 2 or not words[1].isdecimal():
        raise ValueError("--again: the largest number of failed tests to repeat is expected")
    return int(words[1]), words[2:]


def parts_of(words: Sequence[str]) -> tuple[list[Part], list[str]]:
    """Return the parts and the command of the arguments. Raises ValueError for arguments of another form."""
    if "--" not in words:
        raise ValueError("the command is missing: write it after --")
    split = list(words).index("--")
    named, command = words[:split], list(words[split + 1 :])
    wrong = [word for word in named if not word.partition("=")[0] or "=" not in word]
    if wrong or not named or not command:
        raise ValueError(f"{', '.join(wrong) or 'no part, or no command'}: NAME=PATH ... is expected for each part")
    pairs = (word.partition("=") for word in named)
    return [Part(name, tuple(shlex.split(paths))) for name, _, paths in pairs], command


def outcome(part: Part, command: Sequence[str], report: Path, again: int = 0) -> Outcome:
    """Run a part, and at most `again` failed tests of it a second time; the output goes to the terminal."""
    began = time.monotonic()
    words = [*command, f"--junitxml={report}", "-o", "junit_family=xunit1"]
    status = subprocess.run([*words, *part.paths], check=False).returncode
    passed, failures, skipped = counts(report)
    second: tuple[str, ...] = ()
    if status == TESTS_FAILED and 0 < len(failures) <= again:
        print(f"second try, one at a time: {' '.join(failures)}", flush=True)
        remove(report)
        alone = os.environ | {"PYTEST_XDIST_AUTO_NUM_WORKERS": "1"}
        repeated = subprocess.run([*words, *failures], check=False, env=alone).returncode
        number, failing, _ = counts(report)
        if repeated in (0, TESTS_FAILED) and number + len(failing) == len(failures):
            second = tuple(name for name in failures if name not in failing)
            status, passed, failures = repeated, passed + number, failing
    elif not report.exists() and not status:
        failures = (f"part {part.name}: no report, so it is unknown which tests ran",)
    if status and not failures:
        failures = (f"part {part.name}: pytest ended with status {status}",)
    return Outcome(part.name, passed, failures, skipped, time.monotonic() - began, second)


def counts(report: Path) -> tuple[int, tuple[str, ...], int]:
    """Return (passed, names of failed tests, skipped) of a report in JUnit's form; zeros without a complete one."""
    try:
        cases = ElementTree.parse(report).iter("testcase")
    except (FileNotFoundError, ElementTree.ParseError):  # pytest was killed before or while it wrote the report
        return 0, (), 0
    passed = skipped = 0
    failures: dict[str, None] = {}
    for case in cases:
        # a module that cannot be imported has no class, and its own name as that of the test
        module, test = case.get("file") or case.get("classname", ""), case.get("name", "")
        name = f"{module}::{test}" if case.get("classname") else module or test
        if case.find("failure") is not None or case.find("error") is not None:
            failures[name] = None
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, tuple(failures), skipped


def summary(outcomes: Sequence[Outcome], absent: Sequence[Part] = ()) -> str:
    """Return the table of the parts, the failed tests, the parts that did not run, and the line of the totals."""
    width = max(len("part"), *(len(part.name) for part in outcomes)) if outcomes else len("part")
    lines = [f"{'part':{width}}  passed  failed  skipped  seconds"]
    for name, passed, failures, skipped, seconds, _ in outcomes:
        lines.append(f"{name:{width}}  {passed:6}  {len(failures):6}  {skipped:7}  {seconds:7.0f}")
    lines += [f"SECOND TRY {name}" for part in outcomes for name in part.second]
    lines += [f"FAILED {name}" for part in outcomes for name in part.failures]
    lines += [f"NOT RUN part {part.name}" for part in absent]
    passed, skipped = (sum(part[field] for part in outcomes) for field in (1, 3))
    failed = sum(len(part.failures) for part in outcomes)
    return "\n".join([*lines, f"{passed} passed, {failed} failed, {skipped} skipped"])


def main(words: Sequence[str]) -> int:
    """Run every part and print the summary."""
    try:
        again, words = again_of(words)
        parts, command = parts_of(words)
    except ValueError as error:
        print(f"python -m scripts.parts: {error}", file=sys.stderr)
        return WRONG_USE
    outcomes: list[Outcome] = []
    with TemporaryDirectory(prefix="quantd-parts-") as folder:
        try:
            for number, part in enumerate(parts):
                print(f"part {number + 1} of {len(parts)}: {part.name}", flush=True)
                outcomes.append(outcome(part, command, Path(folder) / f"{number}.xml", again))
        except KeyboardInterrupt:
            print(summary(outcomes, parts[len(outcomes) :]))
            return INTERRUPTED
    print(summary(outcomes), flush=True)
    return FAILED if any(part.failures for part in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
