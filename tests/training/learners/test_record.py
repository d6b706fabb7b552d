"""Learners are found by their records, which need no torch."""

import subprocess
import sys

import pytest

from quantd.training.learners import names
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import learner_for, learners
from tests.support.checkout import ROOT

BUNDLED = ("a2c", "dqn", "maddpg", "ppo", "sac")
"""Learners that name their algorithm by `later`. A further one may import it at once."""


def test_every_record_has_the_name_of_its_module() -> None:
    assert tuple(learners()) == names()
    assert set(names()) >= set(BUNDLED)
    for name, record in learners().items():
        assert record.name == name
        assert learner_for(record.plan()) is record


def test_the_records_of_the_bundled_learners_import_no_torch() -> None:
    modules = ", ".join(f"quantd.training.learners.{name}" for name in ("record", *BUNDLED))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", timeout=60).returncode == 0


def test_a_plan_belongs_to_the_learner_of_its_own_class_alone() -> None:
    class Other(PpoPlan, frozen=True):
        pass

    assert learner_for(PpoPlan()).name == "ppo"
    with pytest.raises(TypeError, match="Other is the plan of no learner"):
        learner_for(Other())
