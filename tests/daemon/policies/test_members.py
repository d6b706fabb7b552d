"""A policy inside others is still what it is: a user's has its deadline, an artifact its digest."""

import time
from pathlib import Path

import numpy as np

from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.monitoring.terminal import trained_until
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.loading import Inner, load
from quantd.daemon.policies.user_file import UserPolicy
from quantd.daemon.policies.worker import Apart
from quantd.daemon.recovery.start import artifacts_in
from quantd.daemon.views.agent_rows import helper_models
from quantd.models.forests.allocation import LearnedAllocation
from quantd.strategies.policies import COMPOSITES
from quantd.strategies.policies.equal_weight import EqualWeight
from quantd.strategies.policies.members import leaves_with_memory
from quantd.strategies.policies.rebalancing import Rebalanced, RebalanceRules
from quantd.strategies.policies.sizing import Sized, SizingRules
from quantd.trading.effects import Ask
from quantd.trading.ports import leaves
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, write
from tests.support.policies import market, view_of, walk

MEMBERS = [{"policy": "slow.py:act"}, {"policy": "equal_weight"}]


def nested(folder: Path, apart: Apart | None = None):
    members = [{"policy": "momentum_tilted", "params": {"base": MEMBERS[0]}}, MEMBERS[1]]
    policy = load("ensemble", {"members": members}, folder, apart)
    return Rebalanced(Inner(Sized(Inner(policy), SizingRules())), RebalanceRules())


def test_the_leaves_of_a_policy_are_what_it_is_made_of(tmp_path):
    (tmp_path / "slow.py").write_text("def act(view):\n    return 'hold'\n")
    assert [type(each) for each in leaves(nested(tmp_path))] == [UserPolicy, EqualWeight]
    alone = load("equal_weight", {}, tmp_path)
    assert list(leaves(alone)) == [alone]


def test_a_users_policy_has_its_deadline_wherever_it_is(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef act(view):\n    time.sleep(5)\n    return 'hold'\n")
    policy = nested(tmp_path, Apart())
    deadline = Deadline([policy], limit_s=0.2)
    began = time.monotonic()
    said = deadline(Ask(0, 0, view_of(market(1, 3, 40), policy.lookback), {}))
    assert time.monotonic() - began < 3.0
    # though the ensemble has another member: it would wait as long at every question
    assert said.failed == "no answer within 0.2 s; its process is started anew"
    deadline.close()


def test_the_digest_of_an_artifact_is_known_inside_an_ensemble():
    root = ROOT
    learned = load("models/shipped/scorer", {}, root)
    both = load("ensemble", {"members": [{"policy": "models/shipped/scorer"}, MEMBERS[1]]}, root)
    assert artifacts_in(both) == artifacts_in(learned) == learned.digest != ""
    assert artifacts_in(load("equal_weight", {}, root)) == ""


class Named:
    """Remembers the view's samples under its own name."""

    lookback = 1

    def __init__(self, name):
        self.name = name

    def act(self, view, memory):
        before = memory.get(self.name, np.zeros(1))
        return np.full(len(view.prices), 0.1), {self.name: before + 1.0}


def test_each_leaf_is_found_with_what_it_remembered_itself_through_every_composite():
    made = iter("abcdefgh")

    def find(name, params):
        if name == "named":
            return Inner(Named(next(made)))
        return Inner(COMPOSITES[name](params, find))

    one = {"policy": "named"}
    branch = {"policy": "momentum_tilted", "params": {"base": one}}
    policy = COMPOSITES["ensemble"](
        {
            "members": [
                one,
                {"policy": "dynamic", "params": {"base": one}},
                {"policy": "regime_switched", "params": {"bull": one, "bear": branch, "volatile": one}},
            ]
        },
        find,
    )
    policy = Rebalanced(Inner(Sized(Inner(policy), SizingRules())), RebalanceRules())
    *_, (_, said, _) = walk(policy, market(1, 3, 90))
    memory = {name: np.frombuffer(data) for name, (_, data) in said.memory.items()}
    found = {path: (leaf, own) for path, leaf, own in leaves_with_memory(policy, memory)}
    assert list(found) == ["0", "1/base", "2/bull", "2/bear/base", "2/volatile"]
    assert [leaf for leaf, _ in found.values()] == list(leaves(policy))
    asked = {path: own[leaf.name].item() for path, (leaf, own) in found.items() if own}
    assert all(set(own) <= {leaf.name} for leaf, own in found.values())
    assert asked["0"] == asked["1/base"] == 89.0
    assert sum(count for path, count in asked.items() if path.startswith("2/")) == 89.0


def test_a_helper_model_inside_composites_is_known_with_its_track_and_its_training_window(tmp_path):
    write(
        tmp_path,
        CONFIG.replace(
            'policy = "equal_weight"\ncapital = 0.5',
            'policy = "ensemble"\ncapital = 0.5\nsizing = { max_gross = 0.9 }\n'
            'params = { members = [{ policy = "equal_weight" }, { policy = "learned_allocation" }] }',
        ).replace("warmup = 130", "warmup = 300"),
    )
    parts = assemble(read_config(Options(tmp_path / "config.toml")))
    shell = parts.shell()
    for item in parts.items():
        shell.take(item)
    policy, memory = parts.policies[0], shell.state.agents[0].memory
    ((path, leaf, own),) = [
        each for each in leaves_with_memory(policy, memory) if isinstance(each[1], LearnedAllocation)
    ]
    assert path == "1"
    found = list(helper_models(parts.policies, shell.state))
    assert [agent for agent, _, _ in found] == ["even"] * len(found)
    assert [model for _, model, _ in found] == [f"1/{each.predicts}" for each in leaf.standing({}, parts.universe)]
    assert [now for _, _, now in found] == leaf.standing(own, parts.universe)
    assert any(now.running_mse is not None for _, _, now in found), "as if it had never been asked"
    assert trained_until(parts) == leaf.trained_until_ns > 0
