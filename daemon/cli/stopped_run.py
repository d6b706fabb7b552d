"""The state of a stopped run: its newest snapshot, and the journal after it replayed without writing."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from quantd.adapters.store.journal.records import Records
from quantd.daemon.assembly.parts import Parts, as_recorded, parts_of
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.places import place
from quantd.daemon.config import Config
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import newest_snapshot, refold
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.trading.codec import decode
from quantd.trading.events import Started


def at_rest(
    config: Path, state: Path | None, sets: Sequence[str] | None, previous: Parts | None = None
) -> tuple[Shell, str, Parts]:
    """(shell, run, parts) of the newest run. Parts `previous` of the same configuration and recorded market are used.

    Raises an ExplainedError.
    """
    where = place(config, state, sets)
    records = where.records()
    run = where.reader().run.run
    settings, parts = read(config, sets), previous
    if parts is None or parts.live or not _same(parts.config, settings):
        parts = parts_of(settings, time.time_ns(), cache=where.folder / "cache", isolation=Apart(where.folder))
    if (first := started(records, run)) is not None:
        parts = as_recorded(parts, first.feed)
    seq, kept = newest_snapshot(records, run)
    shell, _ = refold(parts, records, run, where.folder, seq=seq, snapshot=kept)
    return shell, run, parts


def _same(one: Config, other: Config) -> bool:
    """Whether two configurations have equal values, and their paths begin in the same folder."""
    return one.document == other.document and one.source.folder == other.source.folder


def started(records: Records, run: str) -> Started | None:
    """The first event of a run's journal; None where it is missing."""
    first = next((decode(data).event for _, data in records.entries(run, 1)), None)
    return first if isinstance(first, Started) else None


def tracked(
    market: Iterator[list[Item]], bar: Callable[[float], None], last: int, first: int = 0
) -> Iterator[list[Item]]:
    """The market by instants, with its progress from `first` (0: the first instant) to `last` in ns."""
    for number, instant in enumerate(market):
        if number % 256 == 0:
            first = first or time_of(instant[0])
            bar(min(1.0, (time_of(instant[0]) - first) / max(1, last - first)))
        yield instant
