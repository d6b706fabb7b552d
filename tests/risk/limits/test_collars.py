"""Limit prices against rational numbers."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.limits.ruleset import Rules
from quantd.trading.execution import ANY_BUY, ANY_SALE
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.number_types import read_floats

TICKS = (1, 7, NANO // 4, 1_000 * NANO)
UNIVERSE = Universe(tuple(Instrument(f"S{k}", tick_nano=tick) for k, tick in enumerate(TICKS)))
LIMITS = Limits(collar=0.03, reduce_collar=0.1, flatten_collar=0.05, max_price_age_ns=100)


@given(
    st.lists(st.integers(1, 10**15) | st.integers(1, 4 * 10**18), min_size=4, max_size=4),
    st.lists(st.sampled_from([-3.0, 0.0, 2.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([-5.0, 0.0, 4.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([-1, 0, 100, 101]), min_size=4, max_size=4),
)
def test_a_limit_price_is_the_mark_and_its_collar_in_whole_ticks_towards_the_mark(marks, lots, held, age):
    arrays = read_floats(np.array(lots)), read_floats(np.array(held)), np.array(marks).data, np.array(age).data
    prices = Rules(LIMITS, UNIVERSE).collars.prices(*arrays)
    for k, tick in enumerate(TICKS):
        width = Fraction(3, 100)
        if lots[k] * held[k] < 0:
            width = Fraction(1, 10) if 0 <= age[k] <= 100 else Fraction(1, 20)
        exact = marks[k] * (1 + width if lots[k] > 0 else 1 - width) / tick
        ticks = floor(exact) if lots[k] > 0 else ceil(exact)
        assert prices[k] == (ticks * tick if lots[k] else 0)


def test_without_a_collar_any_price_does():
    collar = Rules(Limits(collar=1.0, reduce_collar=1.0, flatten_collar=1.0), UNIVERSE).collars.adding
    assert (collar.price(0, True, 10**12), collar.price(0, False, 10**12)) == (ANY_BUY, ANY_SALE)


@pytest.mark.parametrize(
    "change", [{"collar": 0.02}, {"reduce_collar": 0.09}, {"flatten_collar": 0.04}, {"max_price_age_ns": 99}]
)
def test_sets_are_equal_where_no_order_has_another_price(change):
    collars = Rules(LIMITS, UNIVERSE).collars
    assert collars.equals(Rules(LIMITS, UNIVERSE).collars)
    assert not collars.equals(Rules(override(LIMITS, **change), UNIVERSE).collars)


def test_a_price_beyond_62_bits_is_an_overflow():
    with pytest.raises(OverflowError):
        Rules(LIMITS, UNIVERSE).collars.adding.price(0, True, 2**62)
