"""A learner's policy begins as what a classical one does, on days that it did not see too, and learns on from there."""

from datetime import date

import numpy as np
import pytest
import torch

from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.sight import SightSpec, observed_by
from quantd.strategies.policies import POLICIES
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.cloning import CloningPlan, clone
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import grid, market_of
from quantd.training.market.terms import USUAL_COSTS
from quantd.training.plans.plan import MarketPlan
from quantd.training.seeds.imitation import demonstrations, targets
from tests.support.bundled_account import ACTIONS, BARS

SYMBOLS = ("SPY", "AAPL", "BAC", "IWM")
TEACHER = POLICIES["inverse_volatility"]({"lookback": 63})
SIGHT = SightSpec(features=("volatility", "volatility_change", "volatility_relative"), book=())


@pytest.fixture(scope="module")
def panel() -> Panel:
    return read_panel(BARS, ACTIONS, SYMBOLS, date(2009, 1, 2), date(2014, 12, 31))


@pytest.fixture(scope="module")
def parts(panel: Panel) -> tuple[range, range]:
    cut = int(np.searchsorted(panel.day_ns, np.datetime64("2014-01-02", "ns").astype(np.int64)))
    return range(cut), range(cut, len(panel.day_ns))


def test_demonstrations_have_the_layout_of_the_simulator_and_the_teachers_own_book(panel: Panel) -> None:
    sight = SightSpec(window=3)
    observations, actions = demonstrations(TEACHER, panel, sight, range(200, 230), MarketPlan())
    market = market_of(panel, observed_by(sight, panel), range(200, 230), dtype=torch.float64)
    env = Simulator(market, batch=1, episodes=Episodes(1000, random=False), costs=USUAL_COSTS)
    shown = env.reset()
    assert observations.dtype == actions.dtype == torch.float32
    assert observations.shape == (29, env.observation_size)
    for row, action in zip(observations, actions, strict=True):
        torch.testing.assert_close(shown[0].float(), row, rtol=0, atol=1e-6)
        shown = env.step(action[None]).observation
    torch.testing.assert_close(actions.sum(1), torch.ones(29))


def test_rows_before_the_sights_history_are_left_out_and_rows_without_any_are_refused(panel: Panel) -> None:
    observations, _ = demonstrations(TEACHER, panel, SIGHT, range(200), MarketPlan())
    warm = observed_by(SIGHT, panel).warm
    assert len(observations) == 199 - warm
    with pytest.raises(ValueError, match="give more"):
        demonstrations(TEACHER, panel, SIGHT, range(60), MarketPlan())


@pytest.mark.long
def test_a_ppo_that_was_taught_answers_as_its_teacher_on_later_days_and_learns_on(
    panel: Panel, parts: tuple[range, range]
) -> None:
    """Mean distance of the weights, sum of absolute differences: 0.08 at most, where equal weight is 0.26 away."""
    taught, unseen = parts
    observations, actions = demonstrations(TEACHER, panel, SIGHT, taught, MarketPlan())
    mean, deviation = observations.mean(0), observations.std(0).clamp(min=1e-6)
    learner = Ppo(PpoPlan(hidden=(32,), horizon=32, minibatch=64, epochs=2), observations.shape[1], 5, "simplex", 1)
    later_observations, teacher_actions = demonstrations(TEACHER, panel, SIGHT, unseen, MarketPlan())

    def apart(weights: torch.Tensor) -> float:
        return float((weights - teacher_actions).abs().sum(1).mean())

    fresh = apart(learner.act((later_observations - mean) / deviation))
    clone(learner, (observations - mean) / deviation, actions, CloningPlan(epochs=60, learning_rate=3e-3))
    cloned = apart(learner.act((later_observations - mean) / deviation))
    equal = apart(torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]).expand_as(teacher_actions))
    assert cloned < 0.08 < equal / 3
    assert fresh > equal
    observed = observed_by(SIGHT, panel)
    market = market_of(panel, observed, range(observed.warm, taught.stop))

    class Scaled(Simulator):
        def _observe(self, accounts: torch.Tensor) -> torch.Tensor:
            return (super()._observe(accounts) - mean) / deviation

    learner.learn(Scaled(market, batch=8, episodes=Episodes(64)), 1024, lambda report: False)
    after = apart(learner.act((later_observations - mean) / deviation))
    assert abs(after - cloned) > 0.0
    assert after < fresh


def test_a_discrete_target_is_the_nearest_allocation_and_a_box_may_be_short() -> None:
    weights = np.array([[0.9, 0.05, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 0.0]])
    symbols = ("A", "B", "C")
    allocations = targets(weights, symbols, MarketPlan(kind="discrete", cash=False))
    names = grid(symbols, 2).names
    assert allocations.dtype == torch.int64
    assert [names[k] for k in allocations.tolist()[:2]] == ["A 100%", "A 50% B 50%"]
    with_cash = targets(weights, symbols, MarketPlan(kind="discrete", cash=True))
    assert grid(symbols, 2, cash=True).names[int(with_cash[2])] == "cash 100%"
    short = np.array([[1.5, -1.0, 0.0]])
    torch.testing.assert_close(
        targets(short, symbols, MarketPlan(kind="box", gross=2.0)), torch.tensor([[1.0, -0.8, 0.0]])
    )
    with pytest.raises(ValueError, match="short of B"):
        targets(short, symbols, MarketPlan())
    torch.testing.assert_close(
        targets(weights, symbols, MarketPlan()),
        torch.tensor([[0.9, 0.05, 0.0, 0.05], [0.4, 0.6, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    )
