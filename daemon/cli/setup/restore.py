"""Restore a backup into an empty state folder or the configured database, and verify it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from quantd.adapters.store.upkeep.backup import read_manifest
from quantd.adapters.store.upkeep.restore import restore
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.output import print_json, progress, say
from quantd.daemon.cli.places import place
from quantd.daemon.cli.setup.backup import contents, say_contents


def put_back(
    source: Annotated[Path, typer.Argument(metavar="FILE.tar|DIR", help="What `quantd backup` wrote.")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Also where a store is already; it is kept aside.")] = False,
    as_json: Json = False,
) -> None:
    where = place(config, state, sets)
    read_manifest(source)
    with progress("restore", shown=not as_json):
        manifest, aside = restore(source, where.store, where.folder, force=force)
    if as_json:
        print_json({"state": str(where.folder), "aside": None if aside is None else str(aside), **contents(manifest)})
        return
    say(f"{where.folder}: restored from {source} and checked")
    say_contents(manifest)
    if aside is not None:
        say(f"  what was there is kept in {aside}")


COMMAND: Final = Command("Set up", 50, put_back)
