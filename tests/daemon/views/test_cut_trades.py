"""The index of trades that limits cut, while plans are added to the store and old ones are deleted from it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.views.addresses import PAGE, AskedLine, asked_lines, lots_passed, refused_lines
from quantd.daemon.views.cut_trades import CutTrades, TradeQuery
from quantd.trading.effects import AgentPlan, Planned
from tests.support.command_line import CONFIG, quantd, write

ALL = 1_000_000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a journalled backtest, in which some steps have many plans."""
    folder = tmp_path_factory.mktemp("stored")
    config = write(folder, CONFIG)
    assert quantd(folder, "backtest", "--config", str(config), "--journal", "--no-compare").returncode == 0
    (path,) = folder.rglob("quantd.db")
    with closing(sqlite3.connect(path)) as db:
        names = [row[1] for row in db.execute("pragma table_info(decisions)")]
        cut = int(refused_lines(Reader.open(path.parent), last=ALL)[3].address[1:].partition(":")[0])
        for k in range(1, PAGE + 7):
            values = ", ".join(f"k + 1000 + {k}" if name == "k" else name for name in names)
            copied = f"select {values} from decisions where seq = {cut} and k < 1000"
            db.execute(f"insert into decisions ({', '.join(names)}) {copied}")
        db.commit()
    return path.parent


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """A copy of the store."""
    shutil.copytree(stored, tmp_path / "copy")
    return tmp_path / "copy"


def changed(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "quantd.db")) as db:
        db.execute(sql)
        db.commit()


def every(trades: CutTrades, reader: Reader, limit: int = 11) -> list[AskedLine]:
    rows: list[AskedLine] = []
    key: tuple[int, ...] = ()
    while True:
        page = trades.page(reader, "all", TradeQuery(), limit, key)
        rows += page.rows
        if not page.more:
            return rows[::-1]
        key = page.next


def listed(reader: Reader) -> list[AskedLine]:
    """Every trade that was cut, from one read of all plans."""
    lines = (line for decision in reader.decisions() for line in asked_lines(reader, decision))
    return [line for line in lines if line.asked != line.allowed]


@pytest.mark.long
def test_pages_have_every_trade_once_also_where_a_page_ends_inside_a_step(stored: Path) -> None:
    reader = Reader.open(stored)
    expected = listed(reader)
    assert len({line.address for line in expected}) > PAGE
    for limit in (1, 7, 500, ALL):
        assert every(CutTrades(), reader, limit) == expected
    assert refused_lines(reader, last=ALL) == expected


@pytest.mark.long
def test_a_question_after_new_plans_has_them_and_one_after_a_deletion_has_not(folder: Path) -> None:
    reader = Reader.open(folder)
    all_lines = listed(reader)
    ordered = sorted({line.ts for line in all_lines})
    (early, late), trades = (ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3]), CutTrades()
    changed(folder, f"create table later as select * from decisions where ts > {late}")
    changed(folder, f"delete from decisions where ts > {late}")
    assert every(trades, reader) == [line for line in all_lines if line.ts <= late]
    changed(folder, "insert into decisions select * from later")
    assert every(trades, reader) == all_lines
    assert trades.totals(reader, TradeQuery())["all"] == len(all_lines)
    changed(folder, f"delete from decisions where ts < {early}")
    kept = [line for line in all_lines if line.ts >= early]
    assert every(trades, reader) == kept
    assert trades.totals(reader, TradeQuery())["all"] == len(kept) < len(all_lines)
    changed(folder, "delete from decisions")
    assert trades.totals(reader, TradeQuery()) == {"all": 0, "cut": 0, "refused": 0}


@pytest.mark.parametrize(("n", "passed"), [(1, [65, 5]), (0, [0, 5])])
def test_nothing_of_an_order_that_goes_whole_or_not_at_all_passed_where_a_limit_cut_it(
    n: int, passed: list[int]
) -> None:
    allowed, none = np.array([65, 5]).tobytes(), bytes(16)
    part = AgentPlan(0, b"", 1.0, np.array([5_000, 5]).tobytes(), allowed, bytes(2))
    plan = Planned(1, n, 1, [part], none, none, none, allowed, allowed, bytes(2))
    assert lots_passed(plan, part.asked, part).tolist() == passed
