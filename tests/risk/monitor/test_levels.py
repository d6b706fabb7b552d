"""Levels at 60, 80 and 100 % of a limit, and one alert for a value that dances on an edge."""

from math import nextafter

import pytest

from quantd.risk.monitor.levels import (
    CRITICAL,
    INFO,
    NONE,
    QUIET,
    WARNING,
    in_use,
    level,
    observe,
)


@pytest.mark.requirement("R-147")
@pytest.mark.parametrize("key", ["max_position_weight", "group_caps.large"])
@pytest.mark.parametrize(
    ("percent", "expected"),
    [(59, NONE), (60, INFO), (79, INFO), (80, WARNING), (100, WARNING), (104, WARNING), (105, CRITICAL)],
)
def test_a_limit_that_a_plan_may_use_fully_is_critical_from_105_percent(key: str, percent: int, expected: int) -> None:
    assert levels_of(key, [0.3 * percent / 100], 0.3) == ([expected] if expected else [])


def test_the_breach_of_a_limit_that_a_plan_may_use_fully_ends_at_its_bound() -> None:
    assert level("max_position_weight", 1.01, CRITICAL) == CRITICAL
    assert level("max_position_weight", 0.99, CRITICAL) == WARNING
    assert level("max_position_weight", 0.74, CRITICAL) == INFO


def test_a_limit_is_in_use_from_the_share_on_below_which_no_level_begins() -> None:
    assert in_use("var", QUIET, 1.0)
    assert not in_use("var", nextafter(QUIET, 0.0), 1.0)


def test_a_limit_whose_use_is_no_share_is_never_in_use() -> None:
    assert not in_use("cash", 2.0, 1.0)
    assert not in_use("buying_power", 2.0, 1.0)
    assert in_use("var", 2.0, 1.0)


def test_a_value_that_dances_on_an_edge_is_one_alert() -> None:
    levels: dict[str, int] = {}
    crossings = []
    for share in (0.79, 0.81, 0.79, 0.805, 0.76, 0.80, 0.74, 0.59, 0.56, 0.54):
        crossings += [(before, after) for _, before, after, _, _ in observe(levels, {"var": (share, 1.0)})]
    assert crossings == [(NONE, INFO), (INFO, WARNING), (WARNING, INFO), (INFO, NONE)]


def test_recovery_from_far_is_reported_at_once() -> None:
    assert level("var", 0.0, CRITICAL) == NONE
    assert level("var", 0.97, CRITICAL) == CRITICAL
    assert level("var", 0.94, CRITICAL) == WARNING
    assert level("var", 0.77, CRITICAL) == WARNING
    assert level("var", 0.70, CRITICAL) == INFO


def test_crossings_name_the_limit_with_value_and_bound_in_a_stable_order() -> None:
    levels: dict[str, int] = {}
    crossings = observe(levels, {"var": (0.9, 1.0), "cvar": (0.7, 1.0), "cash": (-5.0, 0.0)})
    assert crossings == [("cvar", NONE, INFO, 0.7, 1.0), ("var", NONE, WARNING, 0.9, 1.0)]


def test_a_bound_of_zero_and_a_value_that_is_not_a_number_are_critical() -> None:
    levels: dict[str, int] = {}
    crossings = observe(levels, {"a": (0.0, 0.0), "b": (1e-9, 0.0), "c": (float("nan"), 1.0)})
    assert [(key, after) for key, _, after, _, _ in crossings] == [("b", CRITICAL), ("c", CRITICAL)]


def test_a_limit_that_is_not_measured_keeps_its_level() -> None:
    levels: dict[str, int] = {}
    observe(levels, {"var": (0.9, 1.0)})
    assert observe(levels, {}) == []
    assert observe(levels, {"var": (0.1, 1.0)}) == [("var", WARNING, NONE, 0.1, 1.0)]


def levels_of(key: str, values: list[float], bound: float) -> list[int]:
    """Levels after each crossing."""
    levels: dict[str, int] = {}
    return [after for value in values for _, _, after, _, _ in observe(levels, {key: (value, bound)})]


@pytest.mark.requirement("R-147", "R-148")
@pytest.mark.parametrize("key", ["max_volatility", "var", "max_drawdown", "max_realised_volatility"])
@pytest.mark.parametrize(
    ("percent", "expected"), [(59, NONE), (60, INFO), (79, INFO), (80, WARNING), (99, WARNING), (100, CRITICAL)]
)
def test_levels_begin_at_60_80_and_100_percent(key: str, percent: int, expected: int) -> None:
    assert levels_of(key, [0.15 * percent / 100], 0.15) == ([expected] if expected else [])


@pytest.mark.requirement("R-139", "R-140")
@pytest.mark.parametrize(
    ("key", "values", "bound"),
    [
        ("max_drawdown", [0.05, 0.089, 0.1199, 0.12, 0.13, 0.1499, 0.15, 0.2], 0.15),
        ("max_realised_volatility", [0.1, 0.1999, 0.20, 0.2499, 0.25], 0.25),
    ],
)
def test_a_limit_warns_at_four_fifths_and_is_critical_at_its_bound(key: str, values: list[float], bound: float) -> None:
    assert [level for level in levels_of(key, values, bound) if level >= WARNING] == [WARNING, CRITICAL]


@pytest.mark.requirement("R-154")
def test_a_drawdown_below_2_percent_is_noise_whatever_share_of_the_limit_it_is() -> None:
    assert levels_of("max_drawdown", [0.019, 0.0199], 0.02) == []
    assert levels_of("max_drawdown", [0.0199, 0.02, 0.0199], 0.02) == [CRITICAL, NONE]
    assert levels_of("max_daily_loss", [0.019], 0.02) == [WARNING]


@pytest.mark.requirement("R-145")
@pytest.mark.parametrize(
    ("value", "expected"), [(2.0, NONE), (0.84, NONE), (0.83, INFO), (0.62, WARNING), (0.5, CRITICAL), (-1.0, CRITICAL)]
)
def test_a_sharpe_ratio_near_its_floor_of_a_half_is_told(value: float, expected: int) -> None:
    assert levels_of("min_sharpe", [value], 0.5) == ([expected] if expected else [])
    assert levels_of("min_diversification", [value * 0.6], 0.3) == ([expected] if expected else [])


def test_values_that_will_not_last_may_raise_a_level_but_not_lower_it() -> None:
    levels: dict[str, int] = {}
    observe(levels, {"var": (0.85, 1.0)})
    assert observe(levels, {"var": (0.1, 1.0)}, falling=False) == []
    assert observe(levels, {"var": (1.0, 1.0)}, falling=False) == [("var", WARNING, CRITICAL, 1.0, 1.0)]
    assert observe(levels, {"var": (0.1, 1.0)}) == [("var", CRITICAL, NONE, 0.1, 1.0)]
