"""Limit and stop orders on one bar against rational numbers, order by order."""

from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.brokers.paper.fills import Fills
from quantd.adapters.brokers.paper.orders import NEVER, Resting
from quantd.trading.execution import MOST, Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import Cause, Kind, Reports
from tests.support.examples import examples
from tests.support.fills import CLOSES, LOTS, OPENS, Bar, Order, bars_of, costs_of, expected, orders_of

UNIVERSE = Universe(tuple(Instrument(f"S{k}", lot_nano=lot) for k, lot in enumerate(LOTS)))
ONE = Order(0, 7, 110_000_000, 9 * CLOSES, 0, 0, -1)
BAR = Bar([True] * 3, [100_000_000] * 3, [0.09] * 3, [0.11] * 3, [40.0] * 3)


def slice_of(bar: Bar) -> MarketSlice:
    low, high, volume = (np.array([number]) for number in (bar.low, bar.high, bar.volume))
    price, exact = np.ones((1, 3)), np.array([bar.open_nano])
    at = np.array([OPENS]), np.array([CLOSES])
    block = Block(
        ts_open=at[0], ts_event=at[1], key=at[1], open=price, high=high, low=low, close=price, volume=volume,
        fresh=np.array([bar.fresh]), open_nano=exact, close_nano=exact,
    )  # fmt: skip
    return MarketSlice(block, 0)


def basket(orders: list[Order], kind: Kind = Kind.LIMIT) -> Resting:
    sym, lots, limit, until, start, done, charged, stop = map(list, zip(*orders, strict=True))
    rows, end = list(range(len(orders))), [0] * len(orders)
    kinds = [int(kind)] * len(orders) if kind else []
    return Resting(1, 0, sym, lots, limit, end, start, until, done, charged, rows, [], NEVER, [], kinds, stop)


def filled(resting: Resting, bar: Bar, costs: Costs) -> Reports | None:
    fills = Fills(UNIVERSE, costs, ())
    fills.begin(slice_of(bar))
    return fills.filled(resting)


def check(orders: list[Order], bar: Bar, costs: Costs, kind: Kind) -> None:
    resting = basket(orders, kind)
    fills, ended, after = expected(orders, bar, costs)
    report = filled(resting, bar, costs)
    fills_made = (
        [] if report is None else list(zip(report.lots, report.price_nano, report.fee_micro, report.row, strict=True))
    )
    assert [list(fill) for fill in fills_made] == fills
    filled_rows = {row for row, order in enumerate(orders) if resting.cum[row] == abs(order.lots)}
    added = {row: lots for lots, _, _, row in fills_made}
    assert resting.cum == [order.done + added.get(row, 0) for row, order in enumerate(orders)]
    assert (resting.after, resting.charged_micro) == (
        [order.start for order in after],
        [order.charged for order in after],
    )
    assert (len(filled_rows), resting.open) == (ended, [row for row in range(len(orders)) if row not in filled_rows])
    if ended:
        assert resting.due == min([orders[row].until for row in resting.open], default=NEVER)
    if report is not None:
        assert report.cum == [resting.cum[row] for row in report.row]
        assert report.cause == [Cause.LAST_FILL if row in filled_rows else Cause.PART_FILL for row in report.row]
        assert (report.ts, resting.reports) == (OPENS, [report])


def test_a_bar_that_is_not_fresh_fills_nothing_in_a_universe_of_one_symbol() -> None:
    one, at, exact = np.ones((1, 1)), (np.array([OPENS]), np.array([CLOSES])), np.array([[100_000_000]])
    for fresh in (True, False):
        block = Block(
            ts_open=at[0], ts_event=at[1], key=at[1], open=one, high=one, low=one, close=one, volume=one,
            fresh=np.array([[fresh]]), open_nano=exact, close_nano=exact,
        )  # fmt: skip
        fills = Fills(Universe((Instrument("S0", lot_nano=LOTS[0]),)), Costs(), ())
        fills.begin(MarketSlice(block, 0))
        assert (fills.filled(basket([ONE])) is not None) is fresh


@pytest.mark.long
@given(st.lists(orders_of, min_size=1, max_size=6), bars_of, costs_of)
@settings(max_examples=examples(300), deadline=None)
def test_limit_orders_fill_on_a_bar_as_rational_numbers_do(orders: list[Order], bar: Bar, costs: Costs) -> None:
    orders = [order._replace(done=min(order.done, abs(order.lots) - 1)) for order in orders]
    if costs.commission_min_micro == 0:
        orders = [order._replace(charged=-1) for order in orders]
    check(orders, bar, costs, Kind.LIMIT)


@given(
    st.lists(st.tuples(orders_of, st.integers(90, 110).map(lambda k: k * 1_000_000)), min_size=1, max_size=6),
    bars_of,
    costs_of,
)
@settings(max_examples=examples(200), deadline=None)
def test_stop_orders_fill_on_a_bar_as_rational_numbers_do(
    orders: list[tuple[Order, int]], bar: Bar, costs: Costs
) -> None:
    stop_orders = [order._replace(done=0, charged=-1, stop=stop) for order, stop in orders]
    check(stop_orders, bar, costs, Kind.STOP)


@pytest.mark.parametrize("lots", [7, -7])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_stop_whose_bar_opens_at_it_triggers_at_the_open_and_one_a_nano_away_waits_for_the_whole_bar(
    lots: int, beyond: int
) -> None:
    """`beyond` are nanos from the stop to the open, in the direction of the trigger; the order ends within the bar."""
    side, opened = (1 if lots > 0 else -1), BAR.open_nano[0]
    stop = opened - side * beyond
    resting = basket([ONE._replace(lots=lots, limit=opened + side * 10, until=OPENS + 1, stop=stop)], Kind.STOP)
    report = filled(resting, BAR, Costs())
    assert (report is not None, resting.triggered) == ((True, [0]) if beyond >= 0 else (False, []))
    if report is not None:
        assert report.price_nano == [opened]


def test_volume_that_earlier_orders_have_left_is_what_a_later_one_gets_also_of_another_basket():
    fills = Fills(UNIVERSE, Costs(participation=0.25), ())
    fills.begin(slice_of(BAR))
    first = fills.filled(basket([ONE._replace(lots=6), ONE._replace(lots=-7, limit=90_000_000), ONE]))
    assert first is not None
    assert (first.row, first.lots, first.cause) == ([0, 1], [6, 4], [Cause.LAST_FILL, Cause.PART_FILL])
    assert fills.filled(basket([ONE])) is None
    fills.begin(slice_of(BAR))
    assert fills.filled(basket([ONE])) is not None


@pytest.mark.parametrize("costs", [Costs(impact=1.0), Costs(participation=1.0)])
@pytest.mark.parametrize(("volume", "fills"), [(0.0, False), (nan, False), (7.0, True)])
def test_a_bar_without_volume_fills_nothing_where_volume_matters(costs, volume, fills):
    bar = BAR._replace(volume=[volume] * 3)
    assert (filled(basket([ONE]), bar, costs) is not None) == fills
    assert filled(basket([ONE]), bar, Costs()) is not None


@pytest.mark.parametrize("volume", [4.7e9, 1e200])
def test_a_volume_and_lots_beyond_64_bits_fill_exactly(volume):
    """The lots are 4.7e9 x 1e9 nano-units; the commission is 4.7e8 of money."""
    order, costs = ONE._replace(lots=4_700_000_000), Costs(participation=1.0, commission_bp=10_000.0)
    report = filled(basket([order]), BAR._replace(volume=[volume] * 3), costs)
    assert report is not None
    assert (report.lots, report.fee_micro) == ([4_700_000_000], [470_000_000_000_000])


def test_a_fee_beyond_62_bits_is_the_first_that_no_ledger_holds():
    costs = Costs(commission_bp=10_000.0)
    for price, fee in ((1000, MOST), (1001, MOST + 1)):
        report = filled(basket([ONE._replace(lots=MOST)]), BAR._replace(open_nano=[price] * 3), costs)
        assert report is not None
        assert report.fee_micro == [fee]


@pytest.mark.parametrize("order", [ONE._replace(limit=95_000_000), ONE._replace(stop=105_000_000)])
@pytest.mark.parametrize(("until", "fills"), [(CLOSES - 1, False), (CLOSES, True)])
def test_what_a_bar_does_after_its_open_counts_if_the_window_lasts_to_its_close(order, until, fills):
    report = filled(basket([order._replace(until=until)], Kind.STOP if order.stop else Kind.LIMIT), BAR, Costs())
    assert (report.price_nano if report else None) == ([order.stop or order.limit] if fills else None)


@pytest.mark.parametrize(
    ("start", "until", "fills"), [(OPENS, OPENS + 1, True), (OPENS, OPENS, False), (1001, 9000, False)]
)
def test_an_open_counts_from_the_start_of_the_window_until_before_its_end(start, until, fills):
    assert (filled(basket([ONE._replace(start=start, until=until)]), BAR, Costs()) is not None) == fills
