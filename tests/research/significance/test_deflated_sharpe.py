"""Probabilistic and deflated Sharpe ratios against the example of their authors and numbers worked by hand."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from quantd.research.significance.deflated_sharpe import (
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)


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


def test_a_normal_series_by_hand() -> None:
    # z = 0.1 x sqrt(100) / sqrt(1 + 0.5 x 0.01); the normal law's table has 0.8407 there
    z = 0.1 * 10.0 / math.sqrt(1.005)
    expected = 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
    assert probabilistic_sharpe(0.1, 0.0, 101, 0.0, 3.0) == pytest.approx(expected)
    assert expected == pytest.approx(0.8407, abs=1e-4)


def test_moments_by_hand() -> None:
    skewness, kurtosis = moments(np.array([-1.0, -1.0, 2.0]))
    assert skewness == pytest.approx((-1 - 1 + 8) / 3 / 2.0**1.5)
    assert kurtosis == pytest.approx((1 + 1 + 16) / 3 / 4.0)
    assert moments(np.full(5, 0.1)) == (0.0, 3.0)


def test_more_trials_and_wider_ones_deflate_more() -> None:
    returns = np.random.default_rng(2).normal(0.001, 0.01, 500)
    one = deflated_sharpe(returns, 0.1, [0.1])
    assert one == pytest.approx(probabilistic_sharpe(0.1, 0.0, 500, *moments(returns)))
    few, many = deflated_sharpe(returns, 0.1, [0.1, 0.05]), deflated_sharpe(returns, 0.1, [0.1, 0.05] * 20)
    wide = deflated_sharpe(returns, 0.1, [0.1, -0.05] * 20)
    assert one > few > many > wide


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
    found = minimum_track_record(2.0 / root, 1.0 / root, skewness, kurtosis)
    assert found / periods == pytest.approx(years, abs=5e-3)


def test_a_track_record_of_the_minimum_length_has_the_probability_asked_for() -> None:
    for confidence in (0.9, 0.95, 0.99):
        samples = minimum_track_record(0.1, 0.02, -0.5, 6.0, confidence=confidence)
        below, above = (
            probabilistic_sharpe(0.1, 0.02, each, -0.5, 6.0) for each in (math.floor(samples), math.ceil(samples))
        )
        assert below <= confidence <= above


def test_a_ratio_that_is_not_above_the_benchmark_has_no_track_record_long_enough() -> None:
    assert minimum_track_record(0.1, 0.1, 0.0, 3.0) == math.inf
    assert minimum_track_record(-0.1, 0.1, 0.0, 3.0) == math.inf
    assert math.isnan(minimum_track_record(5.0, 0.0, 3.0, 3.0))
    for confidence in (0.5, 1.0, float("nan")):
        with pytest.raises(ValueError, match="confidence"):
            minimum_track_record(0.1, 0.0, 0.0, 3.0, confidence=confidence)


def test_effective_trials_are_between_one_and_all() -> None:
    assert effective_trials(100, 0.0) == 100.0
    assert effective_trials(100, 1.0) == 1.0
    assert effective_trials(100, 0.5) == pytest.approx(50.5)
    assert effective_trials(100, -0.2) == 100.0
    with pytest.raises(ValueError, match="at least one trial"):
        effective_trials(0, 0.5)
    with pytest.raises(ValueError, match="between -1 and 1"):
        effective_trials(5, 1.5)


def test_correlated_trials_deflate_less() -> None:
    returns = np.random.default_rng(2).normal(0.001, 0.01, 500)
    ratios = [0.1, 0.05] * 20
    all_of_them, fewer = (deflated_sharpe(returns, 0.1, ratios, count=each) for each in (40.0, 4.2))
    assert all_of_them == deflated_sharpe(returns, 0.1, ratios)
    assert fewer > all_of_them
    assert fewer == deflated_sharpe(returns, 0.1, ratios, count=5.0)  # rounded up


@pytest.mark.parametrize("trials", [10, 100, 1_000])
def test_the_expected_maximum_is_that_of_normal_draws(trials: int) -> None:
    """The exact expectation, by quadrature of x d(F^n). The approximation errs by less than 4 % from 10 trials on."""
    exact = quad(lambda x: x * trials * norm.pdf(x) * norm.cdf(x) ** (trials - 1), -10.0, 10.0, limit=200)[0]
    assert expected_maximum(trials, 1.0) == pytest.approx(exact, rel=0.04)
