"""Limit orders on one bar against rational numbers, order by order."""

from math import nan

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.batches.fills_kernel import fill_limits
from quantd.trading.execution import MOST, RATE_ONE, Costs, commission_ratio
from quantd.trading.fill_prices import lots_to_be_had
from quantd.trading.instruments import NANO
from tests.support.examples import examples
from tests.support.fills import CLOSES, LOTS, OPENS, Bar, Order, bars_of, costs_of, expected, orders_of


def made_of(args: list[object]) -> int:
    """The number of fills."""
    return fill_limits(*[each.data if isinstance(each, np.ndarray) else each for each in args])


def arguments(orders: list[Order], bar: Bar, costs: Costs, columns: int) -> list[object]:
    numbers = np.array([[each[k] for each in orders] for k in range(columns)], dtype=np.int64).ravel()
    ratios = [commission_ratio(size, costs.commission_rate) for size in LOTS]
    shares = [costs.participation_ratio(size) for size in LOTS]
    terms = [each[k] for pair in (ratios, shares) for k in (0, 1) for each in pair]
    rows = len(orders)
    return [
        numbers, rows, OPENS, CLOSES, np.array(bar.fresh, dtype=np.uint8), np.array(bar.open_nano),
        np.array(bar.low), np.array(bar.high), np.array(bar.volume), np.array([*terms, *LOTS]), costs.fixed_rate,
        RATE_ONE, costs.commission_min_micro, costs.participation > 0, float(costs.impact), np.full(3, -1),
        np.full(4 * rows + 1, -9),
    ]  # fmt: skip


@given(st.lists(orders_of, min_size=1, max_size=6), bars_of, costs_of)
@settings(max_examples=examples(600), deadline=None)
def test_limit_orders_fill_on_a_bar_as_rational_numbers_do(orders, bar, costs):
    orders = [each._replace(done=min(each.done, abs(each.lots) - 1)) for each in orders]
    if costs.commission_min_micro == 0:
        orders = [each._replace(charged=-1) for each in orders]
    args = arguments(orders, bar, costs, 7)
    fills, ended, after = expected(orders, bar, costs)
    assert made_of(args) == len(fills)
    out = args[-1]
    assert out[:-1].reshape(4, -1)[:, : len(fills)].T.tolist() == fills
    assert out[-1] == ended
    assert args[0].reshape(7, -1).T.tolist() == [list(each)[:7] for each in after]


@given(st.lists(orders_of, min_size=1, max_size=6), bars_of)
def test_orders_without_fills_and_minimum_need_five_columns(orders, bar):
    orders = [each._replace(done=0, charged=-1) for each in orders]
    args = arguments(orders, bar, Costs(spread_bp=2.0), 5)
    fills, ended, after = expected(orders, bar, Costs(spread_bp=2.0))
    assert made_of(args) == len(fills)
    assert args[-1][:-1].reshape(4, -1)[:, : len(fills)].T.tolist() == fills
    assert args[-1][-1] == ended
    assert args[0].reshape(5, -1).T.tolist() == [list(each)[:5] for each in after]


ONE = Order(0, 7, 110_000_000, 9 * CLOSES, 0, 0, -1)
BAR = Bar([True] * 3, [100_000_000] * 3, [0.09] * 3, [0.11] * 3, [40.0] * 3)


def made(order: Order, bar: Bar, costs: Costs) -> int:
    return made_of(arguments([order], bar, costs, 7))


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


def test_volume_that_earlier_orders_have_left_is_what_a_later_one_gets():
    costs = Costs(participation=0.25)
    orders = [ONE._replace(lots=6), ONE._replace(lots=-7, limit=90_000_000), ONE]
    args = arguments(orders, BAR, costs, 7)
    assert made_of(args) == 2
    assert args[-1][:3].tolist()[:2] == [6, 4]
    assert args[-2].tolist() == [0, -1, -1]


def filled(ts_open: int = 100, volume: float = 1e6, **order: int) -> list[int] | None:
    """What `fill_limits` makes of one order on a bar from `ts_open` to 200: its columns, and the number of orders that
    are filled whole; None without a fill. The bar opens at 50,000 nano and trades between 40,000 and 60,000."""
    given = {"lots": 7, "limit": 60_000, "until": 150, "start": 100, "done": 0, "charged": -1} | order
    orders, out, left = np.array([0, *given.values()]), np.full(5, -9), np.full(1, -1)
    made = made_of([
        orders, 1, ts_open, 200, np.ones(1, dtype=np.uint8), np.array([50_000]), np.array([4e-5]),
        np.array([6e-5]), np.array([volume]),
        np.array([1, 10_000, 1, 10**14, NANO]), 0, RATE_ONE, 0, True, 0.0, left, out,
    ])  # fmt: skip
    assert orders[4] == (200 if made or ts_open >= given["start"] else given["start"])
    return out.tolist() if made else None


def test_an_order_fills_from_the_start_of_its_window_until_before_its_end_and_only_what_is_left_of_it() -> None:
    whole = [7, 50_000, 35, 0, 1]
    assert filled() == filled(start=99) == filled(until=101) == whole
    assert filled(start=101) is filled(until=100) is filled(until=99) is None
    assert filled(done=3) == [4, 50_000, 20, 0, 1]
    assert filled(done=3, lots=-7, limit=50_000) == [4, 50_000, 20, 0, 1]
    # a hundred-thousandth of the volume
    assert filled(volume=5e5) == [5, 50_000, 25, 0, 0]
    assert filled(volume=0.0) is None


def test_an_order_beyond_the_open_fills_at_its_limit_where_the_bar_trades_through_it_within_its_window() -> None:
    assert filled(limit=45_000) is filled(limit=40_000, until=200) is None
    assert filled(limit=45_000, until=200) == [7, 45_000, 32, 0, 1]
    assert filled(limit=55_000, lots=-7, until=200) == [7, 55_000, 38, 0, 1]
    assert filled(limit=60_000, lots=-7, until=200) is None
