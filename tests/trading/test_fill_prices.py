"""Prices, fees and sizes of fills, against rational numbers."""

from fractions import Fraction
from math import ceil, floor, inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.trading.execution import MOST, RATE_ONE, Costs, lowest, rate_of_bp
from quantd.trading.fill_prices import (
    at_least,
    commission_micro,
    fill_price,
    impact_rate,
    lots_to_be_had,
    nano_of,
    reaches,
    trades_through,
)
from quantd.trading.instruments import NANO
from quantd.trading.market import nano
from tests.support.examples import examples

price = st.integers(1, 10**16)
decimals = st.integers(0, 10**7).map(lambda k: k / 10_000)


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


@pytest.mark.parametrize("volume", [0.0, -5.0, nan, inf, 1e308])
def test_no_or_unknown_volume_gives_no_lots(volume: float) -> None:
    assert lots_to_be_had(volume, 1, 10**9) == 0


@pytest.mark.parametrize(
    ("charged", "fee", "paid"), [(-1, 3, 5), (-1, 10, 10), (0, 3, 0), (0, 10, 5), (3, 2, 0), (3, 4, 2), (7, 2, 2)]
)
def test_an_order_has_paid_the_least_fee_from_its_first_fill_on_and_more_where_its_fills_cost_more(
    charged: int, fee: int, paid: int
) -> None:
    """The least is 5; -1 stands for an order without a fill."""
    assert at_least(5, charged, fee) == paid


@pytest.mark.parametrize(("stop", "low", "high"), [(100, 100e-9, 1.0), (5_000, 2e-6, 5e-6), (10**9, 0.5, 1.0)])
def test_a_stop_is_reached_where_the_bar_trades_at_it(stop: int, low: float, high: float) -> None:
    nanos = [round(quote * 1e6) * 1000 for quote in (low, high)]
    assert reaches(stop, True, low, high) is (nanos[1] >= stop)
    assert reaches(stop, False, low, high) is (0 < nanos[0] <= stop)


def test_a_stop_is_reached_from_below_by_a_purchase_and_from_above_by_a_sale() -> None:
    stop = 100 * NANO
    assert [reaches(stop, True, 0.0, high) for high in (99.999999, 100.0, 100.000001, nan, inf)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert [reaches(stop, False, low, 999.0) for low in (100.000001, 100.0, 99.999999, 0.0, nan)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert not reaches(0, True, 1.0, 2.0)
    assert not trades_through(stop, True, nan, 2.0)


NUMBERS = st.integers(0, 62).flatmap(lambda bits: st.integers(1, 2**bits))


@settings(max_examples=examples(300))
@given(NUMBERS, NUMBERS, NUMBERS | st.integers(1, 10**25), NUMBERS | st.integers(1, 10**25))
def test_a_commission_of_any_size_is_exact_and_one_that_no_ledger_holds_is_the_first_beyond(
    lots: int, at: int, numerator: int, denominator: int
) -> None:
    exact = round(Fraction(lots * at * numerator, denominator))
    assert commission_micro(lots, at, numerator, denominator) == min(exact, MOST + 1)


@settings(max_examples=examples(200))
@given(NUMBERS, NUMBERS, st.booleans(), st.integers(0, 2 * RATE_ONE))
def test_a_fill_of_any_price_is_exact_up_to_its_limit(at: int, limit: int, buy: bool, rate: int) -> None:
    part = Fraction(rate, RATE_ONE)
    wanted = min(ceil(at * (1 + part)), limit) if buy else max(floor(at * max(1 - part, 0)), limit)
    assert fill_price(at, limit, buy, rate) == min(wanted, MOST + 1)


@given(st.floats(1e-9, 1e300), NUMBERS | st.integers(1, 10**25), NUMBERS | st.integers(1, 10**25))
def test_a_share_of_any_volume_is_exact(volume: float, numerator: int, denominator: int) -> None:
    exact = floor(Fraction(int(volume * NANO) if volume * NANO < inf else 0) * numerator / denominator)
    assert lots_to_be_had(volume, numerator, denominator) == min(exact, MOST + 1)


def test_an_impact_beyond_62_bits_is_the_most_and_one_of_lots_beyond_it_is_exact() -> None:
    assert impact_rate(1e300, 1, NANO, 1.0) == impact_rate(1.0, 1, NANO, 1e-300) == MOST
    assert impact_rate(1.0, 10**13, 10**13, 1e17) == ceil(sqrt(1.0) * 10**9)
    assert impact_rate(2.5e-9, 1, NANO, 1.0) == 3


@given(
    st.floats(1e-7, 4e6) | st.integers(1, 10**13).map(lambda n: n / 1e6) | st.integers(1, 999).map(lambda n: n / 2e6)
)
def test_an_extreme_in_nano_is_that_of_the_columns(value: float) -> None:
    assert nano_of(value) == nano(np.array([value]))[0]


def test_an_extreme_beyond_the_integers_is_beyond_every_limit() -> None:
    assert nano_of(4611686018.427386) == 4611686018427386000
    assert [nano_of(quote) for quote in (4.7e9, 1e308)] == [MOST + 1] * 2
    assert [nano_of(quote) for quote in (inf, -inf, nan, -1.0, 0.0)] == [0] * 5
    assert trades_through(MOST, False, 1.0, 1e300)
    assert not trades_through(MOST, True, 1e300, 1e300)


@pytest.mark.parametrize(("halves", "fee"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_half_a_micro_goes_to_the_even_one_also_beyond_62_bits(halves: int, fee: int) -> None:
    assert commission_micro(2**31, 2**31, halves, 2**63) == commission_micro(1, halves, 1, 2) == fee
