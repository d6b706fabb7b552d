"""A stopped run as it stands: its newest snapshot and the journal after it, folded without writing anything."""

from pathlib import Path
from typing import Any

from adapters.store.store import read_only
from daemon.assembly import Assembly, assemble
from daemon.cli.configuration import read
from daemon.cli.places import place
from daemon.loop import Shell
from daemon.overview import iso, positions
from daemon.recovery import Journal, fold
from daemon.timeline import instants
from daemon.version import code_version


def at_rest(config: Path, state: Path | None, sets: tuple[str, ...]) -> tuple[Shell, str]:
    """(shell, run) of the newest run. Raises what `daemon.cli.failures` explains."""
    where = place(config, state, sets)
    records = read_only(where.store)
    run = where.reader().run.run
    found = read(config, sets)
    assembly = assemble(found, cache=where.folder / "cache")
    return folded(assembly, records, run), run


def folded(assembly: Assembly, records: Any, run: str) -> Shell:
    """The run's shell after its last journalled step."""
    last = records.last_seq(run)
    kept = records.latest_snapshot(run, code_version())
    if kept is None:
        newest = records.latest_snapshot(run)
        kept = newest if newest is not None and newest[0] == last else None
    shell = assembly.shell()
    seq = 0
    if kept is not None:
        seq = kept[0]
        shell.restore(assembly.rules, kept[1])
    journal = Journal((data for _, data in records.entries(run, seq + 1)), seq)
    shell.log = journal
    fold(shell, journal, instants(assembly.items(), shell.ts))
    return shell


def positions_at_rest(config: Path, state: Path | None, sets: tuple[str, ...]) -> dict[str, Any]:
    """As the API says it."""
    import msgspec

    shell, run = at_rest(config, state, sets)
    shell.state.revalue()
    found = {"run": run, "ts": shell.ts, "time": iso(shell.ts), "positions": positions(shell.state)}
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain
