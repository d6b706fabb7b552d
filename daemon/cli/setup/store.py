"""Maintain the store of a stopped daemon."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import answer, progress

Days = Annotated[
    float | None, typer.Option(min=1, metavar="N", help=r"Retention in days; that of \[store] without it.")
]


def store_compact(
    chosen: RunOptions = DEFAULTS,
    keep_days: Annotated[
        float | None,
        typer.Option("--keep-days", min=0, help="Retention of journal rows in days.", show_default="[store] keep_days"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder of the archives.", show_default="[store] archives"),
    ] = None,
    alerts_days: Days = None,
    equity_days: Days = None,
    orders_days: Days = None,
    as_json: Json = False,
) -> None:
    """Move old journal rows into verified parquet archives; `replay` and `why` still read them."""
    from quantd.adapters.store.handle import Store
    from quantd.adapters.store.journal.compaction import Keep
    from quantd.adapters.store.lease import account_key
    from quantd.adapters.store.upkeep.backup import before_upgrade
    from quantd.daemon.jobs.maintenance import keep_of

    days = {
        "journal_days": keep_days, "alerts_days": alerts_days, "equity_days": equity_days, "orders_days": orders_days,
    }  # fmt: skip
    where = chosen.place()
    keep = Keep()
    if chosen.config.exists():
        settings = chosen.read()
        keep = keep_of(settings)
        to = to or (settings.at(settings.store.archives) if settings.store.archives else None)
    keep = msgspec.structs.replace(keep, **{name: value for name, value in days.items() if value is not None})
    account = account_key("store", "compact")  # a lease of its own, that of no trading account
    with (
        Store.open(
            where.store,
            state=where.folder,
            create=False,
            account=account,
            holder="quantd store compact",
            save=before_upgrade,
        ) as store,
        progress("compact"),
    ):
        done = store.compact(keep, to)
        if done.rows or any(done.forgotten.values()):
            store.vacuum()
    archives = f"{len(done.files)} archive{'' if len(done.files) == 1 else 's'}"
    lines = [f"{done.rows:,} journal rows were moved into {archives}" if done.rows else "no journal row is old enough"]
    lines += [f"  {file}" for file in done.files]
    if store.saved is not None:
        lines.insert(0, f"the store was upgraded; the backup before it is {store.saved}")
    for model, rows in done.forgotten.items():
        lines.append(f"  {rows:,} rows of {model} were deleted; the journal still has their events")
    answer(as_json, {"rows": done.rows, "files": done.files, "forgotten": done.forgotten}, *lines)


COMMAND: Final = Command("Set up", 80, {"compact": store_compact})
