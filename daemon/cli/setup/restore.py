"""Restore a backup into an empty state folder or the configured database, and verify it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import answer, progress


def put_back(
    source: Annotated[Path, typer.Argument(metavar="FILE.tar|DIR", help="A backup by `quantd backup`.")],
    chosen: RunOptions = DEFAULTS,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing store, which is moved aside.")] = False,
    as_json: Json = False,
) -> None:
    from quantd.adapters.store.upkeep.backup import read_manifest
    from quantd.adapters.store.upkeep.restore import restore
    from quantd.daemon.cli.setup.backup import contents, contents_lines

    where = chosen.place().unchanged()
    # `restore` reads it too: here a file that is no backup is refused before the progress bar appears
    read_manifest(source)
    with progress("restore"):
        manifest, aside = restore(source, where.store, where.folder, force=force)
    lines = [f"{where.folder}: restored from {source} and verified", *contents_lines(manifest)]
    if aside is not None:
        lines.append(f"  the previous store is in {aside}")
    document = {"state": str(where.folder), "aside": None if aside is None else str(aside), **contents(manifest)}
    answer(as_json, document, *lines)


COMMAND: Final = Command("Set up", 50, put_back)
