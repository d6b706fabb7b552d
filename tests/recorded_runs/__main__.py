"""Records runs anew, each by the product's own processes or assembly, and writes their index.

    python -m tests.recorded_runs NAME [NAME ...]

The archives were recorded at one commit and are data: a run that is recorded anew shows nothing about earlier code.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from quantd.adapters.store.handle import read_only
from tests.recorded_runs import archive
from tests.recorded_runs.features import FEATURES
from tests.recorded_runs.index import IndexedRun, IndexedStore, read_index, write_index
from tests.recorded_runs.processor import begin_with_setting
from tests.recorded_runs.replaying import account_of, parts_at_end, runs_of, snapshots
from tests.recorded_runs.scan import identifiers


def indexed(folder: Path) -> IndexedStore:
    """The index of a store, with the accounts of its newest snapshots: those of the daemon, not of a replay."""
    records = read_only(folder / "state")
    runs = []
    for run in runs_of(records):
        run_snapshots = snapshots(records, run)
        last = records.last_seq(run)
        if not run_snapshots or run_snapshots[-1][0] != last:
            raise RuntimeError(f"run {run} was not stopped cleanly: no snapshot follows its step {last}")
        parts = parts_at_end(folder, records, run)
        shell = parts.shell()
        shell.restore(parts.rules, run_snapshots[-1][1])
        runs.append(IndexedRun(run, last, [seq for seq, _ in run_snapshots], account_of(shell)))
    return IndexedStore(runs)


def record(name: str) -> None:
    """Records one run and writes its archive."""
    with tempfile.TemporaryDirectory(prefix="quantd-recording-") as folder:
        recording = Path(folder)
        FEATURES[name](recording)
        archive.neutral(recording)
        archive.pack(recording, archive.STORES / f"{name}.tar.xz")


def index_again(name: str) -> None:
    """Writes the index of one archive. Raises RuntimeError when it names this machine."""
    path = archive.path_of(name)
    with archive.opened(path) as (unpacked, _):
        store = indexed(unpacked)
    if machine_names := identifiers(path):
        raise RuntimeError(f"{name} names this machine: {machine_names}")
    write_index(read_index() | {name: store})
    steps = sum(run.steps for run in store.runs)
    sys.stdout.write(f"{name}: {steps} steps, {path.stat().st_size:,} bytes\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.recorded_runs", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", choices=FEATURES, help=", ".join(FEATURES))
    parser.add_argument("--index", action="store_true", help="index the archives that are there, and record nothing")
    options = parser.parse_args()
    begin_with_setting()
    logging.disable(logging.WARNING)
    for name in options.names:
        if not options.index:
            record(name)
        index_again(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
