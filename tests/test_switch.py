"""The switch moves at its limits, only to the stricter side, and back only by a person or a counted rule."""

import msgspec
import pytest

from risk.limits import DAY_NS, Limits
from risk.switch import HALT, REDUCE, RUN, Switch, flow, losses, observe, rearm, trip

MONDAY = 20_088 * DAY_NS  # 2024-12-30
M = 1_000_000


def started(equity: int = 100 * M) -> Switch:
    switch = Switch()
    assert observe(switch, equity, MONDAY, Limits()) == ""
    return switch


def test_drawdown_is_measured_from_the_highest_equity() -> None:
    switch, limits = started(), Limits(max_drawdown=0.15)
    assert observe(switch, 200 * M, MONDAY + DAY_NS, limits) == ""
    assert observe(switch, 170 * M, MONDAY + 2 * DAY_NS, limits) == ""
    assert observe(switch, 170 * M - 1, MONDAY + 3 * DAY_NS, limits) == "max_drawdown"


def test_a_day_opens_with_the_last_equity_before_it() -> None:
    switch, limits = started(), Limits(max_daily_loss=0.05)
    assert observe(switch, 95 * M, MONDAY + DAY_NS, limits) == ""
    assert observe(switch, 95 * M - 1, MONDAY + DAY_NS, limits) == "max_daily_loss"
    assert observe(switch, 91 * M, MONDAY + 2 * DAY_NS, limits) == ""


def test_a_week_opens_on_monday() -> None:
    limits = Limits(max_weekly_loss=0.10)
    switch = started()
    for day, equity in enumerate((97, 95, 93, 91)):
        assert observe(switch, equity * M, MONDAY + (day + 1) * DAY_NS, limits) == ""
    assert observe(switch, 89 * M, MONDAY + 5 * DAY_NS, limits) == "max_weekly_loss"
    assert observe(switch, 89 * M, MONDAY + 7 * DAY_NS, limits) == ""
    assert switch.week_open == 89 * M


def test_a_limit_that_is_off_never_says_anything() -> None:
    switch = started()
    assert observe(switch, 1, MONDAY + DAY_NS, Limits()) == ""
    assert losses(switch, 1, Limits()) == {}
    assert observe(switch, -5 * M, MONDAY + DAY_NS, Limits(max_drawdown=1.0)) == "max_drawdown"


def test_a_trip_moves_only_to_the_stricter_side_and_is_counted() -> None:
    switch = started()
    assert trip(switch, REDUCE, "max_drawdown", 5)
    assert not trip(switch, REDUCE, "max_daily_loss", 6)
    assert not trip(switch, RUN, "", 6)
    assert trip(switch, HALT, "kill switch", 7)
    assert (switch.state, switch.reason, switch.since_sample, switch.trips) == (HALT, "kill switch", 7, 2)


def test_rearming_sets_every_mark_to_the_equity_then() -> None:
    switch, limits = started(), Limits(max_drawdown=0.1, max_daily_loss=0.1, max_weekly_loss=0.1)
    assert observe(switch, 80 * M, MONDAY + DAY_NS, limits) == "max_drawdown"
    trip(switch, REDUCE, "max_drawdown", 1)
    rearm(switch, 80 * M, MONDAY + DAY_NS)
    assert (switch.state, switch.reason, switch.trips) == (RUN, "", 1)
    assert observe(switch, 80 * M, MONDAY + DAY_NS, limits) == ""
    assert losses(switch, 76 * M, limits) == {
        key: (pytest.approx(0.05), 0.1) for key in ("max_drawdown", "max_daily_loss", "max_weekly_loss")
    }


def test_deposits_and_withdrawals_are_neither_profit_nor_loss() -> None:
    switch, limits = started(), Limits(max_drawdown=0.01, max_daily_loss=0.01, max_weekly_loss=0.01)
    flow(switch, -50 * M)
    assert observe(switch, 50 * M, MONDAY, limits) == ""
    assert observe(switch, 50 * M, MONDAY + DAY_NS, limits) == ""
    flow(switch, 50 * M)
    assert observe(switch, 99 * M - 1, MONDAY + DAY_NS, limits) == "max_drawdown"


def test_a_flow_before_the_first_sample_changes_nothing() -> None:
    switch = Switch()
    flow(switch, 10 * M)
    assert switch == Switch()


def test_a_switch_travels_as_bytes() -> None:
    switch = started()
    trip(switch, REDUCE, "feed", 3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(switch), type=Switch) == switch
