"""Drawdown measures against empyrical, quantstats and loops, and numbers worked by hand."""

import math

import numpy as np
import pytest

from quantd.research.metrics import drawdown_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, record_of


@pytest.mark.requirement("R-239")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(drawdown_measures)])
def test_a_drawdown_measure_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_two_drawdowns_by_hand() -> None:
    # drawdowns after the first sample: 10 %, 20 %, 0, 50 %, 25 %, 0, 10 %
    figures = measure(record_of([100.0, 90.0, 80.0, 100.0, 50.0, 75.0, 200.0, 180.0], risk_free_annual=0.1))
    growth = 1.8**36 - 1.1
    assert figures["max_drawdown"] == pytest.approx(0.5, rel=1e-12)
    assert figures["average_drawdown"] == pytest.approx(0.8 / 3, rel=1e-12)
    assert figures["current_drawdown"] == pytest.approx(0.1, rel=1e-12)
    assert figures["conditional_drawdown_95"] == pytest.approx(0.5, rel=1e-12)
    assert (figures["longest_drawdown"], figures["recovery"]) == (2.0, 2.0)
    assert figures["time_under_water"] == pytest.approx(5 / 7, rel=1e-12)
    squared = 0.01 + 0.04 + 0.25 + 0.0625 + 0.01
    assert figures["ulcer_index"] == pytest.approx(math.sqrt(squared / 7), rel=1e-12)
    assert figures["pain_index"] == pytest.approx(1.15 / 7, rel=1e-12)
    assert figures["calmar"] == pytest.approx((1.8**36 - 1.0) / 0.5, rel=1e-12)
    assert figures["martin_ratio"] == pytest.approx(growth / math.sqrt(squared / 7), rel=1e-12)
    assert figures["pain_ratio"] == pytest.approx(growth / (1.15 / 7), rel=1e-12)
    assert figures["burke_ratio"] == pytest.approx(growth / math.sqrt(0.04 + 0.25 + 0.01), rel=1e-12)


def test_a_drawdown_that_lasts_has_no_recovery() -> None:
    figures = measure(record_of([100.0, 80.0, 90.0]))
    assert figures["recovery"] is None
    assert figures["longest_drawdown"] == 2.0


def test_wealth_that_only_grows_has_no_drawdown_and_no_ratio_to_it() -> None:
    figures = measure(record_of([100.0, 101.0, 102.0, 102.0]))
    assert (figures["max_drawdown"], figures["longest_drawdown"], figures["time_under_water"]) == (0.0, 0.0, 0.0)
    names = ("average_drawdown", "recovery", "calmar", "martin_ratio", "pain_ratio", "burke_ratio")
    assert {figures[name] for name in names} == {None}


def test_rounding_of_deposits_is_no_drawdown() -> None:
    flows = np.append(0.0, np.cumsum(np.random.default_rng(1).uniform(0.0, 30.0, 60)))
    record = record_of((100.0 + flows).tolist(), flows=flows)
    assert 0.0 < record.drawdowns.max() < 1e-12
    figures = measure(record)
    assert (figures["longest_drawdown"], figures["time_under_water"], figures["recovery"]) == (0.0, 0.0, None)
