"""Both learners that remember report as often as said."""

import math

import pytest

from quantd.training.learners.algorithms import off_policy
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.record import Report
from quantd.training.learners.sac import SacPlan
from tests.support.problems import RegimeBandit

SHORT = {"hidden": (16, 16), "buffer": 400, "batch": 16, "warmup": 50, "train_every": 4}
LEARNERS = {
    "dqn": (Dqn(DqnPlan(**SHORT, double=True, noisy=True, n_step=3, alpha=0.6), 3, 3, "discrete", 1), "discrete"),
    "sac": (Sac(SacPlan(**SHORT, n_step=2), 3, 3, "simplex", 1), "simplex"),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_reports_come_as_often_as_said_and_stop_when_told(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_policy, "STEPS_A_REPORT", 100)
    reports: list[Report] = []

    def listen(report: Report) -> bool:
        reports.append(report)
        return len(reports) == 3

    agent, kind = LEARNERS[learner]
    agent.learn(RegimeBandit(kind, batch=4), 10_000, listen)
    assert [report.steps for report in reports] == [100, 200, 300]
    assert agent.steps == 300
    # from step 50 on, one for every 4
    assert agent.updates == (300 - 50) // 4
    # in four environments 75 steps each, three episodes of 20 and a part
    assert agent.episodes == sum(report.episodes for report in reports) == 12
    assert all(math.isfinite(report.mean_return) and report.steps_per_s > 0 for report in reports)
    assert agent.state()["episodes"] == 12
