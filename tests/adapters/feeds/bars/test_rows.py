"""Numbers of vendors become prices without a detour through binary fractions."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import nano, number
from quantd.trading.instruments import NANO


@given(st.integers(1, 9 * 10**18), st.integers(0, 9))
def test_nine_decimals_are_kept_to_the_last(value: int, zeros: int) -> None:
    text = f"{value // NANO}.{value % NANO:09d}" + "0" * zeros
    assert nano(number(text)) == value
    assert nano(number(f"{value}e-9")) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.10", Decimal("1.10")),
        (5, Decimal(5)),
        (" 7 ", Decimal(7)),
        (None, None),
        (True, None),
        ("", None),
        ("n/a", None),
        ([1], None),
        (1.5, None),
    ],
)
def test_only_text_and_integers_are_numbers(value: object, expected: Decimal | None) -> None:
    assert number(value) == expected
