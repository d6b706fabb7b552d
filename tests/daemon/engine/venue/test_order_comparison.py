"""Our open orders as the venue has them: which fields differ, and what follows from each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.venue.order_comparison import TICKS, Field, order_differences, put_right
from quantd.trading.effects import Cancel, Effect, Publish, Query
from quantd.trading.orders import OpenOrder, OrderState
from tests.daemon.engine.venue.silent_venue import LOTS, NANO, Venue
from tests.support.examples import examples

TICK = NANO // 100


def resting(side: int) -> tuple[Venue, OpenOrder]:
    """An accepted order with a limit, and the same as the venue has it."""
    venue = Venue(side)
    venue.answer()
    work = venue.state.working[venue.key]
    assert work.state[0] not in (OrderState.SENT, OrderState.UNKNOWN)
    work.worst_nano[0] = 100 * NANO
    return venue, OpenOrder(*venue.key, 0, 0, side * LOTS, 100 * NANO, 0, TICK)


def changed(order: OpenOrder, cum: int, lots: int, ticks: int) -> OpenOrder:
    """The order with other fills, `lots` more of quantity, and a limit that is `ticks` higher."""
    return OpenOrder(
        order.sample, order.n, order.row, cum, order.lots + lots, order.limit_nano + ticks * TICK, 0, TICK
    )  # fmt: skip


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


@pytest.mark.long
@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from([1, -1]), st.sampled_from([0, 0, 1, 50]), st.sampled_from([0, 0, 1, -1]), st.integers(-4, 4))
def test_an_order_is_cancelled_for_its_quantity_or_price_and_queried_for_its_fills_alone(
    side: int, cum: int, lots: int, ticks: int
) -> None:
    venue, order = resting(side)
    theirs = changed(order, cum, lots, ticks)
    fields = {Field.FILLED} if cum else set()
    fields |= {Field.QUANTITY} if lots else set()
    fields |= {Field.LIMIT} if abs(ticks) > TICKS else set()
    compared = [d.field for differing in order_differences(venue.state, [theirs]) for d in differing.differences]
    assert set(compared) == fields
    expected = [] if not fields else [Query] if fields == {Field.FILLED} else [Publish, Cancel]
    assert kinds(put_right(venue.state, [theirs])) == expected


@pytest.mark.parametrize("side", [1, -1])
def test_the_alert_about_a_changed_order_names_each_field_with_both_values(side: int) -> None:
    venue, order = resting(side)
    alert, _ = put_right(venue.state, [changed(order, 7, side * 9, 300)])
    assert isinstance(alert, Publish)
    assert alert.level == "CRITICAL"
    sign = "" if side > 0 else "-"
    assert f"quantity {sign}109, in the books {sign}100; filled 7, in the books 0; limit 103" in alert.text


def test_an_order_without_a_confirmed_state_is_not_compared() -> None:
    venue = Venue(1)
    order = OpenOrder(*venue.key, 0, 5, LOTS + 5, 1, 0, TICK)
    assert order_differences(venue.state, [order]) == []
    assert put_right(venue.state, [order]) == []
