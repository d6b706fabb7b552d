"""While the daemon trades, no collection of garbage looks through what its start has made: a full one takes 0.1 s and more."""

import gc
from pathlib import Path

from tests.edge_world import CONFIG, answer, quantd, write

POLICY = """\
import gc


def act(view, memory):
    return [0.2 if gc.get_freeze_count() > 100_000 else 0.0] * 3, memory
"""


def test_what_the_start_made_is_left_alone_while_it_trades_and_given_back_after(tmp_path: Path) -> None:
    (tmp_path / "frozen.py").write_text(POLICY)
    write(tmp_path, CONFIG.replace('"equal_weight"', '"frozen.py:act"').replace("capital = 0.4", "capital = 0.0001"))
    assert answer(quantd(tmp_path, "run", "--json"))["positions"]
    assert gc.get_freeze_count() == 0
