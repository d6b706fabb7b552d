"""Rebuilds the state of a stopped run from its newest snapshot and the journal after it, without writing."""

import time
from collections.abc import Callable, Iterator

from quantd.daemon.assembly.parts import Parts, as_recorded, parts_of
from quantd.daemon.cli.command import RunOptions
from quantd.daemon.cli.configuration import read
from quantd.daemon.config import Config
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import first_start, newest_snapshot, refold
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item, time_of


def at_rest(chosen: RunOptions, previous: Parts | None = None) -> tuple[Shell, str, Parts]:
    """Return (shell, name, parts) of the newest run; a shell applies events to the engine. Raises an ExplainedError.

    The shell has the state of the newest snapshot, with the later entries of the journal applied again.
    `previous` are parts that an earlier call returned: on a recorded market they are used again for an equal
    configuration.
    """
    where = chosen.place()
    records = where.records()
    run = where.reader().run.run
    settings, parts = read(chosen.config, chosen.sets), previous
    if parts is None or parts.live or not _equal_settings(parts.config, settings):
        parts = parts_of(settings, time.time_ns(), cache=where.folder / "cache", isolation=Apart(where.folder))
    if (first := first_start(records, run)) is not None:
        parts = as_recorded(parts, first.feed)
    seq, snapshot = newest_snapshot(records, run)
    shell, _ = refold(parts, records, run, where.folder, seq=seq, snapshot=snapshot)
    return shell, run, parts


def _equal_settings(first: Config, second: Config) -> bool:
    """Whether two configurations have equal values, and their relative paths begin in the same folder."""
    return first.document == second.document and first.source.folder == second.source.folder


def tracked(
    market: Iterator[list[Item]], bar: Callable[[float], None], last: int, first: int = 0
) -> Iterator[list[Item]]:
    """Yield the instants of the market unchanged, and report the progress from `first` to `last` to the progress bar
    `bar`.

    `first` and `last` are in ns; `first` 0 means the first instant.
    """
    for count, instant in enumerate(market):
        if count % 256 == 0:  # seldom, so that the report costs little
            first = first or time_of(instant[0])
            bar(min(1.0, (time_of(instant[0]) - first) / max(1, last - first)))
        yield instant
