"""Limit and stop orders on one bar by rational numbers, for the tests of fills."""

from fractions import Fraction
from math import ceil, floor, inf, nan
from typing import NamedTuple

from hypothesis import strategies as st

from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.fill_prices import impact_rate, lots_to_be_had
from quantd.trading.instruments import NANO

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
    stop: int = 0
    """The trigger of a stop order."""


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
    stop=st.just(0),
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


def touched(stop: int, buy: bool, low: float, high: float) -> bool:
    """Whether the bar trades at the trigger of a stop order that its open does not trigger."""
    extreme = high if buy else low
    if not 0.0 < extreme < inf:
        return False
    return Fraction(str(extreme)) >= Fraction(stop, NANO) if buy else Fraction(str(extreme)) <= Fraction(stop, NANO)


def expected(orders: list[Order], bar: Bar, costs: Costs) -> tuple[list[list[int]], int, list[Order]]:
    """The fills (lots, price, fee, row), the number of whole ones, and the orders afterwards."""
    fills, ended, after = [], 0, []
    available_lots = [
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
        if order.stop and (price < order.stop if buy else price > order.stop):
            if order.until < CLOSES or not touched(order.stop, buy, bar.low[column], bar.high[column]):
                continue
            price = order.stop
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
            size = min(size, available_lots[column])
            available_lots[column] -= size
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
