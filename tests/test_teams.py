"""The teams of benchmarks.power.teams have the parameters, steps and updates of the one beside them."""

import msgspec
import pytest
import torch

from benchmarks.power.teams import AGENTS, TeamRun, mean_of, parameters, planned, plans
from quantd.training.seeds.markets import markets_of

RUN = TeamRun("ppo", 1, 9, 100, 1.0, 15.0, 1, 0.6, 0.1, 1.1, 0.2, 0.8, 50.0, 9.0, 500.0, 300.0, "commit")


@pytest.mark.long
@pytest.mark.parametrize(
    ("team", "single_case", "members"), [("five-ppo", "ppo", AGENTS), ("lite-five", "lite-one", 1)]
)
def test_a_team_and_the_one_beside_it_have_the_same_parameters_and_steps(
    team: str, single_case: str, members: int
) -> None:
    sides = [planned(case, lambda of: of, markets_of) for case in (team, single_case)]
    counts = [parameters(side, markets_of(side)) for side in sides]
    assert counts[0] * members == pytest.approx(counts[1], rel=0.05)
    assert sides[0].steps * members == sides[1].steps


def test_one_agent_learns_as_often_and_from_as_many_accounts_as_five() -> None:
    team_plan, single_plan = (plans()[case] for case in ("lite-five", "lite-one"))
    assert (team_plan.learner.agents, single_plan.learner.agents) == (AGENTS, 1)  # type: ignore[attr-defined]
    assert team_plan.market.batch == single_plan.market.batch
    for name in ("train_every", "warmup", "buffer", "noise_steps", "batch"):
        assert getattr(team_plan.learner, name) == getattr(single_plan.learner, name)


def test_a_team_trades_the_mean_of_its_weights() -> None:
    sides = [torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.5, 0.5]])]
    policies = [lambda observations, first, side=side: side for side in sides]
    assert mean_of(policies)(torch.zeros(1, 4), True).tolist() == [[0.5, 0.25, 0.25]]


def test_a_share_is_of_the_reference_above_equal_weight_and_noise_has_none() -> None:
    assert RUN.share == pytest.approx(0.5)
    assert msgspec.structs.replace(RUN, ic=0.0).share is None
