"""Decimal text of an exchange: exact both ways, towards the safe side where something must be cut."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.exchange.numbers import NotExact, decimal, lots_and_odd, micro, nano, on_tick, text_of, whole_lots
from quantd.trading.instruments import NANO

SIZES = st.sampled_from([1, 10, 1000, NANO // 10_000, NANO // 3, NANO])


@given(st.integers(-(10**18), 10**18))
def test_nano_units_survive_their_text(value: int) -> None:
    assert nano(text_of(value)) == value
    assert "e" not in text_of(value).lower()


@given(st.integers(0, 10**12), SIZES)
def test_whole_lots_come_back_and_a_part_of_one_is_refused(lots: int, size: int) -> None:
    assert whole_lots(text_of(lots * size), size) == lots
    if size > 1:
        with pytest.raises(NotExact):
            whole_lots(text_of(lots * size + 1), size)


@given(st.decimals(-(10**9), 10**9, places=12), SIZES)
def test_a_holding_is_its_lots_and_what_is_odd(amount: Decimal, size: int) -> None:
    lots, odd = lots_and_odd(str(amount), size)
    lot = Decimal(size) / NANO
    assert lots * lot + Decimal(odd or 0) == amount
    assert abs(Decimal(odd or 0)) < lot
    assert lots * amount >= 0, "towards zero"


@given(st.integers(1, 10**15), st.integers(1, 10**9), st.booleans())
def test_a_limit_moves_to_its_tick_by_less_than_one_and_never_to_the_worse(price: int, tick: int, buy: bool) -> None:
    at = on_tick(price, tick, down=buy)
    assert at % tick == 0
    assert 0 <= (price - at if buy else at - price) < tick


@given(st.decimals(-(10**9), 10**9, places=9))
def test_money_is_rounded_half_even_at_the_micro(amount: Decimal) -> None:
    assert abs(Decimal(micro(str(amount))) - amount * 1_000_000) <= Decimal("0.5")


@pytest.mark.parametrize("text", [0.1, None, "NaN", "inf", "", "1,5", "abc"])
def test_what_is_no_exact_number_is_refused(text: object) -> None:
    with pytest.raises(NotExact):
        decimal(text)
