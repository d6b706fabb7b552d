"""A stopped run as it stands: its newest snapshot and the journal after it, folded without writing anything."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from quantd.adapters.store.handle import read_only
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.places import place
from quantd.daemon.policies.worker import Apart
from quantd.daemon.recovery.replay import newest_snapshot, refold
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.overview import positions
from quantd.trading.display_text import instant_text


def at_rest(config: Path, state: Path | None, sets: Sequence[str] | None) -> tuple[Shell, str, Parts]:
    """(shell, run, what it is made of) of the newest run. Raises what `quantd.daemon.cli.failures` explains."""
    where = place(config, state, sets)
    records = read_only(where.store, where.folder)
    run = where.reader().run.run
    found = read(config, sets)
    parts = parts_of(found, time.time_ns(), cache=where.folder / "cache", apart=Apart(where.folder))
    seq, kept = newest_snapshot(records, run)
    shell, _ = refold(parts, records, run, where.folder, seq=seq, kept=kept)
    return shell, run, parts


def positions_at_rest(config: Path, state: Path | None, sets: Sequence[str] | None) -> dict[str, Any]:
    """As the API says it."""
    shell, run, _ = at_rest(config, state, sets)
    shell.state.revalue()
    found = {"run": run, "ts": shell.ts, "time": instant_text(shell.ts), "positions": positions(shell.state)}
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain
