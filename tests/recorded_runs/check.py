"""Replays recorded runs and prints what differs, as JSON: name of a store or of a planted difference -> what was found.

    python -m tests.recorded_runs.check NAME [NAME ...]

It must begin with the setting of `processor`, so tests start it as a process.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from quantd.adapters.store.journal.records import Records
from quantd.daemon.engine.state.proposal_log import ProposalLog, targets_bytes
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.trading.codec import Entry, decode
from quantd.trading.effects import Planned
from quantd.trading.events import Decided, Operator, Proposed, Tick
from quantd.trading.orders import OrderBasket
from tests.recorded_runs.archive import StoreMissing, opened, path_of, place, unpack
from tests.recorded_runs.features import FEATURES
from tests.recorded_runs.index import IndexedRun, read_index
from tests.recorded_runs.processor import begin_with_setting
from tests.recorded_runs.replaying import (
    Differs,
    Step,
    account_of,
    joined,
    recorded,
    refolded,
    replay,
    require_same,
    runs_of,
    snapshots,
    split,
    state_of,
)

PLANTED_IN: Final = "three_agents"


class Found(Struct, frozen=True):
    """The first difference, empty without one; `step` is that of a planted difference."""

    text: str
    step: int = 0


def require_store(name: str) -> None:
    """Raises Differs or StoreMissing unless a store replays to what is recorded in it and in runs.toml."""
    path, index = path_of(name), read_index().get(name)
    if index is None:
        raise Differs(f"runs.toml has no {name}: `python -m tests.recorded_runs --index {name}` writes it")
    with opened(path) as (folder, records):
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
        final = thaw(state.rules, state_of(run_snapshots[-1][1]).state)
        for outside in (state.outside, final.outside):
            add_conditions(outside, recorded_steps)
        if freeze(state) != freeze(final):
            raise Differs(f"{replay_name}: the state at the end is not that of the last snapshot")


def add_conditions(outside: Mapping[str, ProposalLog], steps: Sequence[Step]) -> None:
    """Add to the targets of each verdict the conditions of its proposal, which the recorded snapshots lack.

    A verdict whose targets are not those of its journalled proposal stays as it is.
    """
    events = [decode(joined(step)).event for step in steps if b"Proposed" in step.event]
    proposals = {(event.agent, event.id): event for event in events if isinstance(event, Proposed)}
    for agent, log in outside.items():
        for k, verdict in enumerate(log.verdicts):
            proposal = proposals[agent, verdict.id]
            if verdict.targets == targets_bytes(structs.replace(proposal, whole=False, expires=0, plan="")):
                log.verdicts[k] = structs.replace(verdict, targets=targets_bytes(proposal))


def require_equal(what: str, now: object, then: object) -> None:
    if now != then:
        raise Differs(f"{what}: {then} recorded, {now} now")


class Planted(Records):
    """Records with one entry that is changed, or left out where `entry` is None."""

    def __init__(self, records: Records, at: int, entry: bytes | None) -> None:
        super().__init__(records._connect, records.archives)
        self._at, self._entry = at, entry

    def entries(self, run: str, from_seq: int = 0) -> Iterator[tuple[int, bytes]]:
        contents = [self._entry if seq == self._at else data for seq, data in super().entries(run, 1)]
        entries = [data for data in contents if data is not None]
        yield from ((seq, data) for seq, data in enumerate(entries, 1) if seq >= from_seq)


def with_another_byte(seq: int, data: bytes) -> bytes:
    """The entry with one other byte in its effects, so that it is still an entry."""
    step = split(seq, data)
    for at in reversed(range(len(step.effects))):
        effects = bytearray(step.effects)
        effects[at] ^= 1
        other = joined(step._replace(effects=bytes(effects)))
        try:
            if decode(other) != decode(data):
                return other
        except ValueError:
            continue
    raise AssertionError("no byte of these effects can change")


def first(records: Records, run: str, after: int, kind: type) -> tuple[int, bytes]:
    """The first entry after a step whose event, or one of whose effects, is of a kind."""

    def has(entry: Entry) -> bool:
        return any(isinstance(record, kind) for record in (entry.event, *entry.effects))

    return next((seq, data) for seq, data in records.entries(run, after + 1) if has(decode(data)))


def planted(kind: type, *, after: int = 200, left_out: bool = False) -> Found:
    """What the comparison finds when the first entry with a kind of event or effect was changed or left out."""
    with opened(path_of(PLANTED_IN)) as (folder, records):
        (run,) = runs_of(records)
        seq, data = first(records, run, after, kind)
        other = Planted(records, seq, None if left_out else with_another_byte(seq, data))
        try:
            require_same(run, recorded(other, run), refolded(folder, other, run))
        except Differs as error:
            return Found(str(error), seq)
        return Found("", seq)


def iterated() -> Found:
    """Whether `replay` gives all runs in order, of a folder as of an archive."""
    name = "carry_over"
    index = read_index()[name].runs
    with tempfile.TemporaryDirectory(prefix="quantd-recorded-") as folder:
        unpack(path_of(name), Path(folder))
        place(Path(folder))
        steps = list(replay(Path(folder)))
    recorded_numbers = [seq for run in index for seq in range(1, run.steps + 1)]
    last = list(replay(path_of(name), index[-1].run))
    right = (
        [step.seq for step in steps] == recorded_numbers
        and steps[-len(last) :] == last
        and len(last) == index[-1].steps
    )
    return Found(
        "" if right else f"{len(steps)} steps and {len(last)} of the last run, {len(recorded_numbers)} recorded"
    )


def stored(name: str) -> Found:
    """What differs in a store."""
    try:
        require_store(name)
    except (Differs, StoreMissing) as error:
        return Found(str(error))
    return Found("")


CHECKS: Final[Mapping[str, Callable[[], Found]]] = {
    **{name: partial(stored, name) for name in FEATURES},
    "a changed byte of orders": partial(planted, OrderBasket),
    "a changed byte of a plan": partial(planted, Planned),
    "a tick left out": partial(planted, Tick, left_out=True),
    "an answer left out": partial(planted, Decided, left_out=True),
    "a command left out": partial(planted, Operator, after=1, left_out=True),
    "replay": iterated,
}


def main() -> None:
    begin_with_setting()
    names = sys.argv[1:] or list(FEATURES)
    sys.stdout.write(msgspec.json.encode({name: CHECKS[name]() for name in names}).decode() + "\n")


if __name__ == "__main__":
    main()
