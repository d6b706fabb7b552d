"""What holds for both learners that remember: the same seed gives the same bits, broken or not, and reports say what
happened."""

import math
import subprocess
import sys

import pytest
import torch

from quantd.training.learners.algorithms import off_policy
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.record import Diverged, Report
from quantd.training.market.vector_env import Step
from tests.support.checkout import ROOT
from tests.support.problems import DriftingAsset
from tests.training.learners.replay_problems import PLANS, digest, on, short, trained

LEARNERS = tuple(PLANS)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_in_another_process_and_another_seed_does_not() -> None:
    here = [trained(learner, 3) for learner in LEARNERS]
    # a global generator in another place must change nothing
    torch.manual_seed(77)
    there = subprocess.run(
        [sys.executable, "-m", "tests.training.learners.replay_problems"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == here
    for learner, expected in zip(LEARNERS[:2], here, strict=False):
        assert trained(learner, 4) != expected


@pytest.mark.long
@pytest.mark.parametrize(
    ("learner", "broken_at"),
    [
        pytest.param(learner, broken_at, marks=[pytest.mark.slow] if (row // 2 + row + column) % 2 else [])
        for row, learner in enumerate(LEARNERS)
        for column, broken_at in enumerate([40, 300])
    ],
)
def test_a_training_taken_up_again_comes_to_the_same_bits_as_one_that_was_not_broken(
    learner: str, broken_at: int
) -> None:
    """Each learner is broken before its first update or after it, in turn; `pytest -m slow` has the other one."""
    reference, env = short(learner, 5)
    reference.learn(env, 600, on)
    first, env = short(learner, 5)
    first.learn(env, broken_at, on)
    second, env = short(learner, 6)
    second.load(first.state())
    assert digest(second.state()) == digest(first.state())
    second.learn(env, 600, on)
    assert digest(second.state()) == digest(reference.state())


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("learner", LEARNERS)
def test_reports_come_as_often_as_said_and_stop_when_told(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_policy, "STEPS_A_REPORT", 100)
    reports: list[Report] = []

    def listen(report: Report) -> bool:
        reports.append(report)
        return len(reports) == 3

    agent, env = short(learner, 1)
    agent.learn(env, 10_000, listen)
    assert [report.steps for report in reports] == [100, 200, 300]
    assert agent.steps == 300
    # from step 50 on, one for every 4
    assert agent.updates == (300 - 50) // 4
    # in four environments 75 steps each, three episodes of 20 and a part
    assert agent.episodes == sum(report.episodes for report in reports) == 12
    assert all(math.isfinite(report.mean_return) and report.steps_per_s > 0 for report in reports)
    assert agent.state()["episodes"] == 12


class Infinite(DriftingAsset):
    def step(self, action: torch.Tensor) -> Step:
        step = super().step(action)
        return step._replace(reward=step.reward * float("inf"))


def test_a_training_that_diverged_says_so() -> None:
    env = Infinite("discrete")
    agent = Dqn(DqnPlan(hidden=(8,), warmup=10), env.observation_size, env.action_size, env.kind, 1)
    with pytest.raises(Diverged, match="after 200 steps"):
        agent.learn(env, 200, on)


def test_a_kept_place_is_refused_by_an_environment_that_cannot_take_it_up() -> None:
    agent, env = short("dqn", 1)
    agent.learn(env, 100, on)
    state = agent.state()

    class Forgetful:
        batch, observation_size, action_size, kind, device = 4, 3, 3, "discrete", torch.device("cpu")

    agent.load(state)
    with pytest.raises(ValueError, match="Forgetful cannot resume"):
        agent.learn(Forgetful(), 200, on)  # type: ignore[arg-type]


def test_before_the_first_update_no_loss_is_reported() -> None:
    env = DriftingAsset("discrete")
    agent = Dqn(DqnPlan(hidden=(8,), warmup=10_000_000), env.observation_size, env.action_size, env.kind, 1)
    reports: list[Report] = []
    agent.learn(env, 2 * env.batch, lambda report: bool(reports.append(report)))
    assert agent.updates == 0
    assert reports[-1].losses
    assert all(math.isnan(value) for value in reports[-1].losses.values())
