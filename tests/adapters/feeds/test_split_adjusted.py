"""Prices divided by later splits and rounded to seven digits come back as they were paid."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.sources.yfinance import currency, factors, paid
from quantd.trading.instruments import NANO
from quantd.trading.sessions import DAY_NS

ratios = st.lists(
    st.sampled_from([(2, 1), (3, 1), (4, 1), (7, 1), (3, 2), (20, 1), (1, 10), (1, 8), (21, 20)]), max_size=3
)


@settings(max_examples=300)
@given(st.integers(100, 99_999), ratios)
def test_any_price_in_cents_survives_division_and_single_precision(cents: int, splits: list[tuple[int, int]]) -> None:
    """Up to 999.99, seven digits hold what is needed; the largest error is half a single-precision step, times the factor."""
    listed = [ActionRow((k + 1) * DAY_NS, 0, "split", new, old, 0) for k, (new, old) in enumerate(splits)]
    factor = factors(np.array([0], dtype=np.int64), listed)
    exact = Fraction(1)
    for new, old in splits:
        exact *= Fraction(new, old)
    assert factor[0] == float(exact)
    sent = np.array([float(np.float32(cents / 100 / factor[0]))])
    assert paid(sent, factor).tolist() == [cents * NANO // 100]


def test_a_factor_counts_the_splits_of_later_days_only() -> None:
    days = np.array([0, DAY_NS, 2 * DAY_NS, 3 * DAY_NS], dtype=np.int64)
    listed = [
        ActionRow(DAY_NS, 0, "split", 2, 1, 0),
        ActionRow(3 * DAY_NS, 0, "split", 3, 1, 0),
        ActionRow(2 * DAY_NS, 0, "dividend", 1, 1, 5),
    ]
    assert factors(days, listed).tolist() == [6.0, 3.0, 3.0, 1.0]


def test_unsplit_doubles_keep_every_digit_and_widened_singles_lose_their_noise() -> None:
    prices = np.array([0.12345678, float(np.float32(29_374.152)), float(np.float32(124.8075)), 470.2])
    assert paid(prices, np.ones(4)).tolist() == [123_456_780, 29_374_152_000_000, 124_807_500_000, 470_200_000_000]


def test_a_dividend_of_six_decimals_is_the_one_that_was_paid() -> None:
    """3.05 before 7:1 and 4:1 is sent as 0.108929."""
    assert paid(np.array([0.108929, 0.0]), np.array([28.0, 28.0]), 0.5e-6).tolist() == [3_050_000_000, 0]


def test_what_is_no_price_stays_none() -> None:
    prices = np.array([np.nan, np.inf, 0.0, 1e12])
    assert paid(prices, np.full(4, 2.0)).tolist() == [0, 0, 0, 0]
    assert np.isnan(currency(np.array([0]))).all()
