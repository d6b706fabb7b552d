"""What is searched: as required, and nothing that a plan does not have."""

import math

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
def test_every_draw_of_a_space_makes_a_plan_that_holds_it(agent: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = set()
    for _ in range(30):
        values = spaces.suggest(learners()[agent].space, study.ask())
        plan = replaced(default(agent), values)
        for key, value in values.items():
            assert getattr(plan.learner, key.removeprefix("learner.")) == value
        drawn.add(plan)
    assert len(drawn) == 30


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


def test_a_range_that_does_not_rise_and_a_choice_of_one_are_refused() -> None:
    for wrong in (
        lambda: Between(1.0, 1.0),
        lambda: Between(0.0, 1.0, log=True),
        lambda: OneOf((1,)),
        lambda: OneOf((1, 1)),
    ):
        with pytest.raises(ValueError, match=r"from|one of"):
            wrong()
