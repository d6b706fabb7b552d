"""A user's policy that never answers stops nobody else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.loading import load
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.effects import Publish
from quantd.trading.ports import Policy
from tests.support.engine import World, block, walk

FILE = """
import threading
LOOKBACK = 5
def act(view):
    if view.time > {after}:
        threading.Event().wait()
    return [0.4, 0.4]
"""


@pytest.fixture
def asking() -> Iterator[list[Deadline]]:
    opened: list[Deadline] = []
    yield opened
    for deadline in opened:
        deadline.close()


def asked(opened: list[Deadline], policies: list[Policy], limit_s: float) -> Deadline:
    opened.append(Deadline(policies, limit_s=limit_s))
    return opened[-1]


@pytest.mark.long
def test_a_policy_that_hangs_fails_by_its_deadline_is_suspended_and_the_others_go_on(
    tmp_path: Path, asking: list[Deadline]
) -> None:
    world = World(block(walk(12, 2, 1)), [lambda v: np.array([0.3, 0.3])] * 2, house=PROFILES["research"])
    items = list(world.items())
    (tmp_path / "slow.py").write_text(FILE.format(after=items[9].ts))  # type: ignore[union-attr]
    hanging = load("slow.py:act", {}, tmp_path, Apart())
    world.shell.answer = asked(asking, [world.policies[0], hanging], 0.2)
    world.run(iter(items))
    texts = [p.text for p in world.of(Publish) if isinstance(p, Publish) and p.agent == "a1"]
    late = ("no answer within 0.2 s; its process is started anew", "was not ready within 0.2 s; it is loaded further")
    assert sum(any(why in text for why in late) for text in texts) == 3
    assert world.shell.state.agents[1].suspended
    # it traded while it answered, and keeps what it has
    assert any(world.shell.state.ledger.books[1].lots)
    assert not world.shell.state.agents[0].suspended


def test_an_answer_in_time_is_that_of_the_policy_itself(tmp_path: Path, asking: list[Deadline]) -> None:
    world = World(block(walk(12, 2, 1)), [lambda v: [0.4, 0.4]], house=PROFILES["research"]).run()
    (tmp_path / "quick.py").write_text(FILE.format(after=2**62))
    again = World(block(walk(12, 2, 1)), [lambda v: [0.4, 0.4]], house=PROFILES["research"])
    again.shell.answer = asked(asking, [load("quick.py:act", {}, tmp_path, Apart())], 5.0)
    again.run()
    assert again.shell.digest.hexdigest() == world.shell.digest.hexdigest()


def test_a_policy_file_is_never_asked_in_the_daemons_own_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def act(view):\n    return 'hold'\n")
    inside = load("ensemble", {"members": [{"policy": "mine.py:act"}, {"policy": "equal_weight"}]}, tmp_path)
    with pytest.raises(TypeError, match="without a separate process"):
        Deadline([inside])


def test_the_time_of_each_answer_is_kept_for_the_next_scrape(asking: list[Deadline]) -> None:
    of = World(block(walk(3, 2, 3)), [lambda v: np.array([0.1, 0.1])])
    deadline = of.shell.answer = asked(asking, list(of.policies), 5.0)
    of.run()
    predictions = deadline.predictions
    assert predictions.counts == {(0, "decision", "weights"): 3}
    assert [(agent, source) for agent, source, _ in predictions.durations] == [(0, "decision")] * 3
    assert all(0.0 < seconds < 10.0 for _, _, seconds in predictions.durations)
