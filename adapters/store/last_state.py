"""Where a store is, the last state of its newest run, and how far the account was below its highest worth.

It is read with SQLite's own driver: the other readers import packages for most of a second of CPU time.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Driver, Queries, SqliteDriver, UrlDriver, failures
from quantd.adapters.store.journal.chain import check_run
from quantd.adapters.store.lock import BACKTESTS, FILE
from quantd.adapters.store.store_errors import NO_RUN, StoreMismatch
from quantd.adapters.store.tables.revision import refuse_other

DEPOSITS: Final = ("flow", "in_kind")
"""Kinds of bookings that are deposits or withdrawals."""

Worth = tuple[int, int, float | None]
"""A valuation as (ts, equity, drawdown from the mark of the limit), or a deposit as (ts, amount, None)."""


class LastState(Struct, frozen=True):
    """The newest run as its store has it. `sample` is its last valuation as (ts, equity, cash, gross, drawdown), and
    `moves` are those of the account's switch as (ts, 0 RUN, 1 REDUCE or 2 HALT, reason), oldest first."""

    run: str
    mode: str
    ended: str
    agents: tuple[str, ...]
    sample: tuple[int, int, int, float, float] | None
    moves: list[tuple[int, int, str]]
    worth: list[Worth]


def last_state(where: str | Path) -> LastState:
    """Return the last state of the newest run. Raises StoreMismatch without one, and StoreDamaged for a changed row."""
    _, connect = to_read(where)
    with failures("reading the store"), closing(connect()) as driver:
        columns = "number, run, ts, mode, universe, agents, ended_ts, ended"
        row = driver.execute(f"SELECT {columns}, digest FROM runs ORDER BY number DESC LIMIT 1").fetchone()
        if row is None:
            raise StoreMismatch(NO_RUN)
        _, run, _, mode, _, agents, _, ended = check_run(row)
        valuation = "SELECT ts, equity_micro, cash_micro, gross, drawdown FROM equity WHERE run = ?"
        sample = driver.execute(f"{valuation} ORDER BY seq DESC, k DESC LIMIT 1", (run,)).fetchone()
        switch = "SELECT ts, after, reason FROM switches WHERE run = ? AND agent < 0 ORDER BY seq, k"
        moves = driver.execute(switch, (run,)).fetchall()
        names: tuple[str, ...] = msgspec.json.decode(agents)[-1][1]
        return LastState(run, mode, ended, tuple(names), sample, moves, worth(driver, run))


def worth(driver: Queries, run: str) -> list[Worth]:
    """Return the valuations of the account without its books, and the deposits and withdrawals between them."""
    sql = "SELECT seq, k, ts, {} FROM {} WHERE run = ?"
    rows = driver.execute(sql.format("equity_micro, drawdown", "equity"), (run,)).fetchall()
    bookings = driver.execute(sql.format("amount_micro, kind", "bookings"), (run,)).fetchall()
    rows += [(*row, None) for *row, kind in bookings if kind.partition("@")[0] in DEPOSITS]
    return [(ts, amount, drawdown) for _, _, ts, amount, drawdown in sorted(rows, key=lambda row: row[:2])]


def locate(where: str | Path, state: Path | None = None) -> tuple[Path, Callable[[], Driver], Path | None]:
    """Return the state folder of a store, a function that connects for writing, and the database file (None for a URL).

    Raises StoreMismatch for a database by URL without a state folder.
    """
    if "://" in str(where):
        if state is None:
            raise StoreMismatch(
                f"{where}: a database by URL needs a state folder for its lock and head; name one with --state"
            )
        return state, partial(UrlDriver, str(where)), None
    path = Path(where)
    path = path if path.suffix == ".db" else path / FILE
    return state or path.parent, partial(SqliteDriver, path), path


def for_reading(where: str | Path, state: Path | None = None) -> tuple[Path | None, Callable[[], Driver], Path | None]:
    """Return the state folder of a store, a function that connects for reading, and the database file (None for a URL).

    The folder is None for a URL without a state folder.
    """
    if state is None and "://" in str(where):
        return None, partial(UrlDriver, str(where)), None
    folder, connect, path = locate(where, state)
    return folder, partial(connect_to_read, path, connect), path


def to_read(where: str | Path, state: Path | None = None) -> tuple[Path | None, Callable[[], Driver]]:
    """Return the state folder of a store, and a function that connects for reading, as `for_reading` does.

    Raises StoreMismatch if there is no store, and StoreVersion for a store of another version.
    """
    folder, connect, path = for_reading(where, state)
    if path is not None and not path.exists():
        raise StoreMismatch(f"{path}: there is no store here; {_remedy_without_store(path.parent / BACKTESTS)}")
    with failures("reading the store"), closing(connect()) as driver:
        refuse_other(driver)
    return folder, connect


def _remedy_without_store(backtests: Path) -> str:
    """Return the remedy for a missing store: it names the folder of backtests if that has a store, else the commands
    that create one."""
    if (backtests / FILE).exists():
        return f"the backtests have one: write --state {backtests}"
    return f"`quantd run` makes one, and `quantd backtest --journal` one in {backtests}"


def connect_to_read(path: Path | None, connect: Callable[[], Driver]) -> Driver:
    return connect() if path is None else SqliteDriver(path, read_only=True)


class Peak:
    """How far the account is below its highest worth of the run; deposits and withdrawals are no gain and no loss.

    The trading switch has a mark of its own for its limit, which a resume sets to the equity of that instant. This peak
    no resume moves. It begins with the mark at the first valuation, which is the cash or the carried-over mark.
    """

    def __init__(self, rows: Iterable[Worth] = ()) -> None:
        self._growth, self._highest = 1.0, 1.0
        self._equity: int | None = None
        self._deposits = 0
        self.ts = 0
        """Instant of the highest worth, ns UTC; 0 while it is that of the start."""
        for row in rows:
            self.add(row)

    def add(self, row: Worth) -> None:
        """Take the next valuation, or a deposit that came before it."""
        ts, amount, drawdown = row
        if drawdown is None:
            self._deposits += amount
            return
        if self._equity is None:
            self._highest = 1.0 / (1.0 - drawdown) if drawdown < 1.0 else 1.0
        else:
            self._growth = self._grown(amount)
        self._equity, self._deposits = amount, 0
        if self._growth > self._highest:
            self._highest, self.ts = self._growth, ts

    def drawdown(self, equity_micro: int) -> float:
        """The fraction by which the account, now at `equity_micro`, is below its highest worth."""
        return max(0.0, 1.0 - self._grown(equity_micro) / self._highest)

    def _grown(self, equity_micro: int) -> float:
        """The growth of 1 since the first valuation."""
        if self._equity is None or self._equity <= 0:
            return self._growth
        return self._growth * (equity_micro - self._deposits) / self._equity
