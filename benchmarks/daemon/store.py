"""Speed of the store, compared with plain SQLite on the same work: `python -m benchmarks.daemon.store`."""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.writer import Batch
from quantd.adapters.store.tables.projection import Projection
from quantd.trading import codec
from quantd.trading.effects import Ended, Filled
from quantd.trading.events import SliceRef, Tick
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports

N = 20
RUN = "bench000"
DAY = 86_400_000_000_000
UNIVERSE = Universe(tuple(Instrument(f"S{k:02d}") for k in range(N)))
Entry = tuple[object, list[object]]


def best(work: Callable[[], float], times: int = 3) -> float:
    return min(work() for _ in range(times))


def session(sample: int) -> list[Entry]:
    """Return the entries of a session in which all symbols trade:

    a decision's basket, and its fills at the next open.
    """
    rows = list(range(N))
    basket = OrderBasket(sample, 0, sample, rows, [3] * N, [10**11] * N, [sample + DAY] * N)
    ts = sample + DAY
    reports = Reports(sample, 0, ts, rows, [3] * N, [3] * N, [10**11] * N, [5] * N, [Cause.LAST_FILL] * N)
    filled = Filled(sample, 0, ts, rows, [3] * N, [10**11] * N, [5] * N, [[(0, 3)]] * N)
    return [
        (Tick(sample, sample=True), [basket]),
        (reports, [filled, Ended(sample, 0, ts, rows, [OrderState.FILLED] * N)]),
    ]


def commits(entries: list[bytes], group: int, durable: bool) -> float:
    """Return the seconds for `entries` through the store, `group` to a batch."""
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        store.begin(RUN, UNIVERSE)
        start = time.perf_counter()
        for first in range(0, len(entries), group):
            store.commit(Batch(RUN, first + 1, entries[first : first + group], 0, durable=durable))
        return time.perf_counter() - start


def plain(entries: list[bytes], group: int, durable: bool) -> float:
    """Return the same with sqlite3 alone: a row and a chained hash for each entry, executemany."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "plain.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        db.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, data BLOB, hash BLOB)")
        last = bytes(32)
        start = time.perf_counter()
        for first in range(0, len(entries), group):
            rows = []
            for seq, data in enumerate(entries[first : first + group], first):
                last = blake2b(last + data, digest_size=32).digest()
                rows.append((seq, data, last))
            db.execute("BEGIN")
            db.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows)
            db.execute("COMMIT")
        took = time.perf_counter() - start
        db.close()
        return took


def trading(sessions: list[list[Entry]], busy: bool) -> tuple[float, float]:
    """Return (seconds in the projection, seconds in commits) of batches of 500 sessions, all symbols trading."""
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        fold = store.begin(RUN, UNIVERSE, agents=("a",))
        folding = writing = 0.0
        first = 1
        stop = threading.Event()

        def compute() -> None:
            while not stop.is_set():
                sum(range(1000))

        beside = threading.Thread(target=compute, daemon=True)
        if busy:
            beside.start()
        for k in range(0, len(sessions), 500):
            start = time.perf_counter()
            seq = first
            for part in sessions[k : k + 500]:
                for event, effects in part:
                    fold.add(seq, event, effects)
                    seq += 1
            rows = fold.take()
            folding += time.perf_counter() - start
            entries = [codec.encode(*entry) for part in sessions[k : k + 500] for entry in part]
            start = time.perf_counter()
            store.commit(Batch(RUN, first, entries, 0, rows))
            writing += time.perf_counter() - start
            first += len(entries)
        stop.set()
        return folding, writing


def fold_one(sessions: list[list[Entry]]) -> float:
    """Return the seconds in the projection alone, with a take every 500 sessions."""
    fold = Projection(RUN, UNIVERSE.symbols, ("a",))
    start = time.perf_counter()
    for k, part in enumerate(sessions):
        for seq, (event, effects) in enumerate(part):
            fold.add(2 * k + seq, event, effects)
        if k % 500 == 499:
            fold.take()
    return time.perf_counter() - start


def main() -> None:
    small = [codec.encode(SliceRef(k), []) for k in range(100_000)]
    sessions = [session(k * DAY) for k in range(2_000)]
    large = [codec.encode(*entry) for part in sessions for entry in part]  # type: ignore[arg-type]
    print(f"{'journal, entries/s':44}{'store':>12}{'sqlite3 alone':>16}")
    for name, entries in (("quiet slices (16 B)", small), (f"baskets and fills of 20 ({len(large[0])} B)", large)):
        for group, durable in ((4000, True), (4000, False), (100, True)):
            ours = len(entries) / best(lambda e=entries, g=group, d=durable: commits(e, g, d))  # type: ignore[misc]
            bare = len(entries) / best(lambda e=entries, g=group, d=durable: plain(e, g, d))  # type: ignore[misc]
            label = f"{name}, {group} a batch, {'FULL' if durable else 'NORMAL'}"
            print(f"{label:52}{ours:>12,.0f}{bare:>16,.0f}")
    ones = small[:500]
    one = commits(ones, 1, True) / len(ones)
    print(
        f"one entry a batch, FULL, head synced: {one * 1e6:,.0f} us; sqlite3 alone "
        f"{plain(ones, 1, True) / len(ones) * 1e6:,.0f} us"
    )
    print(f"projection, 20 orders and 20 fills: {best(lambda: fold_one(sessions)) / len(sessions) * 1e6:.1f} us")
    for busy in (False, True):
        _, writing = trading(sessions[:1000], busy)
        beside = "beside a computing thread" if busy else "alone"
        print(f"read models of 20 orders and 20 fills, {beside}: {writing / 1000 * 1e6:,.0f} us a session")


if __name__ == "__main__":
    main()
