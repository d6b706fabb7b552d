"""While the daemon trades, no collection of garbage looks through what its start has made: a full one takes 0.1 s and
more."""

import gc
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from quantd.strategies.policies import POLICIES
from quantd.trading.codec import encode
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View
from tests.support.command_line import CONFIG, answer, quantd, write


class Frozen:
    """Holds something while what was made at the start is left alone; it is asked in the daemon's process."""

    lookback = 1

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        return np.full(3, 0.2 if gc.get_freeze_count() > 100_000 else 0.0), memory


@pytest.mark.long
def test_what_the_start_made_is_left_alone_while_it_trades_and_given_back_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "frozen", lambda params: Frozen())
    write(tmp_path, CONFIG.replace('"equal_weight"', '"frozen"').replace("capital = 0.4", "capital = 0.0001"))
    days = ("--set", "feed.end=2019-01-11")  # each question counts a million objects
    assert answer(quantd(tmp_path, "run", "--json", *days))["positions"]
    assert gc.get_freeze_count() == 0


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
