"""Fills the tables of read models that an upgrade added, from the entries that are already in the journal."""

from collections.abc import Collection
from typing import Final

from quantd.adapters.store.driver import Queries, insert
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, link_of
from quantd.adapters.store.journal.records import Refold
from quantd.adapters.store.tables.projection import COLUMNS

_ROWS: Final = 256  # journal rows in memory at a time


def refill(driver: Queries, tables: Collection[str]) -> None:
    """Apply the whole journal again and fill these empty tables, in an open transaction.

    Raises StoreDamaged where the journal cannot be read.
    """
    sql = f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal WHERE number > ? ORDER BY number LIMIT {_ROWS}"
    refold = Refold(driver)
    last = 0
    while rows := driver.execute(sql, (last,)).fetchall():
        for link in map(link_of, rows):
            last, rows_by_table = link.number, refold.rows(link)
            for table in tables:
                insert(driver, table, COLUMNS[table], rows_by_table.get(table, []))
