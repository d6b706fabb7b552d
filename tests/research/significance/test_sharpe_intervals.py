"""Intervals of Sharpe ratios: coverage on series whose ratio is known, blocks that follow the dependence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.research.significance.sharpe_intervals import (
    MIN_SAMPLES,
    Intervals,
    _resampled,
    sharpe_intervals,
)
from quantd.trading.bootstrap import influence
from tests.support.examples import examples

YEAR = {"periods": 252.0, "risk_free_annual": 0.0}


def autoregressive(n: int, phi: float, seed: int, mean: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed).normal(size=n + 100)
    out = np.empty(n + 100)
    out[0] = draw[0]
    for k in range(1, n + 100):
        out[k] = phi * out[k - 1] + draw[k]
    return 0.01 * (mean + out[100:])


def made(returns: np.ndarray, other: np.ndarray | None = None, **more: object) -> Intervals:
    intervals = sharpe_intervals(returns, other, **YEAR, **more)  # type: ignore[arg-type]
    assert intervals is not None
    return intervals


def covered(phi: float, times: int = 150, n: int = 500) -> float:
    """How often the interval of a series whose mean is 0 holds 0."""
    hits = [made(autoregressive(n, phi, seed), resamples=400).own.holds(0.0) for seed in range(times)]
    return sum(hits) / times


@pytest.mark.long
def test_returns_that_hang_together_are_covered_too_where_single_draws_would_fail() -> None:
    assert covered(0.4) >= 0.85
    naive = 0
    for seed in range(150):
        returns = autoregressive(500, 0.4, seed)
        draws = _resampled([returns], 1, 400, np.random.default_rng(1))[0]
        low, high = np.quantile(draws, (0.025, 0.975))
        naive += low <= 0.0 <= high
    assert naive / 150 < 0.85


@pytest.mark.requirement("R-244")
def test_a_paired_difference_is_narrower_than_the_two_intervals() -> None:
    common = autoregressive(600, 0.0, 5)
    one, other = common + autoregressive(600, 0.0, 6) * 0.1, common + autoregressive(600, 0.0, 7) * 0.1
    intervals = made(one, other)
    assert intervals.difference is not None
    assert intervals.difference.high - intervals.difference.low < 0.5 * (intervals.own.high - intervals.own.low)


@settings(max_examples=examples(40), deadline=None)
@given(n=st.integers(8, 60), block=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_resample_is_made_of_blocks_wrapped_around_the_end(n: int, block: int, seed: int) -> None:
    block = min(block, n)
    returns = np.random.default_rng(seed).normal(0.001, 0.01, n)
    got = _resampled([returns], block, 7, np.random.default_rng(seed))[0]
    count = -(-n // block)
    starts = np.random.default_rng(seed).integers(0, n, (7, count), dtype=np.int64)
    for ratio, row in zip(got, starts, strict=True):
        sample = np.concatenate([returns[(first + np.arange(block)) % n] for first in row])[:n]
        assert ratio == pytest.approx(sample.mean() / sample.std(ddof=1), rel=1e-6, abs=1e-9)


def test_influences_are_the_first_order_error_of_the_ratio() -> None:
    returns = autoregressive(400, 0.0, 4, mean=0.2)
    psi, step = influence(returns), 1e-6
    ratio = returns.mean() / returns.std()
    for k in (0, 17, 399):
        weights = np.full(400, (1 - step) / 400)
        weights[k] += step
        mean = weights @ returns
        tilted = mean / np.sqrt(weights @ (returns - mean) ** 2)
        assert (tilted - ratio) / step == pytest.approx(psi[k], rel=1e-3, abs=1e-3)


def test_too_few_samples_or_none_that_vary_have_no_interval() -> None:
    assert sharpe_intervals(np.ones(MIN_SAMPLES - 1), **YEAR) is None
    assert sharpe_intervals(np.full(100, 0.001), **YEAR) is None
    with pytest.raises(ValueError, match="the same length"):
        sharpe_intervals(np.ones(50), np.ones(51), **YEAR)


def test_the_interval_of_a_ratio_does_not_change_with_the_series_beside_it() -> None:
    """A persistent series needs long blocks. It does not lend them to the interval of the series beside it."""
    returns, slow = autoregressive(600, 0.0, 5, mean=0.05), autoregressive(600, 0.9, 6)
    alone, beside, reverse = made(returns), made(returns, slow), made(slow, returns)
    assert (alone.block, alone.own) == (beside.block, beside.own)
    assert (alone.block, alone.own) == (reverse.other_block, reverse.other)
    assert beside.other == made(slow).own
    assert beside.other_block is not None
    assert beside.other_block > beside.block
    assert beside.difference_block is not None
    assert beside.difference_block >= beside.other_block
    flat = made(returns, np.full(600, 0.001))
    assert (flat.own, flat.other, flat.difference) == (alone.own, None, None)
