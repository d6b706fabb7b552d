"""A policy inside others is still what it is: a user's has its deadline, an artifact its digest."""

from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.monitoring.terminal import trained_until
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.loading import Inner, load
from quantd.daemon.recovery.start import artifacts_in
from quantd.daemon.views.agent_rows import helper_models
from quantd.models.forests.allocation import LearnedAllocation
from quantd.strategies.policies import COMPOSITES
from quantd.strategies.policies.members import leaves_asked, leaves_with_memory
from quantd.strategies.policies.membership import MembersOfDay
from quantd.strategies.policies.rebalancing import Rebalanced, RebalanceRules
from quantd.strategies.policies.sizing import Sized, SizingRules
from quantd.trading.effects import Ask
from quantd.trading.instruments import Membership
from quantd.trading.ports import leaves
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, write
from tests.support.policies import market, view_of, walk

MEMBERS = [{"policy": "slow.py:act"}, {"policy": "equal_weight"}]


def nested(folder: Path, isolation: Apart | None = None):
    members = [{"policy": "momentum_tilted", "params": {"base": MEMBERS[0]}}, MEMBERS[1]]
    policy = load("ensemble", {"members": members}, folder, isolation)
    return Rebalanced(Inner(Sized(Inner(policy), SizingRules())), RebalanceRules())


def test_a_users_policy_has_its_deadline_wherever_it_is(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef act(view):\n    time.sleep(250)\n    return 'hold'\n")
    policy = nested(tmp_path, Apart())
    deadline = Deadline([policy], limit_s=0.2)
    said = deadline(Ask(0, 0, view_of(market(1, 3, 40), policy.lookback), {}))
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


class Recording(Named):
    """Keeps the book, the universe and the memory that it was given last."""

    def __init__(self, name):
        super().__init__(name)
        self.given = None

    def act(self, view, memory):
        self.given = (view.weights.tolist(), view.universe.symbols, {k: v.tolist() for k, v in memory.items()})
        weights, kept = super().act(view, memory)
        return weights * (1.0 + ord(self.name) % 3), kept


def test_what_a_leaf_is_asked_with_is_known_through_every_composite_and_over_a_universe_by_date():
    names = iter("abcdefghij")

    def find(name, params):
        if name == "recording":
            return Inner(Recording(next(names)))
        return Inner(COMPOSITES[name](params, find))

    one = {"policy": "recording"}
    switched = {"policy": "regime_switched", "params": {"bull": one, "bear": one, "volatile": one, "dwell": 0}}
    params = {"members": [one, {"policy": "dynamic", "params": {"base": one}}, switched], "combine": "performance"}
    policy = MembersOfDay(Inner(COMPOSITES["ensemble"](params, find)), Membership([(0, 0, 2**62), (2, 0, 2**62)]))
    policy = Rebalanced(Inner(Sized(Inner(policy), SizingRules(max_gross=0.7))), RebalanceRules())
    silent, memory = 0, {}
    for row, said, held in walk(policy, market(1, 3, 90)):
        if row > 40:
            view = view_of(market(1, 3, 90)[: row + 1], policy.lookback, held)
            before = list(leaves_asked(policy, view, memory))
            for leaf in leaves(policy):
                leaf.given = None
            policy.act(view, memory)
            asked = {leaf.name: leaf.given for leaf in leaves(policy) if leaf.given is not None}
            questions = {
                leaf.name: (
                    seen.weights.tolist(),
                    seen.universe.symbols,
                    {k: v.tolist() for k, v in leaf_memory.items()},
                )
                for _, leaf, seen, leaf_memory in before
            }
            assert questions == asked
            assert [path for path, *_ in before][:2] == ["0", "1/base"]
            assert before[2][0] in ("2/bull", "2/bear", "2/volatile")
            assert before[0][2].weights.tolist() != view.weights[[0, 2]].tolist(), "a book of its own"
            silent += len(list(leaves(policy))) - len(asked)
        memory = {name: np.frombuffer(data).reshape(shape) for name, (shape, data) in said.memory.items()}
    assert silent > 0, "branches that are not in force do not decide"


def test_a_day_without_members_asks_nobody():
    policy = MembersOfDay(Inner(Recording("a")), Membership([]))
    assert list(leaves_asked(policy, view_of(market(1, 3, 10), 5), {})) == []


@pytest.mark.long
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
    ((path, leaf, leaf_memory),) = [
        entry for entry in leaves_with_memory(policy, memory) if isinstance(entry[1], LearnedAllocation)
    ]
    assert path == "1"
    helpers = list(helper_models(parts.policies, shell.state))
    assert [agent for agent, _, _ in helpers] == ["even"] * len(helpers)
    assert [model for _, model, _ in helpers] == [
        f"1/{standing.predicts}" for standing in leaf.standing({}, parts.universe)
    ]
    assert [now for _, _, now in helpers] == leaf.standing(leaf_memory, parts.universe)
    assert any(now.running_mse is not None for _, _, now in helpers), "as if it had never been asked"
    assert trained_until(parts) == leaf.trained_until_ns > 0
