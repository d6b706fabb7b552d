"""What an occlusion reports is what the graph answers with another input, named by symbol and by feature."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from quantd.models.artifacts.agent_policy import CARRY, LearnedAgent, LearnedArtifact, load_agent
from quantd.models.artifacts.ensemble import combine, load_ensemble
from quantd.models.artifacts.occlusion import Influence, input_of, measure, training_mean, when_known
from quantd.models.artifacts.scorer_policy import load_policy
from quantd.models.artifacts.weights import MEAN, tensors_of
from quantd.models.observation.sight import SightSpec, entry_names, observation
from quantd.trading.view import View
from tests.support.artifact_views import HELD, moves, view_of
from tests.support.artifacts import SPEC, UNIVERSE, scaling_of, written, written_line, written_seats
from tests.support.checkout import ROOT

NAMES = entry_names(SPEC, UNIVERSE)


def by_name(influences: Sequence[Influence]) -> dict[str, Influence]:
    return {influence.name: influence for influence in influences}


@pytest.fixture
def view() -> View:
    return view_of(moves(3, 3), UNIVERSE, HELD)


def raw_mean(agent: LearnedAgent) -> np.ndarray:
    mean = training_mean(agent.artifact)
    assert mean is not None
    return mean


def test_each_entry_of_an_observation_has_the_name_of_what_it_shows(view: View) -> None:
    spec = SightSpec(features=("momentum_21", "drawdown"), window=2)
    names = entry_names(spec, UNIVERSE)
    assert names[:5] == ("momentum_21 AAA", "drawdown AAA", "known AAA", "return_1 AAA", "return_0 AAA")
    assert names[-4:] == ("weight AAA", "weight BBB", "weight CCC", "cash")
    seen = dict(zip(names, observation(spec, view.synchronous(126), HELD, 0.4), strict=True))
    newest = view.synchronous(126)[-1] / view.synchronous(126).std(axis=0, ddof=1)
    assert [seen[f"return_0 {s}"] for s in UNIVERSE] == pytest.approx(newest, rel=1e-6)
    assert [seen[f"weight {s}"] for s in UNIVERSE] == pytest.approx(HELD)
    assert seen["cash"] == pytest.approx(0.4)
    assert {input_of(n) for n in names} == {"momentum_21", "drawdown", "known", "returns", "own weights", "own cash"}


@pytest.mark.requirement("R-082")
def test_the_change_of_a_linear_policy_is_the_one_computed_by_hand(tmp_path: Path, view: View) -> None:
    slopes = np.random.default_rng(4).normal(0.0, 0.05, (3, len(NAMES)))
    written_line(tmp_path / "a", slopes)
    agent = load_agent(tmp_path / "a", {})
    scale, seen, usual = scaling_of(), agent.seen(view).astype(float), when_known(NAMES, raw_mean(agent))

    def weights(observed: np.ndarray) -> np.ndarray:
        scaled = np.clip((observed - scale.mean.numpy()) / scale.deviation.numpy(), -scale.clip, scale.clip)
        positions = np.tanh(slopes @ scaled)
        return positions * (0.8 / max(float(np.abs(positions).sum()), 0.8))

    occlusion = measure(agent, view, {})
    assert occlusion.weights == pytest.approx(weights(seen), abs=1e-6)
    assert {influence.name for influence in occlusion.features} == {*SPEC.features, "own weights", "own cash"}
    for influence, places in [
        *((f, [k for k, n in enumerate(NAMES) if input_of(n) == f.name]) for f in occlusion.features),
        *((e, [NAMES.index(e.name)]) for e in occlusion.entries),
    ]:
        other = seen.copy()
        other[places] = usual[places]
        assert influence.change == pytest.approx(weights(other) - weights(seen), abs=1e-6), influence.name
    assert all(np.abs(influence.change).max() > 1e-4 for influence in occlusion.features)


def test_a_recurrent_policy_is_measured_with_the_carry_of_the_decision(tmp_path: Path, view: View) -> None:
    written(tmp_path / "a", "ppo lstm")
    agent = load_agent(tmp_path / "a", {})
    _, memory = agent.act(view, {})
    first, second = measure(agent, view, {}), measure(agent, view, memory)
    assert second.weights == pytest.approx(agent.act(view, memory)[0], abs=0.0)
    assert np.abs(first.weights - second.weights).max() > 1e-4
    other = agent.seen(view).copy()
    places = [k for k, name in enumerate(NAMES) if input_of(name) == "drawdown"]
    other[places] = when_known(NAMES, raw_mean(agent))[places]
    expected = agent.decide(other[None], memory[CARRY][None]).weights - second.weights
    assert by_name(second.features)["drawdown"].change == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dqn", "values"),
        ("dqn dueling noisy", "values"),
        ("ppo discrete", "probabilities"),
        ("ppo lstm discrete", "probabilities"),
    ],
)
def test_scores_are_those_of_the_graph_and_named_rightly(name: str, kind: str, tmp_path: Path, view: View) -> None:
    written(tmp_path / "a", name)
    agent = load_agent(tmp_path / "a", {})
    choices = measure(agent, view, {}).choices
    assert choices is not None
    assert choices.kind == kind
    assert choices.allocations == agent.artifact.manifest.action.allocations
    given = {"observation": agent.seen(view)[None]}
    if kind == "probabilities" and agent.artifact.manifest.network.carry:
        given[CARRY] = np.zeros((1, agent.artifact.manifest.network.carry), np.float32)
    assert np.array_equal(choices.scores, agent._run(["scores"], given)[0][0])
    assert choices.chosen == int(choices.scores.argmax())
    assert (abs(float(choices.scores.sum()) - 1.0) < 1e-5) == (kind == "probabilities")


def test_without_training_means_nothing_is_measured_and_the_reason_is_given(tmp_path: Path, view: View) -> None:
    written(tmp_path / "a", scaling=False)
    agent = load_agent(tmp_path / "a", {})
    assert training_mean(agent.artifact) is None
    occlusion = measure(agent, view, {})
    assert occlusion.missing == "this artifact has no training means; train it again"
    assert all(np.isnan(influence.change).all() and np.isnan(influence.mean).all() for influence in occlusion.features)
    assert occlusion.entries == ()
    assert occlusion.weights == pytest.approx(agent.act(view, {})[0], abs=0.0)


def test_a_mean_of_the_observation_goes_before_that_of_the_normaliser(tmp_path: Path) -> None:
    from safetensors.torch import load, save

    written(tmp_path / "a")
    artifact = load_agent(tmp_path / "a", {}).artifact
    size = artifact.manifest.sight.size(len(UNIVERSE))

    def kept(**tensors: torch.Tensor) -> LearnedArtifact:
        both = load(artifact.weights) | {name.replace("_", "."): tensor for name, tensor in tensors.items()}
        return LearnedArtifact(artifact.folder, artifact.manifest, artifact.graph, save(both), artifact.golden)

    assert training_mean(artifact) == pytest.approx(scaling_of().mean.numpy())
    mean = training_mean(kept(observation_mean=torch.arange(size, dtype=torch.float64)))
    assert mean is not None
    assert mean.tolist() == list(range(size))
    assert training_mean(kept(observation_mean=torch.zeros(size + 1))) is None


def test_a_mean_counts_only_observations_in_which_the_asset_was_known() -> None:
    names = entry_names(SightSpec(features=("volatility",)), ("A", "B"))
    draw = np.random.default_rng(2)
    mask = np.stack([np.ones(400), (np.arange(400) >= 300).astype(float)], axis=1)
    values, book = draw.normal(1.0, 0.3, (400, 2)) * mask, draw.uniform(size=(400, 3))
    rows = np.column_stack([values[:, 0], mask[:, 0], values[:, 1], mask[:, 1], book])
    usual = dict(zip(names, when_known(names, rows.mean(axis=0)), strict=True))
    assert usual["volatility B"] == pytest.approx(values[300:, 1].mean())
    assert usual["volatility A"] == pytest.approx(values[:, 0].mean())
    assert [usual[n] for n in ("weight A", "weight B", "cash")] == pytest.approx(book.mean(axis=0))
    never = when_known(names, np.array([1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.1]))
    assert never.tolist() == [1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.1]


def test_an_asset_without_features_stays_without_them(tmp_path: Path) -> None:
    written(tmp_path / "a")
    agent = load_agent(tmp_path / "a", {})
    occlusion = measure(agent, view_of(moves(3, 3), UNIVERSE, HELD, missing=1), {})
    assert not any(
        influence.name.endswith("BBB") and input_of(influence.name) in SPEC.features for influence in occlusion.entries
    )
    momentum = by_name(occlusion.features)["momentum_21"]
    assert np.isnan(momentum.value[1])
    assert np.isfinite(momentum.value[[0, 2]]).all()
    assert "weight BBB" in by_name(occlusion.entries)


def test_seats_of_a_team_are_measured_as_they_trade(tmp_path: Path, view: View) -> None:
    written_seats(tmp_path / "a")
    house, alone = load_agent(tmp_path / "a", {}), load_agent(tmp_path / "a", {"seat": "bold"})
    assert measure(house, view, {}).weights == pytest.approx(house.act(view, {})[0], abs=0.0)
    occlusion = measure(alone, view, {})
    assert occlusion.weights.tolist()[:2] == [0.0, 0.0]
    assert all(not influence.change[:2].any() for influence in occlusion.features), (
        "it may not hold them whatever it sees"
    )
    assert any(influence.change[2] for influence in occlusion.features)


@pytest.mark.parametrize("combination", ["mean", "vote", "performance"])
def test_an_ensemble_is_occluded_in_every_member_that_has_the_input(combination, tmp_path: Path, view: View) -> None:
    narrow = SightSpec(features=("volatility", "momentum_5"), book=())
    written(tmp_path / "a", seed=1)
    written(tmp_path / "b", seed=2, spec=narrow)
    written(tmp_path / "c", "ppo lstm", seed=3)
    shares = [0.5, 0.3, 0.2] if combination == "performance" else None
    combine(tmp_path / "all", [tmp_path / n for n in "abc"], combination, "a test", shares)
    ensemble = load_ensemble(tmp_path / "all", {})
    _, memory = ensemble.act(view, {})
    occlusion = measure(ensemble, view, memory)
    assert occlusion.weights == pytest.approx(ensemble.act(view, memory)[0], abs=0.0)
    names = [influence.name for influence in occlusion.features]
    assert sorted(names) == sorted({*SPEC.features, "momentum_5", "own weights", "own cash"})
    parts = [measure(m, view, ensemble.own_memory(k, memory)) for k, m in enumerate(ensemble.members)]
    for influence in [*occlusion.features, *occlusion.entries]:
        votes = []
        for part in parts:
            counterpart = by_name([*part.features, *part.entries]).get(influence.name)
            votes.append(part.weights if counterpart is None else part.weights + counterpart.change)
        expected = ensemble.combined(np.stack(votes)) - occlusion.weights
        assert influence.change == pytest.approx(expected, abs=1e-12), influence.name
    shared, one = by_name(occlusion.features)["volatility"], by_name(occlusion.features)["momentum_5"]
    assert np.isnan(shared.mean).all(), "members with other means have none together"
    assert np.isfinite(one.mean).all()
    assert occlusion.choices is None


def test_a_scorers_feature_is_replaced_in_every_known_asset_or_in_one(view: View) -> None:
    scorer = load_policy(ROOT / "models" / "shipped" / "scorer", {})
    occlusion = measure(scorer, view, {})
    assert occlusion.missing == ""
    assert occlusion.weights == pytest.approx(scorer.act(view, {})[0], abs=0.0)
    features, mask = scorer.features_of(view.synchronous(126))
    names = list(scorer.artifact.manifest.features.names)
    assert [influence.name for influence in occlusion.features] == names
    assert np.stack([influence.value for influence in occlusion.features], axis=1) == pytest.approx(features)
    mean = tensors_of(scorer.artifact.weights)[MEAN]
    symbols = view.universe.symbols
    for k, influence in enumerate(occlusion.features):
        other = features.copy()
        other[:, k] = mean[k]
        assert influence.change == pytest.approx(scorer.answer(other, mask) - occlusion.weights, abs=1e-7)
        assert influence.mean == pytest.approx(np.full(len(symbols), mean[k]))
    assert max(float(np.abs(influence.change).max()) for influence in occlusion.features) > 1e-3
    single = {influence.name: influence for influence in occlusion.entries}
    assert set(single) == {f"{name} {symbol}" for name in names for symbol in symbols}
    other = features.copy()
    other[1, 3] = mean[3]
    entry = single[f"{names[3]} {symbols[1]}"]
    assert entry.change == pytest.approx(scorer.answer(other, mask) - occlusion.weights, abs=1e-7)
