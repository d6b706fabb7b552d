"""Copy the store with its archives and saved configurations, also while the daemon runs, and verify the copy."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.failures import note
from quantd.daemon.cli.output import answer, progress
from quantd.daemon.cli.places import Place

if TYPE_CHECKING:
    from quantd.adapters.store.upkeep.backup import Manifest


def write_backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE.tar|DIR", help="A new file or folder.", show_default="STATE/backups/by-hand-TIME.tar"
        ),
    ] = None,
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> None:
    from quantd.adapters.store.upkeep.backup import backup

    where = chosen.place().unchanged()
    target = target or _new_file(where)
    with progress("backup") as report_progress:
        manifest = backup(where.store, where.folder, target, report_progress, _models(chosen))
    lines = [f"{target}: verified and complete", *contents_lines(manifest)]
    lines.append(f"  quantd restore {target} --state DIR restores it")
    answer(as_json, {"backup": str(target), **contents(manifest)}, *lines)


def _new_file(where: Place) -> Path:
    """The path of a backup without a name, which no job deletes. Raises Failure where there is no store."""
    where.reader()
    folder = where.folder / "backups"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"by-hand-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar"


def _models(chosen: RunOptions) -> dict[str, Path]:
    """Return the folders of the configuration's models by name; empty if the configuration is missing or has
    mistakes."""
    from quantd.daemon.config import ConfigError
    from quantd.daemon.policies.model_folders import configured_models

    try:
        return configured_models(chosen.read())
    except ConfigError as error:
        note(f"no model is backed up, because the configuration cannot be read: {error.mistakes[0]}")
        return {}


def contents(manifest: "Manifest") -> dict[str, Any]:
    """Return the contents of a backup as JSON."""
    return {
        "revision": manifest.revision, "rows": manifest.rows, "hash": manifest.hash,
        "bytes": sum(size for size, _ in manifest.files.values()),
        "runs": [{"run": r.run, "steps": r.last_seq, "ended": r.ended, "models": r.models} for r in manifest.runs],
    }  # fmt: skip


def contents_lines(manifest: "Manifest") -> Iterator[str]:
    """Yield the contents of a backup as text."""
    files = f"{len(manifest.files)} files, {sum(size for size, _ in manifest.files.values()) / 2**20:,.1f} MiB"
    yield f"  {files}; {manifest.rows:,} journal rows; revision {manifest.revision}"
    for run in manifest.runs:
        yield f"  run {run.run}: {run.last_seq:,} steps{f', ended ({run.ended})' if run.ended else ''}"
        for name, digest in run.models.items():
            yield f"    {name}: policy {digest[:16]}, {_location_text(manifest, digest)}"


def _location_text(manifest: "Manifest", digest: str) -> str:
    """Return where a backup has the policy with this digest, as text."""
    folders = {Path(file).parent for file in manifest.files if Path(file).parent.name.endswith(f"-{digest[:12]}")}
    return f"in {min(folders)}" if folders else "which is not in the backup"


COMMAND: Final = Command("Set up", 40, write_backup)
