"""Where the store of a test is, and the ways to it that tests use; in either database."""

import itertools
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantd.adapters.store.driver import Driver, SqliteDriver, UrlDriver
from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.journal.writer import Batch, SnapshotOf
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.tables.projection import Projection
from quantd.adapters.store.upkeep.backup import before_upgrade
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from quantd.trading.effects import (
    AgentPlan,
    Booked,
    Cancel,
    Crossed,
    Ended,
    Filled,
    Planned,
    Publish,
    Switched,
    Valued,
)  # fmt: skip
from quantd.trading.events import NotFound, SliceRef, Tick, Unknown
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports

UNIVERSE = Universe(tuple(Instrument(s) for s in ("SPY", "TLT", "GLD", "BTC")))


AGENTS = ("alpha", "beta")


DAY = 86_400_000_000_000


START = 1_600_000_000_000_000_000


def basket(
    sample: int, n: int = 0, sym: tuple[int, ...] = (0, 1, 2), lots: tuple[int, ...] = (5, -3, 8)
) -> OrderBasket:
    size = len(sym)
    return OrderBasket(sample, n, sample, list(sym), list(lots), [10**11] * size, [sample + DAY] * size, [0] * size)


def plan(sample: int, n: int = 0, size: int = 4) -> Planned:
    lots = np.array([5, -3, 8, 0], dtype="<i8").tobytes()
    zero = np.zeros(size).tobytes()
    agents = [
        AgentPlan(0, zero, 1.0, lots, lots, bytes(size), {"gross": (0.5, 1.0)}),
        AgentPlan(1, zero, 1.0, lots, np.array([0, 1, 2, 0], dtype="<i8").tobytes(), bytes(size), {}),
    ]
    return Planned(sample, n, sample, agents, zero, lots, zero, lots, lots, bytes(size), {}, {"gross": (0.5, 1.0)})


def entries(count: int, seed: int = 0) -> list[tuple[object, list[object]]]:
    """`count` (event, effects) of a random but lawful day at the desk."""
    rng = random.Random(seed)
    out: list[tuple[object, list[object]]] = []
    open_rows: dict[tuple[int, int, int], tuple[int, int, int]] = {}  # (sample, n, row) -> sym, lots, filled
    sample = START
    while len(out) < count:
        turn = rng.random()
        if turn < 0.25 or not open_rows:
            sample += DAY
            order_basket = basket(sample, lots=(rng.randint(1, 9), -rng.randint(1, 9), rng.randint(1, 9)))
            for row, (s, lots) in enumerate(zip(order_basket.sym, order_basket.lots, strict=True)):
                open_rows[sample, 0, row] = (s, lots, 0)
            effects: list[object] = [plan(sample), order_basket, Valued(sample, 10**11, 10**10, [10**11, 0], 0.9, 0.01)]
            out.append((Tick(sample, sample=True), effects))
        elif turn < 0.75:
            key = rng.choice(list(open_rows))
            s, lots, filled = open_rows.pop(key)
            part = rng.randint(1, abs(lots) - filled)
            cum = filled + part
            last = cum == abs(lots)
            price = rng.randint(1, 10**12)
            fee = rng.randint(0, 10**6)
            cause = Cause.LAST_FILL if last else Cause.PART_FILL
            signed = part if lots > 0 else -part
            event = Reports(key[0], key[1], sample + 1, [key[2]], [cum], [part], [price], [fee], [cause])
            effects = [Filled(key[0], key[1], sample + 1, [s], [signed], [price], [fee], [[(0, signed)]])]
            if last:
                effects.append(Ended(key[0], key[1], sample + 1, [key[2]], [OrderState.FILLED]))
            else:
                open_rows[key] = (s, lots, cum)
            out.append((event, effects))
        elif turn < 0.80:
            key = rng.choice(list(open_rows))
            out.append((Unknown(key[0], key[1], sample + 2, [key[2]], "timed out"), []))
            if not open_rows[key][2]:
                open_rows.pop(key)
                ended = Ended(key[0], key[1], sample + 2, [key[2]], [OrderState.EXPIRED], "never sent")
                out.append((NotFound(key[0], key[1], sample + 2, [key[2]]), [ended]))
        elif turn < 0.85:
            key = rng.choice(list(open_rows))
            out.append((SliceRef(len(out)), [Cancel(key[0], key[1], key[2], sample + 3)]))
        elif turn < 0.90:
            out.append((SliceRef(len(out)), [Crossed(sample, sample, 1, 10**11, [(0, 4), (1, -4)])]))
        elif turn < 0.95:
            out.append(
                (SliceRef(len(out)), [Publish(sample, rng.choice(["INFO", "WARNING"]), "stale", "SPY is stale", "SPY")])
            )
        else:
            effects = [Booked(sample, "dividend", 0, 1234), Switched(sample, -1, 0, 1, "drawdown")]
            out.append((SliceRef(len(out)), effects))
    return out[:count]


def batch(fold: Projection, first: int, part: list[tuple[object, list[object]]], *, durable: bool = False) -> Batch:
    """One batch of entries, through `fold`."""
    for seq, (event, effects) in enumerate(part, first):
        fold.add(seq, event, effects)
    coded = [codec.encode(event, effects) for event, effects in part]  # type: ignore[arg-type]
    return Batch(fold.run, first, coded, START + first, fold.take(), durable)


def put_snapshot(store: Store, run: str, seq: int, version: str, data: bytes) -> None:
    """Commit a snapshot without entries."""
    store.commit(Batch(run, seq + 1, [], START, durable=True, snapshot=SnapshotOf(seq, version, data)))


_numbers = itertools.count(1)


@dataclass(frozen=True)
class Desk:
    """A store and its state folder."""

    where: str | Path
    state: Path

    @property
    def postgres(self) -> bool:
        return isinstance(self.where, str)

    def open(self, **more: Any) -> Store:
        return Store.open(self.where, state=self.state, **{"save": before_upgrade, **more})

    def read_only(self) -> Records:
        return read_only(self.where, self.state)

    def reader(self, run: str | None = None) -> Reader:
        return Reader.open(self.where, run)

    def verify(self, newest: int | None = None) -> list[str]:
        return verify(self.where, self.state, newest)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Behind the store's back; rows where the statement gives some."""
        if not self.postgres:
            with closing(sqlite3.connect(self.state / "quantd.db")) as db:
                rows = db.execute(statement, values).fetchall()
                db.commit()
                return rows
        driver = UrlDriver(str(self.where))
        try:
            cursor = driver.execute(statement, values)
            rows = list(map(tuple, cursor.fetchall())) if cursor.description else []
            driver.commit()
            return rows
        finally:
            driver.close()


def new_schema(cluster: str) -> str:
    """URL of a new, empty schema: what an operator gives each instance."""
    name = f"desk{next(_numbers)}"
    driver = UrlDriver(cluster)
    try:
        driver.execute(f"CREATE SCHEMA {name}")
        driver.commit()
    finally:
        driver.close()
    return f"{cluster}&options=-csearch_path%3D{name}"


def image(state: Path) -> dict[str, bytes]:
    """The files of a state folder in SQLite, archives included."""
    paths = [state / name for name in ("quantd.db", "quantd.db-wal", "journal.head")]
    files = {path.name: path.read_bytes() for path in paths if path.exists()}
    return files | {f"archives/{path.name}": path.read_bytes() for path in (state / "archives").glob("*")}


def lay(state: Path, files: dict[str, bytes]) -> None:
    """Make a state folder of these files alone."""
    shutil.rmtree(state, ignore_errors=True)
    for name, data in files.items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(data)


def connect(desk: Desk) -> Driver:
    return UrlDriver(str(desk.where)) if desk.postgres else SqliteDriver(desk.state / "quantd.db")
