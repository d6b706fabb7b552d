"""Levels at 60, 80 and 100 % of a limit, and one alert for a value that dances on an edge."""

import pytest

from risk.monitor import CRITICAL, INFO, NONE, WARNING, Monitor, level


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, NONE), (59, NONE), (60, INFO), (79, INFO), (80, WARNING), (99, WARNING), (100, CRITICAL), (250, CRITICAL)],
)
def test_levels_begin_at_60_80_and_100_percent(percent: int, expected: int) -> None:
    monitor = Monitor()
    crossings = monitor.observe({"var": (0.03 * percent / 100, 0.03)})
    assert [c[2] for c in crossings] == ([expected] if expected else [])
    assert monitor.levels.get("var", NONE) == expected


def test_a_value_that_dances_on_an_edge_is_one_alert() -> None:
    monitor = Monitor()
    found = []
    for share in (0.79, 0.81, 0.79, 0.805, 0.76, 0.80, 0.74, 0.59, 0.56, 0.54):
        found += [(before, after) for _, before, after, _, _ in monitor.observe({"var": (share, 1.0)})]
    assert found == [(NONE, INFO), (INFO, WARNING), (WARNING, INFO), (INFO, NONE)]


def test_recovery_from_far_is_reported_at_once() -> None:
    assert level(0.0, CRITICAL) == NONE
    assert level(0.97, CRITICAL) == CRITICAL
    assert level(0.94, CRITICAL) == WARNING
    assert level(0.77, CRITICAL) == WARNING
    assert level(0.70, CRITICAL) == INFO


def test_crossings_name_the_limit_with_value_and_bound_in_a_stable_order() -> None:
    monitor = Monitor()
    found = monitor.observe({"var": (0.9, 1.0), "cvar": (0.7, 1.0), "cash": (-5.0, 0.0)})
    assert found == [("cvar", NONE, INFO, 0.7, 1.0), ("var", NONE, WARNING, 0.9, 1.0)]


def test_a_bound_of_zero_and_a_value_that_is_not_a_number_are_critical() -> None:
    monitor = Monitor()
    found = monitor.observe({"a": (0.0, 0.0), "b": (1e-9, 0.0), "c": (float("nan"), 1.0)})
    assert [(key, after) for key, _, after, _, _ in found] == [("b", CRITICAL), ("c", CRITICAL)]


def test_a_limit_that_is_not_measured_keeps_its_level() -> None:
    monitor = Monitor()
    monitor.observe({"var": (0.9, 1.0)})
    assert monitor.observe({}) == []
    assert monitor.observe({"var": (0.1, 1.0)}) == [("var", WARNING, NONE, 0.1, 1.0)]
