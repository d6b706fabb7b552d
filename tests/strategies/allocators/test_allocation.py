"""What an allocation is expected to do comes from data, and moves with it."""

from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.allocators.allocation import Allocation, allocation
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.view import View
from tests.support.examples import examples
from tests.support.returns import Floats, market


@dataclass
class Book:
    returns: Floats
    weights: Floats

    def of(self, target: Floats, threshold: float = 0.0) -> Allocation:
        size = self.returns.shape[1]
        ring = Ring(size, len(self.returns))
        for row in 100.0 * np.cumprod(np.vstack((np.ones(size), 1.0 + self.returns)), axis=0):
            ring.append(row)
        view = View(
            universe=Universe(tuple(Instrument(s) for s in "ABCDEFGH"[:size])), ring=ring, prices=np.ones(size),
            weights=self.weights, cash=0.0, equity=1e5, time=7, sample_time=7,
        )  # fmt: skip
        return allocation(view, target, strategy="s", method="m", lookback=len(self.returns), threshold=threshold)


@pytest.mark.requirement("R-124")
def test_the_same_data_give_the_same_figures_and_other_data_others() -> None:
    target = np.array([0.5, 0.3, 0.2])
    one, again = (Book(market(1, 3), np.zeros(3)).of(target) for _ in range(2))
    other = Book(market(2, 3), np.zeros(3)).of(target)
    assert one == again
    for name in ("expected_return", "expected_risk", "probability_positive"):
        assert getattr(one, name) != getattr(other, name)


@pytest.mark.requirement("R-124", "R-268", "F-41")
@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 8))
def test_the_figures_are_those_of_the_weights_held(seed: int, size: int) -> None:
    returns = market(seed, size, 100)
    draw = np.random.default_rng(seed)
    target, current = draw.dirichlet(np.ones(size)), draw.dirichlet(np.ones(size))
    allocation = Book(returns, current).of(target, 0.05)
    assert allocation.expected_return == pytest.approx(252 * returns.mean(axis=0) @ target)
    cov = np.atleast_2d(np.cov(returns.T))
    assert allocation.expected_risk == pytest.approx(np.sqrt(252 * target @ cov @ target))
    assert allocation.probability_positive is not None
    assert (allocation.probability_positive > 0.5) == (allocation.expected_return > 0.0)
    assert allocation.samples == 100
    assert allocation.rebalance == bool(np.abs(target - current).max() > 0.05)
    assert sum(allocation.trades.values()) == pytest.approx(0.0, abs=1e-9)
    assert msgspec.json.decode(msgspec.json.encode(allocation), type=Allocation) == allocation


def test_a_longer_history_of_the_same_returns_is_more_certain() -> None:
    returns = market(3, 2, 60)
    sign = np.sign(returns.mean(axis=0) @ np.array([0.5, 0.5]))
    short, long = (Book(np.tile(returns * sign, (k, 1)), np.zeros(2)).of(np.array([0.5, 0.5])) for k in (1, 6))
    assert 0.5 < short.probability_positive < long.probability_positive < 1.0  # type: ignore[operator]


def test_of_what_is_too_young_nothing_is_expected() -> None:
    returns = market(3, 2, 60)
    returns[:50, 1] = np.nan
    book = Book(np.nan_to_num(returns), np.zeros(2))
    allocation = book.of(np.zeros(2))
    assert allocation.expected_return is allocation.expected_risk is allocation.probability_positive is None
    young = Book(market(3, 2, 19), np.zeros(2)).of(np.array([0.5, 0.5]))
    assert young.expected_return is None
    assert Book(market(3, 2, 20), np.zeros(2)).of(np.array([0.5, 0.5])).expected_return is not None
