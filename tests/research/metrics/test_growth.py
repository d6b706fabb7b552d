"""Growth against empyrical, quantstats, scipy and pandas, and numbers worked by hand."""

import math

import pandas as pd
import pytest

from quantd.research.metrics import growth
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, record_of


@pytest.mark.requirement("R-237")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(growth)])
def test_a_metric_of_growth_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_growth_by_hand() -> None:
    # +10 %, -10 %, +21.2121... %: 100, 110, 99, 120
    figures = measure(record_of([100.0, 110.0, 99.0, 120.0], risk_free_annual=0.0252))
    mean = (0.1 - 0.1 + 21.0 / 99.0) / 3.0
    assert figures["total_return"] == pytest.approx(0.2, rel=1e-12)
    assert figures["cagr"] == pytest.approx(1.2**84 - 1.0, rel=1e-12)
    assert figures["mean_return"] == pytest.approx(mean, rel=1e-12)
    assert figures["mean_return_annual"] == pytest.approx(252.0 * mean, rel=1e-12)
    assert figures["excess_return_annual"] == pytest.approx(252.0 * mean - 0.0252, rel=1e-12)
    assert figures["geometric_mean_return"] == pytest.approx(1.2 ** (1.0 / 3.0) - 1.0, rel=1e-12)
    assert figures["log_growth_annual"] == pytest.approx(84.0 * math.log(1.2), rel=1e-12)
    assert (figures["best_sample"], figures["worst_sample"]) == pytest.approx((21.0 / 99.0, -0.1), rel=1e-12)
    assert figures["positive_samples"] == pytest.approx(2.0 / 3.0, rel=1e-12)
    assert figures["average_gain"] == pytest.approx((0.1 + 21.0 / 99.0) / 2.0, rel=1e-12)
    assert figures["average_loss"] == pytest.approx(0.1, rel=1e-12)


def test_months_and_years_by_hand() -> None:
    days = pd.DatetimeIndex(["2019-12-30", "2019-12-31", "2020-01-02", "2020-01-31", "2020-02-03"])
    figures = measure(record_of([100.0, 110.0, 121.0, 99.0, 198.0], days=days))
    assert (figures["best_month"], figures["worst_month"]) == pytest.approx((1.0, -0.1), rel=1e-12)
    assert figures["positive_months"] == pytest.approx(2.0 / 3.0, rel=1e-12)
    assert (figures["best_year"], figures["worst_year"]) == pytest.approx((0.8, 0.1), rel=1e-12)


def test_wealth_on_an_exponential_line_is_fully_stable_and_constant_wealth_has_no_stability() -> None:
    assert measure(record_of([100.0 * 1.01**k for k in range(50)]))["stability"] == pytest.approx(1.0, abs=1e-12)
    assert measure(record_of([100.0] * 50))["stability"] is None


def test_no_gain_has_no_average() -> None:
    figures = measure(record_of([100.0, 99.0, 98.0]))
    assert figures["average_gain"] is None
    assert figures["average_loss"] is not None
