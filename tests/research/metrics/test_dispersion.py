"""Dispersion against empyrical, scipy and numpy. Where a definition differs, the difference is converted away."""

import math

import numpy as np
import pytest

from quantd.research.metrics import dispersion
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, record_of


@pytest.mark.requirement("R-237")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(dispersion)])
def test_a_metric_of_dispersion_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_dispersion_by_hand() -> None:
    # returns 0.1, -0.1, 0.1, -0.1
    figures = measure(record_of([100.0, 110.0, 99.0, 108.9, 98.01], risk_free_annual=0.0))
    assert figures["volatility"] == pytest.approx(math.sqrt(4 * 0.01 / 3 * 252), rel=1e-12)
    assert figures["downside_deviation"] == pytest.approx(math.sqrt(2 * 0.01 / 4 * 252), rel=1e-12)
    assert figures["semideviation"] == pytest.approx(math.sqrt(2 * 0.01 / 4 * 252), rel=1e-12)
    assert figures["mean_absolute_deviation"] == pytest.approx(0.1, rel=1e-12)
    assert figures["serial_correlation"] == pytest.approx(-0.75, rel=1e-12)
    assert figures["skewness"] == pytest.approx(0.0, abs=1e-12)
    assert figures["excess_kurtosis"] == pytest.approx(-2.0, rel=1e-12)
    assert figures["jarque_bera"] == pytest.approx(4.0 * 4.0 / 24.0, rel=1e-12)
    assert figures["var_95"] == pytest.approx(0.1, rel=1e-12)
    assert figures["rachev_ratio"] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.requirement("R-239")
def test_tails_of_a_hundred_losses_by_hand() -> None:
    returns = np.random.default_rng(3).permutation(np.arange(1, 102) / -1000.0)  # losses 0.001 to 0.101
    figures = measure(record_of(np.cumprod(np.append(100.0, 1.0 + returns)).tolist()))
    # k = 101 - 95 = 6 and 101 - 99 = 2
    assert (figures["var_95"], figures["var_99"]) == pytest.approx((0.096, 0.100), rel=1e-9)
    assert (figures["cvar_95"], figures["cvar_99"]) == pytest.approx((0.0985, 0.1005), rel=1e-9)


def test_constant_returns_have_no_shape() -> None:
    figures = measure(record_of([100.0 * 1.01**k for k in range(30)]))
    names = ("skewness", "excess_kurtosis", "jarque_bera", "serial_correlation")
    assert {figures[name] for name in names} == {None}
