"""Exact division, beside Python's integers: within 63 bits and beyond, compiled or not."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantd.trading import integers
from quantd.trading.execution import MOST
from quantd.trading.integers import half_even, portion, ratio
from tests.support.examples import examples

NUMBERS = st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2**bits))
POSITIVE = NUMBERS.map(lambda n: max(n, 1))
SIGNED = st.tuples(NUMBERS, st.sampled_from((1, -1))).map(lambda pair: pair[0] * pair[1])


@settings(max_examples=examples(400))
@given(NUMBERS, NUMBERS, NUMBERS, POSITIVE)
@example(2**31, 2**31, 1, 1)
@example(2**62, 2**62, 0, 1)
@example(MOST, 1, 1, 1)
@example(MOST, 3, 1, 3)
@example(2**62, 2**62, 2**62, 2**62)
def test_a_ratio_is_that_of_pythons_integers_or_an_overflow(a, b, numerator, divisor):
    quotient, remainder = divmod(a * b * numerator, divisor)
    if quotient <= MOST:
        assert ratio(a, b, numerator, divisor) == (quotient, remainder)
    else:
        with pytest.raises(OverflowError, match=f"{a} x {b} x {numerator} / {divisor} is beyond"):
            ratio(a, b, numerator, divisor)


@settings(max_examples=examples(400))
@given(SIGNED, SIGNED, SIGNED.filter(bool))
@example(-7, 1, 2)
@example(7, -1, 2)
@example(-(2**62), 2**62, 2**62)
@example(2**62, 2, 3)
def test_a_portion_is_rounded_down_whatever_its_signs(amount, part, total):
    share = amount * part // total
    if abs(share) <= MOST:
        assert portion(amount, part, total) == share
    else:
        with pytest.raises(OverflowError, match="is beyond"):
            portion(amount, part, total)


def test_a_portion_of_nothing_is_an_error():
    for amount in (1, 2**62):
        with pytest.raises(ZeroDivisionError):
            portion(amount, 2**62, 0)


@settings(max_examples=examples(200))
@given(SIGNED, POSITIVE, st.data())
def test_half_even_rounds_to_the_nearest_and_ties_to_even(quotient, divisor, data):
    remainder = data.draw(st.integers(0, divisor - 1))
    integer = half_even(quotient, remainder, divisor)
    doubled = 2 * (integer - quotient) * divisor - 2 * remainder
    assert abs(doubled) < divisor or (abs(doubled) == divisor and integer % 2 == 0)


@pytest.mark.uncompiled
def test_the_bound_is_what_refuses_a_large_quotient(monkeypatch):
    monkeypatch.setattr(integers, "MOST", 2**200)
    assert ratio(2**62, 2**62, 1, 1) == (2**124, 0)
