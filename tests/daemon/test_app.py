"""A start over the journal of another version."""

import sqlite3
from pathlib import Path

import pytest

from quantd.trading.codec import encode
from tests.support.command_line import CONFIG, answer, quantd, write


def test_a_journal_of_another_version_that_was_not_stopped_in_order_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, CONFIG)
    answer(quantd(tmp_path, "run", "--json"))
    for module in ("replay", "stored_run"):
        monkeypatch.setattr(f"quantd.daemon.recovery.{module}.code_version", lambda: "0.2.0+0123456789ab")
    assert quantd(tmp_path, "run").returncode == 0, "stopped in order: its snapshot stands after its last step"
    with sqlite3.connect(tmp_path / "state" / "quantd.db") as store:
        store.execute("DELETE FROM snapshots WHERE seq = (SELECT MAX(last_seq) FROM journal)")
        assert store.execute("SELECT COUNT(*) FROM snapshots").fetchone()[0]
    store.close()
    monkeypatch.setattr(
        "quantd.daemon.runtime.journal.encode", lambda event, effects, live: encode(event, effects[:-1], live)
    )
    done = quantd(tmp_path, "run")
    assert done.returncode == 1
    assert "differs from the journal" in done.stderr
    assert "start that version, stop it with Ctrl-C, then start this one" in done.stderr
