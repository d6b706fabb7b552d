"""Auctions, costs by the clock of the exchange, and the terms that a batch fills on."""

import numpy as np
import pytest

from quantd.adapters.brokers.paper.broker import Paper
from quantd.trading.execution import Costs, CostTable, FittedCost
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.engine import START, block, sessions

HOUR = DAY_NS // 24
OPEN = START + 10 * HOUR
SECOND = 10**9
ONE = Universe((Instrument("S0"),))
BARS = block(np.array([[100.0], [102.0], [104.0]]))
"""Bars from 10:00 to 16:00 UTC; each opens at the close before."""


def fills(venue: Paper, row: int) -> list[tuple[int, int]]:
    """(instant, price) of each fill on a bar."""
    news = venue.on_slice(MarketSlice(BARS, row))
    return [
        (report.ts, price)
        for report in news
        if isinstance(report, Reports)
        for price, cause in zip(report.price_nano, report.cause, strict=True)
        if cause in (Cause.PART_FILL, Cause.LAST_FILL)
    ]


def order(ts: int, kind: Kind = Kind.LIMIT, end: int = 0) -> OrderBasket:
    return OrderBasket(
        sample=1, n=0, ts=ts, sym=[0], lots=[5], worst_nano=[200 * 10**9], end=[end],
        kind=[int(kind)] if kind else [],
    )  # fmt: skip


def test_an_order_for_the_open_that_arrives_after_it_waits_for_the_next_one() -> None:
    venue = Paper(ONE, Costs(latency_ns=2 * SECOND), [sessions(3)])
    venue.submit(order(OPEN - SECOND, Kind.OPEN))
    assert fills(venue, 0) == []
    assert fills(venue, 1) == [(OPEN + DAY_NS, 100 * 10**9)]


def test_an_order_for_the_open_that_ends_at_that_instant_does_not_fill() -> None:
    for end, expected in ((OPEN, []), (OPEN + 1, [(OPEN, 100 * 10**9)])):
        venue = Paper(ONE, Costs(), [sessions(3)])
        venue.submit(order(OPEN - SECOND, Kind.OPEN, end))
        assert fills(venue, 0) == expected


@pytest.mark.parametrize("lots", [5, -5])
@pytest.mark.parametrize(("kind", "instant", "price"), [(Kind.OPEN, OPEN, 100), (Kind.CLOSE, OPEN + 6 * HOUR, 100)])
@pytest.mark.parametrize("worse_nano", [-1, 0, 1])
def test_an_order_for_an_auction_fills_at_its_limit_and_not_a_nano_beyond(
    lots: int, kind: Kind, instant: int, price: int, worse_nano: int
) -> None:
    limit = price * SECOND - worse_nano if lots > 0 else price * SECOND + worse_nano
    venue = Paper(ONE, Costs(), [sessions(3)])
    venue.submit(OrderBasket(1, 0, OPEN - SECOND, [0], [lots], [limit], [0], [0], {}, kind=[int(kind)]))
    assert fills(venue, 0) == ([] if worse_nano > 0 else [(instant, price * SECOND)])


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.CLOSE])
def test_an_auction_without_a_price_fills_no_purchase(kind: Kind) -> None:
    none = np.zeros((2, 1), dtype=np.int64)
    bars = block(np.array([[100.0], [102.0]]))
    bars.open_nano = bars.close_nano = none
    venue = Paper(ONE, Costs(), [sessions(3)])
    venue.submit(order(OPEN - SECOND, kind))
    assert list(venue.on_slice(MarketSlice(bars, 0))) == []


def test_costs_by_the_hour_are_those_of_the_clock_of_the_exchange() -> None:
    """10:00 UTC is 6:00 in New York; a venue without sessions has no clock, and takes the hour 0."""
    table = CostTable(tuple(FittedCost("S0", hour, bp, 0.0) for hour, bp in ((0, 300.0), (6, 100.0), (10, 200.0))))
    utc = sessions(3)
    york = Sessions("N", "America/New_York", utc.day_ns, utc.open_ns, utc.close_ns)
    for days, price in (([york], 101), ([utc], 102), ([], 103)):
        venue = Paper(ONE, Costs(table=table), days)
        venue.submit(order(OPEN - SECOND))
        assert fills(venue, 0) == [(OPEN, price * 10**9)]
