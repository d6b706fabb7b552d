"""The policy made of forests: by name, blind to the future, and it stops listening to what stopped being right."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.policies.loading import PolicyError, answer, load, probe
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import ForestKind
from quantd.models.forests.allocation import LearnedAllocation, correlation_matrix
from quantd.models.forests.forest_features import LOOKBACK, look
from quantd.models.forests.params import AllocationParams
from quantd.models.forests.prediction import Forest, load_forest
from quantd.strategies.policies import POLICIES
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask
from quantd.trading.market import Floats
from quantd.trading.view import EMPTY_MEMORY, MEMORY_BYTES, Noted
from quantd.training.forests.fit import Plan, train_on
from tests.support.examples import examples
from tests.support.forests import FOREST, garch, live, noise, panel_of, size_of, turning, view_of, views, weights_of

HERE = Path("/")


@pytest.fixture(scope="module")
def forests() -> dict[ForestKind, Forest]:
    return {"risk": load_forest(FOREST["risk"]), "correlation": load_forest(FOREST["correlation"])}


@pytest.fixture(scope="module")
def policy(forests: dict[ForestKind, Forest]) -> LearnedAllocation:
    return LearnedAllocation(AllocationParams(), forests)


def trained(out: Path, returns: Floats, plan: Plan) -> LearnedAllocation:
    train_on(panel_of(returns), {}, plan, out, "a test", lambda line: None)
    allocation = load_artifact(out, {"method": "inverse_volatility"})
    assert isinstance(allocation, LearnedAllocation)
    return allocation


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 1_000), size=st.integers(1, 12), data=st.data())
def test_permuting_the_columns_permutes_the_weights_in_any_universe(
    policy: LearnedAllocation, seed: int, size: int, data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(size))))
    returns, symbols = garch(seed, LOOKBACK, size), tuple(f"S{k}" for k in range(size))
    straight, kept = policy.act(view_of(returns, symbols), {})
    turned, kept_turned = policy.act(view_of(returns[:, order], tuple(symbols[k] for k in order)), {})
    np.testing.assert_allclose(weights_of(turned), weights_of(straight)[order], atol=1e-6)
    assert weights_of(straight).sum() == pytest.approx(1.0)
    assert (weights_of(straight) > 0.0).all()
    # what is remembered is by name as well
    for name, value in kept.items():
        np.testing.assert_allclose(kept_turned[name], value, atol=1e-5)


def test_an_answer_rests_on_view_and_memory_alone_and_a_restart_changes_nothing(
    forests: dict[ForestKind, Forest],
) -> None:
    returns = garch(4, 260, 3)
    straight, restarted = LearnedAllocation(AllocationParams(), forests), LearnedAllocation(AllocationParams(), forests)
    memory = again = EMPTY_MEMORY
    for t, (view, same) in enumerate(zip(views(returns), views(returns), strict=True)):
        if t < LOOKBACK:
            continue
        if t % 20 == 0:
            restarted = LearnedAllocation(AllocationParams(), forests)
        mine, theirs = answer(straight, Ask(1, 0, view, memory)), answer(restarted, Ask(1, 0, same, again))
        assert mine.failed == theirs.failed == ""
        assert (mine.weights, mine.memory, mine.note) == (theirs.weights, theirs.memory, theirs.note)
        memory, again = memory_of(mine), memory_of(theirs)
    assert probe(straight, view_of(returns)) == ""


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("size", [2, 20, 100])
def test_the_memory_stays_below_what_is_allowed(size: int) -> None:
    allocation = load("learned_allocation", {}, HERE)
    memory = EMPTY_MEMORY
    for t, view in enumerate(views(garch(1, LOOKBACK + 30, size))):
        if t >= LOOKBACK:
            _, memory = allocation.act(view, memory)
    assert size_of(memory) <= MEMORY_BYTES
    assert not answer(allocation, Ask(1, 0, view, memory)).failed


@pytest.mark.long
def test_it_is_found_by_its_name_and_by_the_folder_of_one_forest(tmp_path: Path) -> None:
    view = view_of(garch(2, LOOKBACK, 4))
    by_name = load("learned_allocation", {"correlation": "", "allocation": ""}, tmp_path)
    by_folder = load("models/shipped/forest_risk", {}, tmp_path)
    assert isinstance(by_name, LearnedAllocation)
    assert answer(by_name, Ask(1, 0, view, {})) == answer(by_folder, Ask(1, 0, view, {}))
    assert by_name.digest == by_folder.digest != ""  # type: ignore[attr-defined]
    assert by_name.digest != load("learned_allocation", {}, tmp_path).digest  # type: ignore[attr-defined]
    assert by_name.trained_until_ns == load_forest(FOREST["risk"]).artifact.manifest.training.until_ns


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("learned_allocation", {"risk": "", "correlation": "", "allocation": ""}, "all empty; name the folder"),
        ("learned_allocation", {"risk": "nowhere"}, "nowhere/manifest.json"),
        ("learned_allocation", {"risk": "models/shipped/forest_correlation"}, "one that predicts risk is needed here"),
        ("learned_allocation", {"risk": "models/shipped/scorer"}, "manifest.json"),
        ("learned_allocation", {"max_tilt": 1.5}, "max_tilt = 1.5"),
        ("learned_allocation", {"method": "magic"}, "method = 'magic'"),
        ("learned_alocation", {}, "did you mean 'learned_allocation'"),
        ("models/shipped/forest_risk", {"risk": "x"}, "for several forests write policy = 'learned_allocation'"),
        ("models/shipped/forest_risk", {"speed": 1}, "has no parameter 'speed'"),
    ],
)
def test_what_is_wrong_is_said(name: str, params: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=reason):
        load(name, params, tmp_path)


def test_an_asset_without_history_gets_exactly_nothing(policy: LearnedAllocation) -> None:
    returns = garch(5, LOOKBACK, 4)
    returns[:30, 2] = np.nan
    weights = weights_of(policy.act(view_of(returns), {})[0])
    assert weights[2] == 0.0
    columns = [0, 1, 3]
    np.testing.assert_allclose(weights[columns], weights_of(policy.act(view_of(returns[:, columns]), {})[0]), atol=1e-6)
    assert not weights_of(policy.act(view_of(np.full((LOOKBACK, 3), np.nan)), {})[0]).any()


@pytest.mark.long
def test_a_score_tilts_a_weight_by_no_more_than_is_allowed(tmp_path: Path) -> None:
    # momentum that goes on: what rose keeps rising, so that scores are large and the optimiser is on
    draw = np.random.default_rng(1)
    drift = np.repeat(draw.normal(0.0, 0.006, (16, 4)), 100, axis=0)
    returns = drift + draw.normal(0.0, 0.01, drift.shape)
    train_on(panel_of(returns), {}, Plan("allocation", folds=1, leaves=32), tmp_path / "f", "a test", lambda line: None)
    forest = load_forest(tmp_path / "f", "allocation")
    view = view_of(returns[-LOOKBACK:])
    plain, tilted = (
        weights_of(LearnedAllocation(AllocationParams(max_tilt=tilt), {"allocation": forest}).act(view, {})[0])
        for tilt in (0.0, 0.3)
    )
    ratio = tilted / plain
    assert np.abs(ratio / np.median(ratio) - 1.0).max() > 0.1
    assert ratio.max() / ratio.min() <= 1.3 / 0.7 + 1e-9
    score = forest.predict(look(view.returns(LOOKBACK))).model
    tilt = np.clip((score - score.mean()) / 0.5, -1.0, 1.0)
    np.testing.assert_allclose(ratio / ratio[0], (1.0 + 0.3 * tilt) / (1.0 + 0.3 * tilt[0]))
    assert tilted.sum() == pytest.approx(1.0)


def test_without_forests_that_are_on_it_is_risk_parity_on_the_plain_estimates(
    forests: dict[ForestKind, Forest],
) -> None:
    """Switched off it must not be a third thing: EWMA volatilities and the trailing correlation of 126 samples."""
    returns = garch(6, LOOKBACK, 5)
    policy = LearnedAllocation(AllocationParams(), {"correlation": forests["correlation"]})
    _, memory = policy.act(view_of(returns), {})
    off = dict(memory) | {"correlation.switch": np.array([memory["correlation.switch"][0], 0.0, 0.0])}
    given_, _ = policy.act(view_of(returns), off)
    assert isinstance(given_, Noted)
    assert given_.warns
    assert given_.note == (
        "learned_allocation: the plain estimate stands in for correlation, whose forest was not better than it"
    )
    decay = 0.94 ** np.arange(LOOKBACK - 1, -1, -1.0)
    ewma = np.sqrt((decay[:, None] * returns**2).sum(axis=0) / decay.sum())
    parity = weights_of(POLICIES["risk_parity"]({"lookback": LOOKBACK}).act(view_of(returns), {})[0])
    expected = parity * returns.std(axis=0) / ewma
    np.testing.assert_allclose(weights_of(given_), expected / expected.sum(), rtol=1e-4)


@pytest.mark.requirement("R-117")
def test_what_is_predicted_decides_the_weights_while_it_is_on(forests: dict[ForestKind, Forest]) -> None:
    returns = garch(7, LOOKBACK, 4)
    policy = LearnedAllocation(AllocationParams(method="inverse_volatility"), {"risk": forests["risk"]})
    given_, memory = policy.act(view_of(returns), {})
    said = forests["risk"].predict(look(view_of(returns).returns(LOOKBACK)))
    for prediction, on in ((said.model, 1.0), (said.plain, 0.0)):
        switch = {"risk.switch": np.array([memory["risk.switch"][0], on, 0.0])}
        expected = np.exp(-prediction)
        given_, _ = policy.act(view_of(returns), dict(memory) | switch)
        np.testing.assert_allclose(weights_of(given_), expected / expected.sum())
    assert np.abs(said.model - said.plain).max() > 0.01


def test_pairs_that_do_not_fit_together_still_make_a_correlation_matrix() -> None:
    mask = np.array([True, True, False, True])
    fisher = np.arctanh([0.98, 0.5, -0.98, 0.3, 0.98, 0.1])  # 0 like 1, 1 like 3, 0 the opposite of 3
    matrix = correlation_matrix(fisher, mask)
    assert matrix.shape == (3, 3)
    assert np.linalg.eigvalsh(matrix)[0] > 0.0
    np.testing.assert_allclose(matrix.diagonal(), 1.0)
    np.testing.assert_allclose(matrix, matrix.T)
    good = np.corrcoef(noise(1, 200, 3).T)
    np.testing.assert_allclose(
        correlation_matrix(np.arctanh(good[np.triu_indices(3, 1)]), np.ones(3, dtype=bool)), good
    )


@pytest.mark.long
def test_a_forest_of_a_world_that_ended_is_switched_off_and_on_again_when_that_world_returns(tmp_path: Path) -> None:
    policy = trained(tmp_path / "forest", turning(1, 1_600, 3, 21), Plan("risk", folds=1, leaves=16))
    same, memory = live(policy, turning(2, 500, 3, 21))
    assert not any(same)  # its own world, other numbers: it stays on
    steady = np.vstack([turning(3, LOOKBACK, 3, 21), garch(3, 500, 3)])
    warned, _ = live(policy, steady)
    assert not warned[0]
    assert warned[-1]
    back = np.vstack([turning(3, LOOKBACK, 3, 21), garch(3, 260, 3), turning(4, 600, 3, 21)])
    warned, memory = live(policy, back)
    off = [k for k, warning in enumerate(warned) if warning]
    assert off
    assert not warned[-1]
    assert off[-1] - off[0] == len(off) - 1  # once off, once on again: no flapping
    (standing,) = policy.standing(memory, view_of(back).universe)
    assert standing.on
    assert standing.running_mse is not None
    assert standing.running_plain_mse is not None
    assert standing.running_mse < standing.running_plain_mse


def test_the_running_errors_are_those_of_what_was_said_against_what_came_true(
    forests: dict[ForestKind, Forest],
) -> None:
    """Reckoned again from the prices alone, without any of the policy's memory."""
    returns, risk = garch(8, LOOKBACK + 180, 3), forests["risk"]
    policy = LearnedAllocation(AllocationParams(), {"risk": risk})
    _, memory = live(policy, returns)
    (standing,) = policy.standing(memory, view_of(returns).universe)
    errors = []
    for t in range(LOOKBACK, len(returns) + 1 - 21, 5):
        said = risk.predict(look(returns[t - LOOKBACK : t]))
        true = np.log(np.sqrt((returns[t : t + 21] ** 2).mean(axis=0)))
        errors.append([((said.model - true) ** 2).mean(), ((said.plain - true) ** 2).mean()])
    expected = np.array(errors)[-26:].mean(axis=0)
    assert standing.rounds == 26 < len(errors)
    assert [standing.running_mse, standing.running_plain_mse] == pytest.approx(expected.tolist())


def test_what_comes_later_changes_no_decision(policy: LearnedAllocation) -> None:
    returns = garch(3, 260, 4)
    other = returns.copy()
    other[200:] *= 4.0
    memory = memory_other = EMPTY_MEMORY
    differ = []
    for t, (view, view_other) in enumerate(zip(views(returns), views(other), strict=True)):
        if t < LOOKBACK:
            continue
        given_, memory = policy.act(view, memory)
        given_other, memory_other = policy.act(view_other, memory_other)
        differ.append(bool((weights_of(given_) != weights_of(given_other)).any()))
    assert not any(differ[: 200 - LOOKBACK + 1])
    assert all(differ[200 - LOOKBACK + 1 :])
