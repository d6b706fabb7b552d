"""VaR and CVaR estimators against scikit-learn, skfolio, SciPy and loops written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from skfolio.moments import EWCovariance
from sklearn.covariance import LedoitWolf

from quantd.risk.measures import tails
from quantd.risk.measures.portfolio import historical_cvar, historical_var
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from tests.support.examples import examples

confidences = st.sampled_from([0.9, 0.95, 0.975, 0.99, 0.999])


def sample(rows: int = 252, size: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_t(4, size=(rows, 1)) * 0.006 + rng.standard_t(4, size=(rows, size)) * 0.008 + 0.001


@given(st.integers(2, 300), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_the_shrunk_covariance_is_that_of_scikit_learn(rows: int, size: int, seed: int) -> None:
    returns = sample(rows, size, seed)
    oracle = LedoitWolf().fit(returns).covariance_
    np.testing.assert_allclose(ledoit_wolf(returns), oracle, rtol=1e-9, atol=1e-16)
    np.testing.assert_allclose(ledoit_wolf(returns, covariance(returns)), oracle, rtol=1e-9, atol=1e-16)


def test_shrinking_makes_a_singular_covariance_positive_definite_and_leaves_the_given_one_alone() -> None:
    returns = sample(30, 80)
    cov = covariance(returns)
    before = cov.copy()
    shrunk = ledoit_wolf(returns, cov)
    assert np.array_equal(cov, before)
    assert np.linalg.eigvalsh(cov)[0] < 1e-12 < 1e-6 < np.linalg.eigvalsh(shrunk)[0]


@pytest.mark.parametrize(("rows", "decay"), [(252, 0.94), (20, 0.97), (60, 0.5)])
def test_the_exponentially_weighted_covariance_is_that_of_skfolio(rows: int, decay: float) -> None:
    returns = sample(rows)
    oracle = EWCovariance(half_life=-1.0 / math.log2(decay), min_observations=1, nearest=False).fit(returns).covariance_
    np.testing.assert_allclose(ewma_covariance(returns, decay), oracle, rtol=1e-10)


@given(st.integers(2, 100), st.floats(0.5, 0.99), st.integers(0, 1_000))
def test_the_deviation_of_a_books_series_is_that_of_its_weighted_covariance(rows: int, decay: float, seed: int) -> None:
    returns, weights = sample(rows, 4, seed), np.array([0.5, -0.2, 0.4, 0.1])
    variance = weights @ ewma_covariance(returns, decay) @ weights
    assert tails.ewma_deviation(returns @ weights, decay) == pytest.approx(math.sqrt(variance), rel=1e-9)


@given(st.floats(0.0, 10.0), confidences)
def test_normal_var_and_shortfall_are_those_of_scipy(sd: float, confidence: float) -> None:
    var, cvar = sd * tails.normal_quantile(confidence), sd * tails.normal_shortfall(confidence)
    assert var == pytest.approx(sd * stats.norm.ppf(confidence), rel=1e-12)
    assert cvar == pytest.approx(sd * stats.norm.expect(lambda x: x, lb=stats.norm.ppf(confidence), conditional=True))
    assert cvar >= var


def filtered_by_a_loop(returns: np.ndarray, decay: float) -> np.ndarray:
    """The definition, row by row."""
    out = np.zeros_like(returns)
    for k in range(returns.shape[1]):
        variance = [float(np.mean(returns[:, k] ** 2))]
        for r in returns[:, k]:
            variance.append(decay * variance[-1] + (1.0 - decay) * r * r)
        now = variance[-1]
        for t, r in enumerate(returns[:, k]):
            out[t, k] = r * math.sqrt(now / variance[t]) if variance[t] > 0.0 else 0.0
    return out


@given(st.integers(1, 400), st.sampled_from([0.2, 0.8, 0.94, 0.99]), st.integers(0, 1_000), st.booleans())
@settings(max_examples=examples(40), deadline=None)
def test_filtered_scenarios_are_those_of_the_recursion(rows: int, decay: float, seed: int, turned: bool) -> None:
    returns = sample(rows, 3, seed)
    given_ = np.asfortranarray(returns) if turned else returns
    before = returns.copy()
    np.testing.assert_allclose(
        tails.filtered(given_, decay), filtered_by_a_loop(returns, decay), rtol=1e-9, atol=1e-300
    )
    assert np.array_equal(returns, before)


def test_filtering_goes_on_past_the_end_of_a_block() -> None:
    returns = sample(5_000, 2)
    assert 5_000 * -math.log(0.9) > 2 * tails._SPAN
    np.testing.assert_allclose(tails.filtered(returns, 0.9), filtered_by_a_loop(returns, 0.9), rtol=1e-9)


def test_an_instrument_that_never_moved_stays_still_when_filtered() -> None:
    returns = sample(50, 2) * [1.0, 0.0]
    scenarios = tails.filtered(returns)
    assert np.isfinite(scenarios).all()
    assert not scenarios[:, 1].any()


@pytest.mark.requirement("R-142")
@given(st.integers(0, 10_000), confidences)
@settings(max_examples=examples(60))
def test_cvar_is_never_below_var_by_any_method(seed: int, confidence: float) -> None:
    returns, weights = sample(120, 4, seed), np.random.default_rng(seed).normal(size=4)
    series = returns @ weights
    sd = math.sqrt(weights @ ledoit_wolf(returns) @ weights)
    losses = -tails.filtered(returns) @ weights
    assert historical_cvar(-series, confidence) >= historical_var(-series, confidence)
    assert historical_cvar(losses, confidence) >= historical_var(losses, confidence)
    assert sd * tails.normal_shortfall(confidence) > sd * tails.normal_quantile(confidence)
    var, cvar = tails.cornish_fisher(-series, confidence)
    assert math.isnan(var) == math.isnan(cvar)
    assert math.isnan(var) or cvar >= var


def test_moments_are_those_of_scipy_along_the_last_axis() -> None:
    losses = sample(300, 5).T
    mean, sd, skew, kurtosis = tails.moments(losses)
    np.testing.assert_allclose(mean, losses.mean(axis=1))
    np.testing.assert_allclose(sd, losses.std(axis=1))
    np.testing.assert_allclose(skew, stats.skew(losses, axis=1), rtol=1e-10)
    np.testing.assert_allclose(kurtosis, stats.kurtosis(losses, axis=1), rtol=1e-10)


def test_what_never_moves_has_no_moments_but_its_mean_even_with_rounding() -> None:
    for value in (0.0, 0.1, -1e6 / 3.0):
        assert tuple(float(m) for m in tails.moments(np.full(7, value))) == (pytest.approx(value), 0.0, 0.0, 0.0)


def bent(z: np.ndarray | float, s: float, k: float) -> np.ndarray | float:
    return z + (z**2 - 1) * s / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * s**2 / 36


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_modified_cvar_is_the_integral_of_the_bent_quantile_over_the_tail(seed: int, confidence: float) -> None:
    losses = -sample(300, 1, seed)[:, 0]
    mean, sd, s, k = (float(x) for x in tails.moments(losses))
    z = stats.norm.ppf(confidence)
    var, cvar = tails.cornish_fisher(losses, confidence)
    if math.isnan(var):
        assert not tails.in_domain(s, k, confidence)
        return
    assert var == pytest.approx(mean + sd * bent(z, s, k), rel=1e-12)
    tail, _ = integrate.quad(lambda x: bent(x, s, k) * stats.norm.pdf(x), z, 40.0)
    assert cvar == pytest.approx(mean + sd * tail / (1.0 - confidence), rel=1e-7)


@given(st.floats(-4.0, 4.0), st.floats(-2.0, 40.0), confidences)
@settings(max_examples=examples(300))
def test_inside_the_domain_the_modified_var_is_the_quantile_of_what_the_bend_makes(
    s: float, k: float, confidence: float
) -> None:
    z = np.linspace(-tails.FAR, tails.FAR, 4_001)
    w = bent(z, s, k)
    at = float(bent(stats.norm.ppf(confidence), s, k))
    above = z > stats.norm.ppf(confidence)
    sound = bool(
        (np.diff(w[above]) >= -1e-12).all() and (w[~above] <= at + 1e-9).all() and (w[above] >= at - 1e-9).all()
    )
    # a grid sees a turn only when it is wider than its step
    if bool(tails.in_domain(s, k, confidence)) != sound:
        assert np.abs(np.diff(w)).min() < 1e-4
    if bool(tails.in_domain(s, k, confidence)):
        assert sound


def test_outside_the_domain_there_is_no_modified_var() -> None:
    losses = np.concatenate((np.zeros(99), [1.0]))
    var, cvar = tails.cornish_fisher(losses, 0.95)
    assert math.isnan(var)
    assert math.isnan(cvar)


def test_a_book_that_never_moves_risks_nothing() -> None:
    var, cvar = tails.cornish_fisher(np.zeros(50), 0.95)
    assert (float(var), float(cvar)) == (0.0, 0.0)
    assert tails.ewma_deviation(np.zeros(50)) == 0.0


def test_the_covariance_that_is_given_is_the_one_that_is_shrunk_in_any_layout() -> None:
    returns = sample()
    cov = covariance(returns)
    shrunk = ledoit_wolf(returns, 4.0 * cov)
    assert shrunk.trace() == pytest.approx(4.0 * cov.trace() * 251 / 252)
    np.testing.assert_allclose(ledoit_wolf(returns, np.asfortranarray(cov)), ledoit_wolf(returns))


@pytest.mark.parametrize("nearly", [-1e-17, 0.0, 1e-17])
def test_a_bend_that_is_all_but_a_parabola_still_has_its_turn(nearly: float) -> None:
    # k = 4 s^2 / 3: the cube vanishes, and the slope of what is left is 0 at -3 (1 - s^2 / 36) / s
    for turn, in_domain in ((7.0, False), (7.9, False), (8.1, True)):
        s = 18.0 * turn / 3.0 - math.sqrt((18.0 * turn / 3.0) ** 2 + 36.0)
        assert -3.0 * (1.0 - s * s / 36.0) / s == pytest.approx(turn)
        assert tails.in_domain(s, 4.0 * s * s / 3.0 + nearly, 0.95) == in_domain
