"""Risk measures against numpy's, SciPy's and skfolio's, and against definitions written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skfolio.measures import effective_number_assets, get_drawdowns
from skfolio.measures import max_drawdown as skfolio_max_drawdown

from quantd.risk.measures import portfolio
from quantd.trading.covariance import covariance
from quantd.trading.statistics import drawdowns
from tests.support.examples import examples

samples = st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=300).map(np.array)
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.975, 0.99])


@pytest.mark.requirement("R-141")
@given(samples, confidences)
def test_var_is_the_quantile_that_numpy_calls_higher(losses: np.ndarray, confidence: float) -> None:
    assert portfolio.historical_var(losses, confidence) == np.quantile(losses, confidence, method="higher")
    assert portfolio.historical_var(losses, confidence) >= np.quantile(losses, confidence) - 1e-12


@pytest.mark.requirement("R-142")
@given(samples, confidences)
def test_expected_shortfall_is_never_below_var_and_is_the_mean_beyond_it(losses: np.ndarray, confidence: float) -> None:
    var, cvar = portfolio.historical_var(losses, confidence), portfolio.historical_cvar(losses, confidence)
    assert cvar >= var - 1e-12
    if len(np.unique(losses)) == len(losses):
        assert cvar == pytest.approx(losses[losses >= var].mean())


@pytest.mark.parametrize(("count", "tail"), [(252, 13), (100, 5), (101, 6), (60, 3), (20, 1), (1, 1)])
def test_the_tail_at_95_percent_has_the_expected_count(count: int, tail: int) -> None:
    assert portfolio.tail_count(count, 0.95) == tail


@pytest.mark.requirement("R-041")
def test_covariance_and_correlation_are_those_of_numpy() -> None:
    returns = np.random.default_rng(0).standard_t(4, size=(252, 7)) * 0.01 + 0.002
    cov = covariance(returns)
    assert np.allclose(cov, np.cov(returns.T), rtol=1e-12)
    assert np.allclose(portfolio.correlation(cov), np.corrcoef(returns.T), rtol=1e-12)


@pytest.mark.requirement("R-154")
def test_drawdown_is_the_fall_from_the_peak() -> None:
    assert portfolio.drawdown(147.0, 150.0) == pytest.approx(0.02)
    assert portfolio.drawdown(5.0, 0.0) == 1.0


def book(seed: int, rows: int = 200, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(5, size=(rows, 1)) * 0.008 + rng.standard_t(5, size=(rows, size)) * 0.01
    return returns, rng.dirichlet(np.ones(size))


seeds = st.integers(0, 10_000)


@given(seeds)
def test_beta_and_correlation_are_those_of_a_regression(seed: int) -> None:
    returns, weights = book(seed)
    series, market = returns @ weights, returns[:, 0]
    regression = stats.linregress(market, series)
    assert portfolio.beta(series, market) == pytest.approx(regression.slope, rel=1e-9)
    assert portfolio.correlation_with(series, market) == pytest.approx(regression.rvalue, rel=1e-9)


def test_there_is_no_beta_to_a_benchmark_that_never_moved() -> None:
    moving, still = book(1)[0][:, 0], np.zeros(200)
    assert np.isnan(portfolio.beta(moving, still))
    assert np.isnan(portfolio.correlation_with(moving, still))
    assert np.isnan(portfolio.correlation_with(still, moving))
    assert portfolio.beta(still, moving) == 0.0


@given(seeds)
@settings(max_examples=examples(30))
def test_drawdown_and_concentration_are_those_of_skfolio(seed: int) -> None:
    returns, weights = book(seed)
    series = returns @ weights
    oracle = skfolio_max_drawdown(get_drawdowns(series, compounded=True))
    assert drawdowns(np.cumprod([1.0, *(1.0 + series)])).max() == pytest.approx(oracle, rel=1e-9)
    assert 1.0 / portfolio.herfindahl(weights) == pytest.approx(effective_number_assets(weights), rel=1e-9)


def test_no_correlation_is_beyond_one_by_rounding() -> None:
    # of 200 pairs of twins some come out as 1.0000000000000002 before the ends are cut
    for seed in range(200):
        series = book(seed, 50)[0][:, 0]
        for factor in (0.1, 3.0):
            assert 1.0 - 1e-12 < portfolio.correlation_with(factor * series, series) <= 1.0
            assert -1.0 <= portfolio.correlation_with(-factor * series, series) < 1e-12 - 1.0
