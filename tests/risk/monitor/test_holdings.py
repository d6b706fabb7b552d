"""Weights of a book beside plain numpy formulas."""

import numpy as np
import pytest

from quantd.risk.monitor.holdings import Holdings


@pytest.mark.parametrize("size", [1, 2, 3, 20, 65, 400])
@pytest.mark.parametrize("gaps", [False, True])
def test_weights_are_shares_of_the_equity_and_nothing_without_a_price_counts(size: int, gaps: bool) -> None:
    rng = np.random.default_rng(size)
    held = Holdings(size)
    for _ in range(2):  # the second book must not see the first one
        values = rng.normal(size=size) * 1e5
        if gaps:
            values[::4], values[1::7] = np.nan, np.inf
        held.values[:] = values
        held.weigh(2.5e5)
        weights = np.where(np.isfinite(values), values, 0.0) / 2.5e5
        largest = np.sort(np.append(np.abs(weights), [0.0, 0.0]))
        np.testing.assert_allclose(held.weights, weights, rtol=1e-15)
        np.testing.assert_array_equal(np.asarray(held.size), np.abs(held.weights))
        assert (held.heaviest, held.second()) == pytest.approx((largest[-1], largest[-2]))
        assert (held.net, held.gross) == pytest.approx((weights.sum(), np.abs(weights).sum()))
        assert held.herfindahl() == pytest.approx((weights * weights).sum())
        labels = rng.integers(0, 4, size)
        groups = [np.abs(weights)[labels == label].sum() for label in (1, 2, 3)]
        assert held.heaviest_group(labels.data, np.ones(4).data) == pytest.approx(max(groups))


def test_the_value_of_lots_is_their_number_times_the_price_of_each() -> None:
    held = Holdings(3)
    held.value(np.array([20.0, -3.0, 0.0]).data, np.array([4.0, 0.5, 7.0]).data)
    assert held.values.tolist() == [80.0, -1.5, 0.0]


@pytest.mark.parametrize("equity", [0.0, -1.0, float("nan")])
def test_weights_without_equity_are_refused(equity: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Holdings(2).weigh(equity)


@pytest.mark.parametrize(("rows", "size"), [(2, 1), (30, 3), (252, 20), (90, 65)])
def test_losses_have_the_deviation_and_the_tail_of_numpy(rows: int, size: int) -> None:
    rng = np.random.default_rng(rows)
    held, returns = Holdings(size), np.round(rng.standard_t(3, (rows + 7, size)) * 0.01, 3)
    held.values[:] = rng.normal(size=size) * 1e5
    held.weigh(2.5e5)
    for first in (7, 3):  # the second window must not see the first one
        losses = -returns[first : first + rows].dot(held.weights)
        assert held.lose(returns.data, first, rows)
        assert held.deviation() == pytest.approx(losses.std(ddof=1), rel=1e-9)
        worst = np.sort(losses)[::-1]
        for count in {1, 2, (rows + 1) // 2, rows}:
            assert held.tail(count, False) == pytest.approx(worst[count - 1], rel=1e-12, abs=1e-15)
            assert held.tail(count, True) == pytest.approx(worst[:count].mean(), rel=1e-9, abs=1e-15)
    returns[5, 0] = np.nan
    assert not held.lose(returns.data, 3, rows) or rows < 3
