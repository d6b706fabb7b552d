"""Long-run errors against loops over the formulas of Andrews 1991, and on series whose long-run variance is known."""

import math

import numpy as np
import pytest
from statsmodels.tsa.ar_model import AutoReg

from quantd.research.significance.long_run import Kernel, automatic_bandwidth, long_run_error

KERNELS: list[Kernel] = ["parzen", "quadratic_spectral"]


def autoregressive(n: int, phi: float, seed: int, columns: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=(n + 100, columns))
    for t in range(1, len(draws)):
        draws[t] += phi * draws[t - 1]
    series = draws[100:]
    return series - series.mean(axis=0)


def looped(moments: np.ndarray, gradient: np.ndarray, kernel: Kernel, bandwidth: float) -> float:
    """The sum of weighted autocovariance matrices, one lag at a time."""
    count, width = moments.shape
    total = moments.T @ moments / count
    for lag in range(1, count):
        share = lag / bandwidth
        if kernel == "parzen":
            weight = 1 - 6 * share**2 + 6 * share**3 if share <= 0.5 else 2 * max(1 - share, 0) ** 3
        else:
            x = 6 * math.pi * share / 5
            weight = 25 / (12 * math.pi**2 * share**2) * (math.sin(x) / x - math.cos(x))
        gamma = moments[lag:].T @ moments[:-lag] / count
        total = total + weight * (gamma + gamma.T)
    return math.sqrt(gradient @ (total * count / (count - width)) @ gradient / count)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_error_is_the_weighted_sum_of_autocovariance_matrices(kernel: Kernel) -> None:
    moments = autoregressive(80, 0.4, 1, 3)
    gradient = np.array([1.0, -0.5, 2.0])
    estimate = long_run_error(moments, gradient, kernel, prewhiten=False)
    assert estimate.error == pytest.approx(looped(moments, gradient, kernel, estimate.bandwidth), rel=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("phi", [0.4, 1.03])
def test_a_prewhitened_error_is_that_of_filtered_moments_recoloured(kernel: Kernel, phi: float) -> None:
    """Close to a unit root, the singular values of the autoregression are bounded by 0.97."""
    moments = np.column_stack([autoregressive(90, phi, 1), autoregressive(90, 0.2, 2, 2)])
    gradient = np.array([1.0, -0.5, 2.0])
    a = np.array([np.linalg.lstsq(moments[:-1], moments[1:, j], rcond=None)[0] for j in range(3)])
    left_vectors, sizes, right = np.linalg.svd(a)
    assert (sizes.max() > 0.97) == (phi > 0.9)
    a = left_vectors @ np.diag(np.minimum(sizes, 0.97)) @ right
    filtered = np.array([moments[t] - a @ moments[t - 1] for t in range(1, 90)])
    estimate = long_run_error(moments, gradient, kernel, prewhiten=True)
    weights = np.linalg.inv(np.eye(3) - a).T @ gradient
    expected = looped(filtered, weights, kernel, estimate.bandwidth) * math.sqrt(89 / 90)
    assert estimate.error == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("kernel", "factor"), [("parzen", 2.6614), ("quadratic_spectral", 1.3221)])
def test_the_bandwidth_is_that_of_autoregressions_fitted_by_statsmodels(kernel: Kernel, factor: float) -> None:
    moments = autoregressive(300, 0.3, 2, 4)
    above = below = 0.0
    for column in moments.T:
        fit = AutoReg(column, 1).fit()
        rho, variance = fit.params[1], float((fit.resid**2).mean())
        above += 4 * rho**2 * variance**2 / (1 - rho) ** 8
        below += variance**2 / (1 - rho) ** 4
    assert automatic_bandwidth(moments, kernel) == pytest.approx(factor * (above / below * 300) ** 0.2, rel=1e-10)


def test_moments_that_do_not_vary_have_no_bandwidth_and_no_error() -> None:
    estimate = long_run_error(np.zeros((50, 2)), np.ones(2), "parzen", prewhiten=True)
    assert (estimate.error, estimate.bandwidth) == (0.0, 0.0)


def test_a_trend_has_a_finite_bandwidth() -> None:
    """Its coefficient is 1, where the formula divides by zero; the bound of 0.97 takes its place."""
    ramp = np.arange(60.0)[:, None]
    for kernel in KERNELS:
        assert 1.0 < automatic_bandwidth(ramp - ramp.mean(), kernel) <= 59.0
