"""VaR backtests against SciPy's distributions, sequences counted by hand, and forecasts made one by one."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from quantd.risk.measures import var_backtest
from quantd.risk.measures.portfolio import tail_count, worst_of
from quantd.risk.measures.tails import filtered
from quantd.risk.measures.var_backtest import backtest, chi_square_tail, christoffersen, kupiec, zone
from tests.support.checkout import DATA

METHODS = ("historical", "filtered")
flags = st.lists(st.booleans(), min_size=2, max_size=400)


def report(hits: list[bool], confidence: float = 0.95) -> var_backtest.VarBacktest:
    """Of a forecast of 1 % and a loss of 2 % where it was exceeded."""
    return backtest(np.where(hits, -0.02, 0.0), np.full(len(hits), 0.01), confidence)


@given(st.floats(0.0, 60.0))
def test_tails_of_chi_square_are_those_of_scipy(value: float) -> None:
    for degrees in (1, 2):
        assert chi_square_tail(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-10)


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.floats(0.5, 0.999))
def test_coverage_is_the_ratio_of_binomial_likelihoods(counts: tuple[int, int], confidence: float) -> None:
    n, x = counts
    expected = 2.0 * (stats.binom.logpmf(x, n, x / n) - stats.binom.logpmf(x, n, 1.0 - confidence))
    assert kupiec(n, x, confidence) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_coverage_accepts_and_refuses_what_kupiecs_table_does() -> None:
    # his 95 % regions over 255 days: fewer than 7 at 99 % (where none at all is refused too), 7 to 20 at 95 %
    for confidence, region in ((0.99, range(1, 7)), (0.95, range(7, 21))):
        accepted = [x for x in range(256) if chi_square_tail(kupiec(255, x, confidence), 1) > 0.05]
        assert accepted == list(region)


@given(flags)
def test_independence_is_the_ratio_of_a_chain_to_a_constant_chance(hits: list[bool]) -> None:
    steps = list(pairwise(hits))

    def likelihood(chance: dict[bool, float]) -> float:
        return sum(math.log(chance[a] if b else 1.0 - chance[a]) for a, b in steps)

    def share(of: list[bool]) -> float:
        return sum(of) / len(of) if of else 0.0

    chain = {a: share([b for c, b in steps if c == a]) for a in (False, True)}
    same = share([b for _, b in steps])
    expected = 2.0 * (likelihood(chain) - likelihood({False: same, True: same}))
    result = report(hits)
    assert result.lr_independence == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert result.p_independence == pytest.approx(stats.chi2.sf(result.lr_independence, 1), rel=1e-9)
    assert result.lr_conditional == pytest.approx(result.lr_coverage + result.lr_independence)
    assert result.p_conditional == pytest.approx(stats.chi2.sf(result.lr_conditional, 2), rel=1e-9)
    assert result.p_coverage == pytest.approx(stats.chi2.sf(result.lr_coverage, 1), rel=1e-9)


def test_a_chain_of_two_alternating_states_is_not_independent() -> None:
    assert christoffersen((0, 50, 50, 0)) == pytest.approx(200.0 * math.log(2.0))
    assert christoffersen((100, 0, 0, 0)) == 0.0


@given(
    st.integers(1, 250).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.sampled_from([0.9, 0.95, 0.99])
)
def test_the_traffic_light_follows_the_binomial(counts: tuple[int, int], confidence: float) -> None:
    n, x = counts
    below = stats.binom.cdf(x, n, 1.0 - confidence)
    if abs(below - 0.95) > 1e-9 and abs(below - 0.9999) > 1e-9:
        assert zone(n, x, confidence) == ("red" if below >= 0.9999 else "yellow" if below >= 0.95 else "green")


def test_the_zone_is_that_of_the_newest_250_samples() -> None:
    result = report([True] * 100 + [False] * 250, 0.99)
    assert (result.zone, result.zone_samples, result.zone_exceedances, result.exceedances) == ("green", 250, 0, 100)


def test_a_loss_of_exactly_the_forecast_is_no_exceedance() -> None:
    result = backtest(np.array([-0.01, -0.0101, 0.05]), np.full(3, 0.01), 0.95)
    assert (result.exceedances, result.samples, result.expected) == (1, 3, pytest.approx(0.15))


def test_a_sample_without_a_forecast_is_skipped_counted_and_breaks_the_chain() -> None:
    returns = np.array([-0.02, -0.02, 0.0, -0.02, math.nan, -0.02])
    forecasts = np.array([math.nan, 0.01, 0.01, 0.01, 0.01, 0.01])
    result = backtest(returns, forecasts, 0.95)
    assert (result.samples, result.skipped, result.exceedances) == (4, 2, 3)
    assert result.lr_independence == pytest.approx(christoffersen((0, 1, 1, 0)))


def test_without_a_single_forecast_there_is_no_test() -> None:
    for size in (0, 5):
        result = backtest(np.zeros(size), np.full(size, math.nan), 0.95)
        assert (result.samples, result.exceedances, result.skipped) == (0, 0, size)
        assert result.p_coverage is result.p_independence is result.p_conditional is result.zone is None
    one = backtest(np.array([-0.02]), np.array([0.01]), 0.95)
    assert one.p_coverage is not None
    assert one.p_independence is one.p_conditional is None


def rolling(returns: np.ndarray, method: str, confidence: float, lookback: int = 252) -> np.ndarray:
    """Forecasts of one sample ahead, each of the `lookback` returns before it; NaN for the first ones."""
    windows = sliding_window_view(returns[:-1], lookback)
    losses = -(filtered(windows.T).T if method == "filtered" else windows)
    return np.append(np.full(lookback, np.nan), worst_of(losses, tail_count(lookback, confidence))[:, 0])


@lru_cache
def closes(symbol: str) -> np.ndarray:
    """Read once: polars' threads do not follow into a child that is forked after they began."""
    bars = pl.read_parquet(DATA / "us_daily.parquet")
    return bars.filter(pl.col("symbol") == symbol)["close"].to_numpy()


def test_on_recorded_markets_filtered_forecasts_pass_at_95_percent_where_plain_ones_are_refused() -> None:
    for symbol in ("SPY", "IWM"):
        close = closes(symbol)
        returns = close[1:] / close[:-1] - 1.0
        # a split, not a loss
        returns = returns[np.abs(returns) < 0.4]
        p = {m: backtest(returns, rolling(returns, m, 0.95), 0.95).p_conditional for m in METHODS}
        assert p["historical"] < 0.01
        assert p["filtered"] > 0.05
        assert backtest(returns, rolling(returns, "filtered", 0.99), 0.99).p_coverage > 0.05
