"""The ring by symbol, its running sums, and statistics that are computed once per sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.trading.bars import CorporateAction
from quantd.trading.covariance import PER_RETURN, PER_SQUARE, covariance
from quantd.trading.history import Ring
from quantd.trading.market import Floats
from quantd.trading.statistics import deviations, means
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


def test_a_statistic_is_computed_once_per_sample_and_window() -> None:
    calls: list[tuple[int, ...]] = []

    def totals(returns: Floats) -> Floats:
        calls.append(returns.shape)
        return returns.sum(axis=0)

    rng, ring = np.random.default_rng(1), Ring(SIZE, 9)
    for row in np.exp(rng.normal(0.0, 0.02, (12, SIZE)).cumsum(axis=0)):
        ring.append(row)
    assert ring.shared(totals, 4) is ring.shared(totals, 4)
    assert calls == [(4, SIZE)]
    np.testing.assert_array_equal(ring.shared(totals, 4, 2), ring.returns(6)[:4].sum(axis=0))
    ring.append(np.ones(SIZE))
    np.testing.assert_array_equal(ring.shared(totals, 4), ring.returns(4).sum(axis=0))
    assert calls == [(4, SIZE)] * 3
    with pytest.raises(ValueError, match="read-only"):
        ring.shared(totals, 4)[0] = 1.0
    with pytest.raises(ValueError, match=r"returns\(10\): between 1 and 9"):
        ring.shared(totals, 5, 5)


def exact(window: Floats, most: float) -> tuple[list[int], list[list[int]], list[int], list[int]]:
    """Sums, products, missing and large returns of a window, by Python's integers of any size."""
    columns = [[x if abs(x) <= most else 0.0 for x in column] for column in window.T.tolist()]
    sums = [sum(round(x * PER_RETURN) for x in column) for column in columns]
    products = [[sum(round(x * y * PER_SQUARE) for x, y in zip(a, b, strict=True)) for b in columns] for a in columns]
    missing = np.isnan(window).sum(axis=0)
    return sums, products, missing.tolist(), (~(np.abs(window) <= most)).sum(axis=0).tolist() - missing


@given(
    st.integers(2, 90), st.integers(2, 8), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=examples(80), deadline=None)
def test_running_sums_are_those_from_scratch_through_gaps_actions_jumps_rewinds_and_restores(
    rows: int, lookback: int, gaps: float, jumps: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ring, prices = Ring(SIZE, lookback), np.full(SIZE, 100.0)
    for _ in range(rows):
        prices, actions = next_row(rng, prices, gaps)
        if rng.random() < jumps:
            prices[int(rng.integers(SIZE))] *= 10.0 ** rng.uniform(-3.0, 6.0)
        ring.append(prices, actions)
        if rng.random() < 0.05:
            ring = ring.copy()
        if rng.random() < 0.6:
            found = ring.moments(int(rng.integers(1, lookback + 1)))
            sums, products, missing, large = exact(ring.returns(found.k), found.most)
            assert found.sums.tolist() == sums
            assert found.squares.tolist() == [row[n] for n, row in enumerate(products)]
            assert found.missing.tolist() == missing
            assert found.large.tolist() == list(large)
            assert found.known is not bool(any(missing) or any(large))
            if rng.random() < 0.5:
                assert found.products().tolist() == products


def test_moments_are_the_statistics_of_the_returns_within_the_rounding_of_a_unit() -> None:
    rng, ring = np.random.default_rng(4), Ring(SIZE, 60)
    for row in np.exp(rng.normal(0.001, 0.02, (700, SIZE)).cumsum(axis=0)):
        ring.append(row)
        found = ring.moments(60)
    returns = ring.returns(60)
    assert found.known
    np.testing.assert_allclose(found.mean(), means(returns), rtol=0, atol=2.0**-41)
    np.testing.assert_allclose(found.deviation(), deviations(returns), rtol=1e-10)
    np.testing.assert_allclose(found.covariance(), covariance(returns), rtol=0, atol=2.0**-48)


def test_a_symbol_with_a_gap_or_a_return_beyond_the_units_has_unknown_moments_until_it_leaves_the_window() -> None:
    ring = Ring(SIZE, 5)
    for row in ([1.0, 1.0, 1.0], [1.1, 1.1, 1.1], [1.0, np.nan, 100.0], [1.1, 1.1, 101.0], [1.0, 1.2, 102.0]):
        ring.append(np.array(row))
    for _ in range(3):
        ring.append(ring.prices[ring.end - 1] * 1.01)
        found = ring.moments(5)
        assert found.complete.tolist() == [True, ring.end > 8, ring.end > 7]
        for statistic in (found.mean(), found.deviation(), found.covariance().diagonal()):
            assert (~np.isnan(statistic)).tolist() == found.complete.tolist()
    ring.append(ring.prices[ring.end - 1] * 1.01)
    assert ring.moments(5).known


def test_a_ring_sums_a_bounded_number_of_windows() -> None:
    ring = Ring(SIZE, 40)
    ring.append(np.ones(SIZE))
    first = ring.moments(1)
    assert ring.moments(1) is first
    for k in range(2, 2 + Ring.SUMMED):
        ring.moments(k)
    assert ring.moments(1) is not first
