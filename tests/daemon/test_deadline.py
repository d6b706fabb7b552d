"""A user's policy that never answers stops nobody else."""

import threading
from pathlib import Path

import numpy as np

from daemon.deadline import Deadline
from daemon.policies import load
from risk.limits import PROFILES
from tests.engine_world import World, block, walk
from trading.effects import Publish

FILE = """
import threading
LOOKBACK = 5
def act(view):
    if view.time > {after}:
        threading.Event().wait()
    return [0.4, 0.4]
"""


def test_a_policy_that_hangs_fails_by_its_deadline_is_suspended_and_the_others_go_on(tmp_path: Path) -> None:
    world = World(block(walk(12, 2, 1)), [lambda v: np.array([0.3, 0.3])] * 2, house=PROFILES["research"])
    items = list(world.items())
    (tmp_path / "slow.py").write_text(FILE.format(after=items[9].ts))  # type: ignore[union-attr]
    hanging = load("slow.py:act", {}, tmp_path)
    deadline = Deadline([world.policies[0], hanging], limit_s=0.05)
    world.shell.answer = deadline
    world.run(iter(items))
    texts = [p.text for p in world.of(Publish) if isinstance(p, Publish) and p.agent == "a1"]
    assert any("no answer within 0.05 s" in t for t in texts)
    assert any("still busy" in t for t in texts)
    assert world.shell.state.agents[1].suspended
    # it traded while it answered, and keeps what it has
    assert any(world.shell.state.ledger.books[1].lots)
    assert not world.shell.state.agents[0].suspended
    assert any(t.name == "quantd-policy" and t.daemon for t in threading.enumerate())


def test_an_answer_in_time_is_that_of_the_policy_itself(tmp_path: Path) -> None:
    world = World(block(walk(12, 2, 1)), [lambda v: [0.4, 0.4]], house=PROFILES["research"]).run()
    (tmp_path / "quick.py").write_text(FILE.format(after=2**62))
    again = World(block(walk(12, 2, 1)), [lambda v: [0.4, 0.4]], house=PROFILES["research"])
    again.shell.answer = Deadline([load("quick.py:act", {}, tmp_path)], limit_s=5.0)
    again.run()
    assert again.shell.digest.hexdigest() == world.shell.digest.hexdigest()
