"""Compares results of whole runs with tests/golden/digests.json.

    python -m tests.golden [--long] [--write] [NAME ...]

Each run has one row: digest, orders, refused and clipped orders, equity at the end in micro. A run that differs is
printed with what differs, and the exit status is 1. Beside each run stands what the fold took of its bars, samples and
rounds. `--write` writes the rows instead. `--long` adds the long runs: the
cases of `benchmarks/engine.py` at their whole length, and the slow examples. With NAMEs, only runs
whose names contain one are made.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums of numpy are the same on one thread only
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.engine import shares
from tests.golden.runs import FILE, Row, difference, kept, row_of, runs, text_of


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.golden", description="Compares runs with their kept digests."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a run's name")
    parser.add_argument("--long", action="store_true", help="the long runs too")
    parser.add_argument("--write", action="store_true", help="write the rows in place of comparing them")
    options = parser.parse_args()
    every = runs()
    before = kept() if FILE.exists() else {}
    rows: dict[str, Row] = {}
    differences = [f"{name} is no run" for name in sorted(before.keys() - every)]
    print(*differences, sep="\n", end="\n" if differences else "")
    with TemporaryDirectory() as folder:
        for name, run in every.items():
            if (run.long and not options.long) or not any(part in name for part in options.names or [""]):
                continue
            began = time.process_time()
            shell = run.make(Path(folder))
            rows[name] = row_of(shell)
            text = difference(name, before.get(name), rows[name])
            print(
                f"{time.process_time() - began:6.1f} CPU s  {text or f'{name}: the same'} (folded {shares(shell)})",
                flush=True,
            )
            differences += [text] if text else []
            if options.write:
                FILE.write_text(text_of({name: row for name, row in (before | rows).items() if name in every}))
    if options.write:
        print(f"{len(rows)} rows written to {FILE}")
        return 0
    print(f"{len(rows)} runs, {len(differences)} differ")
    return 1 if differences or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
