"""Cost formulas and splits against rational numbers."""

from fractions import Fraction
from math import ceil, floor, inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantd.trading.execution import (
    ANY_BUY,
    ANY_SALE,
    RATE_ONE,
    Costs,
    borrow_micro,
    divide_half_even,
    interest_micro,
    notional_atto,
    rate_of_bp,
    round_micro,
    split_row,
    split_stop,
    with_remainder,
)

big = st.integers(-(10**40), 10**40)
price = st.integers(1, 10**16)
decimals = st.integers(0, 10**7).map(lambda k: k / 10_000)


@given(big)
def test_rounding_to_micro_is_half_even_and_the_residue_makes_it_exact(atto: int) -> None:
    micro, residue = round_micro(atto)
    assert micro == round(Fraction(atto, 10**12))
    assert micro * 10**12 + residue == atto


@given(big, st.integers(1, 10**30) | st.integers(-(10**30), -1))
def test_division_is_to_the_nearest_ties_to_even(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_a_notional_is_exact_beyond_64_bits() -> None:
    assert notional_atto(-3_000_000, 10**9, 123_456_789_012_345) == -370370367037035000000 * 10**9


@given(decimals)
def test_basis_points_are_the_decimal_they_print_as(bp: float) -> None:
    assert Fraction(rate_of_bp(bp), RATE_ONE) == Fraction(str(bp)) / 10_000


@given(big, decimals, st.integers(0, 400))
def test_borrow_is_the_annual_rate_over_365_days(atto: int, bp: float, days: int) -> None:
    exact = Fraction(abs(atto), 10**12) * Fraction(str(bp)) / 10_000 * days / 365
    assert borrow_micro(atto, rate_of_bp(bp), days) == round(exact)


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


def test_one_share_is_split_to_its_owners_favour() -> None:
    assert [split_row(lots, 0, 5, 2, 1)[2] for lots in (1, -1, 2, -2)] == [2, 3, 2, 3]


@pytest.mark.parametrize(("lots", "worst"), [(10, ANY_BUY), (-10, ANY_SALE)])
def test_a_split_keeps_the_limit_of_an_order_without_a_collar(lots: int, worst: int) -> None:
    assert split_row(lots, 0, worst, 1, 4)[2] == split_row(lots, 0, worst, 4, 1)[2] == worst


@given(st.integers(), st.lists(st.integers()))
def test_the_last_part_takes_the_remainder(total: int, parts: list[int]) -> None:
    shares = with_remainder(total, parts)
    assert shares[:-1] == parts
    assert sum(shares) == total


@given(st.integers(-(10**18), 10**18), st.integers(-(10**12), 10**12), st.integers(0, 400))
def test_interest_is_the_annual_rate_over_365_days(cash: int, rate: int, days: int) -> None:
    assert interest_micro(cash, rate, days) == round(Fraction(cash * rate * days, RATE_ONE * 365))


@given(st.integers(1, 10**12), st.integers(1, 20), st.integers(1, 20))
def test_the_stop_of_a_split_is_rounded_so_that_it_never_triggers_later(stop: int, up: int, down: int) -> None:
    exact = Fraction(stop * down, up)
    assert split_stop(stop, True, up, down) == floor(exact)
    assert split_stop(stop, False, up, down) == ceil(exact)
