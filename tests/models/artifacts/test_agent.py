"""A learned policy proves itself at load, finds its symbols by name, and needs no torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from quantd.models.artifacts.agent_policy import CARRY, LearnedAgent, load_agent
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import observation
from quantd.strategies.policies.params import ParamsError
from quantd.training.export.agreement import probes_of
from quantd.training.market.desks import Desks
from quantd.training.market.terms import Seat as TrainedSeat
from tests.support.artifact_views import HELD, moves, view_of
from tests.support.artifacts import (
    LEARNERS,
    SEATS,
    SPEC,
    UNIVERSE,
    Several,
    scaling_of,
    written,
    written_seats,
)  # fmt: skip
from tests.support.panels import DAY, market


@pytest.mark.requirement("R-105")
@pytest.mark.parametrize(
    ("name", "scaling"),
    [
        pytest.param(name, scaling, marks=() if (row + scaling) % 2 else pytest.mark.slow)
        for row, name in enumerate(LEARNERS)
        for scaling in (True, False)
    ],
)
def test_the_graph_answers_as_the_learner_does(name: str, scaling: bool, tmp_path: Path) -> None:
    written(tmp_path / "a", name, scaling=scaling)
    agent = load_agent(tmp_path / "a", {})
    assert agent.difference() <= 1e-6
    answers = agent.artifact.golden.answers
    if agent.artifact.manifest.action.kind != "discrete":
        assert np.ptp(answers, axis=0).max() > 1e-2, "probes that all get one answer prove little"
    assert agent.artifact.golden.answers.shape == (6, 3)


@pytest.mark.parametrize("name", ["ppo simplex", "sac box", "dqn"])
def test_permuting_the_universe_permutes_the_weights(name: str, tmp_path: Path) -> None:
    written(tmp_path / "a", name)
    agent = load_agent(tmp_path / "a", {})
    returns, order = moves(3, 3), [2, 0, 1]
    straight, _ = agent.act(view_of(returns, UNIVERSE, HELD), {})
    turned, _ = agent.act(view_of(returns[:, order], tuple(UNIVERSE[k] for k in order), HELD[order]), {})
    np.testing.assert_allclose(turned, straight[order], atol=1e-6)
    assert np.abs(straight).sum() > 0.01


@pytest.mark.requirement("R-100")
def test_another_universe_is_refused_with_what_is_missing_and_what_is_new(tmp_path: Path) -> None:
    written(tmp_path / "a")
    agent = load_agent(tmp_path / "a", {})
    with pytest.raises(ArtifactError, match="trained on AAA, BBB, CCC; the universe lacks BBB and adds XXX"):
        agent.act(view_of(moves(3, 3), ("AAA", "XXX", "CCC"), HELD), {})


@pytest.mark.parametrize("name", ["ppo simplex", "sac box"])
def test_an_asset_without_a_price_gets_exactly_nothing(name: str, tmp_path: Path) -> None:
    written(tmp_path / "a", name)
    agent = load_agent(tmp_path / "a", {})
    weights, _ = agent.act(view_of(moves(3, 3), UNIVERSE, np.array([0.2, 0.0, 0.1]), missing=1), {})
    assert weights[1] == 0.0
    assert np.isfinite(weights).all()
    assert np.abs(weights[[0, 2]]).min() > 0.0


def test_the_answer_depends_on_the_market_and_on_the_book(tmp_path: Path) -> None:
    written(tmp_path / "a")
    agent = load_agent(tmp_path / "a", {})
    first = agent.act(view_of(moves(3, 3), UNIVERSE, HELD), {})[0]
    assert np.abs(first - agent.act(view_of(moves(4, 3), UNIVERSE, HELD), {})[0]).max() > 1e-3
    assert np.abs(first - agent.act(view_of(moves(3, 3), UNIVERSE, HELD[::-1].copy()), {})[0]).max() > 1e-4


@pytest.mark.requirement("R-077")
def test_what_a_recurrent_policy_remembers_travels_in_its_memory(tmp_path: Path) -> None:
    written(tmp_path / "a", "ppo lstm")
    agent = load_agent(tmp_path / "a", {})
    view = view_of(moves(3, 3), UNIVERSE, HELD)
    first, kept = agent.act(view, {})
    assert kept[CARRY].shape == (24,)
    assert kept[CARRY].dtype == np.float64
    second, later = agent.act(view, kept)
    assert np.abs(first - second).max() > 1e-4, "the same market is answered otherwise by who remembers it"
    again, same = agent.act(view, kept)
    np.testing.assert_array_equal(second, again)
    np.testing.assert_array_equal(later[CARRY], same[CARRY])


def test_box_weights_never_gross_more_than_trained(tmp_path: Path) -> None:
    written(tmp_path / "a", "ppo box")
    agent = load_agent(tmp_path / "a", {})
    said = [agent.answer(moves(seed, 3), HELD, 0.4).weights for seed in range(20)]
    assert max(np.abs(w).sum() for w in said) <= 0.8 + 1e-6
    assert min(w.min() for w in said) < 0.0


def test_a_seat_of_a_policy_without_seats_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a")
    with pytest.raises(ParamsError, match="seat = 'bold': this policy is of one agent"):
        load_agent(tmp_path / "a", {"seat": "bold"})
    with pytest.raises(ParamsError, match="no parameter 'lookback'"):
        load_agent(tmp_path / "a", {"lookback": 5})


def test_a_house_of_several_seats_holds_their_mean_by_capital_and_one_of_them_may_trade_alone(tmp_path: Path) -> None:
    written_seats(tmp_path / "a")
    house = load_agent(tmp_path / "a", {})
    view = view_of(moves(3, 3), UNIVERSE, HELD)
    alone = {agent.name: load_agent(tmp_path / "a", {"seat": agent.name}).act(view, {})[0] for agent in SEATS}
    assert alone["careful"][2] == 0.0, "what a seat may not hold it does not"
    assert alone["bold"][:2].tolist() == [0.0, 0.0]
    assert all(alone[agent.name].sum() <= agent.invested + 1e-6 for agent in SEATS)
    assert alone["careful"].sum() == pytest.approx(0.4), "capped at what it may invest"
    together = sum(agent.share * alone[agent.name] for agent in SEATS)
    assert house.act(view, {})[0] == pytest.approx(together, abs=1e-7)
    graph = house._run(["weights"], {"observation": observation(SPEC, view.returns(LOOKBACK), HELD, view.cash)[None]})[
        0
    ]
    assert graph[0] == pytest.approx(together, abs=1e-6), "the graph alone says the same"
    with pytest.raises(ParamsError, match="its seats are careful, balanced, bold"):
        load_agent(tmp_path / "a", {"seat": "bald"})


def test_seats_are_masked_and_capped_as_they_were_in_training(tmp_path: Path) -> None:
    written_seats(tmp_path / "a")
    view = view_of(moves(3, 3), UNIVERSE, np.array([0.2, 0.0, 0.1]), missing=1)
    said = load_agent(tmp_path / "a", {}).answer(
        view.returns(LOOKBACK), view.weights, view.cash, None, np.array([True, False, True])
    )
    learner = Several(3)
    seen = torch.from_numpy(observation(SPEC, view.returns(LOOKBACK), view.weights, view.cash))[None]
    row = scaling_of().of(seen)
    action = learner.act(row.expand(3, -1))
    prices = np.full((200, 3), 50.0)
    prices[:, 1] = np.nan
    world = Panel(UNIVERSE, np.arange(200) * DAY, prices, prices, np.ones((200, 3)), np.zeros((200, 3)))
    desks = Desks(market(world), [TrainedSeat(s.name, s.symbols, invested=s.invested) for s in SEATS])
    desks.reset()
    held: list[torch.Tensor] = []
    simulated = desks.simulator.move
    desks.simulator.move = lambda weights: (held.append(weights), simulated(weights))[1]  # type: ignore[method-assign]
    desks.move(action)
    assert said.seats == pytest.approx(held[0].numpy(), abs=1e-6)
    assert not said.seats[:, 1].any()


@pytest.mark.requirement("R-107")
@pytest.mark.parametrize("name", ["ppo simplex", "ppo box", "dqn", "ppo lstm", "sac simplex"])
def test_many_observations_at_once_are_answered_as_one_by_one(name: str, tmp_path: Path) -> None:
    written(tmp_path / "a", name)
    agent = load_agent(tmp_path / "a", {})
    assert agent.by_rows
    observed = probes_of(SPEC, 3, 20)
    alone = np.stack([agent.decide(row[None]).weights for row in observed])
    assert agent.decide_all(observed) == pytest.approx(alone, abs=1e-6)
    threaded = LearnedAgent(agent.artifact, threads=2)
    assert threaded.decide_all(observed) == pytest.approx(alone, abs=1e-6)
