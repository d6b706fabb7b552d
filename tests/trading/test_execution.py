"""Fill and cost formulas against rational numbers."""

from fractions import Fraction
from math import ceil, floor, inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantd.daemon.engine.batches.fills_kernel import fill_limits
from quantd.trading.execution import (
    ANY_BUY,
    ANY_SALE,
    MOST,
    RATE_ONE,
    Costs,
    at_least,
    borrow_micro,
    commission_micro,
    commission_ratio,
    divide_half_even,
    fill_price,
    impact_rate,
    lots_to_be_had,
    lowest,
    notional_atto,
    rate_of_bp,
    round_micro,
    split_row,
    trades_through,
)
from quantd.trading.instruments import NANO

big = st.integers(-(10**40), 10**40)
price = st.integers(1, 10**16)
decimals = st.integers(0, 10**7).map(lambda k: k / 10_000)


@given(big)
def test_rounding_to_micro_is_half_even_and_the_residue_makes_it_exact(atto: int) -> None:
    micro, residue = round_micro(atto)
    assert micro == round(Fraction(atto, 10**12))
    assert micro * 10**12 + residue == atto


@pytest.mark.parametrize(("halves", "micro"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (-5, -2)])
def test_a_tie_goes_to_the_even_micro(halves: int, micro: int) -> None:
    assert round_micro(halves * 5 * 10**11) == (micro, halves * 5 * 10**11 - micro * 10**12)


@given(big, st.integers(1, 10**30) | st.integers(-(10**30), -1))
def test_division_is_to_the_nearest_ties_to_even(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_every_small_division_is_to_the_nearest_ties_to_even() -> None:
    for numerator in range(-40, 41):
        for denominator in (*range(-12, 0), *range(1, 13)):
            assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_a_notional_is_exact_beyond_64_bits() -> None:
    assert notional_atto(-3_000_000, 10**9, 123_456_789_012_345) == -370370367037035000000 * 10**9


@given(decimals)
def test_basis_points_are_the_decimal_they_print_as(bp: float) -> None:
    assert Fraction(rate_of_bp(bp), RATE_ONE) == Fraction(str(bp)) / 10_000


@given(price, price, st.booleans(), decimals, decimals)
def test_a_fill_is_the_adverse_open_rounded_adversely_and_never_beyond_the_limit(
    at: int, limit: int, buy: bool, spread: float, slippage: float
) -> None:
    limit = max(at, limit) if buy else min(at, limit)
    costs = Costs(spread_bp=spread, slippage_bp=slippage)
    bp = Fraction(str(spread)) / 2 + Fraction(str(slippage))
    exact = at * (1 + bp / 10_000) if buy else at * (1 - bp / 10_000)
    expected = min(ceil(exact), limit) if buy else max(floor(exact), limit)
    assert fill_price(at, limit, buy, costs.fixed_rate) == expected
    assert fill_price(at, limit, buy, *lowest(costs.fixed_rate, RATE_ONE)) == expected


@given(st.integers(1, 10**9), st.sampled_from([10**9, 10, 123_456_789]), price, decimals)
def test_commission_is_half_even_of_the_exact_notional(lots: int, lot_nano: int, at: int, bp: float) -> None:
    exact = Fraction(lots * lot_nano * at, 10**12) * Fraction(str(bp)) / 10_000
    assert commission_micro(lots, at, *commission_ratio(lot_nano, rate_of_bp(bp))) == round(exact)


@pytest.mark.parametrize(("price_nano", "fee"), [(15_000_000, 2), (25_000_000, 2), (25_000_001, 3), (35_000_000, 4)])
def test_a_commission_of_half_a_micro_goes_to_the_even_one(price_nano: int, fee: int) -> None:
    assert commission_micro(1, price_nano, *commission_ratio(10**9, rate_of_bp(1.0))) == fee


@given(big, decimals, st.integers(0, 400))
def test_borrow_is_the_annual_rate_over_365_days(atto: int, bp: float, days: int) -> None:
    exact = Fraction(abs(atto), 10**12) * Fraction(str(bp)) / 10_000 * days / 365
    assert borrow_micro(atto, rate_of_bp(bp), days) == round(exact)


def test_only_trading_strictly_beyond_the_limit_counts() -> None:
    limit = 99_500_000_000
    assert not trades_through(limit, True, low=99.5, high=101.0)
    assert trades_through(limit, True, low=99.499999, high=101.0)
    assert not trades_through(limit, False, low=98.0, high=99.5)
    assert trades_through(limit, False, low=98.0, high=99.500001)


def test_a_bar_without_a_finite_extreme_trades_through_nothing() -> None:
    assert not trades_through(10**9, True, low=nan, high=2.0)
    assert not trades_through(10**9, True, low=0.0, high=2.0)
    assert not trades_through(10**9, False, low=0.5, high=inf)


def test_impact_follows_the_square_root_of_the_share_of_volume() -> None:
    rate = impact_rate(10.0, lots=400, lot_nano=5 * 10**8, volume=20_000.0)
    assert rate == ceil(10.0 * sqrt(0.01) * 10**9)
    assert impact_rate(10.0, lots=20_000, lot_nano=10**9, volume=20_000.0) == rate_of_bp(10.0)


def test_a_share_of_volume_is_exact_where_floats_fall_short() -> None:
    costs = Costs(participation=0.29)
    assert int(0.29 * 100) == 28
    assert lots_to_be_had(100.0, *costs.participation_ratio(10**9)) == 29
    assert lots_to_be_had(100.0, *costs.participation_ratio(5 * 10**8)) == 58


@pytest.mark.parametrize("volume", [0.0, -5.0, nan, inf, 1e308])
def test_no_or_unknown_volume_gives_no_lots(volume: float) -> None:
    assert lots_to_be_had(volume, 1, 10**9) == 0


@given(st.integers(-(10**9), 10**9).filter(bool), st.data(), price, st.integers(1, 50), st.integers(1, 50))
def test_a_split_never_makes_an_order_larger_or_its_limit_worse(
    lots: int, data: st.DataObject, worst: int, up: int, down: int
) -> None:
    filled = data.draw(st.integers(0, abs(lots)))
    assume(lots > 0 or worst != ANY_SALE)  # the test below
    new_lots, new_filled, new_worst = split_row(lots, filled, worst, up, down)
    assert new_lots * lots >= 0
    assert abs(new_lots) == abs(lots) * up // down
    assert 0 <= new_filled <= abs(new_lots)
    exact = Fraction(worst * down, up)
    assert abs(new_worst - exact) < 1
    assert new_worst <= exact if lots > 0 else new_worst >= exact


@pytest.mark.parametrize("name", ["commission_bp", "impact", "participation", "latency_ns", "slippage_noise"])
@pytest.mark.parametrize("value", [-1, nan, inf])
def test_a_cost_that_is_negative_or_not_finite_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Costs(**{name: value})


@pytest.mark.parametrize("name", ["participation", "slippage_noise"])
def test_a_fraction_above_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Costs(**{name: 1.5})


@pytest.mark.parametrize(
    ("charged", "fee", "paid"), [(-1, 3, 5), (-1, 10, 10), (0, 3, 0), (0, 10, 5), (3, 2, 0), (3, 4, 2), (7, 2, 2)]
)
def test_an_order_has_paid_the_least_fee_from_its_first_fill_on_and_more_where_its_fills_cost_more(
    charged: int, fee: int, paid: int
) -> None:
    """The least is 5; -1 stands for an order without a fill."""
    assert at_least(5, charged, fee) == paid


def test_one_share_is_split_to_its_owners_favour_and_an_impact_beyond_64_bits_is_the_most() -> None:
    assert [split_row(lots, 0, 5, 2, 1)[2] for lots in (1, -1, 2, -2)] == [2, 3, 2, 3]
    assert impact_rate(1e300, 1, NANO, 1.0) == MOST


def filled(ts_open: int = 100, volume: float = 1e6, **order: int) -> list[int] | None:
    """What `fill_limits` makes of one order on a bar from `ts_open` to 200: its columns, and the number of orders that
    are filled whole; None without a fill. The bar opens at 50,000 nano and trades between 40,000 and 60,000."""
    given = {"lots": 7, "limit": 60_000, "until": 150, "start": 100, "done": 0, "charged": -1} | order
    orders, out, left = np.array([0, *given.values()]), np.full(5, -9), np.full(1, -1)
    made = fill_limits(
        orders, 1, ts_open, 200, [True], np.array([50_000]), np.array([4e-5]), np.array([6e-5]), np.array([volume]),
        np.array([1, 10_000, 1, 10**14, NANO]), 0, RATE_ONE, 0, True, 0.0, left, out,
    )  # fmt: skip
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


@pytest.mark.parametrize(("lots", "worst"), [(10, ANY_BUY), (-10, ANY_SALE)])
def test_a_split_keeps_the_limit_of_an_order_without_a_collar(lots: int, worst: int) -> None:
    assert split_row(lots, 0, worst, 1, 4)[2] == split_row(lots, 0, worst, 4, 1)[2] == worst
