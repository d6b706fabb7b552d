"""Learners are found by their records, which need no torch."""

import pytest

from quantd.training.learners import names
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import learner_for, learners

BUNDLED = ("a2c", "dqn", "maddpg", "ppo", "sac")
"""Learners that name their algorithm by `later`. A further one may import it at once."""


def test_every_record_has_the_name_of_its_module() -> None:
    assert tuple(learners()) == names()
    assert set(names()) >= set(BUNDLED)
    for name, record in learners().items():
        assert record.name == name
        assert learner_for(record.plan()) is record


def test_a_plan_belongs_to_the_learner_of_its_own_class_alone() -> None:
    class Other(PpoPlan, frozen=True):
        pass

    assert learner_for(PpoPlan()).name == "ppo"
    with pytest.raises(TypeError, match="Other is the plan of no learner"):
        learner_for(Other())
