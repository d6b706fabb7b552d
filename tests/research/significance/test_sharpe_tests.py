"""Tests of equal Sharpe ratios against loops over the papers' formulas, and in size and power.

The functions of Ledoit and Wolf, run by their users on the authors' own returns, print four numbers that are compared
too. Those returns have no licence to be copied here: `LEDOIT_WOLF_RETURNS` names a CSV file with the two hedge funds.
"""

import math
import os

import numpy as np
import pytest

from quantd.research.significance.sharpe_tests import (
    MIN_RETURNS,
    SharpeTest,
    jobson_korkie,
    ledoit_wolf,
    ledoit_wolf_bootstrap,
)
from quantd.trading.bootstrap import block_length, influence
from tests.proofs.significance_loops import bootstrap_p, memmel, pair, parzen_error

TESTS = [jobson_korkie, ledoit_wolf, lambda one, two: ledoit_wolf_bootstrap(one, two, resamples=199)]


@pytest.mark.parametrize("seed", range(3))
def test_the_statistic_of_memmel(seed: int) -> None:
    returns, other = pair(seed)
    z = memmel(returns, other)
    outcome = jobson_korkie(returns, other)
    assert outcome.difference / outcome.error == pytest.approx(z, rel=1e-10)
    assert outcome.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-10)


@pytest.mark.parametrize("prewhiten", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_robust_error_is_that_of_the_loops(seed: int, prewhiten: bool) -> None:
    returns, other = pair(seed, n=90)
    returns = returns + 0.3 * np.roll(returns, 1)
    outcome = ledoit_wolf(returns, other, prewhiten=prewhiten)
    assert outcome.error == pytest.approx(parzen_error(returns, other, prewhiten=prewhiten), rel=1e-9)
    assert outcome.p == pytest.approx(math.erfc(abs(outcome.difference) / outcome.error / math.sqrt(2)), rel=1e-12)


@pytest.mark.parametrize(("n", "block"), [(60, 1), (60, 5), (64, 7)])
def test_the_bootstrap_is_that_of_the_loops(n: int, block: int) -> None:
    returns, other = pair(4, n=n, edge=0.1)
    outcome = ledoit_wolf_bootstrap(returns, other, block=block, resamples=199, seed=7)
    starts = np.random.default_rng(7).integers(0, n, (199, n // block), dtype=np.int64)
    assert outcome.p == bootstrap_p(returns, other, starts, block)
    assert outcome.block == block


@pytest.mark.slow
@pytest.mark.skipif("LEDOIT_WOLF_RETURNS" not in os.environ, reason="the returns of the authors are not here")
def test_the_hedge_funds_of_ledoit_and_wolf() -> None:
    """github.com/pfnaibert/LW-SR-VAR, DEMO.md: the authors' `hac.inference` and `boot.time.inference` (b = 5)."""
    returns, other = np.loadtxt(os.environ["LEDOIT_WOLF_RETURNS"], delimiter=",").T
    plain, whitened = ledoit_wolf(returns, other, prewhiten=False), ledoit_wolf(returns, other)
    assert (plain.own, plain.other) == pytest.approx((1.014228, 1.460547), abs=5e-7)
    assert (plain.error, plain.p) == pytest.approx((0.3176271, 0.1599724), abs=5e-8)
    assert (whitened.error, whitened.p) == pytest.approx((0.3872694, 0.2491259), abs=5e-8)
    # 499 resamples gave 0.25 and, with errors that are 2 % wider, 0.298: one standard error is 0.02
    assert ledoit_wolf_bootstrap(returns, other, block=5).p == pytest.approx(0.274, abs=0.05)


@pytest.mark.requirement("R-252")
@pytest.mark.parametrize("test", TESTS)
def test_equal_series_have_p_one_and_multiples_of_each_other_too(test) -> None:  # type: ignore[no-untyped-def]
    returns, _ = pair()
    for factor in (1.0, 3.0):
        outcome = test(returns, factor * returns)
        assert (outcome.difference, outcome.p) == (pytest.approx(0.0, abs=1e-12), 1.0)


@pytest.mark.parametrize("test", TESTS)
def test_a_constant_series_has_no_ratio(test) -> None:  # type: ignore[no-untyped-def]
    returns, _ = pair()
    for outcome in (test(returns, np.full(120, 0.01)), test(np.zeros(120), returns)):
        assert isinstance(outcome, SharpeTest)
        assert math.isnan(outcome.difference)
        assert math.isnan(outcome.p)


@pytest.mark.parametrize("test", TESTS)
def test_series_that_cannot_be_paired_are_refused(test) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="the same length"):
        test(np.ones(50), np.ones(51))
    with pytest.raises(ValueError, match=f"at least {MIN_RETURNS}"):
        test(np.ones(MIN_RETURNS - 1), np.ones(MIN_RETURNS - 1))


def test_the_default_block_is_that_of_the_influence_on_the_difference() -> None:
    common = pair(1, n=400, rho=0.0)[0]
    for k in range(1, 400):
        common[k] += 0.6 * common[k - 1]
    returns, other = (common + 0.3 * noise for noise in pair(2, n=400, rho=0.0))
    outcome = ledoit_wolf_bootstrap(returns, other, resamples=19)
    assert outcome.block == block_length(influence(returns) - influence(other))
    assert outcome.block < block_length(influence(returns))  # the common part cancels


def test_a_block_longer_than_half_the_sample_is_refused() -> None:
    returns, other = pair(n=40)
    for block in (-1, 21):
        with pytest.raises(ValueError, match="1 to 20"):
            ledoit_wolf_bootstrap(returns, other, block=block)


def test_the_same_seed_gives_the_same_p() -> None:
    returns, other = pair(edge=0.1)
    first, again, third = (ledoit_wolf_bootstrap(returns, other, resamples=999, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.p != third.p
    assert first.p == pytest.approx(third.p, abs=0.08)


def test_fat_tails_widen_the_robust_error_only() -> None:
    """All errors agree under normal returns. With fat tails and a large ratio, the normal one is too small."""
    returns, other = pair(5, n=20_000)
    assert ledoit_wolf(returns, other).error == pytest.approx(jobson_korkie(returns, other).error, rel=0.05)
    draws = np.random.default_rng(6).standard_t(5, (20_000, 2)) + 1.0
    returns, other = draws[:, 0].copy(), draws[:, 1].copy()
    assert ledoit_wolf(returns, other).error > 1.15 * jobson_korkie(returns, other).error
