"""Behaviour of blocks, rings and the two views of history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.trading.history import History, Ring
from quantd.trading.market import Block, MarketSlice, nano
from quantd.trading.sessions import DAY_NS
from tests.support.examples import examples


def block(closes: np.ndarray) -> Block:
    t, n = closes.shape
    ts = np.arange(1, t + 1) * DAY_NS
    return Block(
        ts_open=ts - DAY_NS // 2, ts_event=ts, key=ts - DAY_NS, open=closes.copy(), high=closes.copy(),
        low=closes.copy(), close=closes, volume=np.full((t, n), 1e6), fresh=np.isfinite(closes),
    )  # fmt: skip


def test_columns_of_a_slice_cannot_be_written() -> None:
    market = MarketSlice(block(np.array([[1.0, 2.0]])), 0)
    with pytest.raises(ValueError, match="read-only"):
        market.close[0] = 5.0


def test_prices_become_nano_exactly_to_six_decimals() -> None:
    assert nano(np.array([[208.55, 0.000001, np.nan, 1.1]])).tolist() == [[208_550_000_000, 1_000, 0, 1_100_000_000]]


@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_ring_returns_equal_the_ratio_of_prices_over_many_rewinds(rows: int, lookback: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prices = np.exp(rng.normal(0, 0.02, (rows, 3)).cumsum(axis=0))
    ring = Ring(3, lookback)
    for row, price in enumerate(prices):
        ring.append(price)
        if rng.random() < 0.3:
            k = int(rng.integers(1, lookback + 1))
            expected = np.full((k, 3), np.nan)
            true = prices[1 : row + 1] / prices[:row] - 1.0
            # a ring keeps at least `lookback` rows of returns once it has seen them
            take = true[-k:]
            expected[k - len(take) :] = take
            np.testing.assert_allclose(ring.returns(k), expected, rtol=1e-13)


def test_a_split_and_a_dividend_of_one_day_are_no_loss() -> None:
    ring = Ring(1, 10)
    ring.append(np.array([100.0]))
    # a dividend of 2 on the old share, then 4:1: 98 / 4 = 24.5 a new share is a return of exactly zero
    ring.append(np.array([24.5]), [(0, 1.0, 2.0), (0, 4.0, 0.0)])
    assert ring.returns(1)[0, 0] == pytest.approx(0.0, abs=1e-15)


def test_returns_beyond_what_is_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="between 1 and 4"):
        Ring(1, 4).returns(5)


def test_synchronous_rows_pair_bars_of_one_date_and_known_rows_do_not() -> None:
    """A crypto day closes hours after an ETF's: by last known prices they look uncorrelated."""
    rng = np.random.default_rng(3)
    shock = rng.normal(0, 0.02, 400)
    price = 100 * np.exp(shock.cumsum())
    history = History(2, 390)
    marks = np.array([np.nan, np.nan])
    etf, crypto = np.array([True, False]), np.array([False, True])
    for day in range(400):
        key = day * DAY_NS
        if day:
            previous = np.array([np.nan, price[day - 1]])
            marks = np.where(crypto, previous, marks)
            history.bar(key - DAY_NS, crypto, False, previous)
        now = np.array([price[day], np.nan])
        marks = np.where(etf, now, marks)
        history.bar(key, etf, False, now)
        history.sample(key + 20, key, key + 30, marks)
    returns, synchronous = history.known.returns(380), history.synchronous.returns(380)
    assert np.corrcoef(synchronous, rowvar=False)[0, 1] == pytest.approx(1.0)
    assert abs(np.corrcoef(returns, rowvar=False)[0, 1]) < 0.2
    assert history.synchronous.count == history.known.count - 1
    np.testing.assert_array_equal(history.by_date.returns(380), synchronous)


@pytest.mark.requirement("R-018")
def test_a_missing_bar_is_never_invented_in_a_synchronous_row() -> None:
    history = History(2, 5)
    both = np.array([True, True])
    history.bar(0, both, True, np.array([1.0, 2.0]))
    history.sample(10, 0, 10, np.array([1.0, 2.0]))
    history.bar(DAY_NS, np.array([True, False]), False, np.array([1.1, np.nan]))
    history.sample(DAY_NS + 10, DAY_NS, DAY_NS + 10, np.array([1.1, 2.0]))
    last = history.synchronous.returns(1)[0]
    assert last[0] == pytest.approx(0.1)
    assert np.isnan(last[1])


def test_a_date_without_a_bar_keeps_the_price_before_in_the_rows_by_date() -> None:
    """Shares of 3:1 split on a holiday of theirs: nothing was earned there, and all of it at their next bar."""
    history = History(2, 5)
    rows = ([30.0, 2.0], [np.nan, 2.1], [11.0, 2.2])
    for day, close in enumerate(rows):
        row = np.array(close)
        fresh = np.isfinite(row)
        if day == 1:
            history.action(DAY_NS, 0, 3.0, 0.0)
        history.bar(day * DAY_NS, fresh, bool(fresh.all()), row)
        history.sample(day * DAY_NS + 10, day * DAY_NS, day * DAY_NS + 20, np.where(fresh, row, 10.0))
    history.sample(3 * DAY_NS + 10, 3 * DAY_NS, 3 * DAY_NS + 20, np.array([11.0, 2.2]))
    assert history.by_date is not history.known
    assert history.by_date.returns(2)[:, 0] == pytest.approx([0.0, 0.1])
    assert history.by_date.returns(2)[:, 1] == pytest.approx([0.05, 2.2 / 2.1 - 1.0])
