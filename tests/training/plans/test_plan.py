"""Plans: what TOML leaves out is the learner's default, mistakes name file, line, key, value and remedy, and JSON gives
them back."""

import math
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.models.observation.sight import entry_names
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import learners
from quantd.training.networks.sizes import Layout
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import (
    Plan,
    default,
    described,
    parsed,
    read,
    replaced,
    restored,
)
from tests.support.checkout import ROOT

EXAMPLES = sorted((ROOT / "examples/train").glob("*.toml"))

MISTAKES = [
    ('agent = "ppo"\nsteps = "many"\n', r"p.toml:2: steps = 'many': expected `int`, got `str`"),
    ('agent = "ppo"\n[learner]\nlearning_rat = 1\n',
    r"p.toml:3: learner.learning_rat is not a key .* mean learning_rate\?"),
    ('agent = "ppo"\n[learner]\nepochs = 1.5\n', r"p.toml:3: learner.epochs = 1.5: expected `int`, got `float`"),
    ('agent = "ppo"\n[learner]\nepochs = 0\n', r"p.toml:2: learner: .*must be 1 or more"),
    ('agent = "pqo"\n', r"p.toml:1: agent 'pqo': name one of a2c, .* ppo.* Did you mean ppo\?"),
    ("steps = 4\n", r'p.toml: agent is missing; write agent = "ppo"'),
    ('agent = "dqn"\nprofile = "prioritised"\n', r"p.toml:2: profile 'prioritised': .* Did you mean prioritized\?"),
    ('agent = "dqn"\n[market]\nkind = "box"\n', r"p.toml:3: market.kind box: dqn takes discrete"),
    ('agent = "ppo"\n[market]\nkind = "cube"\n', r"p.toml:3: market.kind = 'cube': invalid enum value 'cube'"),
    ('agent = "ppo"\n[market.costs]\nparticipation = 0.1\n',
    r"p.toml:3: market.costs.participation 0.1: training accounts lack this cost; write 0"),
    ('agent = "ppo"\nmarket = 3\n', r"p.toml:2: market = 3: a table of batch, .* is expected"),
    ('agent = "ppo"\nseeds = [1, 1]\n', r"p.toml:2: seeds \[1, 1\]: name one or more, each once"),
    ('agent = "ppo"\n[splits.test]\nfirst = 2016-01-01\n', r"p.toml:2: splits: test begins 2016-01-01, inside"),
    ('agent = "ppo"\n[sight]\nfeatures = ["esg"]\n', r"p.toml:2: sight: features esg; this quantd computes"),
    ('agent = "maddpg"\n[market]\nbatch = 10\n', r"p.toml:3: market.batch 10: it must be a multiple of 4"),
    ('agent = "ppo\n', r"p.toml: "),
]  # fmt: skip


@pytest.mark.requirement("R-085")
def test_all_mistakes_of_a_plan_are_reported_at_once_each_with_its_line() -> None:
    text = """agent = "ppo"
steps = "many"
[learner]
epochs = 1.5
clip = "wide"
[market]
kind = "cube"
bach = 3
"""
    with pytest.raises(PlanError) as raised:
        parsed(text, "p.toml")
    assert str(raised.value).splitlines() == [
        "p.toml:2: steps = 'many': expected `int`, got `str`",
        "p.toml:4: learner.epochs = 1.5: expected `int`, got `float`",
        "p.toml:5: learner.clip = 'wide': expected `float`, got `str`",
        "p.toml:7: market.kind = 'cube': invalid enum value 'cube'",
        "p.toml:8: market.bach is not a key of a plan. Did you mean batch?",
    ]
    with pytest.raises(PlanError) as raised:
        parsed('agent = "ppo"\nkeep = 0\nseeds = []\n[market]\nlot = { ZZZ = 1.0 }\n', "p.toml")
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_names_its_file_line_key_value_and_remedy(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(PlanError, match=message):
        read(path)


def test_what_a_file_leaves_out_is_the_default_of_its_learner() -> None:
    plan = parsed('agent = "ppo"\n[learner]\nclip = 0.1\n', "here")
    assert plan.learner == PpoPlan(clip=0.1)
    assert replaced(plan, {"learner.clip": 0.2}) == default("ppo")


@pytest.mark.requirement("R-066", "R-070", "R-085")
def test_the_defaults_are_those_that_were_asked_for() -> None:
    ppo, dqn = default("ppo").learner, default("dqn").learner
    assert isinstance(ppo, PpoPlan)
    assert (ppo.learning_rate, ppo.clip, ppo.gae_lambda, ppo.value_weight) == (3e-4, 0.2, 0.95, 0.5)
    assert (ppo.entropy_weight, ppo.epochs, ppo.minibatch, ppo.gamma) == (0.01, 10, 64, 0.99)
    assert isinstance(dqn, DqnPlan)
    assert (dqn.hidden, dqn.learning_rate, dqn.gamma, dqn.epsilon, dqn.epsilon_least) == (
        (128, 64),
        1e-4,
        0.99,
        1,
        0.01,
    )
    assert (dqn.epsilon_decay, dqn.buffer, dqn.batch, dqn.target_every) == (0.995, 10_000, 64, 10)
    prioritized = default("dqn", "prioritized")
    assert (prioritized.steps, prioritized.evaluate_every, prioritized.checkpoint_every) == (500_000, 10_000, 50_000)
    assert 4 <= default("ppo").market.batch <= 8
    assert len(default("ppo").seeds) == 5


@pytest.mark.parametrize("agent", learners())
def test_a_plan_comes_back_from_the_json_of_a_manifest(agent: str) -> None:
    for profile in ("", *learners()[agent].profiles):
        plan = default(agent, profile)
        assert restored(msgspec.json.decode(msgspec.json.encode(plan))) == plan


@pytest.mark.requirement("R-262")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_plan(path: Path) -> None:
    assert read(path).name == path.stem


@pytest.mark.requirement("R-083", "R-263")
@given(st.integers(1, 10**6), st.floats(1e-6, 1.0), st.lists(st.integers(1, 64), min_size=1, max_size=3))
def test_values_at_dotted_keys_are_what_a_plan_then_has(steps: int, rate: float, hidden: list[int]) -> None:
    plan = replaced(default("ppo"), {"steps": steps, "learner.learning_rate": rate, "learner.hidden": hidden})
    assert (plan.steps, plan.learner) == (steps, PpoPlan(learning_rate=rate, hidden=tuple(hidden)))
    flat = described(plan)
    assert (flat["steps"], flat["learner.learning_rate"]) == (steps, rate)


def test_a_plan_does_not_change_its_agent() -> None:
    with pytest.raises(PlanError, match="agent 'a2c': this plan is of ppo"):
        replaced(default("ppo"), {"agent": "a2c"})


def test_a_transformer_is_told_where_its_sessions_are() -> None:
    wide = replaced(
        default("ppo"), {"learner.network": "transformer", "sight.window": 20, "data.symbols": ["SPY", "QQQ"]}
    )
    assert isinstance(wide.learner, PpoPlan)
    assert wide.learner.layout == Layout(2, 10, 20)
    more = replaced(wide, {"sight.window": 30})
    assert isinstance(more, Plan)
    assert isinstance(more.learner, PpoPlan)
    assert more.learner.layout == Layout(2, 10, 30)


def test_lots_are_those_of_each_symbols_kind_unless_the_plan_says_otherwise() -> None:
    symbols = ("SPY", "BTC-USD")
    coins = parsed('agent = "ppo"\n[data]\nsymbols = ["SPY", "BTC-USD"]\n', "here")
    assert coins.market.lots(symbols) == (1.0, 1e-8)
    assert replaced(coins, {"market.lot": 1.0}).market.lots(symbols) == (1.0, 1.0)
    lot_plan = parsed(
        'agent = "ppo"\n[data]\nsymbols = ["SPY", "BTC-USD"]\n[market]\nlot = { "BTC-USD" = 0.0001 }\n', "here"
    )
    assert lot_plan.market.lots(symbols) == (1.0, 0.0001)
    assert restored(msgspec.to_builtins(lot_plan)) == lot_plan
    with pytest.raises(PlanError, match=r"market.lot: ETH-USD is not in data.symbols"):
        replaced(coins, {"market.lot": {"ETH-USD": 1.0}})
    with pytest.raises(PlanError, match="lot 0: a lot must be 1e-09 or more"):
        replaced(coins, {"market.lot": 0.0})


@pytest.mark.requirement("R-052")
@pytest.mark.parametrize(("agent", "profile"), [("ppo", "window"), ("maddpg", "full")])
def test_two_profiles_of_one_and_of_several_agents_look_back_sixty_sessions(agent: str, profile: str) -> None:
    plan = default(agent, profile)
    assert plan.sight.window == 60
    assert len(entry_names(plan.sight, ("AAA", "BBB"))) >= 2 * 60
    assert default(agent).sight.window == 0


@pytest.mark.parametrize(
    ("agent", "key", "setting", "rule"),
    [
        ("ppo", "gamma", 1.5, "from 0 to 1"),
        ("ppo", "gamma", math.nan, "from 0 to 1"),
        ("ppo", "learning_rate", -1e-3, "above 0"),
        ("ppo", "learning_rate", math.inf, "a finite number"),
        ("ppo", "entropy_weight", -0.1, "0 or more"),
        ("ppo", "log_spread", math.nan, "a finite number"),
        ("a2c", "max_grad_norm", 0.0, "above 0"),
        ("dqn", "beta", 1.1, "from 0 to 1"),
        ("dqn", "alpha", -0.1, "0 or more"),
        ("sac", "temperature", math.nan, "a finite number"),
        ("sac", "gamma", -0.1, "from 0 to 1"),
        ("maddpg", "actor_rate", 0.0, "above 0"),
    ],
)
def test_a_number_that_no_training_can_use_is_refused(agent: str, key: str, setting: float, rule: str) -> None:
    with pytest.raises(PlanError, match=f"learner.{key} {re.escape(f'{setting:g}')} must be {rule}"):
        replaced(default(agent), {f"learner.{key}": setting})


def test_a_gradient_norm_may_have_no_bound() -> None:
    assert replaced(default("ppo"), {"learner.max_grad_norm": math.inf}).learner.max_grad_norm == math.inf
