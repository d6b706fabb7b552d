"""The regression equals statsmodels', and its parts add up to the compounded return."""

import numpy as np
import pytest
import statsmodels.api

from quantd.research.attribution.factor_regression import default_lags, factor_regression
from quantd.research.attribution.linking import period_return


def drawn(seed: int, samples: int = 300, names=("market", "value", "rates")):
    rng = np.random.default_rng(seed)
    days = np.arange(samples) * 86_400_000_000_000
    factors = rng.normal(0.0003, 0.01, (samples, len(names)))
    noise = np.convolve(rng.normal(0.0, 0.004, samples + 3), np.ones(4) / 2.0, "valid")  # autocorrelated
    returns = 0.0001 + factors @ np.linspace(0.8, -0.4, len(names)) + noise * (1.0 + 30.0 * np.abs(factors[:, 0]))
    return days, returns, named(days, names, factors), factors


def named(days, names, factors):
    return {
        name: dict(zip(days.tolist(), column.tolist(), strict=True))
        for name, column in zip(names, factors.T, strict=True)
    }


@pytest.mark.parametrize(("seed", "lags"), [(1, None), (2, 0), (3, 5), (4, 12)])
def test_it_is_the_regression_of_statsmodels(seed, lags) -> None:
    days, returns, factors, values = drawn(seed)
    free = np.full(len(days), 0.00007)
    regression = factor_regression(days, returns, factors, free, lags)
    used = default_lags(300) if lags is None else lags
    theirs = statsmodels.api.OLS(returns - free, statsmodels.api.add_constant(values)).fit(
        cov_type="HAC", cov_kwds={"maxlags": used}
    )
    coefficients = [regression.alpha, *regression.betas.values()]
    np.testing.assert_allclose([c.value for c in coefficients], theirs.params, rtol=1e-9)
    np.testing.assert_allclose([c.error for c in coefficients], theirs.bse, rtol=1e-9)
    np.testing.assert_allclose([c.t for c in coefficients], theirs.tvalues, rtol=1e-9)
    np.testing.assert_allclose([c.p for c in coefficients], theirs.pvalues, rtol=1e-7, atol=1e-300)
    assert regression.r2 == pytest.approx(theirs.rsquared, rel=1e-10)
    assert regression.adjusted_r2 == pytest.approx(theirs.rsquared_adj, rel=1e-10)
    assert (regression.samples, regression.lags) == (300, used)
    assert list(regression.betas) == ["market", "value", "rates"]


@pytest.mark.requirement("R-259")
@pytest.mark.parametrize("seed", range(5))
def test_contributions_add_up_to_the_compounded_return(seed) -> None:
    days, returns, factors, _ = drawn(seed)
    regression = factor_regression(days, returns, factors, 0.0001)
    assert list(regression.contributions) == ["risk_free", "alpha", "market", "value", "rates", "residual"]
    assert regression.total == period_return(returns)
    assert abs(sum(regression.contributions.values()) - regression.total) < 1e-9


def test_factors_are_found_by_name_and_by_date() -> None:
    days, returns, factors, _ = drawn(7)
    turned = {name: dict(reversed(factors[name].items())) for name in reversed(factors)}
    turned["market"][-1] = 9.9  # another date
    one, other = factor_regression(days, returns, factors), factor_regression(days, returns, turned)
    for name, beta in one.betas.items():
        assert other.betas[name].value == pytest.approx(beta.value, rel=1e-9)
        assert other.contributions[name] == pytest.approx(one.contributions[name], rel=1e-9)


def test_without_factors_alpha_is_the_mean() -> None:
    days, returns, _, _ = drawn(8)
    regression = factor_regression(days, returns, {})
    assert regression.alpha.value == pytest.approx(returns.mean(), rel=1e-12)
    assert regression.r2 == pytest.approx(0.0, abs=1e-12)
    flat = factor_regression(days, np.zeros(len(days)), {})
    assert (flat.alpha.value, flat.alpha.t, flat.alpha.p, flat.r2, flat.total) == (0.0, 0.0, 1.0, 0.0, 0.0)


def test_what_cannot_be_regressed_is_refused() -> None:
    days, returns, factors, values = drawn(9)
    with pytest.raises(ValueError, match=r"value has no return on \d+ of"):
        factor_regression(days, returns, {**factors, "value": {0: 0.1}})
    with pytest.raises(ValueError, match="cannot be named alpha"):
        factor_regression(days, returns, {"alpha": factors["value"]})
    with pytest.raises(ValueError, match="combination of the others"):
        factor_regression(days, returns, {**factors, "again": factors["value"]})
    with pytest.raises(ValueError, match="not finite"):
        factor_regression(days, np.where(days == 0, np.nan, returns), factors)
    with pytest.raises(ValueError, match="give one return for each date"):
        factor_regression(days[:4], returns[:4], factors)
    with pytest.raises(ValueError, match="give one return for each date"):
        factor_regression(days[:0], returns[:0], {})
    assert values.shape == (300, 3)
