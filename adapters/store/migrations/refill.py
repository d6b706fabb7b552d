"""Fills read models that are newer than the journal; their content is a fold of its entries."""

from collections.abc import Collection, Iterator
from typing import Final

from quantd.adapters.store.driver import Queries, insert
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, Link, link_of
from quantd.adapters.store.journal.records import Refold
from quantd.adapters.store.tables.projection import COLUMNS

_ROWS: Final = 256


def refill(driver: Queries, tables: Collection[str]) -> int:
    """Fold the whole journal again and fill these empty tables, in an open transaction. Returns the number of rows.

    Raises StoreDamaged where the journal cannot be read.
    """
    refold = Refold(driver)
    filled = 0
    for link in _links(driver):
        made = refold.rows(link)
        for table in tables:
            rows = made.get(table, [])
            insert(driver, table, COLUMNS[table], rows)
            filled += len(rows)
    return filled


def _links(driver: Queries) -> Iterator[Link]:
    """Iterate over the journal, some rows at a time."""
    sql = f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal WHERE number > ? ORDER BY number LIMIT {_ROWS}"
    last = 0
    while rows := driver.execute(sql, (last,)).fetchall():
        for link in map(link_of, rows):
            last = link.number
            yield link
