"""The ring by symbol, and statistics that are computed once per sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.trading.bars import CorporateAction
from quantd.trading.history import History, Ring
from quantd.trading.market import Floats
from tests.support.examples import examples

SIZE = 3


def next_row(rng: np.random.Generator, before: Floats, gaps: float) -> tuple[Floats, list[CorporateAction]]:
    """Prices after `before`, some missing, some with a split and a dividend."""
    prices = np.nan_to_num(before, nan=100.0) * np.exp(rng.normal(0.0, 0.02, SIZE))
    prices[rng.random(SIZE) < gaps] = np.nan
    column = int(rng.integers(SIZE))
    return prices, [(column, 2.0, 0.5)] if rng.random() < 0.2 else []


@given(st.integers(2, 80), st.integers(2, 7), st.sampled_from([0.0, 0.1]), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_returns_by_symbol_are_the_returns_by_row_through_actions_rewinds_and_restores(
    rows: int, lookback: int, gaps: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ring, prices = Ring(SIZE, lookback), np.full(SIZE, 100.0)
    for _ in range(rows):
        prices, actions = next_row(rng, prices, gaps)
        ring.append(prices, actions)
        if rng.random() < 0.05:
            ring = ring.copy()
        if rng.random() < 0.4:
            k = int(rng.integers(1, lookback + 1))
            by_symbol = ring.by_symbol(k)
            np.testing.assert_array_equal(by_symbol, ring.returns(k).T)
            assert all(row.flags.c_contiguous and not row.flags.writeable for row in by_symbol)


def test_a_window_by_symbol_is_no_copy_and_survives_later_samples() -> None:
    rng, ring = np.random.default_rng(1), Ring(SIZE, 4)
    for row in np.exp(rng.normal(0.0, 0.02, (8, SIZE)).cumsum(axis=0)):
        ring.append(row)
    first = ring.by_symbol(4)
    before = first.copy()
    assert np.shares_memory(first, ring.by_symbol(3))
    for row in np.exp(rng.normal(0.0, 0.02, (200, SIZE)).cumsum(axis=0)):
        ring.append(row)
        ring.by_symbol(2)
    np.testing.assert_array_equal(first, before)


class Rows:
    """Rows of prices with their actions, and returns by the definition, one number at a time."""

    def __init__(self) -> None:
        self.prices: list[list[float]] = []
        self.actions: list[list[tuple[int, float, float]]] = []

    def add(self, prices: np.ndarray, actions: list[tuple[int, float, float]]) -> None:
        self.prices.append(prices.tolist())
        self.actions.append(actions)

    def returns(self, k: int) -> np.ndarray:
        returns = np.full((k, SIZE), np.nan)
        for row in range(max(1, len(self.prices) - k), len(self.prices)):
            for column in range(SIZE):
                shares, cash = 1.0, 0.0
                for _, ratio, dividend in (action for action in self.actions[row] if action[0] == column):
                    shares, cash = shares * ratio, cash + shares * dividend
                worth, before = self.prices[row][column] * shares + cash, self.prices[row - 1][column]
                returns[k - len(self.prices) + row, column] = worth / before - 1.0
        return returns


@given(st.integers(2, 60), st.integers(2, 5), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(40), deadline=None)
def test_the_three_rings_have_the_returns_of_their_definition(
    samples: int, lookback: int, late: bool, seed: int
) -> None:
    """Rows that are final after their sample, gaps, splits, dividends, rewinds and restores."""
    rng, history = np.random.default_rng(seed), History(SIZE, lookback)
    mark_rows, dated, by_date = Rows(), Rows(), Rows()
    prices = marks = np.full(SIZE, 100.0)
    waiting: list[tuple[np.ndarray, list[tuple[int, float, float]]]] = []
    given = []
    for day in range(samples):
        before, (prices, actions) = marks, next_row(rng, np.where(np.isfinite(prices), prices, marks), 0.15)
        for action in actions:
            history.action(day, *action)
        marks = np.where(np.isfinite(prices), prices, before)
        history.bar(day, np.isfinite(prices), bool(np.isfinite(prices).all()), prices)
        history.sample(10 * day, day, 10 * day + (5 if late else 0), marks)
        mark_rows.add(marks, actions)
        waiting.append((prices, actions))
        while waiting[1 if late else 0 :]:
            row, row_actions = waiting.pop(0)
            dated.add(row, row_actions)
            last = np.array(by_date.prices[-1]) if by_date.prices else np.full(SIZE, np.nan)
            for column, ratio, _ in row_actions:
                last[column] /= ratio
            by_date.add(np.where(np.isfinite(row), row, last), row_actions)
        for ring, expected in (
            (history.known, mark_rows), (history.synchronous, dated), (history.by_date, by_date if late else mark_rows)
        ):  # fmt: skip
            if rng.random() < 0.05:
                start = max(0, ring.end - lookback)
                ring.fill()
                ring.restore(ring.prices[start : ring.end], ring.filled_returns[start : ring.end], ring.count)
            k = int(rng.integers(1, lookback + 1))
            np.testing.assert_array_equal(ring.returns(k), expected.returns(k))
            assert ring.count == len(expected.prices)
            given.append((ring.returns(k), ring.returns(k).copy()))
    for view, copied in given:
        np.testing.assert_array_equal(view, copied)
    assert (history.own_dates is not None) == late
    assert len(history.pending) == len(history.waiting) == (1 if late else 0)


@pytest.mark.parametrize("why", ["a gap", "an action of another date", "a later row"])
@pytest.mark.parametrize("put", [False, True])
def test_the_synchronous_rows_are_the_known_ones_until_a_sample_makes_them_differ(why: str, put: bool) -> None:
    """Through the rewinds of an array; what was read before stays."""
    lookback, rows = 3, 40
    closes = 100.0 + np.random.default_rng(3).normal(size=(rows + 1, SIZE)).cumsum(axis=0)
    history, every, given = History(SIZE, lookback), np.ones(SIZE, bool), []
    for day in range(rows):
        if day and put:
            assert history.put(closes.data, day)  # type: ignore[arg-type]
        else:
            history.bar(day, every, True, closes[day])
            history.sample(10 * day, day, 10 * day, closes[day])
        assert history.joined
        assert history.synchronous.count == history.known.count == day + 1
        given.append((history.synchronous.returns(lookback), history.known.returns(lookback).copy()))
    fresh = np.array([why != "a gap", *every[1:]])
    if why == "an action of another date":
        history.action(rows + 5, 1, 1.0, 2.0)
    history.bar(rows, fresh, bool(fresh.all()), closes[rows])
    history.sample(10 * rows, rows, 10 * rows + (why == "a later row"), closes[rows])
    assert not history.joined
    assert not np.shares_memory(history.synchronous.prices, history.known.prices)
    returns, dated = history.known.returns(lookback), history.synchronous.returns(lookback)
    expected = closes[-lookback:] / closes[-lookback - 1 : -1] - 1.0
    if why == "an action of another date":
        expected[-1, 1] += 2.0 / closes[-2, 1]
    np.testing.assert_allclose(returns, expected)
    if why == "a later row":
        np.testing.assert_array_equal(dated[1:], returns[:-1])
    else:
        np.testing.assert_array_equal(dated[:-1], returns[:-1])
        assert np.isnan(dated[-1, 0]) == (why == "a gap")
        assert dated[-1, 2] == returns[-1, 2]
    for view, copied in given:
        np.testing.assert_array_equal(view, copied)


@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_rows_of_a_block_are_put_as_they_are_appended(rows: int, lookback: int, seed: int) -> None:
    """With actions and with rows that are taken back, of which nothing is left."""
    rng = np.random.default_rng(seed)
    block = 100.0 * np.exp(rng.normal(0.0, 0.02, (rows + 1, SIZE)).cumsum(axis=0))
    one, other = Ring(SIZE, lookback), Ring(SIZE, lookback)
    one.append(block[0])
    other.append(block[0])
    assert not Ring(SIZE, lookback).put(block.data, 0)
    for row in range(1, rows + 1):
        actions: list[CorporateAction] = [(int(rng.integers(SIZE)), 2.0, 0.5)] if rng.random() < 0.3 else []
        if rng.random() < 0.3:
            wrong = block.copy()
            wrong[row] *= 3.0
            other.act(actions)
            assert other.put(wrong.data, row)
            other.sums(2)
            if rng.random() < 0.5:
                other.by_symbol(2)
            other.withdraw()
        other.act([(0, 7.0, 0.0)])
        other.act(actions)
        one.append(block[row], actions)
        assert other.put(block.data, row)
        k = int(rng.integers(1, lookback + 1))
        np.testing.assert_array_equal(other.returns(k), one.returns(k))
        np.testing.assert_array_equal(other.by_symbol(k), one.by_symbol(k))
        np.testing.assert_array_equal(other.sums(lookback).deviation(), one.sums(lookback).deviation())
        assert (other.end, other.count, other.sums(2).rows) == (one.end, one.count, one.sums(2).rows)


@pytest.mark.parametrize("missing", [0.0, -1.0, np.nan])
def test_a_row_of_a_block_without_a_price_now_or_before_is_not_put(missing: float) -> None:
    for column in range(SIZE):
        block = np.full((3, SIZE), 5.0)
        block[1, column] = missing
        ring = Ring(SIZE, 4)
        ring.append(block[0])
        assert not ring.put(block.data, 1)
        assert (ring.end, ring.count) == (1, 1)
        ring.append(block[1])
        assert not ring.put(block.data, 2)
        assert ring.count == 2
