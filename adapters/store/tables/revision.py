"""The revision of a store's schema; refuses a store of another version."""

from typing import Final

from quantd.adapters.store.driver import Queries, table_names
from quantd.adapters.store.store_errors import StoreMismatch, StoreVersion

FIRST: Final = "0008"
"""The oldest revision that this version upgrades. Stores of the revisions before belong to no released version."""

REVISION: Final = "0009"
"""The newest revision of `quantd.adapters.store.migrations`, and the revision of a new store."""

LAST_TO_UPGRADE: Final = "commit 99fe31e9"
"""The newest source that upgrades stores of the revisions before FIRST."""

VERSIONS: Final = "alembic_version"
"""The table in which Alembic keeps the revision."""


def revision_of(driver: Queries) -> str:
    """Return the revision of a store; empty without tables, 0000 for a store that has no revision."""
    tables = table_names(driver)
    if VERSIONS in tables:
        row = driver.execute("SELECT version_num FROM alembic_version").fetchone()
        return "" if row is None else str(row[0])
    return "0000" if "meta" in tables else ""


def refuse_unknown(revision: str) -> None:
    """Raise StoreVersion for a schema revision that this version of quantd neither reads nor upgrades."""
    if revision > REVISION:
        raise StoreVersion(
            f"the store is of revision {revision}, made by a newer quantd; this one knows revisions up to {REVISION}."
            " Install the newer version again, or restore the backup that `quantd upgrade` made (docs/operate/store.md)"
        )
    if revision < FIRST:
        raise StoreVersion(
            f"the store is of revision {revision}, made before the first version; this one knows revisions from {FIRST}"
            f" on. Start a new run in another folder with --state, or let `quantd upgrade` of {LAST_TO_UPGRADE} bring"
            f" the store to {FIRST}"
        )


def refuse_other(driver: Queries) -> None:
    """Raise StoreVersion unless the store's schema revision is that of this version of quantd."""
    revision = revision_of(driver)
    if not revision:
        raise StoreMismatch("there is no store in this database; `quantd run` makes one")
    refuse_unknown(revision)
    if revision != REVISION:
        raise StoreVersion(
            f"the store is of revision {revision}, but this quantd reads {REVISION}: `quantd upgrade` brings it there, "
            "with a backup first"
        )
