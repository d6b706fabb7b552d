"""What agents pay for moving alike, and that it is their own."""

import numpy as np
import pytest
import torch

from quantd.training.market.desks import Desks, likeness
from quantd.training.market.episodes import Episodes
from quantd.training.market.terms import PROFILES, Diversity, Seat
from quantd.training.market.vector_env import VectorEnv
from tests.support.panels import market, panel_of

F64 = torch.float64
TWO = (Seat("one"), Seat("two"))


@pytest.mark.requirement("R-055")
def test_likeness_is_the_mean_absolute_correlation_with_the_others() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 4, 30))
    likenesses = likeness(torch.from_numpy(rows)).numpy()
    for desk, desk_likenesses in zip(rows, likenesses, strict=True):
        correlations = np.abs(np.corrcoef(desk)) - np.eye(4)
        np.testing.assert_allclose(desk_likenesses, correlations.sum(axis=1) / 3, rtol=1e-9)
    assert likeness(torch.zeros(1, 3, 30)).tolist() == [[0.0] * 3]
    assert likeness(torch.from_numpy(rows[:, :1])).abs().max() == 0.0


def run(plan: Diversity, actions: torch.Tensor, steps: int = 40, deviation: float = 0.01, **options: object) -> Desks:
    world = market(panel_of(1, 60, 2, actions=False, deviation=deviation), dtype=F64)
    desk = Desks(world, TWO, diversity=plan, episodes=Episodes(50, False), **options)  # type: ignore[arg-type]
    desk.reset()
    for _ in range(steps):
        desk.move(actions)
    return desk


ALIKE = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
APART = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.mark.requirement("R-055")
def test_two_agents_that_do_the_same_pay_the_whole_weight_and_only_once_the_window_is_full() -> None:
    early = run(Diversity(), ALIKE, steps=29)
    assert early.likeness.tolist() == [0.0, 0.0]
    paid, free = run(Diversity(), ALIKE, steps=30), run(Diversity(weight=0.0), ALIKE, steps=30)
    assert paid.likeness.tolist() == pytest.approx([1.0, 1.0])
    penalised_reward, free_reward = (d.move(ALIKE)[0] for d in (paid, free))
    np.testing.assert_allclose((free_reward - penalised_reward).numpy(), [0.1, 0.1], rtol=1e-9)


def test_agents_in_unrelated_assets_pay_little() -> None:
    assert run(Diversity(), APART).likeness.max() < 0.5


@pytest.mark.requirement("R-055")
def test_the_dynamic_weight_goes_from_low_to_high_with_volatility() -> None:
    plan = Diversity(dynamic=True)
    calm, usual, wild = (run(plan, ALIKE, deviation=d).weight for d in (0.004, 0.02, 0.06))
    assert calm.tolist() == pytest.approx([0.05, 0.05])
    assert wild.tolist() == pytest.approx([0.2, 0.2])
    assert 0.05 < float(usual[0]) < 0.2


def test_a_new_episode_does_not_remember_the_returns_of_the_last() -> None:
    world = market(panel_of(1, 120, 2))
    desk: VectorEnv = Desks(world, TWO, desks=3, episodes=Episodes(35))
    assert isinstance(desk, Desks)
    desk.reset(1)
    action = ALIKE.repeat(3, 1)
    seen = []
    for _ in range(70):
        desk.step(action)
        seen.append(float(desk.likeness.min()))
    assert [k for k, v in enumerate(seen) if v > 0.5] == [*range(29, 35), *range(64, 70)]


def test_the_most_that_may_be_invested_and_the_price_of_a_drawdown_are_each_agents_own() -> None:
    world = market(panel_of(1, 60, 3), dtype=F64)
    desk = Desks(world, PROFILES, diversity=Diversity(weight=0.0), episodes=Episodes(50, False))
    desk.reset()
    action = torch.ones(5, 4, dtype=F64) * torch.tensor([1.0, 1.0, 1.0, 0.0])
    reward, _, _ = desk.move(action)
    invested = desk.simulator.weights.sum(-1)
    assert invested.tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0], abs=0.05)
    for _ in range(20):
        reward, _, _ = desk.move(action)
        outcome = desk.simulator.outcome
        fallen = (outcome.drawdown - outcome.drawdown_before).clamp(min=0.0)
        paid = torch.tensor([s.drawdown_penalty for s in PROFILES]) * fallen
        torch.testing.assert_close(reward, outcome.growth.log() - paid)
    with pytest.raises(ValueError, match="the market lacks XYZ"):
        Desks(world, (Seat("a", ("XYZ",)),))
    with pytest.raises(ValueError, match="name each agent differently"):
        Desks(world, (Seat("a"), Seat("a")))
