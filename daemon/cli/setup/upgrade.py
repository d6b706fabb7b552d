"""Upgrade a store of an older version, after a backup. Does nothing when it is up to date."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.adapters.store.store_errors import StoreMismatch
from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import print_json, progress, say
from quantd.daemon.cli.places import Place

if TYPE_CHECKING:
    from quantd.adapters.store.migrations.upgrade import Step


def upgrade(
    chosen: RunOptions = DEFAULTS,
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the steps only.")] = False,
    as_json: Json = False,
) -> None:
    from quantd.adapters.store.handle import Store
    from quantd.adapters.store.tables.revision import REVISION
    from quantd.adapters.store.upkeep.backup import before_upgrade

    where = chosen.place().unchanged()
    revision, steps = _missing_steps(where)
    saved: Path | None = None
    if not as_json:
        _print_steps(where, revision, steps)
    if steps and not dry:
        with (
            progress("backup") as report_progress,
            Store.open(
                where.store, state=where.folder, save=partial(before_upgrade, progress=report_progress)
            ) as store,
        ):
            saved = store.saved
        if not as_json:
            say(f"the store has revision {REVISION} now; the backup is {saved}")
    if as_json:
        step_rows = [{"revision": step.revision, "text": step.text} for step in steps]
        done = bool(steps) and not dry
        backup = None if saved is None else str(saved)
        print_json({"from": revision, "to": REVISION, "steps": step_rows, "done": done, "backup": backup})


def _missing_steps(where: Place) -> "tuple[str, list[Step]]":
    """Return (revision of the store, steps that upgrade it to this version). Raises StoreMismatch without a store."""
    from quantd.adapters.store.last_state import for_reading
    from quantd.adapters.store.migrations.upgrade import steps_from
    from quantd.adapters.store.tables.revision import revision_of

    _, connect, path = for_reading(where.store, where.folder)
    if path is not None and not path.exists():
        raise StoreMismatch(f"{path}: there is no store here; `quantd run` creates one")
    with closing(connect()) as driver:
        revision = revision_of(driver)
    if not revision:
        raise StoreMismatch(f"{where.folder}: there is no store in this database; `quantd run` creates one")
    return revision, steps_from(revision)


def _print_steps(where: Place, revision: str, steps: "list[Step]") -> None:
    """Print the steps of an upgrade."""
    if not steps:
        say(f"{where.folder}: the store has the newest revision {revision}; there is nothing to do")
        return
    say(f"{where.folder}: the store has revision {revision}; the steps after a backup are:")
    for step in steps:
        say(f"  {step.revision}  {step.text}")


COMMAND: Final = Command("Set up", 30, upgrade)
