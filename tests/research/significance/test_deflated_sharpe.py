"""Probabilistic and deflated Sharpe ratios against the example of their authors and numbers worked by hand."""

import math

import numpy as np
import pytest

from quantd.research.significance.deflated_sharpe import (
    deflated_sharpe,
    expected_maximum,
    moments,
    probabilistic_sharpe,
)


def test_the_example_of_the_paper() -> None:
    """Bailey & López de Prado 2014: 100 trials, annual variance 1/2, an annual ratio of 2.5 over 1,250 days with
    skewness -3 and kurtosis 10 gives a hurdle of 0.1132 a day and 0.9004; 46 trials would have given 0.9505."""
    hurdle = expected_maximum(100, 0.5 / 250)
    assert hurdle == pytest.approx(0.1132, abs=5e-5)
    daily = 2.5 / math.sqrt(250)
    assert probabilistic_sharpe(daily, hurdle, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-5)
    assert probabilistic_sharpe(daily, expected_maximum(46, 0.5 / 250), 1250, -3.0, 10.0) == pytest.approx(
        0.9505, abs=2e-4
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
