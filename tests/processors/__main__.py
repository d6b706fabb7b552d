"""Repeats golden runs, artifacts, copies in eight bits and short trainings as if on other processors.

    python -m tests.processors [--quick | --long] [SETTING ...]

The table has a row for each setting: the number of checks that ran, the test Sharpe ratios of the trainings, and what
differs from the plain row. The exit status is 1 if a row has a fault, another number of checks, or no effect. A
training may differ where docs/learn/training.md says so; that is printed in brackets. `--quick` takes one golden run, a
tiny training and the settings of continuous integration. `--long` takes every golden run. SETTING is a part of names.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.processors.settings import QUICK, named
from tests.processors.table import HEAD, line_of, table_rows, verdict


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.processors", description="Repeats checks as if on other processors."
    )
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="part of a setting's name")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="one golden run and a tiny training")
    group.add_argument("--long", action="store_true", help="every golden run")
    options = parser.parse_args()
    form = "quick" if options.quick else "long" if options.long else "usual"
    settings = QUICK if options.quick and not options.settings else named(options.settings)
    print(HEAD)
    with TemporaryDirectory(prefix="quantd-processors-") as folder:
        rows = table_rows(settings, form, Path(folder), lambda row: print(line_of(row), flush=True))
    line, well = verdict(rows)
    print(line)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
