"""Measures without trips or without losses; test_catalogue.py compares each with its references."""

from quantd.research.metrics import trade_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import record_of, trip

NAMES = [metric.name for metric in metrics_in(trade_measures)]


def test_no_trips_and_no_losses_leave_measures_undefined() -> None:
    none = measure(record_of([100.0, 101.0], trips=()), NAMES)
    assert {name for name, value in none.items() if value is not None} == {"trips"}
    wins = measure(record_of([100.0, 101.0], trips=(trip(1.0), trip(2.0))), NAMES)
    undefined = {"profit_factor", "payoff_ratio", "average_losing_trip", "largest_losing_trip", "kelly_fraction"}
    assert {name for name, value in wins.items() if value is None} == undefined
    assert set(measure(record_of([100.0, 101.0]), NAMES).values()) == {None}
