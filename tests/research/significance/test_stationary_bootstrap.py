"""The stationary bootstrap against arch, against the moments of its blocks, and in coverage."""

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from quantd.research.significance.sharpe_intervals import MIN_SAMPLES
from quantd.research.significance.stationary_bootstrap import (
    row_means,
    row_sharpes,
    stationary_interval,
)
from quantd.trading.bootstrap import block_length, stationary_indices, stationary_length
from tests.proofs.significance_loops import autoregressive, looped_length


def drawn(samples: int, length: float, resamples: int, seed: int = 1) -> np.ndarray:
    return stationary_indices(samples, length, resamples, np.random.default_rng(seed))


def test_indices_continue_a_block_or_begin_another() -> None:
    n, length = 50, 8.0
    indices = drawn(n, length, 4_000)
    assert indices.min() == 0
    assert indices.max() == n - 1
    goes_on = (indices[:, 1:] - indices[:, :-1]) % n == 1
    # a new block may begin at the next sample by chance
    share = 1 - 1 / length + 1 / length / n
    assert goes_on.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / goes_on.size))
    counts = np.bincount(indices.ravel(), minlength=n) / indices.size
    assert counts == pytest.approx(1 / n, rel=0.1)


@pytest.mark.long
@pytest.mark.parametrize("length", [1, 5, 20])
def test_resampled_means_and_ratios_are_distributed_as_those_of_arch(length: int) -> None:
    series = autoregressive(300, 0.4, 2) + 0.001
    rows = series[drawn(300, float(length), 8_000)]
    bootstrap = StationaryBootstrap(length, series, seed=5)
    theirs = bootstrap.apply(lambda x: np.array([x.mean(), x.mean() / x.std(ddof=1)]), 8_000)
    for ours, other in ((row_means(rows), theirs[:, 0]), (row_sharpes(rows), theirs[:, 1])):
        assert ours.std() == pytest.approx(other.std(), rel=0.04)
        q = np.linspace(0.025, 0.975, 9)
        assert np.quantile(ours, q) == pytest.approx(np.quantile(other, q), abs=0.15 * other.std())


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6, -0.4])
def test_the_length_is_that_of_a_loop_over_the_lags(phi: float) -> None:
    for seed in range(10):
        series = autoregressive(400, phi, seed)
        assert stationary_length(series) == pytest.approx(max(1.0, looped_length(series, 2.0)), rel=1e-10)
        assert block_length(series) == max(1, math.ceil(looped_length(series, 4 / 3)))


def test_the_length_is_that_of_arch_without_dependence_and_close_to_it_with() -> None:
    """arch begins its run of quiet lags one lag later, hence a bandwidth of two lags more where there is dependence."""
    equal = close = 0
    for seed in range(40):
        noise = autoregressive(1_000, 0.0, seed)
        theirs = optimal_block_length(noise)
        equal += abs(stationary_length(noise) - max(1.0, float(theirs["stationary"].iloc[0]))) < 1e-9
        dependent = autoregressive(1_000, 0.5, seed)
        theirs = optimal_block_length(dependent)
        close += abs(stationary_length(dependent) / float(theirs["stationary"].iloc[0]) - 1.0) < 0.25
    assert equal >= 36
    assert close >= 32


def test_constant_or_few_returns_have_no_interval() -> None:
    assert stationary_interval(np.full(100, 0.001)) is None
    with pytest.raises(ValueError, match=f"at least {MIN_SAMPLES}"):
        stationary_interval(np.ones(MIN_SAMPLES - 1))
