"""Controls: learners with their example plans find a signal that is there, and earn nothing where none is.

One seed, and a part of the plan's steps and warm-up. Weights of a network differ by processor, so the margins are wide.
`pytest -m slow` has a third of the steps.
"""

from functools import partial
from pathlib import Path

import pytest

from quantd.research.power.power_study import Field, Learner
from quantd.training.plans.plan import read, replaced
from quantd.training.power.findings import Finding
from quantd.training.power.plants import Plant
from quantd.training.runs import scorer_run
from tests.support.checkout import ROOT

FOUND = {"ppo": 0.3, "a2c": 0.3, "sac": 0.3, "dqn": 0.3, "maddpg": 0.3, "scorer": 0.5}
"""Least share of a certain signal. Ten seeds of whole fits found more (docs/learn/power.md)."""

SHORT = {"ppo": 16, "a2c": 16, "sac": 16, "dqn": 24, "maddpg": 8, "scorer": 2}
"""The plan's steps, or the scorer's iterations, are divided by this: the learner still finds much more than `FOUND`."""

LONG = {"ppo": 3, "a2c": 3, "sac": 3, "dqn": 3, "maddpg": 3, "scorer": 1}

CASES = [
    *(pytest.param(name, part, id=name) for name, part in SHORT.items()),
    *(pytest.param(name, part, marks=pytest.mark.slow, id=f"{name}-long") for name, part in LONG.items()),
]

pytestmark = pytest.mark.long


def control(name: str, part: int, ic: float, folder: Path, patch: pytest.MonkeyPatch) -> Finding:
    """Fit the plan of a learner, or the scorer on the plan of PPO, in a `part`-th of its steps."""
    learner: Learner = "scorer" if name == "scorer" else "plan"
    plan = read(ROOT / "examples" / "train" / f"{'ppo' if name == 'scorer' else name}.toml")
    changes: dict[str, object] = {"steps": plan.steps // part}
    if warmup := getattr(plan.learner, "warmup", 0):
        changes["learner.warmup"] = warmup // part
    patch.setattr(scorer_run, "Plan", partial(scorer_run.Plan, iterations=scorer_run.Plan().iterations // part))
    field = Field(replaced(plan, changes), {"control": Plant(ic=ic)})
    return field.finding(learner, "control", 15.0, 1, folder)


@pytest.mark.parametrize(("name", "part"), CASES)
def test_a_certain_signal_is_found(name: str, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = control(name, part, 1.0, tmp_path, monkeypatch)
    assert finding.attainable
    assert finding.above
    assert finding.share is not None
    assert finding.share > FOUND[name]


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("name", "part"), CASES)
def test_noise_is_not_taken_for_a_signal(name: str, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = control(name, part, 0.0, tmp_path, monkeypatch)
    assert not finding.attainable
    assert not finding.above
    assert finding.growth > finding.equal_weight - 0.15
