"""A policy inside others is still what it is: a user's has its deadline, an artifact its digest."""

import time
from pathlib import Path

from daemon.deadline import Deadline
from daemon.opening import artifacts_in
from daemon.policies import Inner, load
from daemon.user_policy import UserPolicy
from strategies.policies import EqualWeight
from strategies.policies.rebalanced import Rebalanced, RebalanceRules
from strategies.policies.sized import Sized, SizingRules
from tests.policy_world import market, view_of
from trading.effects import Ask
from trading.ports import leaves

MEMBERS = [{"policy": "slow.py:act"}, {"policy": "equal_weight"}]


def nested(folder: Path):
    policy = load(
        "ensemble", {"members": [{"policy": "momentum_tilted", "params": {"base": MEMBERS[0]}}, MEMBERS[1]]}, folder
    )
    return Rebalanced(Inner(Sized(Inner(policy), SizingRules())), RebalanceRules())


def test_the_leaves_of_a_policy_are_what_it_is_made_of(tmp_path):
    (tmp_path / "slow.py").write_text("def act(view):\n    return 'hold'\n")
    assert [type(each) for each in leaves(nested(tmp_path))] == [UserPolicy, EqualWeight]
    alone = load("equal_weight", {}, tmp_path)
    assert list(leaves(alone)) == [alone]


def test_a_users_policy_has_its_deadline_wherever_it_is(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef act(view):\n    time.sleep(5)\n    return 'hold'\n")
    policy = nested(tmp_path)
    began = time.monotonic()
    said = Deadline([policy], limit_s=0.2)(Ask(0, 0, view_of(market(1, 3, 40), policy.lookback), {}))
    assert time.monotonic() - began < 3.0
    assert "no answer within 0.2 s" in said.failed


def test_the_digest_of_an_artifact_is_known_inside_an_ensemble():
    root = Path(__file__).parents[2]
    learned = load("models/shipped/scorer", {}, root)
    both = load("ensemble", {"members": [{"policy": "models/shipped/scorer"}, MEMBERS[1]]}, root)
    assert artifacts_in(both) == artifacts_in(learned) == learned.digest != ""
    assert artifacts_in(load("equal_weight", {}, root)) == ""
