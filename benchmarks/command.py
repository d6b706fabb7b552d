"""The CPU time of `quantd backtest --json --no-compare` over the default configuration, whole and by its parts.

    python -m benchmarks.command [--beside COMMIT] [--rounds N] [--help-too]

COMMIT is as for `python -m benchmarks.engine`. Each run is a process of its own in an empty folder with the side's
config.toml, in turn with the other side; a round before the first is not counted. The first row is the time of the
command, user and system. The parts are of runs in which the functions named in benchmarks/command_parts.py and all
imports are timed, which adds a few hundredths. A part does not include the imports in it, nor the parts that it calls.
`--help-too` has a row for `quantd --help`. A ratio is the time here over the time there: below 1, this checkout is
faster.
The exit status is 1 where the JSON documents differ in a key that both have, but run, wall time and rate.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.beside import FEWEST_ROUNDS, ROOT, Side, build, environment, side_of
from benchmarks.command_parts import BACKTEST, PROCESS, ROWS

NOT_COMPARED: Final = frozenset({"run", "wall_s", "symbol_bars_per_s"})
"""Keys of the document that each run has for itself."""


def run(side: Side, words: Sequence[str]) -> tuple[float, str, str]:
    """CPU seconds of a process on a side, user and system, and its output on both streams. Raises SystemExit."""
    with TemporaryDirectory(prefix="quantd-command-") as folder:
        shutil.copy(side.folder / "config.toml", folder)
        variables = {**environment(side), "XDG_STATE_HOME": folder, "PYTHONDONTWRITEBYTECODE": ""}
        streams = [Path(folder, name) for name in ("out", "error")]
        with streams[0].open("wb") as out, streams[1].open("wb") as error:
            command = [sys.executable, "-P", "-m", *words]
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=out, stderr=error)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        texts = [stream.read_text(encoding="utf-8") for stream in streams]
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} on {side.text} failed: {texts[1].strip()[-300:]}")
    return usage.ru_utime + usage.ru_stime, texts[0], texts[1]


class Times:
    """The seconds of one side, by row, of all rounds."""

    def __init__(self, side: Side, helped: bool) -> None:
        self.side, self._helped = side, helped
        self.seconds: dict[str, list[float]] = {}
        self.document: dict[str, Any] = {}

    def round(self, *, counted: bool) -> None:
        """Make each run once."""
        rows: dict[str, float] = {}
        rows["whole"], text, _ = run(self.side, ["quantd.daemon.cli", *BACKTEST])
        self.document = json.loads(text)
        elapsed, _, error = run(self.side, ["benchmarks.command_parts"])
        rows |= dict.fromkeys(ROWS, 0.0) | json.loads(error.splitlines()[-1])
        rows[PROCESS] = elapsed - sum(rows[name] for name in ROWS)
        if self._helped:
            rows["quantd --help"] = run(self.side, ["quantd.daemon.cli", "--help"])[0]
        for name, seconds in rows.items() if counted else ():
            self.seconds.setdefault(name, []).append(seconds)


def table(there: Times, here: Times) -> Iterator[str]:
    """The lines of the table: seconds on both sides, median and least, and their ratios."""
    yield f"{'':30s} {'there':>7s} {'least':>7s} {'here':>7s} {'least':>7s} {'ratio':>7s} {'of least':>8s}"
    for name, ours in here.seconds.items():
        theirs = there.seconds[name]
        figures = [statistics.median(theirs), min(theirs), statistics.median(ours), min(ours)]
        ratios = [figures[2] / figures[0], figures[3] / figures[1]] if min(figures) > 0.0 else [float("nan")] * 2
        texts = [f"{seconds:7.3f}" for seconds in figures]
        yield f"{name:30s} {' '.join(texts)} {ratios[0]:7.2f} {ratios[1]:8.2f}"


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The keys that both documents have, with other values."""
    return [key for key in sorted(there.keys() & here.keys() - NOT_COMPARED) if there[key] != here[key]]


def compare(there: Side, here: Side, rounds: int, *, helped: bool) -> int:
    """Run both sides in turn and print the table; the exit status."""
    for side in (there, here):
        build(side)
    times = Times(there, helped), Times(here, helped)
    for number in range(rounds + 1):
        for timed in times if number % 2 else times[::-1]:
            timed.round(counted=number > 0)
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"there: {there.text}; here: {here.text}; CPU seconds of {rounds} rounds in turn; load {load}")
    print(*table(*times), sep="\n")
    changed = differences(times[0].document, times[1].document)
    result = f"differ in {', '.join(changed)}" if changed else "are equal"
    print(f"digest {times[1].document['digest'][:8]}; the documents {result}")
    return 1 if changed else 0


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.command", description="A backtest as a user runs it.")
    options.add_argument("--beside", metavar="COMMIT", default="HEAD", help="the commit, or the folder of a checkout")
    options.add_argument("--rounds", metavar="N", type=int, default=10, help="rounds in turn, 5 or more")
    options.add_argument("--help-too", action="store_true", help="also time `quantd --help`")
    words = options.parse_args()
    if words.rounds < FEWEST_ROUNDS:
        raise SystemExit(f"--rounds {words.rounds}: give {FEWEST_ROUNDS} or more, as fewer show noise")
    with side_of(words.beside) as other:
        return compare(other, Side("this checkout", ROOT), words.rounds, helped=words.help_too)


if __name__ == "__main__":
    sys.exit(main())
