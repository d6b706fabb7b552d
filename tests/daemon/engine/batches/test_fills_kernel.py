"""Limit orders on one bar against rational numbers, order by order."""

from fractions import Fraction
from math import ceil, floor, inf, nan
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.batches.fills_kernel import fill_limits
from quantd.trading.execution import (
    MOST,
    RATE_ONE,
    Costs,
    commission_ratio,
    impact_rate,
    interest_micro,
    lots_to_be_had,
    reaches,
    split_stop,
    trades_through,
    with_remainder,
)
from quantd.trading.instruments import NANO
from quantd.trading.jit import interpreted
from tests.support.examples import examples

LOTS = (10**9, 250_000_000, 123_456_789)
OPENS, CLOSES = 1000, 2000


class Order(NamedTuple):
    column: int
    lots: int
    limit: int
    until: int
    start: int
    done: int
    charged: int


class Bar(NamedTuple):
    fresh: list[bool]
    open_nano: list[int]
    low: list[float]
    high: list[float]
    volume: list[float]


orders_of = st.builds(
    Order,
    column=st.integers(0, 2),
    lots=st.integers(-60, 60).filter(bool) | st.sampled_from([-1, 1]),
    limit=st.integers(90, 110).map(lambda k: k * 1_000_000),
    until=st.sampled_from([0, OPENS - 1, OPENS, OPENS + 1, CLOSES - 1, CLOSES, CLOSES + 1, 9 * CLOSES]),
    start=st.sampled_from([0, OPENS, OPENS, OPENS + 1]),
    done=st.integers(0, 70),
    charged=st.sampled_from([-1, 0, 1, 5, 11, 90]),
)
bars_of = st.builds(
    Bar,
    fresh=st.lists(st.sampled_from([True, True, True, False]), min_size=3, max_size=3),
    open_nano=st.lists(st.sampled_from([0, 94_000_001, 100_000_000, 99_999_999, 106_000_000]), min_size=3, max_size=3),
    low=st.lists(st.sampled_from([0.0, 0.091, 0.095, 0.1, nan]), min_size=3, max_size=3),
    high=st.lists(st.sampled_from([0.1, 0.105, 0.109, inf]), min_size=3, max_size=3),
    volume=st.lists(st.sampled_from([0.0, 3.0, 40.0, 500.0]), min_size=3, max_size=3),
)
costs_of = st.builds(
    Costs,
    commission_bp=st.sampled_from([0.0, 1.0, 250.0]),
    spread_bp=st.sampled_from([0.0, 2.0, 30.0]),
    impact=st.sampled_from([0.0, 0.0, 40.0]),
    participation=st.sampled_from([0.0, 0.0, 0.25, 1.0]),
    commission_min_micro=st.sampled_from([0, 1, 10, 60]),
)


def expected(orders: list[Order], bar: Bar, costs: Costs) -> tuple[list[list[int]], int, list[Order]]:
    """The fills (lots, price, fee, row), the number of whole ones, and the orders afterwards."""
    fills, ended, after = [], 0, []
    left = [
        lots_to_be_had(volume, *costs.participation_ratio(size)) if costs.participation else (inf if volume else 0)
        for volume, size in zip(bar.volume, LOTS, strict=True)
    ]
    for row, order in enumerate(orders):
        column, buy, size = order.column, order.lots > 0, abs(order.lots) - order.done
        after.append(order)
        if order.start > OPENS or not bar.fresh[column]:
            continue
        after[-1] = order = order._replace(start=CLOSES)
        price = bar.open_nano[column]
        if order.until <= OPENS or price <= 0:
            continue
        if price > order.limit if buy else price < order.limit:
            extreme = Fraction(str(bar.low[column])) if buy and bar.low[column] == bar.low[column] else None
            if not buy and bar.high[column] < inf:
                extreme = Fraction(str(bar.high[column]))
            limit = Fraction(order.limit, NANO)
            through = extreme is not None and (0 < extreme < limit if buy else extreme > limit)
            if order.until < CLOSES or not through:
                continue
            price = order.limit
        rate = costs.fixed_rate
        if costs.needs_volume:
            size = min(size, left[column])
            left[column] -= size
            if not size:
                continue
            if costs.impact:
                rate += impact_rate(costs.impact, size, LOTS[column], bar.volume[column])
        moved = price * (1 + Fraction(rate, RATE_ONE) * (1 if buy else -1))
        price = min(ceil(moved), order.limit) if buy else max(floor(moved), order.limit)
        fee = round(Fraction(size * LOTS[column] * price, 10**12) * Fraction(costs.commission_rate, RATE_ONE))
        if costs.commission_min_micro:
            least, before = costs.commission_min_micro, order.charged
            total = max(before, 0) + fee
            after[-1] = order._replace(charged=total)
            fee = max(total, least) - (max(before, least) if before >= 0 else 0)
        fills.append([size, price, fee, row])
        ended += size == abs(order.lots) - order.done
    return fills, ended, after


def arguments(orders: list[Order], bar: Bar, costs: Costs, columns: int) -> list[object]:
    numbers = np.array([[each[k] for each in orders] for k in range(columns)], dtype=np.int64).ravel()
    ratios = [commission_ratio(size, costs.commission_rate) for size in LOTS]
    shares = [costs.participation_ratio(size) for size in LOTS]
    terms = [each[k] for pair in (ratios, shares) for k in (0, 1) for each in pair]
    rows = len(orders)
    return [
        numbers, rows, OPENS, CLOSES, bar.fresh, np.array(bar.open_nano), np.array(bar.low), np.array(bar.high),
        np.array(bar.volume), np.array([*terms, *LOTS]), costs.fixed_rate, RATE_ONE, costs.commission_min_micro,
        costs.participation > 0, costs.impact, np.full(3, -1), np.full(4 * rows + 1, -9),
    ]  # fmt: skip


@given(st.lists(orders_of, min_size=1, max_size=6), bars_of, costs_of)
@settings(max_examples=examples(600), deadline=None)
def test_limit_orders_fill_on_a_bar_as_rational_numbers_do(orders, bar, costs):
    orders = [each._replace(done=min(each.done, abs(each.lots) - 1)) for each in orders]
    if costs.commission_min_micro == 0:
        orders = [each._replace(charged=-1) for each in orders]
    args = arguments(orders, bar, costs, 7)
    fills, ended, after = expected(orders, bar, costs)
    assert interpreted(fill_limits)(*args) == len(fills)
    out = args[-1]
    assert out[:-1].reshape(4, -1)[:, : len(fills)].T.tolist() == fills
    assert out[-1] == ended
    assert args[0].reshape(7, -1).T.tolist() == [list(each) for each in after]


@given(st.lists(orders_of, min_size=1, max_size=6), bars_of)
def test_orders_without_fills_and_minimum_need_five_columns(orders, bar):
    orders = [each._replace(done=0, charged=-1) for each in orders]
    args = arguments(orders, bar, Costs(spread_bp=2.0), 5)
    fills, ended, after = expected(orders, bar, Costs(spread_bp=2.0))
    assert interpreted(fill_limits)(*args) == len(fills)
    assert args[-1][:-1].reshape(4, -1)[:, : len(fills)].T.tolist() == fills
    assert args[-1][-1] == ended
    assert args[0].reshape(5, -1).T.tolist() == [list(each)[:5] for each in after]


ONE = Order(0, 7, 110_000_000, 9 * CLOSES, 0, 0, -1)
BAR = Bar([True] * 3, [100_000_000] * 3, [0.09] * 3, [0.11] * 3, [40.0] * 3)


def made(order: Order, bar: Bar, costs: Costs) -> int:
    return interpreted(fill_limits)(*arguments([order], bar, costs, 7))


def test_an_amount_beyond_64_bits_is_told():
    """A volume in nano-units, lots in nano-units and a commission."""
    capped, impact = Costs(participation=0.5), Costs(impact=1.0)
    assert made(ONE, BAR._replace(volume=[4.5e9] * 3), capped) == 1
    for costs in (capped, impact):
        assert made(ONE, BAR._replace(volume=[4.7e9] * 3), costs) == -1
        assert made(ONE, BAR._replace(volume=[nan] * 3), costs) == -1
    assert made(ONE._replace(lots=4_500_000_000), BAR._replace(volume=[4.5e9] * 3), impact) == 1
    assert made(ONE._replace(lots=4_700_000_000), BAR._replace(volume=[4.5e9] * 3), impact) == -1
    whole = Costs(commission_bp=10_000.0)
    assert made(ONE._replace(lots=MOST), BAR._replace(open_nano=[1000] * 3), whole) == 1
    assert made(ONE._replace(lots=MOST), BAR._replace(open_nano=[1001] * 3), whole) == -1


def test_the_least_price_fills_and_a_bar_without_volume_does_not_where_volume_matters():
    assert made(ONE._replace(limit=5), BAR._replace(open_nano=[1] * 3), Costs()) == 1
    assert made(ONE._replace(limit=5), BAR._replace(open_nano=[0] * 3), Costs()) == 0
    for costs in (Costs(impact=1.0), Costs(participation=1.0)):
        assert made(ONE, BAR._replace(volume=[0.0] * 3), costs) == 0
        assert made(ONE, BAR._replace(volume=[7.0] * 3), costs) == 1
    assert made(ONE, BAR._replace(volume=[0.0] * 3), Costs()) == 1
    assert lots_to_be_had(1e-9, 1, 1) == 1


@given(st.integers(), st.lists(st.integers()))
def test_the_last_part_takes_the_remainder(total, parts):
    found = with_remainder(total, parts)
    assert found[:-1] == parts
    assert sum(found) == total


def test_volume_that_earlier_orders_have_left_is_what_a_later_one_gets():
    costs = Costs(participation=0.25)
    orders = [ONE._replace(lots=6), ONE._replace(lots=-7, limit=90_000_000), ONE]
    args = arguments(orders, BAR, costs, 7)
    assert interpreted(fill_limits)(*args) == 2
    assert args[-1][:3].tolist()[:2] == [6, 4]
    assert args[-2].tolist() == [0, -1, -1]


@pytest.mark.parametrize(("stop", "low", "high"), [(100, 100e-9, 1.0), (5_000, 2e-6, 5e-6), (10**9, 0.5, 1.0)])
def test_a_stop_is_reached_where_the_bar_trades_at_it(stop, low, high):
    nanos = [round(each * 1e6) * 1000 for each in (low, high)]
    assert reaches(stop, True, low, high) is (nanos[1] >= stop)
    assert reaches(stop, False, low, high) is (0 < nanos[0] <= stop)


def test_a_stop_is_reached_from_below_by_a_purchase_and_from_above_by_a_sale():
    stop = 100 * NANO
    assert [reaches(stop, True, 0.0, high) for high in (99.999999, 100.0, 100.000001, nan, inf)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert [reaches(stop, False, low, 999.0) for low in (100.000001, 100.0, 99.999999, 0.0, nan)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert not reaches(0, True, 1.0, 2.0)
    assert not trades_through(stop, True, nan, 2.0)


@given(st.integers(-(10**18), 10**18), st.integers(-(10**12), 10**12), st.integers(0, 400))
def test_interest_is_the_annual_rate_over_365_days(cash, rate, days):
    assert interest_micro(cash, rate, days) == round(Fraction(cash * rate * days, RATE_ONE * 365))


@given(st.integers(1, 10**12), st.integers(1, 20), st.integers(1, 20))
def test_the_stop_of_a_split_is_rounded_so_that_it_never_triggers_later(stop, up, down):
    exact = Fraction(stop * down, up)
    assert split_stop(stop, True, up, down) == floor(exact)
    assert split_stop(stop, False, up, down) == ceil(exact)
