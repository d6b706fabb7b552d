"""While the daemon trades, no collection of garbage looks through what its start has made: a full one takes 0.1 s and more."""

import gc
from pathlib import Path

import numpy as np
import pytest

from strategies.policies import POLICIES
from tests.edge_world import CONFIG, answer, quantd, write
from trading.market import Floats
from trading.view import Memory, View


class Frozen:
    """Holds something while what was made at the start is left alone; it is asked in the daemon's process."""

    lookback = 1

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        return np.full(3, 0.2 if gc.get_freeze_count() > 100_000 else 0.0), memory


def test_what_the_start_made_is_left_alone_while_it_trades_and_given_back_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "frozen", lambda params: Frozen())
    write(tmp_path, CONFIG.replace('"equal_weight"', '"frozen"').replace("capital = 0.4", "capital = 0.0001"))
    assert answer(quantd(tmp_path, "run", "--json"))["positions"]
    assert gc.get_freeze_count() == 0
