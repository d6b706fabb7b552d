"""Numbers of vendors become prices without a detour through binary fractions."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import from_source, joined, nano, number, rows_of, within
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


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e30", "9200000000"])
def test_what_cannot_be_money_is_no_price(text: str) -> None:
    assert nano(number(text)) == 0


def test_half_a_nano_goes_to_the_even_neighbour() -> None:
    assert [nano(Decimal(text)) for text in ("0.0000000005", "0.0000000015", "0.0000000025")] == [0, 2, 2]


def test_a_missing_number_is_nan_and_no_bars_are_no_rows() -> None:
    one = Decimal(1)
    rows = rows_of([(5, 0, one, one, None, one, None), (6, 1, None, one, one, one, one)])
    assert np.isnan(rows.low[0])
    assert np.isnan(rows.volume[0])
    assert rows.open_nano.tolist() == [NANO, 0]
    assert from_source(rows, 3).source.tolist() == [3, 3]
    assert len(joined([rows_of(()), rows_of(())])) == 0
    assert joined([rows, rows_of(()), rows]).ts.tolist() == [5, 6, 5, 6]
    assert within(rows, 5, 6).ts.tolist() == [5]
