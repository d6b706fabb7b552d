"""Training on a GPU, where this machine has one: a fit of each learner, its evaluation on the CPU, and a resumption.

Bits differ from those of a CPU, because sums are added in another order. Two trainings on one GPU have equal bits.
"""

from pathlib import Path

import pytest
import torch

from quantd.training.plans.plan import Plan, default, read, replaced
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import markets_of, window_market
from quantd.training.seeds.seed_run import Fitted, fit
from quantd.training.seeds.validation import evaluate

EXAMPLES = Path(__file__).parents[3] / "examples" / "train"
PLANS = ["ppo", "a2c", "sac", "dqn", "maddpg", "transformer", "lite", "full"]

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.requirement("R-010"),
]


def plan_of(name: str, steps: int, **changes: object) -> Plan:
    plan = default("maddpg", name) if name in ("lite", "full") else read(EXAMPLES / f"{name}.toml")
    if hasattr(plan.learner, "warmup"):
        changes["learner.warmup"] = steps // 3
    return replaced(plan, {"device": "cuda", "steps": steps, "evaluate_every": steps, **changes})


def weights_of(fitted: Fitted) -> torch.Tensor:
    return torch.cat([vector.detach().flatten() for vector in fitted.learner.vectors()])


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_learns_on_a_gpu_and_its_policy_is_on_the_cpu(name: str) -> None:
    plan = plan_of(name, 6_000, choose_by="sharpe")
    markets = markets_of(plan)
    assert markets.train.gap.is_cuda
    assert markets.validation.gap.is_cpu
    fitted = fit(plan, markets, 1, None, lambda _: False)
    assert all(vector.is_cpu for vector in fitted.learner.vectors())
    assert fitted.step > 0
    test = window_market(plan, plan.splits.test.first, plan.splits.test.last)
    walked = evaluate(policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols), test, plan.market)
    assert 0.3 < walked.equity[-1] / plan.market.capital < 3.0
    assert torch.isfinite(weights_of(fitted)).all()


@pytest.mark.parametrize("name", ["ppo", "dqn", "lite"])
def test_a_training_on_a_gpu_goes_on_to_the_same_weights(name: str, tmp_path: Path) -> None:
    plan = plan_of(name, 6_000, checkpoint_every=2_000, choose_by="sharpe")
    markets = markets_of(plan)
    straight = fit(plan, markets, 1, tmp_path / "straight", lambda _: False)
    fit(plan, markets, 1, tmp_path / "broken", lambda progress: progress.steps >= 3_000)
    resumed = fit(plan, markets, 1, tmp_path / "broken", lambda _: False, resume=True)
    torch.testing.assert_close(weights_of(resumed), weights_of(straight))


def test_a_policy_is_imitated_on_a_gpu() -> None:
    plan = plan_of("ppo", 2_000, clone="equal_weight", choose_by="sharpe")
    markets = markets_of(plan)
    fitted = fit(plan, markets, 1, None, lambda _: False)
    assert all(vector.is_cpu for vector in fitted.learner.vectors())
