"""Measures against a benchmark, compared with empyrical, quantstats, scipy and least squares."""

import math

import numpy as np
import pytest

from quantd.research.metrics import benchmark_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, random_record, record_of


@pytest.mark.long
@pytest.mark.requirement("R-238")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(benchmark_measures)])
def test_a_measure_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


@pytest.mark.requirement("R-240")
def test_measures_by_hand() -> None:
    # r = 0.2, -0.1, 0.1, -0.2; b = 0.1, -0.1, 0.1, -0.1; both have mean 0
    equity, other = [100.0, 120.0, 108.0, 118.8, 95.04], [100.0, 110.0, 99.0, 108.9, 98.01]
    figures = measure(record_of(equity, benchmark=np.array(other), risk_free_annual=0.0))
    assert figures["beta"] == pytest.approx(1.5, rel=1e-12)
    assert figures["alpha"] == pytest.approx(0.0, abs=1e-12)
    assert figures["correlation"] == pytest.approx(0.06 / math.sqrt(0.1 * 0.04), rel=1e-12)
    assert figures["r_squared"] == pytest.approx(0.9, rel=1e-12)
    # residuals 0.05, 0.05, -0.05, -0.05
    assert figures["specific_risk"] == pytest.approx(math.sqrt(0.01 / 2 * 252), rel=1e-12)
    assert figures["treynor"] == pytest.approx(0.0, abs=1e-12)
    assert figures["m2"] == pytest.approx(0.0, abs=1e-12)
    assert figures["active_return_annual"] == pytest.approx(0.0, abs=1e-12)
    # r - b = 0.1, 0, 0, -0.1
    assert figures["tracking_error"] == pytest.approx(math.sqrt(0.02 / 3 * 252), rel=1e-12)
    assert (figures["up_capture"], figures["down_capture"]) == pytest.approx((1.5, 1.5), rel=1e-12)
    assert figures["capture_ratio"] == pytest.approx(1.0, rel=1e-12)


def test_an_account_equal_to_its_benchmark_is_its_benchmark() -> None:
    equity = random_record(17, 300).equity
    figures = measure(record_of(equity.tolist(), benchmark=equity * 3.0))
    assert (figures["beta"], figures["r_squared"], figures["up_capture"]) == pytest.approx((1.0, 1.0, 1.0), rel=1e-9)
    assert figures["tracking_error"] == pytest.approx(0.0, abs=1e-12)
    assert figures["information_ratio"] is None


def test_a_constant_benchmark_or_none_has_no_measures() -> None:
    equity = random_record(18, 50).equity
    names = [metric.name for metric in metrics_in(benchmark_measures)]
    assert set(measure(record_of(equity.tolist()), names).values()) == {None}
    regressed = ("beta", "alpha", "correlation", "r_squared", "specific_risk", "appraisal_ratio", "treynor")
    for benchmark in (np.full(51, 7.0), 7.0 * 1.001 ** np.arange(51)):  # the returns of the second vary by rounding
        constant = measure(record_of(equity.tolist(), benchmark=benchmark))
        assert {constant[name] for name in regressed} == {None}
        assert constant["tracking_error"] is not None
