"""Measures of trips against quantstats, scipy and loops, and numbers worked by hand."""

import math

import pytest

from quantd.research.metrics import trade_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, record_of, trip

NAMES = [metric.name for metric in metrics_in(trade_measures)]


@pytest.mark.requirement("R-240")
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_of_trips_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_trips_by_hand() -> None:
    trips = (trip(300.0, 2), trip(-100.0, 4), trip(100.0, 6), trip(-60.0, 0), trip(0.0, 8))
    figures = measure(record_of([100.0], trips=trips))
    assert (figures["trips"], figures["win_rate"]) == (5.0, 0.4)
    assert figures["profit_factor"] == pytest.approx(2.5, rel=1e-12)
    assert figures["payoff_ratio"] == pytest.approx(2.5, rel=1e-12)
    assert (figures["expectancy"], figures["average_holding"]) == (48.0, 4.0)
    assert (figures["average_win"], figures["average_losing_trip"]) == (200.0, 80.0)
    assert figures["largest_losing_trip"] == 100.0
    spread = math.sqrt((252.0**2 + 148.0**2 + 52.0**2 + 108.0**2 + 48.0**2) / 4)
    assert figures["system_quality"] == pytest.approx(math.sqrt(5) * 48.0 / spread, rel=1e-12)
    assert figures["kelly_fraction"] == pytest.approx(0.4 - 0.6 / 2.5, rel=1e-12)


def test_no_trips_and_no_losses_leave_measures_undefined() -> None:
    none = measure(record_of([100.0, 101.0], trips=()), NAMES)
    assert {name for name, value in none.items() if value is not None} == {"trips"}
    wins = measure(record_of([100.0, 101.0], trips=(trip(1.0), trip(2.0))), NAMES)
    undefined = {"profit_factor", "payoff_ratio", "average_losing_trip", "largest_losing_trip", "kelly_fraction"}
    assert {name for name, value in wins.items() if value is None} == undefined
    assert set(measure(record_of([100.0, 101.0]), NAMES).values()) == {None}
