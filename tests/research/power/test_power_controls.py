"""Controls: learners with their example plans find a signal that is there, and earn nothing where none is.

One seed, and a third of the plan's steps. Weights of a network differ by processor, so the margins are wide.
"""

from pathlib import Path

import pytest

from quantd.research.power.power_study import Field, Learner
from quantd.training.plans.plan import read, replaced
from quantd.training.power.findings import Finding
from quantd.training.power.plants import Plant
from tests.support.checkout import ROOT

FOUND = {"ppo": 0.3, "a2c": 0.3, "sac": 0.3, "dqn": 0.3, "maddpg": 0.3, "scorer": 0.5}
"""Least share of a certain signal. Ten seeds of whole fits found more (docs/learn/power.md)."""

pytestmark = pytest.mark.long


def control(name: str, ic: float, folder: Path) -> Finding:
    """Fit the plan of a learner, or the scorer on the plan of PPO."""
    learner: Learner = "scorer" if name == "scorer" else "plan"
    plan = read(ROOT / "examples" / "train" / f"{'ppo' if name == 'scorer' else name}.toml")
    field = Field(replaced(plan, {"steps": plan.steps // 3}), {"control": Plant(ic=ic)})
    return field.finding(learner, "control", 15.0, 1, folder)


@pytest.mark.parametrize("name", FOUND)
def test_a_certain_signal_is_found(name: str, tmp_path: Path) -> None:
    finding = control(name, 1.0, tmp_path)
    assert finding.attainable
    assert finding.above
    assert finding.share is not None
    assert finding.share > FOUND[name]


@pytest.mark.parametrize("name", FOUND)
def test_noise_is_not_taken_for_a_signal(name: str, tmp_path: Path) -> None:
    finding = control(name, 0.0, tmp_path)
    assert not finding.attainable
    assert not finding.above
    assert finding.growth > finding.equal_weight - 0.15
