"""Replays recorded runs and prints what differs, as JSON: name of a store -> what was found.

    python -m tests.recorded_runs.check NAME [NAME ...]

It must begin with the setting of `processor`, so tests start it as a process.
"""

import sys
from pathlib import Path

import msgspec

from quantd.adapters.store.journal.records import Records
from quantd.daemon.engine.state.snapshot import freeze, thaw
from tests.recorded_runs.archive import opened, path_of
from tests.recorded_runs.index import NAMES, IndexedRun, read_index
from tests.recorded_runs.processor import begin_with_setting
from tests.recorded_runs.replaying import (
    Differs,
    account_of,
    recorded,
    refolded,
    require_same,
    runs_of,
    snapshots,
    state_of,
)


def require_store(name: str) -> None:
    """Raises Differs unless a store replays to what is recorded in it and in runs.toml."""
    index = read_index()[name]
    with opened(path_of(name)) as (folder, records):
        require_equal("the runs", runs_of(records), [indexed_run.run for indexed_run in index.runs])
        for run in index.runs:
            require_run(folder, records, run)


def require_run(folder: Path, records: Records, run: IndexedRun) -> None:
    """Raises Differs unless a run replays to its record, from its first event and from each snapshot."""
    recorded_steps, run_snapshots = recorded(records, run.run), snapshots(records, run.run)
    require_equal(f"run {run.run}: the number of steps", len(recorded_steps), run.steps)
    require_equal(f"run {run.run}: the snapshots", [seq for seq, _ in run_snapshots], run.snapshots)
    for seq, snapshot in [(0, b""), *run_snapshots]:
        replayed = refolded(folder, records, run.run, seq=seq, snapshot=snapshot)
        require_same(run.run, recorded_steps[seq:], replayed)
        assert replayed.shell is not None
        replay_name = f"run {run.run} from step {seq}"
        require_equal(f"{replay_name}: the account at the end", account_of(replayed.shell), run.account)
        state = replayed.shell.state
        # read and written by the present code, so that a field that went since does not differ
        if freeze(state) != freeze(thaw(state.rules, state_of(run_snapshots[-1][1]).state)):
            raise Differs(f"{replay_name}: the state at the end is not that of the last snapshot")


def require_equal(what: str, now: object, then: object) -> None:
    if now != then:
        raise Differs(f"{what}: {then} recorded, {now} now")


def stored(name: str) -> str:
    """The first difference in a store, empty without one."""
    try:
        require_store(name)
    except Differs as error:
        return str(error)
    return ""


def main() -> None:
    begin_with_setting()
    names = sys.argv[1:] or list(NAMES)
    sys.stdout.write(msgspec.json.encode({name: stored(name) for name in names}).decode() + "\n")


if __name__ == "__main__":
    main()
