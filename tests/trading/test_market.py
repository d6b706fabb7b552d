"""Behaviour of blocks, rings and the two views of history."""

import numpy as np
import pytest

from quantd.trading.history import History, Ring
from quantd.trading.market import Block, MarketSlice, nano
from quantd.trading.sessions import DAY_NS


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


def test_a_split_and_a_dividend_of_one_day_are_no_loss() -> None:
    ring = Ring(1, 10)
    ring.append(np.array([100.0]))
    # a dividend of 2 on the old share, then 4:1: 98 / 4 = 24.5 a new share is a return of exactly zero
    ring.append(np.array([24.5]), [(0, 1.0, 2.0), (0, 4.0, 0.0)])
    assert ring.returns(1)[0, 0] == pytest.approx(0.0, abs=1e-15)


def test_returns_beyond_what_is_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="between 1 and 4"):
        Ring(1, 4).returns(5)


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
