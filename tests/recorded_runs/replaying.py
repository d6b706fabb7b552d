"""Replays recorded runs by the present code, and compares every step with its record byte by byte.

for seq, event, effects in replay(path_of("three_agents")):
    ...
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, structs

from quantd.adapters.store.journal.records import Records as StoredRecords
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.recovery.replay import Records, first_start, refold, saved_config
from quantd.daemon.runtime.journal import Journal, RecordTooLong, ReplayDifference, difference
from quantd.daemon.runtime.loop import RunSnapshot, Shell
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Effect
from quantd.trading.events import Event, Started
from tests.recorded_runs.archive import opened
from tests.recorded_runs.index import Account

GOOD_TILL_CANCELLED: Final = "good_till_cancelled.toml"
"""A file of this name in an archive means that its orders have no end. config.toml has no key for this rule."""

_PAIR: Final = msgspec.msgpack.Decoder(tuple[Raw, Raw])


class Step(NamedTuple):
    """One step of a run: its number, its encoded event and its encoded effects."""

    seq: int
    event: bytes
    effects: bytes


class Differs(Exception):
    """A replayed step is not the recorded one; the text names the run and the step."""


@dataclass
class Replayed:
    """A replay: its steps, the shell after the last one, and why it ended before the record; empty otherwise."""

    steps: list[Step] = field(default_factory=list)
    shell: Shell | None = None
    ended: str = ""


class Recomputed(Journal):
    """A journal in replay that keeps each computed step as bytes."""

    def __init__(self, entries: Iterable[bytes], seq: int, live: bool, steps: list[Step]) -> None:
        super().__init__(entries, seq, live)
        self._live_bars, self._steps = live, steps

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self._steps.append(split(self.seq + 1, encode(event, effects, self._live_bars)))
        super().add(event, effects)


def split(seq: int, data: bytes) -> Step:
    """An entry of the journal as a step."""
    event, effects = _PAIR.decode(data)
    return Step(seq, bytes(event), bytes(effects))


def joined(step: Step) -> bytes:
    """The entry of the journal that a step is."""
    return b"\x92" + step.event + step.effects


def recorded(records: Records, run: str, after: int = 0) -> list[Step]:
    """The recorded steps of a run after number `after`."""
    return [split(seq, data) for seq, data in records.entries(run, after + 1)]


def last_config(records: Records, run: str) -> str:
    """The digest of the configuration of a run's last start."""
    starts = (decode(data).event for _, data in records.entries(run, 1) if b"Started" in data)
    return [event.config for event in starts if isinstance(event, Started)][-1]


def parts_at_end(folder: Path, records: Records, run: str) -> Parts:
    """The parts of a run under the configuration of its last start."""
    first = first_start(records, run)
    assert first is not None, f"run {run} does not begin with a start"
    parts = parts_of(saved_config(folder / "state", last_config(records, run)), first.ts)
    if (folder / GOOD_TILL_CANCELLED).exists():
        return replace(parts, rules=structs.replace(parts.rules, good_till_cancelled=True))
    return parts


def refolded(folder: Path, records: Records, run: str, *, seq: int = 0, snapshot: bytes = b"") -> Replayed:
    """A replay of a run from its first event, or from `snapshot`, which follows step `seq`, to its end."""
    outcome = Replayed()

    def journal_of(entries: Iterable[bytes], first: int, under: Parts) -> Journal:
        return Recomputed(entries, first, under.live, outcome.steps)

    parts = parts_at_end(folder, records, run)
    try:
        outcome.shell, _ = refold(
            parts, records, run, folder / "state", seq=seq, snapshot=snapshot, journal_of=journal_of
        )  # fmt: skip
    except (ReplayDifference, RecordTooLong) as error:
        outcome.ended = str(error)
    return outcome


def replay(store: Path, run: str = "") -> Iterator[Step]:
    """Each step of a recorded run by the present code, in order; of all runs, one after another, without a name.

    `store` is an archive, or a folder with an unpacked one. It ends with the first step that differs from its record.
    """
    with opened(store) as (folder, records):
        for name in [run] if run else runs_of(records):
            yield from refolded(folder, records, name).steps


def runs_of(records: StoredRecords) -> list[str]:
    """The names of the runs of a store, oldest first."""
    return [run.run for run in records.runs()]


def require_same(run: str, then: Sequence[Step], now: Replayed) -> None:
    """Raises Differs with the first step that is not as recorded."""
    for old, new in zip(then, now.steps, strict=False):
        if old != new:
            before, after = decode(joined(old)), decode(joined(new))
            text = "the bytes differ" if before == after else difference(before, after)
            raise Differs(f"run {run}, step {old.seq}: {text}")
    if len(then) != len(now.steps) or now.ended:
        seq = (then or now.steps)[0].seq + min(len(then), len(now.steps))
        raise Differs(f"run {run}, step {seq}: {len(then)} steps recorded, {len(now.steps)} now. {now.ended}".strip())


def account_of(shell: Shell) -> Account:
    """The account in a shell, in micro and lots."""
    state = shell.state
    state.revalue()
    books = {
        name: [book.cash_micro, *book.lots] for name, book in zip(state.ledger.names, state.ledger.books, strict=False)
    }
    return Account(
        digest=shell.digest.hexdigest(), equity_micro=state.equity_micro, cash_micro=state.ledger.house.cash_micro,
        lots=list(state.ledger.house.lots), books=books, switch=state.switch.state,
    )  # fmt: skip


def snapshots(records: Records, run: str) -> list[tuple[int, bytes]]:
    """(number of the step before it, snapshot) of each snapshot of a run, oldest first."""
    pairs: list[tuple[int, bytes]] = []
    before: int | None = None
    while (snapshot := records.latest_snapshot(run, before=before)) is not None:
        pairs.insert(0, snapshot)
        before = snapshot[0]
    return pairs


def state_of(snapshot: bytes) -> RunSnapshot:
    """A stored snapshot."""
    return msgspec.msgpack.decode(snapshot, type=RunSnapshot)
