"""`benchmarks/sample_efficiency.py` and `benchmarks/multi_agent.py` measure what they say."""

import re
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from benchmarks import sample_efficiency
from benchmarks.multi_agent import judged, measured
from benchmarks.sample_efficiency import (
    HORIZON,
    NEAR,
    PACES,
    PLAYED,
    VARIANTS,
    converged,
    environments,
    overestimated,
    pace,
    plan_of,
)
from quantd.models.artifacts.agent_policy import load
from quantd.training.plans.plan import default, read
from quantd.training.seeds.markets import markets_of


@pytest.mark.requirement("R-251", "F-31", "F-32")
def test_a_curve_converged_where_it_first_was_near_its_best():
    assert converged([(100, 0.1), (200, 0.5), (300, 0.2), (400, 0.52)]) == 200
    assert converged([(100, 0.5 - 1.01 * NEAR), (200, 0.5)]) == 200
    assert converged([(100, -3.0)]) == 100


class Step(NamedTuple):
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    observation: Tensor


class Paying:
    """Two accounts that earn 1 and -2 at each step; the second ends its episode at step 20."""

    def __init__(self) -> None:
        self.played = 0

    def reset(self, seed: int) -> Tensor:
        return torch.zeros((2, 1))

    def step(self, action: Tensor) -> Step:
        self.played += 1
        ends = torch.tensor([False, self.played == 20])
        return Step(torch.tensor([1.0, -2.0]), ends, torch.zeros(2, dtype=torch.bool), torch.zeros((2, 1)))


class Constant:
    """A learner whose better action has the value 15, whatever it sees."""

    def q_values(self, observation: Tensor) -> Tensor:
        return torch.tensor([[3.0, 15.0], [15.0, 3.0]])


@pytest.mark.requirement("F-33")
def test_the_overestimation_is_the_value_less_the_rewards_that_followed():
    gamma = 0.9
    geometric = (1.0 - gamma**HORIZON) / (1.0 - gamma)
    first = PLAYED - HORIZON  # beginnings that count: all of the first account, those after the end of the second
    second = first - 20
    world: Any = Paying()
    learner: Any = Constant()
    overestimation = overestimated(learner, world, gamma)
    assert overestimation is not None
    error = (first * (15.0 - geometric) + second * (15.0 + 2.0 * geometric)) / (first + second)
    size = (first * geometric + second * 2.0 * geometric) / (first + second)
    assert overestimation == pytest.approx((error, size))
    nothing: Any = object()
    assert overestimated(nothing, world, gamma) is None


@pytest.mark.requirement("F-32", "F-33")
def test_each_variant_of_dqn_is_the_plain_one_with_one_part():
    plain = VARIANTS["DQN, plain"][1]
    parts = {
        "DQN, double": {"learner.double": True},
        "DQN, dueling": {"learner.hidden": [64], "learner.streams": 64},
        "DQN, prioritised": {"learner.alpha": 0.6},
    }
    for name, changed in parts.items():
        assert VARIANTS[name] == ("reference", {**plain, **changed})
    for file, changes in (*VARIANTS.values(), *PACES.values()):
        plan = plan_of(file, changes, 4_000, 2_000)
        assert (plan.steps, plan.evaluate_every, plan.patience) == (4_000, 2_000, 0)
        assert str(plan.splits.test.first) == "2022-12-14"
        assert plan.market.costs.commission_bp == 10.0


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.requirement("F-22", "F-29", "F-30", "F-36", "F-39")
@pytest.mark.parametrize("name", PACES)
def test_each_learner_is_timed_with_its_peak_memory(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample_efficiency, "LONG", 600)
    row = pace(name)
    assert row["seconds"] > 0.0
    assert 50.0 < row["peak"] < 20_000.0


@pytest.mark.long
@pytest.mark.requirement("R-250", "F-28")
def test_one_four_and_eight_accounts_are_stepped_side_by_side(capsys: pytest.CaptureFixture[str]):
    environments(rounds=3, steps=20)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "4", "8"]
    rates = [float(row[1].replace(",", "")) for row in rows]
    for row, rate in zip(rows, rates, strict=True):
        assert float(row[2].removesuffix("x")) == pytest.approx(rate / rates[0], abs=0.02)
    sizes = [markets_of(plan_of("reference-ppo", {"market.batch": batch}, 600, 600)) for batch in (1, 8)]
    assert sizes[0].symbols == sizes[1].symbols


@pytest.mark.long
@pytest.mark.requirement("R-249", "F-01", "F-02", "F-03", "F-04")
@pytest.mark.parametrize(
    "name",
    [
        "lite",
        pytest.param("full", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
    ],
)
def test_a_profile_is_timed_by_episode_with_peak_and_mean_memory(name: str):
    began = perf_counter()
    figures = measured(name, 1)
    elapsed = perf_counter() - began
    plan = default("maddpg", name)
    episodes = plan.market.batch / figures["agents"]
    # the rest is the making of the market and the warm-up
    assert 0.01 * elapsed < episodes * figures["seconds"] < elapsed
    assert figures["updates"] > 0.0
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    high = int(line) / 1024
    # Linux counts pages for each processor and adds the counts late: two readings of one peak differ by a few MB
    late = 0.05 * high
    # a worker of pytest has had its own peak before
    assert 50.0 < figures["mean"] <= figures["peak"] + late
    assert figures["mean"] <= high + late
    assert figures["peak"] >= high - late, "the peak counts the memory that a long run fills, too"


@pytest.mark.requirement("F-05", "F-06")
def test_the_ratio_of_a_profile_is_the_mean_of_its_seeds_and_not_the_chosen_one():
    for name, seeds in (("full", 5), ("lite", 5), ("transformer", 5)):
        result = load(Path("models/shipped") / name).manifest.results["test"]
        ratios = [ratio for ratio in result.sharpe_by_seed if ratio is not None]
        assert judged(Path("models/shipped"), name) == (
            pytest.approx(sum(ratios) / seeds),
            result.equal_weight.sharpe,
            seeds,
        )
        assert result.policy.sharpe in ratios
    assert judged(Path("models"), "full") is None


@pytest.mark.requirement("F-20")
def test_the_reference_dqn_is_trained_for_380_episodes():
    plan = read(Path("examples/train/reference.toml"))
    assert plan.steps == 96_000
    assert plan.steps // plan.market.episodes.length == 380
