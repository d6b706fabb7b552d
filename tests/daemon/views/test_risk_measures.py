"""The metrics that people ask for: each there, each with its input, each with a reason where it is missing."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.state import State
from quantd.daemon.views.overview import positions, with_risk
from quantd.daemon.views.risk_measures import (
    METRICS,
    Metrics,
    assessed,
    house_assessed,
    house_measures,
    metrics_of,
)
from quantd.risk.limits.catalogue import Limits, Tail
from tests.support.api_world import standing_at_the_end
from tests.support.engine import World, block, walk


@pytest.fixture
def state() -> State:
    acts = [lambda view: np.array([0.5, 0.2, 0.1])]
    state = World(block(walk(180, 3, 3)), acts, house=Limits(var=Tail(limit=0.5)), agent=Limits()).run().shell.state
    msgspec.structs.force_setattr(state.universe, "benchmark", "S2")
    return state


def metrics(state: State) -> Metrics:
    state.watch.context = None
    return metrics_of(assessed(state).house)


@pytest.mark.requirement("R-152")
def test_all_ten_metrics_are_there_with_no_reason_missing(state: State) -> None:
    figures = metrics(state)
    names = {"volatility", "var", "cvar", "max_drawdown", "sharpe", "sortino", "calmar", "beta", "correlation"}
    assert set(METRICS) == names | {"diversification"}
    assert {name: getattr(figures, name) for name in METRICS if getattr(figures, name) is None} == {}
    assert figures.missing == {}
    assert figures.cvar >= figures.var > 0.0  # type: ignore[operator]


@pytest.mark.requirement("R-125", "R-126")
def test_two_blocks_of_instruments_that_move_together_are_two_groups() -> None:
    """S0 and S3 move together, S1 and S2 too, S4 alone; S5 is like S0 and nobody holds it."""
    days, draw = 180, np.random.default_rng(7)
    first, second, alone = (draw.normal(0.0, 0.01, days) for _ in range(3))
    noise = draw.normal(0.0, 0.003, (days, 6))
    closes = 100.0 * np.exp(np.cumsum(np.column_stack([first, second, second, first, alone, first]) + noise, axis=0))
    weights = np.array([0.2, 0.2, 0.2, 0.2, 0.1, 0.0])
    state = World(block(closes), [lambda view: weights], house=Limits(), agent=Limits()).run().shell.state
    shown = {position.symbol: position.group for position in with_risk(positions(state)[0], assessed(state))}
    assert shown == {"S0": "S0", "S1": "S1", "S2": "S1", "S3": "S0", "S4": ""}


def other_market(state: State) -> None:
    ring = state.history.synchronous
    ring.fill()
    ring.filled_returns[: ring.end] *= np.array([1.0, 2.0, 3.0])
    ring.filled_returns[: ring.end : 2, 0] *= -1.0


def other_past(state: State) -> None:
    for number in range(1, 90):
        state.watch.realised[0].add(
            state.equity_micro + (number % 7) * 10**9 - number * 2 * 10**9, state.rules.cash_micro
        )


OF_THE_PAST = {"max_drawdown", "sharpe", "sortino", "calmar"}


@pytest.mark.quick_cases(3)
@pytest.mark.requirement("R-196")
@pytest.mark.parametrize("name", METRICS)
def test_each_metric_varies_with_its_input(name: str, state: State) -> None:
    before = getattr(metrics(state), name)
    (other_past if name in OF_THE_PAST else other_market)(state)
    after = getattr(metrics(state), name)
    assert after is not None
    assert abs(after - before) > 1e-6


@pytest.mark.requirement("R-152")
def test_each_agent_is_assessed_on_its_own_book() -> None:
    def few(view):
        return np.array([0.6, 0.0, 0.0])

    def many(view):
        return np.array([0.2, 0.2, 0.2])

    run = World(block(walk(150, 3, 4)), [few, many], house=Limits(), agent=Limits()).run()
    assessment = assessed(run.shell.state)
    assert set(assessment.agents) == {"a0", "a1"}
    assert set(assessment.agents["a0"].positions or {}) == {"S0"}
    assert set(assessment.agents["a1"].positions or {}) == {"S0", "S1", "S2"}
    assert msgspec.json.encode(assessment)


@pytest.mark.long
async def test_measures_of_the_house_from_copies_are_those_of_the_state(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        state = world.service.shell.state
        measured = house_measures(state)
        assessment = assessed(state)
        house_assessment = await asyncio.to_thread(measured)
        assert house_assessment == house_assessed(state)
        assert (house_assessment.ts, house_assessment.house, house_assessment.groups) == (
            assessment.ts,
            assessment.house,
            assessment.groups,
        )
