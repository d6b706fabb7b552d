"""The switch moves at its limits, only to the stricter side, and back only by a person or a counted rule."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.limits.catalogue import DAY_NS, Limits
from quantd.risk.switch import HALT, REDUCE, RUN, FrozenSwitch, flow, losses, observe, quiet, rearm, tighten
from quantd.risk.switch_state import Switch
from quantd.trading.execution import MOST

MONDAY = 20_087 * DAY_NS  # 2024-12-30
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
    assert observe(switch, 89 * M, MONDAY + 6 * DAY_NS, limits) == "max_weekly_loss"
    assert observe(switch, 89 * M, MONDAY + 7 * DAY_NS, limits) == ""
    assert switch.week_open == 89 * M


def test_a_limit_that_is_off_never_says_anything() -> None:
    switch = started()
    assert observe(switch, 1, MONDAY + DAY_NS, Limits()) == ""
    assert losses(switch, 1, Limits()) == {}
    assert observe(switch, -5 * M, MONDAY + DAY_NS, Limits(max_drawdown=1.0)) == "max_drawdown"


def test_a_trip_moves_only_to_the_stricter_side_and_is_counted() -> None:
    switch = started()
    assert tighten(switch, REDUCE, "max_drawdown", 5)
    assert tighten(switch, REDUCE, "max_daily_loss", 6) is False
    assert not tighten(switch, RUN, "", 6)
    assert tighten(switch, HALT, "kill switch", 7)
    assert (switch.state, switch.reason, switch.since_sample, switch.trips) == (HALT, "kill switch", 7, 2)


def test_rearming_sets_every_mark_to_the_equity_then() -> None:
    switch, limits = started(), Limits(max_drawdown=0.1, max_daily_loss=0.1, max_weekly_loss=0.1)
    assert observe(switch, 80 * M, MONDAY + DAY_NS, limits) == "max_drawdown"
    tighten(switch, REDUCE, "max_drawdown", 1)
    rearm(switch, 80 * M, MONDAY + DAY_NS)
    assert (switch.state, switch.reason, switch.trips) == (RUN, "", 1)
    assert observe(switch, 80 * M, MONDAY + DAY_NS, limits) == ""
    assert losses(switch, 76 * M, limits) == {
        key: (pytest.approx(0.05), 0.1) for key in ("max_drawdown", "max_daily_loss", "max_weekly_loss")
    }


def test_deposits_and_withdrawals_are_neither_profit_nor_loss() -> None:
    switch, limits = started(), Limits(max_drawdown=0.01, max_daily_loss=0.01, max_weekly_loss=0.01)
    flow(switch, -50 * M, 100 * M)
    assert observe(switch, 50 * M, MONDAY, limits) == ""
    assert observe(switch, 50 * M, MONDAY + DAY_NS, limits) == ""
    flow(switch, 50 * M, 50 * M)
    assert observe(switch, 99 * M - 1, MONDAY + DAY_NS, limits) == "max_drawdown"


def test_a_flow_before_the_first_sample_changes_nothing() -> None:
    switch = Switch()
    flow(switch, 10 * M, 0)
    assert FrozenSwitch.of(switch) == FrozenSwitch.of(Switch())


def test_a_snapshot_has_every_value_of_a_switch_under_its_name() -> None:
    switch = started()
    assert tighten(switch, REDUCE, "feed", 3)
    observe(switch, 120 * M, MONDAY + DAY_NS, Limits())
    observe(switch, 90 * M, MONDAY + 8 * DAY_NS, Limits())
    data = msgspec.msgpack.encode(FrozenSwitch.of(switch))
    assert list(msgspec.msgpack.decode(data).items()) == [
        ("state", REDUCE), ("reason", "feed"), ("high_water", 120 * M), ("day_open", 120 * M),
        ("week_open", 120 * M), ("day_key", 20_095), ("week_key", 2_871), ("since_sample", 3), ("trips", 1),
        ("last", 90 * M),
    ]  # fmt: skip
    again = msgspec.msgpack.decode(data, type=FrozenSwitch).thaw()
    assert FrozenSwitch.of(again) == FrozenSwitch.of(switch)
    new = msgspec.msgpack.encode(FrozenSwitch.of(Switch()))
    assert new == msgspec.msgpack.encode(
        {"state": 0, "reason": "", "high_water": 0, "day_open": 0, "week_open": 0, "day_key": -1, "week_key": -1,
         "since_sample": 0, "trips": 0, "last": 0}
    )  # fmt: skip


def test_a_mark_that_a_switch_cannot_hold_is_as_large_as_no_balance_can_be() -> None:
    switch = started(3)
    flow(switch, 10**12, 3)
    flow(switch, 10**15, 1)
    assert (switch.high_water, switch.day_open, switch.week_open, switch.last) == (MOST,) * 4
    rearm(switch, -(10**30), MONDAY)
    assert switch.high_water == -MOST
    observe(switch, 10**30, MONDAY, Limits())
    assert (switch.high_water, switch.last) == (MOST, MOST)


def test_a_book_of_the_first_day_of_1970_keeps_its_marks() -> None:
    switch = Switch()
    assert observe(switch, 100, 0, Limits()) == ""
    assert observe(switch, 50, 0, Limits(max_drawdown=0.4)) == "max_drawdown"
    flow(switch, 7, 50)
    assert (switch.high_water, switch.day_open, switch.week_open, switch.last) == (114, 114, 114, 57)


@given(
    peak=st.integers(1, 10**14), lost=st.floats(0.0, 0.99), share=st.floats(-0.99, 10.0), bound=st.floats(0.01, 0.98)
)
def test_money_that_comes_or_goes_changes_no_loss(peak: int, lost: float, share: float, bound: float) -> None:
    peak *= 1000
    switch = Switch()
    observe(switch, peak, MONDAY, Limits())
    equity = max(int(peak * (1.0 - lost)), 1000)
    observe(switch, equity, MONDAY + DAY_NS, Limits())
    limits = Limits(max_drawdown=bound, max_daily_loss=bound, max_weekly_loss=bound)
    before = losses(switch, equity, limits)
    amount = int(equity * share)
    flow(switch, amount, equity)
    after = losses(switch, equity + amount, limits)
    assert {key: value for key, (value, _) in after.items()} == pytest.approx(
        {key: value for key, (value, _) in before.items()}, abs=2.0 / (equity + amount)
    )


@pytest.mark.parametrize(
    ("amount", "equity", "high_water"),
    [(10 * M, 0, 110 * M), (-40, 40, 100 * M - 40), (-39, 40, 100 * M // 40), (1, 1, 200 * M)],
    ids=["none before", "none after", "one left", "one before"],
)
def test_marks_move_by_the_amount_where_there_is_no_equity_before_or_after(
    amount: int, equity: int, high_water: int
) -> None:
    switch = started()
    flow(switch, amount, equity)
    assert switch.high_water == high_water


@pytest.mark.parametrize("day", range(7))
def test_rearming_begins_the_day_and_the_week_that_it_falls_into(day: int) -> None:
    key_ns = MONDAY + day * DAY_NS
    armed, seen = started(), Switch()
    rearm(armed, 80 * M, key_ns)
    observe(seen, 80 * M, key_ns, Limits())
    assert FrozenSwitch.of(armed) == FrozenSwitch.of(seen)
    assert armed.week_key == 2870  # weeks since Monday 1969-12-29


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        (101, True), (100, True), (99, True),
        (92, True), (91, False), (90, False),  # 0.9 of the bound of 10 % is 9
        (0, False), (-1, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["max_drawdown", "max_daily_loss", "max_weekly_loss"])
def test_a_switch_is_quiet_below_the_share_of_its_tightest_bound(key: str, equity: int, expected: bool) -> None:
    limits = Limits(**{"max_drawdown": 0.5, "max_daily_loss": 0.5, "max_weekly_loss": 0.5, key: 0.1})
    assert quiet(started(100), equity, limits, 0.9) is expected
    assert quiet(started(100), equity, Limits(**{key: 0.1}), 0.9) is expected


@pytest.mark.parametrize("opened", [0, -5])
def test_a_book_that_opened_its_day_or_week_with_nothing_is_not_quiet_however_much_it_gained(opened: int) -> None:
    day, week = Limits(max_daily_loss=0.9), Limits(max_weekly_loss=0.9)
    switch = started(opened)
    assert observe(switch, 100, MONDAY + DAY_NS, day) == "max_daily_loss"
    assert losses(switch, 100, day) == {"max_daily_loss": (1.0, 0.9)}
    assert quiet(switch, 100, day, 0.6) is False
    # the next day opens with what was gained, the week is the same
    assert observe(switch, 100, MONDAY + 2 * DAY_NS, day) == ""
    assert observe(switch, 100, MONDAY + 2 * DAY_NS, week) == "max_weekly_loss"
    assert quiet(switch, 100, week, 0.6) is False
    assert observe(switch, 100, MONDAY + 7 * DAY_NS, week) == ""
    assert quiet(switch, 100, week, 0.6) is True
