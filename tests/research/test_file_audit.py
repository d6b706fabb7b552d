"""The files that are opened while somebody looks, by Python and by readers that are not Python."""

import contextlib
import cProfile
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd
import polars as pl

from quantd.research.file_audit import watching
from tests.support.checkout import DATA


def test_python_and_native_readers_are_both_seen(tmp_path: Path) -> None:
    note, table = tmp_path / "note.txt", tmp_path / "table.csv"
    note.write_text("x")
    table.write_text("a\n1\n")
    opened: dict[str, None] = {}
    with watching(opened):
        note.read_text()
        pd.read_csv(table)
        pl.read_parquet(DATA / "vix_daily.parquet")
        pl.scan_csv([str(DATA / "us_actions.csv")])
    wanted = {note, table, DATA / "vix_daily.parquet", DATA / "us_actions.csv"}
    assert set(opened) == {str(path.resolve()) for path in wanted}


def test_code_and_the_machine_are_not_reported_and_nothing_is_seen_afterwards(tmp_path: Path) -> None:
    module = tmp_path / "part.py"
    module.write_text("x = 1\n")
    opened: dict[str, None] = {}
    with watching(opened):
        module.read_text()
        Path("/proc/self/stat").read_text()
        Path("/dev/null").read_text()
    (tmp_path / "later.txt").write_text("x")
    pl.read_parquet(DATA / "vix_daily.parquet")
    assert opened == {}


def test_a_file_in_memory_is_reported_as_any_other() -> None:
    opened: dict[str, None] = {}
    with NamedTemporaryFile(dir="/dev/shm") as table, watching(opened):
        Path(table.name).read_text()
    assert list(opened) == [table.name]


def test_a_started_program_and_a_connection_are_named() -> None:
    opened: dict[str, None] = {}
    with watching(opened):
        subprocess.run([sys.executable, "-c", ""], check=True)
        with socket.socket() as client, contextlib.suppress(OSError):
            client.connect(("127.0.0.1", 9))
    assert {f"program {sys.executable}", "network 127.0.0.1:9"} <= set(opened)


def test_a_profiler_of_the_user_goes_on(tmp_path: Path) -> None:
    """cProfile cannot be put back by `sys.setprofile` once it was replaced."""
    note, opened = tmp_path / "note.txt", dict[str, None]()
    note.write_text("1")
    profile = cProfile.Profile()
    profile.enable()
    with watching(opened):
        note.read_text()
    len(opened)
    profile.disable()
    assert str(note) in opened
    assert any("read_text" in str(entry.code) for entry in profile.getstats())
