"""Figures of factors against scipy, statsmodels and pandas, and on markets whose answer is known."""

from math import sqrt

import numpy as np
import pandas
import pytest
import statsmodels.api
from scipy.stats import pearsonr, spearmanr

from quantd.research.studies.factor_figures import (
    Charges,
    Spread,
    bucket_returns,
    coefficients,
    correlations,
    cross_buckets,
    forward_returns,
    horizon_of,
    leg_weights,
    newey_west_error,
    rank_correlations,
    spread_of,
    time_buckets,
)

FREE = Charges(0.0, 0.0, 252.0)


def draws(seed, rows=300, size=12, holes=0.05):
    draw = np.random.default_rng(seed)
    values, returns = draw.normal(size=(rows, size)), draw.normal(size=(rows, size)) * 0.01
    values[draw.random(values.shape) < holes] = np.nan
    returns[draw.random(returns.shape) < holes] = np.nan
    return values, returns


def wealth_of(returns):
    """The index whose return over one row is `returns` of that row."""
    return np.vstack([np.ones((1, returns.shape[1])), np.cumprod(1.0 + returns, axis=0)])


@pytest.mark.parametrize("ties", [False, True])
def test_each_coefficient_is_that_of_scipy_on_the_same_date(ties):
    values, returns = draws(1)
    if ties:
        values = np.round(values)
    rank, pearson = (coefficient(values, returns, 1, 5) for coefficient in (rank_correlations, correlations))
    for row in range(len(values)):
        both = np.isfinite(values[row]) & np.isfinite(returns[row])
        assert rank[row] == pytest.approx(spearmanr(values[row, both], returns[row, both])[0], abs=1e-12)
        assert pearson[row] == pytest.approx(pearsonr(values[row, both], returns[row, both])[0], abs=1e-12)


def test_over_time_each_coefficient_is_that_of_scipy_for_one_symbol():
    values, returns = draws(2, size=3)
    rank, _, tested = coefficients(values, returns, over_time=True)
    for symbol in range(3):
        both = np.isfinite(values[:, symbol]) & np.isfinite(returns[:, symbol])
        assert rank[symbol] == pytest.approx(spearmanr(values[both, symbol], returns[both, symbol])[0], abs=1e-12)
    assert tested.mean() == pytest.approx(rank.mean(), abs=0.01)


def test_a_constant_factor_and_too_few_symbols_have_no_coefficient():
    values, returns = draws(3, holes=0.0)
    assert np.isnan(rank_correlations(np.ones_like(values) * 0.1, returns, 1, 5)).all()
    values[:, 4:] = np.nan
    assert np.isnan(rank_correlations(values, returns, 1, 5)).all()


@pytest.mark.parametrize("lags", [0, 1, 4, 20, 62])
def test_the_error_is_newey_wests_of_statsmodels(lags):
    draw = np.random.default_rng(lags)
    series = np.convolve(draw.normal(size=500), np.ones(lags + 1), "valid") + 0.3
    fitted = statsmodels.api.OLS(series, np.ones(len(series)))
    theirs = fitted.fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    assert newey_west_error(series, lags) == pytest.approx(float(theirs.bse[0]), rel=1e-10)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(("size", "quantiles"), [(20, 5), (10, 5), (7, 3), (11, 4), (23, 5), (5, 2)])
def test_quantiles_and_their_means_are_those_of_pandas(size, quantiles):
    values, returns = draws(size, rows=60, size=size, holes=0.0)
    buckets = cross_buckets(values, quantiles)
    theirs = np.array([pandas.qcut(row, quantiles, labels=False) for row in values])
    assert (buckets == theirs).all()
    means = bucket_returns(buckets, returns, quantiles, over_time=False)
    for number in range(quantiles):
        rows = [pandas.Series(r).groupby(pandas.qcut(v, quantiles, labels=False)).mean()[number] for v, r in
                zip(values, returns, strict=True)]  # fmt: skip
        assert means[number] == pytest.approx(np.mean(rows), abs=1e-15)


def test_equal_values_share_a_quantile_and_a_constant_factor_has_no_spread():
    buckets = cross_buckets(np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 9.0]]), 5)
    assert len(set(buckets[0, :5].tolist())) == 1
    assert leg_weights(cross_buckets(np.ones((3, 6)), 5), 5, over_time=False).tolist() == [[0.0] * 6] * 3


def test_over_time_a_quantile_knows_only_values_up_to_its_row():
    values, _ = draws(4, size=2)
    buckets = time_buckets(values, 5)
    for row in (100, 200, 250):
        assert (time_buckets(values[:row], 5) == buckets[:row]).all()
    assert (buckets[:60] == -1).all()


def test_a_return_ends_at_the_open_so_many_rows_later_and_a_delisting_pays():
    wealth = np.array([[10.0], [11.0], [12.0], [np.nan], [np.nan], [np.nan]])
    worth = np.array([[10.0], [11.0], [12.0], [12.0], [3.0], [3.0]])
    assert forward_returns(wealth, worth, 1)[:, 0].tolist() == pytest.approx(
        [0.1, 12 / 11 - 1, *[np.nan] * 4], nan_ok=True
    )
    assert forward_returns(wealth, worth, 2)[2, 0] == pytest.approx(3.0 / 12.0 - 1.0)
    assert np.isnan(forward_returns(wealth, worth, 1)[2, 0])


@pytest.mark.parametrize("horizon", [1, 3, 10])
def test_the_spread_is_the_mean_of_drifting_tranches_and_pays_for_what_is_traded(horizon):
    draw = np.random.default_rng(horizon)
    values, returns = draw.normal(size=(200, 8)), draw.normal(size=(200, 8)) * 0.02
    wealth = wealth_of(returns)[:200]
    weights = leg_weights(cross_buckets(values, 4), 4, over_time=False)
    profit, cost = np.zeros(199), np.zeros(199)
    for start in range(200):
        units = weights[start] / wealth[start] / horizon
        for row in range(start, min(start + horizon, 199)):
            profit[row] += units @ (wealth[row + 1] - wealth[row])
        # a tranche is bought over the drifted one that it replaces
        old = weights[start - horizon] / wealth[start - horizon] / horizon if start >= horizon else 0.0
        if start < 199:
            cost[start] += np.abs((units - old) * wealth[start]).sum()
    charges = Charges(0.001, 0.0, 252.0)
    spread = spread_of(weights, wealth, wealth, horizon, charges)
    net = profit - 0.001 * cost
    assert spread.annual == pytest.approx(profit.mean() * 252)
    assert spread.turnover_annual == pytest.approx(cost.mean() * 252)
    assert spread.net_annual == pytest.approx(net.mean() * 252)
    assert spread.net_sharpe == pytest.approx(net.mean() / net.std(ddof=1) * sqrt(252))
    if spread.break_even_bp is not None:
        free = spread_of(weights, wealth, wealth, horizon, Charges(spread.break_even_bp / 1e4, 0.0, 252.0))
        assert free.net_annual == pytest.approx(0.0, abs=1e-12)


def test_every_figure_of_the_spread_is_of_an_invested_book_and_borrowing_is_charged():
    draw = np.random.default_rng(5)
    wealth = wealth_of(draw.normal(size=(299, 6)) * 0.01)
    weights = np.tile([0.5, 0.5, 0.0, 0.0, -0.5, -0.5], (300, 1))
    assert spread_of(np.zeros_like(weights), wealth, wealth, 1, FREE) == Spread(0.0, None, None, 0.0, None, 0.0, 0.0)
    free, paid = (spread_of(weights, wealth, wealth, 1, Charges(0.0, borrow, 252.0)) for borrow in (0.0, 0.02))
    assert free.annual - paid.net_annual == pytest.approx(0.02, rel=1e-9)


def planted(seed, strength, rows=1500, size=20):
    """A factor whose correlation with the next return is `strength`, and the index of wealth."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(rows, size))
    values = draw.normal(size=(rows, size))
    returns = 0.01 * (strength * values + sqrt(1.0 - strength**2) * noise)
    return values, wealth_of(returns)[:rows]


@pytest.mark.parametrize("strength", [0.05, 0.2, -0.1])
def test_a_planted_correlation_is_found_within_its_error(strength):
    values, wealth = planted(6, strength)
    figures = horizon_of(values, wealth, wealth, 1, 5, FREE, over_time=False)
    error = figures.deviation / sqrt(figures.count)
    assert figures.pearson_ic == pytest.approx(strength, abs=3.0 * error)
    assert figures.rank_ic == pytest.approx(
        6.0 / np.pi * np.arcsin(strength / 2.0), abs=3.0 * error + 0.05 * abs(strength)
    )
    assert figures.p < 1e-6
    assert np.sign(figures.spread.annual) == np.sign(strength)
    later = horizon_of(values, wealth, wealth, 5, 5, FREE, over_time=False)
    assert later.rank_ic == pytest.approx(strength / sqrt(5), abs=0.02)
    assert figures.autocorrelation == pytest.approx(0.0, abs=0.02)


def rejections_of(markets, horizons):
    """Whether |t| > 1.96 and p < 0.05 for a slow factor without a signal, by horizon, of each of so many markets."""
    rejections: dict[int, list[tuple[bool, bool]]] = {horizon: [] for horizon in horizons}
    for seed in range(markets):
        draw = np.random.default_rng(seed)
        values = draw.normal(size=(1500, 20))
        for row in range(1, 1500):
            values[row] += 0.98 * values[row - 1]
        wealth = np.cumprod(1.0 + 0.01 * draw.normal(size=(1500, 20)), axis=0)
        for horizon, seen in rejections.items():
            one = horizon_of(values, wealth, wealth, horizon, 5, FREE, over_time=False)
            seen.append((abs(one.t) > 1.96, one.p < 0.05))
    return rejections


@pytest.mark.long
def test_a_slow_factor_over_a_long_horizon_is_seldom_found_by_chance():
    """The short form of the next test: three standard errors of ten markets above its largest share."""
    for rejected in rejections_of(10, (21, 63)).values():
        assert np.mean(rejected, axis=0).max() <= 0.12 + 3.0 * sqrt(0.12 * 0.88 / 10)
