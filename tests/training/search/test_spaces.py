"""What is searched: as required, and nothing that a plan does not have."""

import math
import re

import msgspec
import optuna
import pytest

from quantd.training.learners.record import Between, OneOf, learners
from quantd.training.plans.plan import default, replaced
from quantd.training.search import spaces

WANTED_OF_PPO = """{
  "learner.learning_rate": {"type": "between", "low": 1e-5, "high": 1e-3, "log": true, "whole": false},
  "learner.gamma": {"type": "between", "low": 0.95, "high": 0.999, "log": false, "whole": false},
  "learner.gae_lambda": {"type": "between", "low": 0.9, "high": 0.99, "log": false, "whole": false},
  "learner.clip": {"type": "between", "low": 0.1, "high": 0.4, "log": false, "whole": false},
  "learner.value_weight": {"type": "between", "low": 0.3, "high": 0.7, "log": false, "whole": false},
  "learner.entropy_weight": {"type": "between", "low": 0.0, "high": 0.1, "log": false, "whole": false},
  "learner.hidden": {"type": "one_of", "values": ["128-128", "256-256", "512-256", "256-256-128"]}
}"""

WANTED_OF_DQN = """{
  "learner.learning_rate": {"type": "between", "low": 1e-5, "high": 1e-3, "log": true, "whole": false},
  "learner.gamma": {"type": "between", "low": 0.95, "high": 0.999, "log": false, "whole": false},
  "learner.buffer": {"type": "one_of", "values": [50000, 100000, 200000]},
  "learner.batch": {"type": "one_of", "values": [32, 64, 128, 256]},
  "learner.target_every": {"type": "between", "low": 500, "high": 2000, "log": false, "whole": true},
  "learner.alpha": {"type": "between", "low": 0.4, "high": 0.8, "log": false, "whole": false},
  "learner.beta": {"type": "between", "low": 0.3, "high": 0.6, "log": false, "whole": false},
  "learner.hidden": {"type": "one_of", "values": ["128-64", "256-128", "256-256", "512-256"]}
}"""


@pytest.mark.requirement("R-088", "R-089")
@pytest.mark.parametrize(("agent", "expected"), [("ppo", WANTED_OF_PPO), ("dqn", WANTED_OF_DQN)])
def test_the_dumped_space_is_the_required_one(agent: str, expected: str) -> None:
    assert msgspec.json.decode(spaces.dump(learners()[agent].space)) == msgspec.json.decode(expected)


@pytest.mark.parametrize("agent", sorted(learners()))
def test_draws_stay_inside_and_reach_both_ends_of_a_range(agent: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    draws = [spaces.suggest(learners()[agent].space, study.ask()) for _ in range(200)]
    for name, where in learners()[agent].space.items():
        drawn_settings = [draw[name] for draw in draws]
        if isinstance(where, OneOf):
            assert set(drawn_settings) == {spaces.value(choice) for choice in where.values}
            continue
        assert all(isinstance(setting, int if where.whole else float) for setting in drawn_settings)
        bent = math.log if where.log else float
        shares = [
            (bent(setting) - bent(where.low)) / (bent(where.high) - bent(where.low)) for setting in drawn_settings
        ]
        assert 0.0 <= min(shares) < 0.1
        assert 0.9 < max(shares) <= 1.0


RANGES = (
    "learner.gamma=0.2:0.9", "learner.learning_rate=1e-4:1e-2", "learner.minibatch=128:512:log",
    "learner.epochs=2,3,5", "learner.hidden=32,64-64", "learner.clip=",
)  # fmt: skip


def test_ranges_of_a_search_replace_those_of_the_learner_and_keep_their_scale() -> None:
    space = spaces.with_ranges(default("ppo"), RANGES)
    assert space["learner.gamma"] == Between(0.2, 0.9)
    assert space["learner.learning_rate"] == Between(1e-4, 1e-2, log=True)
    assert space["learner.minibatch"] == Between(128, 512, log=True, whole=True)
    assert space["learner.epochs"] == OneOf((2, 3, 5))
    assert space["learner.hidden"] == OneOf(("32", "64-64"))
    assert "learner.clip" not in space
    assert space["learner.gae_lambda"] == learners()["ppo"].space["learner.gae_lambda"]
    draws = [spaces.suggest(space, optuna.create_study().ask()) for _ in range(20)]
    plans = [replaced(default("ppo"), draw) for draw in draws]
    assert {plan.learner.hidden for plan in plans} == {(32,), (64, 64)}
    assert all(isinstance(draw["learner.minibatch"], int) for draw in draws)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("learner.gamma", "KEY=LOW:HIGH"),
        ("learner.gama=0.1:0.2", "the plan has no key learner.gama"),
        ("learner.gamma=0.9:0.2", "low must be below high"),
        ("learner.gamma=a:0.2", "'a' is no number"),
        ("learner.gamma=0.2:inf", "'inf' is no finite number"),
        ("learner.gamma=0.2:1.5", "learner.gamma 1.5 must be from 0 to 1"),
        ("learner.gamma=0.2:0.5:square", "the scale 'square' is neither log nor linear"),
        ("learner.minibatch=2.5:8", "'2.5' is no whole number"),
        ("learner.epochs=3", "two or more values"),
        ("learner.epochs=3,x", "'x': no whole number"),
        ("learner.hidden=64,a-b", "widths of layers are written 64-64"),
        ("market.cash=0:1", "the plan's value True is no number"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(spaces.RangeError, match=re.escape(reason)) as refused:
        spaces.with_ranges(default("ppo"), (text,))
    assert str(refused.value).startswith(f"--over {text!r}: ")


def test_a_space_without_any_key_is_refused() -> None:
    keys = tuple(f"{key}=" for key in learners()["sac"].space)
    with pytest.raises(spaces.RangeError, match="nothing is left to search"):
        spaces.with_ranges(default("sac"), keys)


def test_the_keys_of_a_plan_outside_the_space_are_named_with_their_values() -> None:
    plan = replaced(default("ppo"), {"learner.gamma": 0.5, "learner.hidden": [64, 64], "learner.clip": 0.2})
    assert dict(spaces.outside(spaces.with_ranges(plan, ()), plan)) == {
        "learner.gamma": 0.5, "learner.hidden": (64, 64),
    }  # fmt: skip
    near = ("learner.gamma=0.2:0.9", "learner.hidden=32,64-64")
    assert spaces.outside(spaces.with_ranges(plan, near), plan) == []
    assert [spaces.shown(setting) for setting in (0.5, (64, 64), 12)] == ["0.5", "64-64", "12"]
