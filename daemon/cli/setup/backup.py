"""Copy the store with its archives and saved configurations, also while the daemon runs, and verify the copy."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quantd.adapters.store.upkeep.backup import Manifest, backup
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.output import print_json, progress, say
from quantd.daemon.cli.places import place


def write_backup(
    target: Annotated[Path, typer.Argument(metavar="FILE.tar|DIR", help="A new file or folder.")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    where = place(config, state, sets)
    with progress("backup", shown=not as_json) as bar:
        manifest = backup(where.store, where.folder, target, bar)
    if as_json:
        print_json({"backup": str(target), **contents(manifest)})
        return
    say(f"{target}: checked and complete")
    say_contents(manifest)
    say(f"  quantd restore {target} --state DIR puts it back")


def contents(manifest: Manifest) -> dict[str, Any]:
    return {
        "revision": manifest.revision,
        "rows": manifest.rows,
        "hash": manifest.hash,
        "bytes": sum(size for size, _ in manifest.files.values()),
        "runs": [{"run": r.run, "steps": r.last_seq, "ended": r.ended, "models": r.models} for r in manifest.runs],
    }


def say_contents(manifest: Manifest) -> None:
    size = sum(size for size, _ in manifest.files.values())
    say(
        f"  {len(manifest.files)} files, {size / 2**20:,.1f} MiB; {manifest.rows:,} journal rows; revision "
        f"{manifest.revision}"
    )
    for run in manifest.runs:
        say(f"  run {run.run}: {run.last_seq:,} steps{f', ended ({run.ended})' if run.ended else ''}")
        for name, digest in run.models.items():
            say(f"    {name}: policy {digest[:16]}, which is not in the backup")


COMMAND: Final = Command("Set up", 40, write_backup)
