"""Deletion of read models by age. The journal still has all the data and can rebuild them.

Each model is a group of related tables. Orders are deleted with their fills, crosses (trades between agents) and
decisions, and only as whole baskets that have ended.
"""

from typing import Final

from quantd.adapters.store.driver import Queries
from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "alerts": ("alerts",),
    "equity": ("equity", "risk", "house"),
    "orders": ("fills", "crosses", "decisions"),
}
"""Model -> the tables whose rows are deleted by their own time."""


CALM_NS: Final = max(kind.calm_ns for kind in ALERT_KINDS)
"""Longest time in ns after its end in which an incident of any kind opens again under its id."""


def delete_old(driver: Queries, run: str, model: str, before_ts: int) -> int:
    """Delete the rows of a run's read model `model` before `before_ts` (ns UTC), in an open transaction.

    Returns the number of deleted rows. A second call deletes nothing. Orders are deleted by whole baskets (the orders
    with one `sample` and `n`) in which every order has ended: an open order has 0 as its `ended_ts`. Alerts are deleted
    together with the incidents that were cleared more than CALM_NS before `before_ts`: until then a cleared incident
    may open again.
    """
    count = 0
    if model == "orders":
        baskets = driver.execute(
            "SELECT sample, n FROM orders WHERE run = ? GROUP BY sample, n HAVING MIN(ended_ts) > 0 AND "
            "MAX(ended_ts) < ?",
            (run, before_ts),
        ).fetchall()
        for sample, n in baskets:
            count += _delete(driver, "orders", "run = ? AND sample = ? AND n = ?", (run, sample, n))
    if model == "alerts":  # a reopened incident goes on from its end, so that recent ends are retained
        cleared_ids = "SELECT id FROM incidents WHERE run = ? AND state = 'cleared' AND ts < ?"
        of_cleared = f"run = ? AND ts < ? AND id IN ({cleared_ids})"
        count += _delete(driver, "incidents", of_cleared, (run, before_ts, run, before_ts - CALM_NS))
    for table in MODELS[model]:
        where, values = "run = ? AND ts < ?", (run, before_ts)
        if table == "fills":  # fills of a retained order are retained too
            where += (
                " AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.run = fills.run AND orders.sample = fills.sample"
                " AND orders.n = fills.n)"
            )
        count += _delete(driver, table, where, values)
    return count


def _delete(driver: Queries, table: str, where: str, values: tuple[object, ...]) -> int:
    (count,) = driver.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}", values).fetchone()
    if count:
        driver.execute(f"DELETE FROM {table} WHERE {where}", values)
    return int(count)
