"""Probabilistic and deflated Sharpe ratios against the example of their authors."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from quantd.research.significance.deflated_sharpe import (
    Prefix,
    Spread,
    deflated_sharpe,
    expected_maximum,
    highest_hurdle,
    minimum_track_record,
    prefixes,
    probabilistic_sharpe,
)
from quantd.trading.market import Floats


def by(returns: Floats, trials: list[float]) -> float:
    """The deflated ratio of 0.1 on `returns`, by a chain of trials."""
    return deflated_sharpe(returns, 0.1, highest_hurdle(prefixes(trials), len(returns)))


@pytest.mark.requirement("R-244")
def test_the_example_of_the_paper() -> None:
    """Bailey & López de Prado 2014: 100 trials, annual variance 1/2, an annual ratio of 2.5 over 1,250 days with
    skewness -3 and kurtosis 10 gives a hurdle of 0.1132 a day and 0.9004; 46 trials would have given 0.9505, and so
    would 88 of normal returns."""
    hurdle = expected_maximum(100, 0.5 / 250)
    assert hurdle == pytest.approx(0.1132, abs=5e-5)
    daily = 2.5 / math.sqrt(250)
    assert probabilistic_sharpe(daily, hurdle, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-5)
    assert probabilistic_sharpe(daily, expected_maximum(46, 0.5 / 250), 1250, -3.0, 10.0) == pytest.approx(
        0.9505, abs=5e-5
    )
    assert probabilistic_sharpe(daily, expected_maximum(88, 0.5 / 250), 1250, 0.0, 3.0) == pytest.approx(
        0.9505, abs=5e-5
    )


def test_an_estimate_without_a_variance_has_no_probability() -> None:
    assert math.isnan(probabilistic_sharpe(5.0, 0.0, 100, 3.0, 3.0))
    assert math.isnan(probabilistic_sharpe(0.1, 0.0, 1, 0.0, 3.0))


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_track_records_of_the_paper(periods: int, skewness: float, kurtosis: float, years: float) -> None:
    """Bailey & López de Prado 2012: years until an annual ratio of 2 exceeds 1 at 95 %, for daily, weekly
    and monthly normal returns, and for monthly returns with the moments of a hedge fund index."""
    root = math.sqrt(periods)
    samples = minimum_track_record(2.0 / root, 1.0 / root, skewness, kurtosis)
    assert samples / periods == pytest.approx(years, abs=5e-3)


def test_a_ratio_that_is_not_above_the_benchmark_has_no_track_record_long_enough() -> None:
    assert minimum_track_record(0.1, 0.1, 0.0, 3.0) == math.inf
    assert minimum_track_record(-0.1, 0.1, 0.0, 3.0) == math.inf
    assert math.isnan(minimum_track_record(5.0, 0.0, 3.0, 3.0))
    for confidence in (0.5, 1.0, float("nan")):
        with pytest.raises(ValueError, match="confidence"):
            minimum_track_record(0.1, 0.0, 0.0, 3.0, confidence=confidence)


def test_the_variance_of_a_prefix_is_that_of_numpy_and_forgets_what_was_removed() -> None:
    ratios = np.random.default_rng(4).normal(0.05, 0.04, 40)
    variances = [prefix.variance for prefix in prefixes(ratios)]
    assert variances[0] == 0.0
    assert variances[1:] == pytest.approx([np.var(ratios[:k], ddof=1) for k in range(2, 41)], rel=1e-12)
    spread = Spread()
    for ratio in (*ratios, 50.0):
        spread.add(ratio)
    spread.remove(50.0)
    assert spread.variance == variances[-1]  # exactly: a ratio of 50 leaves no rounding behind
    near = [0.0635, 0.0635 + 1e-7]
    assert list(prefixes(near))[-1].variance == pytest.approx(5e-15, rel=1e-6)


def test_near_equal_trials_have_the_variance_of_an_unskilled_estimate() -> None:
    """Two near ratios of 700 trials: the sample variance is nothing, and the count would deflate nothing."""
    returns = np.random.default_rng(2).normal(0.001, 0.01, 500)
    assert highest_hurdle([Prefix(700, 1e-9)], 500) == expected_maximum(700, 1.0 / 499)
    assert by(returns, [0.1, 0.1 + 1e-6]) < by(returns, [0.1])
    assert highest_hurdle([Prefix(1, 0.0)], 500) == 0.0
    assert highest_hurdle([], 500) == 0.0


def test_trials_at_the_mean_of_the_earlier_ones_do_not_lower_the_hurdle() -> None:
    """With the floor alone, ten spread trials give 0.0012, and ten more at their mean 0.0050."""
    spread = list(np.linspace(-0.2, 0.2, 10))
    more = [*spread, *[0.0] * 10]
    alone = [expected_maximum(len(ratios), max(float(np.var(ratios, ddof=1)), 1.0 / 499)) for ratios in (spread, more)]
    assert alone[1] < alone[0]  # the floor alone
    assert highest_hurdle(prefixes(more), 500) == highest_hurdle(prefixes(spread), 500) == pytest.approx(alone[0])


@pytest.mark.parametrize("trials", [10, 100, 1_000])
def test_the_expected_maximum_is_that_of_normal_draws(trials: int) -> None:
    """The exact expectation, by quadrature of x d(F^n). The approximation errs by less than 4 % from 10 trials on."""
    exact = quad(lambda x: x * trials * norm.pdf(x) * norm.cdf(x) ** (trials - 1), -10.0, 10.0, limit=200)[0]
    assert expected_maximum(trials, 1.0) == pytest.approx(exact, rel=0.04)
