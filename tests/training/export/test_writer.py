"""What was learned is what is traded: the same weights at every decision, in the simulator by the learner, in the
daemon by its artifact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from quantd.daemon.policies.loading import load
from quantd.models.artifacts.agent_policy import LearnedAgent
from quantd.models.artifacts.manifest import ActionSpec
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.sight import SightSpec, observed_by
from quantd.trading.view import Memory, View
from quantd.training.export.writer import grid_of, weights_of, write
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.episodes import WHOLE, Episodes
from quantd.training.market.normalisation import Normalised, Scale
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market, grid, market_of
from tests.support.artifacts import manifest_of
from tests.support.bundled_account import ACTIONS, BARS, CASH, COSTS, END, START, SYMBOLS, WARM, core, ns

SPEC = SightSpec(features=("momentum_21", "volatility", "market_correlation"), window=5)
KINDS = {
    "ppo simplex": PpoPlan(hidden=(32, 32), horizon=64, epochs=4, learning_rate=3e-3),
    "ppo lstm": PpoPlan(network="lstm", hidden=(16,), horizon=64, epochs=4, learning_rate=3e-3),
    "dqn": DqnPlan(hidden=(32,), streams=16, noisy=True, warmup=128, learning_rate=1e-3),
}


@pytest.fixture(scope="module")
def market() -> Market:
    panel = read_panel(BARS, ACTIONS, SYMBOLS, WARM, END)
    observed = observed_by(SPEC, panel)
    first = int(np.searchsorted(panel.day_ns, ns(START)))
    return market_of(panel, observed, range(first, len(panel.day_ns)))


class Watched:
    """A policy whose own book is written down at every decision."""

    def __init__(self, agent: LearnedAgent) -> None:
        self.agent = agent
        self.lookback = agent.lookback
        self.books: list[np.ndarray] = []

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64], Memory]:
        self.books.append(np.append(view.weights, view.cash))
        return self.agent.act(view, memory)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", KINDS)
def test_every_decision_of_the_daemon_is_the_learners_own(name: str, market: Market, tmp_path: Path) -> None:
    learner, scaling = trained(name, market)
    manifest = manifest_of(learner, name, SPEC, SYMBOLS)
    write(tmp_path / "a", manifest, learner, scaling, b"# a card\n")
    agent = load(str(tmp_path / "a"), {}, Path("/"))
    assert isinstance(agent, LearnedAgent)
    watched = Watched(agent)
    log = core(watched)

    env = simulator(name, market, batch=1, episodes=WHOLE, lot=1.0)
    observation, differences, moved, books, equity = env.reset(), [], [], [], []
    allocations = grid(SYMBOLS, 2, cash=True).weights if name == "dqn" else None
    for k in range(market.last - market.first):
        equity.append(float(env.equity))
        books.append(np.abs(observation[0, -len(SYMBOLS) - 1 :].numpy() - watched.books[k]).max())
        # the simulator's row of the market with the book that the daemon had: where its gate lets less through, books
        # differ
        observation[0, -len(SYMBOLS) - 1 :] = torch.from_numpy(watched.books[k])
        row = scaling.of(observation)
        action = learner.act(row, started=torch.tensor([k == 0])) if name == "ppo lstm" else learner.act(row)
        learned = weights_of(action, manifest, allocations)
        differences.append(np.abs(learned - log.weights[k]).max())
        moved.append(learned)
        observation = env.step(action).observation
    assert len(differences) > 370
    assert max(differences) < 1e-5
    assert np.std(moved, axis=0).max() > 1e-3, "weights that never move compare nothing"
    if name != "dqn":  # all out of one asset into another: the gate takes two days for it
        assert max(books) < 1e-5
        assert equity == pytest.approx(log.equity[: len(equity)], rel=1e-5)  # float32


def simulator(name: str, market: Market, **options: Any) -> Simulator:
    if name == "dqn":
        return Simulator(
            market, kind="discrete", allocations=grid(SYMBOLS, 2, cash=True), costs=COSTS, capital=CASH, **options
        )
    return Simulator(market, costs=COSTS, capital=CASH, **options)


def trained(name: str, market: Market) -> tuple[Any, Scale]:
    """A learner of a few hundred steps, and how what it saw was scaled."""
    torch.set_num_threads(1)
    env = Normalised(simulator(name, market, batch=4, episodes=Episodes(length=60), lot=1.0, seed=1))
    plan: Any = KINDS[name]
    learner: Any = (Dqn if name == "dqn" else Ppo)(plan, env.observation_size, env.action_size, env.kind, 1)
    learner.learn(env, 768, lambda report: False)
    statistics = env.observations
    return learner, Scale(statistics.mean, statistics.deviation())


@pytest.mark.one_of(3)
@pytest.mark.long
@pytest.mark.parametrize(("parts", "distinct"), [(1, False), (2, False), (2, True), (3, True)])
def test_a_policys_grid_follows_from_its_manifest(parts: int, distinct: bool, market: Market) -> None:
    learner, _ = trained("dqn", market)
    expected = grid(SYMBOLS, parts, cash=True, equal_weight=True, distinct=distinct)
    action = ActionSpec("discrete", expected.names, parts, cash=True)
    actual = grid_of(replace(manifest_of(learner, "dqn", SPEC, SYMBOLS), action=action))
    assert actual.names == expected.names
    np.testing.assert_array_equal(actual.weights, expected.weights)
