"""Attacks on the files of a stopped daemon: one line each; the next start refuses and changes nothing, with the
remedy."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG, program, quantd, write

Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Attack:
    """`damage` is done to the state folder; the error of `quantd run` has `said`."""

    name: str
    damage: Damage
    said: str


def sql(text: str) -> Damage:
    """A change of the database by another program."""

    def change(state: Path) -> None:
        with sqlite3.connect(state / "quantd.db") as database:
            database.execute(text)
        database.close()

    return change


def cut(name: str, count: int) -> Damage:
    """The end of a file is missing."""
    return lambda state: (state / name).write_bytes((state / name).read_bytes()[:-count])


NEWEST = "select max(number) from journal"

ATTACKS = (
    Attack("database without content", lambda s: (s / "quantd.db").write_bytes(b""), "journal"),
    Attack("database of another kind", lambda s: (s / "quantd.db").write_bytes(b"x" * 8192), "not a database"),
    Attack("database that is gone", lambda s: (s / "quantd.db").unlink(), "journal"),
    Attack("end of the database cut", cut("quantd.db", 8192), "malformed"),
    Attack("head of the journal gone", lambda s: (s / "journal.head").unlink(), "journal.head"),
    Attack("head of the journal empty", lambda s: (s / "journal.head").write_bytes(b""), "journal.head"),
    Attack("head of the journal random", lambda s: (s / "journal.head").write_bytes(b"\xff" * 64), "journal.head"),
    Attack("newest entry removed", sql(f"delete from journal where number = ({NEWEST})"), "journal"),
    Attack("an entry removed", sql("delete from journal where number = 1"), "journal"),
    Attack(
        "an entry changed",
        sql(f"update journal set blob = zeroblob(length(blob)) where number = ({NEWEST})"),
        "journal",
    ),
    Attack("an entry moved", sql("update journal set number = number + 1000000 where number = 1"), "journal"),
    Attack("a snapshot changed", sql("update snapshots set data = zeroblob(length(data))"), "snapshot"),
    Attack("table of the journal dropped", sql("drop table journal"), "journal"),
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in order in the middle of its market. Its process has ended: until then a thread that
    reads keeps the write-ahead log, which repairs a damaged database."""
    folder = tmp_path_factory.mktemp("stopped")
    write(folder, CONFIG)
    assert program(folder, "run").returncode == 0
    return folder


@pytest.mark.long
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_start_is_refused(tmp_path: Path, stopped: Path, attack: Attack) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(stopped, folder)
    attack.damage(folder / "state")
    head = folder / "state" / "journal.head"
    before = head.read_bytes() if head.exists() else b""
    done = quantd(folder, "run")
    assert done.returncode in (1, 75), done
    assert attack.said in done.stderr
    assert "Traceback" not in done.stderr
    assert (head.read_bytes() if head.exists() else b"") == before
