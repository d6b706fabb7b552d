"""The queues of alerts in the store: one for the bus, and one for each sink of [alerts.sinks]."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from quantd.adapters.store.driver import Driver
from quantd.adapters.store.journal.chain import insert_digested
from quantd.adapters.store.tables.outbox_bound import LEVELS, Admission, Key, Message, admit
from quantd.adapters.store.tables.projection import Row

BUS: Final = ""
"""The queue of the bus, among the names of sinks."""


class Queued(Struct):
    """The state of one queue of alerts: the number of its messages by level, and of those that this process dropped
    because the queue was full."""

    levels: dict[str, int]
    dropped: int = 0


def queues_of(driver: Driver) -> dict[str, Queued]:
    """Return the queues that have messages, by the name of the sink."""
    sql = "SELECT '' AS sink, level, COUNT(*) FROM outbox GROUP BY level"
    sql += " UNION ALL SELECT sink, level, COUNT(*) FROM deliveries GROUP BY sink, level"
    queues: dict[str, Queued] = {}
    for sink, level, count in driver.execute(sql).fetchall():
        queues.setdefault(sink, Queued(dict.fromkeys(LEVELS, 0))).levels[level] = count
    return queues


def post(driver: Driver, sink: str, queue: Queued | None, arrived: list[Row], capacity: int) -> Queued:
    """Add messages to a queue of at most `capacity`, in an open transaction. Returns the counts of the queue
    afterwards.

    `queue` has the earlier counts, None for an empty queue. The key of a message is (run, entry, index of the effect).
    BUS is the queue of the message bus; other sinks have their queues in one table.
    """
    counts = dict.fromkeys(LEVELS, 0) if queue is None else dict(queue.levels)
    # columns of a row: run, seq, k, ts, level, kind, body
    messages = [
        Message((row[0], row[1], row[2]), row[3], row[4], row[5], row[6])  # type: ignore[arg-type]
        for row in arrived
    ]
    if sum(counts.values()) + len(messages) <= capacity:
        change = Admission([], messages, 0)  # all fit: none leaves, none is dropped
    else:
        change = admit(waiting(driver, sink=sink), messages, capacity)
    for level, count in remove(driver, sink, change.leave).items():
        counts[level] -= count
    table, queue_values = ("outbox", ()) if sink == BUS else ("deliveries", (sink,))
    rows = (
        (*queue_values, *message.key, message.ts, message.level, message.kind, message.body, message.merged)
        for message in change.enter
    )
    insert_digested(driver, table, rows)
    for message in change.enter:
        counts[message.level] += 1
    if change.dropped and sink == BUS:
        driver.execute(
            "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + ? AS TEXT) WHERE name = 'outbox_dropped'",
            (change.dropped,),
        )
    return Queued(counts, change.dropped if queue is None else queue.dropped + change.dropped)


def remove(driver: Driver, sink: str, keys: Sequence[Key]) -> dict[str, int]:
    """Delete messages of a queue. Returns the number of deleted ones, by level."""
    deleted = dict.fromkeys(LEVELS, 0)
    queue, queue_values = _from_clause(sink)
    for key in keys:
        where, values = f"{queue} AND run = ? AND seq = ? AND k = ?", (*queue_values, *key)
        row = driver.execute(f"SELECT level {where}", values).fetchone()
        if row is not None:
            driver.execute(f"DELETE {where}", values)
            deleted[row[0]] += 1
    return deleted


def waiting(driver: Driver, limit: int = -1, sink: str = BUS) -> list[Message]:
    """Return the messages of a queue, oldest first; all when `limit` is negative."""
    queue, queue_values = _from_clause(sink)
    order = f"SELECT run, seq, k, ts, level, kind, body, merged {queue} ORDER BY ts, run, seq, k"
    rows = driver.execute(order if limit < 0 else f"{order} LIMIT {limit:d}", queue_values).fetchall()
    return [Message((r[0], r[1], r[2]), r[3], r[4], r[5], r[6], r[7]) for r in rows]


def count(driver: Driver, sink: str) -> int:
    queue, queue_values = _from_clause(sink)
    return int(driver.execute(f"SELECT COUNT(*) {queue}", queue_values).fetchone()[0])


def _from_clause(sink: str) -> tuple[str, tuple[str, ...]]:
    """Return the FROM clause that selects a queue, with its parameter values."""
    return ("FROM outbox WHERE 1 = 1", ()) if sink == BUS else ("FROM deliveries WHERE sink = ?", (sink,))
