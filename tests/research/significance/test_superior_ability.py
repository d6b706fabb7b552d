"""Hansen's and White's tests against arch, and against loops over the same resamples."""

import math

import numpy as np
import pytest
from arch.bootstrap import SPA

from quantd.research.significance.superior_ability import (
    MIN_RETURNS,
    reality_check,
    stationary_variances,
    superior_ability,
)
from quantd.trading.bootstrap import stationary_indices, stationary_length
from tests.proofs.significance_loops import of_arch, trials


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(("best", "worst"), [(1.0, 0.0), (2.0, -4.0), (3.0, 0.0)])
def test_the_three_p_values_are_those_of_arch(best: float, worst: float) -> None:
    """arch uses studentised excesses for the threshold only, so it gets columns of one long-run variance."""
    excess = trials(1, best=best, worst=worst)
    length = 5.0
    outcome = superior_ability(excess, length=length, resamples=3_999)
    assert outcome is not None
    theirs = of_arch(excess / np.sqrt(stationary_variances(excess, length)), length).pvalues
    ours = (outcome.lower, outcome.consistent, outcome.upper)
    assert ours == pytest.approx((theirs["lower"], theirs["consistent"], theirs["upper"]), abs=0.03)
    assert outcome.lower <= outcome.consistent <= outcome.upper


def test_the_reality_check_is_the_upper_value_of_arch() -> None:
    excess = trials(2, best=2.0)
    outcome = reality_check(excess, length=5.0, resamples=3_999)
    assert outcome is not None
    assert outcome.p == pytest.approx(of_arch(excess, 5.0).pvalues["upper"], abs=0.03)
    assert outcome.best == int(excess.mean(axis=0).argmax())


@pytest.mark.parametrize("length", [1.0, 5.0, 30.0])
def test_the_long_run_variances_are_those_of_arch(length: float) -> None:
    excess = trials(3, n=120)
    spa = SPA(np.zeros(120), -excess, block_size=length, reps=1)
    spa._compute_variance()
    assert stationary_variances(excess, length) == pytest.approx(spa._loss_diff_var, rel=1e-9)


def test_the_p_values_are_those_of_a_loop_over_the_resamples() -> None:
    excess, length, n = trials(4, n=80, count=4, best=1.0, worst=-3.0), 3.0, 80
    outcome, check = (test(excess, length=length, resamples=199, seed=8) for test in (superior_ability, reality_check))
    assert outcome is not None
    assert check is not None
    indices = stationary_indices(n, length, 199, np.random.default_rng(8))
    means = excess.mean(axis=0)
    omega = np.sqrt(stationary_variances(excess, length))
    statistic = max(0.0, max(math.sqrt(n) * means / omega))
    threshold = -omega / math.sqrt(n) * math.sqrt(2 * math.log(math.log(n)))
    counts = [1, 1, 1, 1]
    for row in indices:
        redrawn = excess[row].mean(axis=0)
        for k, centre in enumerate((np.maximum(means, 0), np.where(means >= threshold, means, 0), means)):
            counts[k] += max(0.0, max(math.sqrt(n) * (redrawn - centre) / omega)) >= statistic
        counts[3] += max(redrawn - means) >= max(means)
    assert (outcome.lower, outcome.consistent, outcome.upper, check.p) == tuple(count / 200 for count in counts)
    assert outcome.statistic == pytest.approx(statistic)


def test_poor_trials_raise_the_upper_value_and_the_reality_check_only() -> None:
    good = trials(5, count=2, best=2.5)
    poor = np.random.default_rng(6).normal(-0.02, 0.04, (250, 60))
    few, many = superior_ability(good), superior_ability(np.column_stack([good, poor]))
    assert few is not None
    assert many is not None
    assert many.upper > few.upper + 0.05
    assert many.consistent == pytest.approx(few.consistent, abs=0.03)


def test_trials_that_all_lose_are_no_evidence() -> None:
    outcome = superior_ability(trials(7) - 0.05)
    assert outcome is not None
    assert (outcome.statistic, outcome.lower, outcome.consistent, outcome.upper) == (0.0, 1.0, 1.0, 1.0)


def test_the_default_length_is_the_median_of_the_trials() -> None:
    excess = trials(10)
    lengths = [stationary_length(column) for column in excess.T]
    assert max(lengths) > float(np.median(lengths))
    for test in (superior_ability, reality_check):
        outcome = test(excess, resamples=19)
        assert outcome is not None
        assert outcome.length == float(np.median(lengths))


def test_constant_trials_are_left_out() -> None:
    excess = trials(8, best=2.0)
    more = np.column_stack([np.zeros(250), excess])
    for test in (superior_ability, reality_check):
        one, other = test(excess), test(more)
        assert one is not None
        assert other is not None
        assert other.best == one.best + 1
        assert test(np.zeros((100, 3))) is None


@pytest.mark.parametrize("test", [superior_ability, reality_check])
def test_few_returns_or_no_trial_are_refused(test) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"at least {MIN_RETURNS}"):
        test(np.ones((MIN_RETURNS - 1, 2)))
    with pytest.raises(ValueError, match="at least 1 trials"):
        test(np.ones((50, 0)))


def test_the_same_seed_gives_the_same_p() -> None:
    excess = trials(9, best=1.0)
    assert superior_ability(excess) == superior_ability(excess)
    assert superior_ability(excess) != superior_ability(excess, seed=1)
