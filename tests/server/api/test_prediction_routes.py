"""What a model or a method would hold, over HTTP: computed from the input, refused by field, cached, and journalled
nowhere."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from quantd.models.artifacts.agent_policy import load_agent
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created
from quantd.strategies.allocators.risk_parity import risk_parity
from quantd.trading.covariance import covariance
from tests.server.api.model_worlds import MODELS, SYMBOLS, artifacts, halfway, world
from tests.support.api_world import RUN
from tests.support.artifacts import written

__all__ = ["artifacts", "world"]

PREDICT, ALLOCATE = "/api/v1/predict", "/api/v1/allocate"


def paths(count: int = 140, symbols: tuple[str, ...] = ("spy", "tlt", "gld", "btc", "vix")) -> dict[str, list[float]]:
    draw = np.random.default_rng(4)
    scale = np.linspace(0.005, 0.02, len(symbols))
    closes = 100.0 * np.cumprod(1.0 + draw.normal(0.0003, scale, (count, len(symbols))), axis=0)
    return {symbol: closes[:, k].tolist() for k, symbol in enumerate(symbols)}


@pytest.mark.requirement("R-200", "F-21")
async def test_two_observations_give_two_answers_of_the_network_with_two_confidences(
    world: Any, tmp_path: Path
) -> None:
    policy = load_agent(tmp_path / "models" / "first", {})
    draw, predictions = np.random.default_rng(2), []
    for _ in range(2):
        values = np.append(draw.normal(0.0, 1.0, 15), 0.5).astype(np.float32)
        status, given = await world.post(PREDICT, {"agent": "learned", "observation": values.tolist()})
        assert status == 200, given
        expected = policy.decide(values[None]).weights
        assert [given["weights"][s] for s in SYMBOLS] == pytest.approx(expected.tolist())
        assert given["cash"] == pytest.approx(1.0 - expected.sum())
        assert given["digest"] == policy.digest
        assert given["expected_return"] is not None
        assert given["sharpe"] == pytest.approx((given["expected_return"] - 0.02) / given["expected_risk"])
        predictions.append(given)
    assert predictions[0]["confidence"]["kind"] == "concentration"
    assert predictions[0]["confidence"]["value"] != predictions[1]["confidence"]["value"]
    assert predictions[0]["expected_return"] != predictions[1]["expected_return"]
    assert predictions[0]["input_hash"] != predictions[1]["input_hash"]


@pytest.mark.requirement("R-106")
async def test_the_present_state_is_the_input_without_an_observation_and_nothing_is_journalled(world: Any) -> None:
    before = world.service.journal.seq
    status, given = await world.post(PREDICT, {"agent": "learned"})
    assert status == 200, given
    decided = world.service.shell.state.agents[0]
    assert not given["cached"]
    assert sum(given["weights"].values()) + given["cash"] == pytest.approx(1.0)
    assert (await world.post(PREDICT, {"agent": "learned"}))[1]["cached"]
    assert (await world.post(PREDICT, {"agent": "rival"}))[1]["digest"] != given["digest"]
    assert (await world.post(ALLOCATE, {"method": "equal_weight", "prices": paths()}))[0] == 200
    assert world.service.journal.seq == before == world.store.last_seq(RUN)
    assert decided is world.service.shell.state.agents[0]
    await world.feed(5)
    again = (await world.post(PREDICT, {"agent": "learned"}))[1]
    assert not again["cached"]
    assert again["input_hash"] != given["input_hash"]


@pytest.mark.long
async def test_features_by_name_are_the_same_question_as_the_values_in_order(world: Any) -> None:
    async with world.session.get(f"{MODELS}/learned") as response:
        entries = (await response.json())["artifacts"][0]["entries"]
    values = {name: 0.1 * k for k, name in enumerate(entries)}
    status, one = await world.post(PREDICT, {"agent": "learned", "observation": list(values.values())})
    assert status == 200, one
    features: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        if " " in name:
            feature, symbol = name.split(" ")
            features.setdefault(symbol, {})[feature] = value
    asked = {"agent": "learned", "features": features, "shared": {"cash": values["cash"]}}
    _, other = await world.post(PREDICT, asked)
    assert other["cached"]
    assert other["weights"] == one["weights"]
    del features["QQQ"]["volatility"]
    status, problem = await world.post(PREDICT, asked)
    assert (status, problem["errors"][0]["field"]) == (422, "features.QQQ.volatility")


@pytest.fixture
async def wide(tmp_path: Path, artifacts: Path) -> AsyncIterator[Any]:
    async with halfway(tmp_path, artifacts) as halfway_world:
        folder = tmp_path / "models"
        written(folder / "values", "dqn", universe=SYMBOLS)
        written(folder / "chances", "ppo discrete", universe=SYMBOLS)
        yield halfway_world


@pytest.mark.long
@pytest.mark.requirement("R-081")
async def test_the_confidence_is_computed_from_the_values_and_probabilities_of_the_network(
    wide: Any, tmp_path: Path
) -> None:
    """The formulas of docs/learn/models.md on what the artifact itself answers."""
    draw = np.random.default_rng(11)
    for name in ("values", "chances"):
        policy = load_agent(tmp_path / "models" / name, {})
        for _ in range(5):
            observed = draw.normal(0.0, 1.0, 16).astype(np.float32)
            status, given = await wide.post(PREDICT, {"artifact": f"models/{name}", "observation": observed.tolist()})
            assert status == 200, given
            scores = policy.decide(observed[None]).scores.astype(np.float64).tolist()
            assert len(scores) > 2
            assert (given["confidence"]["kind"], given["samples"] > 0) == (
                "values" if name == "values" else "probabilities", True,
            )  # fmt: skip
            if name == "values":
                best, second, *_ = sorted(scores, reverse=True)
                expected = (best - second) / (best - min(scores))
                assert given["value"] == pytest.approx(best)
            else:
                assert sum(scores) == pytest.approx(1.0)
                expected = 1.0 + sum(p * math.log(p) for p in scores if p > 0.0) / math.log(len(scores))
                assert given["value"] is None
            assert given["confidence"]["value"] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.long
@pytest.mark.requirement("R-200")
async def test_a_question_at_fault_names_its_field(world: Any) -> None:
    for body, status, field, words in (
        ({"agent": "learned", "observation": [0.0] * 33}, 422, "observation", "33 values; send 16"),
        ({"agent": "learned", "observation": [0.0] * 33}, 422, "observation", "momentum_21 SPY"),
        ({"agent": "even"}, 422, "agent", "0 learned policies"),
        ({}, 422, "agent", "name an agent"),
        ({"agent": "nobody"}, 404, "", "no agent"),
        ({"artifact": "models/absent"}, 404, "", "manifest.json"),
        ({"artifact": "/etc"}, 422, "", "outside"),
        ({"agent": "learned", "observation": [1e300] * 16}, 422, "observation[0]", "<= 1e+30"),
        ({"artifact": "models/shipped/scorer", "observation": [1e30] * 30}, 422, "", "largest size is 1e+30"),
    ):
        given, problem = await world.post(PREDICT, body)
        assert given == status, problem
        assert words in problem["detail"]
        assert [error["field"] for error in problem["errors"]] == ([field] if field else [])
    async with world.session.post(PREDICT, json={"agent": "learned"}) as response:
        assert response.status == 401
    read = created(world.folder, "reader", "read")[1]
    await asyncio.sleep(keyring.CHECK_S)
    assert (await world.post(PREDICT, {"agent": "learned"}, read))[0] == 200
    assert (await world.post(f"{MODELS}/learned/pause", {"reason": "x"}, read))[0] == 403


@pytest.mark.requirement("R-123", "R-201")
async def test_weights_are_those_of_the_method_for_the_given_prices(world: Any) -> None:
    prices = paths()
    status, allocation = await world.post(ALLOCATE, {"method": "risk_parity", "prices": prices})
    assert status == 200, allocation
    symbols = sorted(prices)
    closes = np.array([prices[s] for s in symbols]).T
    returns = closes[1:] / closes[:-1] - 1.0
    expected = risk_parity(covariance(returns[-126:]), None)
    assert [allocation["weights"][s] for s in symbols] == pytest.approx(expected.tolist(), abs=1e-9)
    path = returns @ np.array([allocation["weights"][s] for s in symbols])
    assert allocation["expected_return"] == pytest.approx(path.mean() * 252)
    t = path.mean() / path.std(ddof=1) * len(path) ** 0.5
    assert allocation["probability_positive"] == pytest.approx(NormalDist().cdf(t))
    assert "confidence" not in allocation, "that name has one meaning, with its kind, in the answer of predict"
    assert allocation["expected_risk"] == pytest.approx(path.std(ddof=1) * 252**0.5)
    assert allocation["samples"] == 139
    assert allocation["cash"] == 0.0, "no rounding error of the sum"
    backwards = {symbol: prices[symbol] for symbol in reversed(symbols)}
    _, again = await world.post(ALLOCATE, {"method": "risk_parity", "prices": backwards})
    assert again["cached"]
    assert again["input_hash"] == allocation["input_hash"]
    prices["btc"][-1] *= 1.01
    _, other = await world.post(ALLOCATE, {"method": "risk_parity", "prices": prices})
    assert not other["cached"]
    assert other["input_hash"] != allocation["input_hash"]
    assert other["weights"] != allocation["weights"]
    _, lines = await world.post(ALLOCATE, {"method": "models/shipped/scorer", "prices": prices})
    assert set(lines["weights"]) == set(symbols)
    assert sum(lines["weights"].values()) + lines["cash"] == pytest.approx(1.0)
    status, even = await world.post(ALLOCATE, {"agent": "even", "prices": paths(5)})
    assert (status, even["weights"]["spy"]) == (200, pytest.approx(0.2))
    async with world.session.get("/metrics") as response:
        text = await response.text()
    assert 'quantd_prediction_cache_total{name="paper",result="hit"} 1.0' in text


@pytest.mark.long
@pytest.mark.requirement("R-201")
async def test_prices_at_fault_name_the_field(world: Any) -> None:
    good = paths(140, ("a", "b"))
    for change, options, field, words in (
        ({"b": good["b"][:-1]}, {}, "prices.b", "139 closes, but a has 140"),
        ({"b": [*good["b"][:-1], 0.0]}, {}, "prices.b[139]", "no price above 0"),
        ({"b": [-1.0, *good["b"][1:]]}, {}, "prices.b[0]", "no price above 0"),
        ({"a": good["a"][:100], "b": good["b"][:100]}, {}, "prices", "100 closes; risk_parity needs 127"),
        ({f"s{k}": [1.0, 2.0] for k in range(120)}, {}, "prices", "122 symbols; 1 to 100"),
        ({}, {"held": {"c": 0.5}}, "held.c", "do not have this symbol"),
        ({}, {"method": "ensemble"}, "method", "composite"),
        ({}, {"params": {"lookback": 1}}, "method", "lookback"),
        ({}, {"agent": "even"}, "method", "not exactly one of method and agent"),
        ({}, {"method": "models/shipped/full"}, "method", "the universe lacks"),
    ):
        body = {"method": "risk_parity", "prices": {**good, **change}, **options}
        status, problem = await world.post(ALLOCATE, body)
        assert status == 422, (body["method"], problem)
        assert words in problem["detail"]
        assert [error["field"] for error in problem["errors"]] == [field]
    assert (await world.post(ALLOCATE, {"method": "equal_weight", "prices": {}}))[0] == 422
    status, problem = await world.post(ALLOCATE, {"method": "risk_paritee", "prices": good})
    assert status == 404
    assert "did you mean 'risk_parity'" in problem["detail"]


@pytest.mark.requirement("R-235")
async def test_a_body_may_be_a_mebibyte_here_and_16_kib_elsewhere(world: Any) -> None:
    wide = {"method": "equal_weight", "prices": paths(1_000)}
    assert 16 * 1024 < len(json.dumps(wide)) < 1 << 20
    assert (await world.post(ALLOCATE, wide))[0] == 200
    assert (await world.post(f"{MODELS}/even/pause", {"reason": "x" * 20_000}))[0] == 413
    assert (await world.post(ALLOCATE, {"method": "x" * (1 << 20), "prices": {}}))[0] == 413
