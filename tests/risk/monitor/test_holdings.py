"""Weights of a book, by the loops and by numpy, beside plain numpy formulas."""

import numpy as np
import pytest

from quantd.risk.monitor.holding_vectors import HoldingVectors
from quantd.risk.monitor.holdings import Holdings

BOTH = pytest.mark.parametrize("kind", [Holdings, HoldingVectors])


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 20, 65, 400])
@pytest.mark.parametrize("gaps", [False, True])
def test_weights_are_shares_of_the_equity_and_nothing_without_a_price_counts(
    kind: type[Holdings], size: int, gaps: bool
) -> None:
    rng = np.random.default_rng(size)
    held = kind(size)
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


@BOTH
def test_the_value_of_lots_is_their_number_times_the_price_of_each(kind: type[Holdings]) -> None:
    held = kind(3)
    held.value(np.array([20.0, -3.0, 0.0]).data, np.array([4.0, 0.5, 7.0]).data)
    assert held.values.tolist() == [80.0, -1.5, 0.0]


@pytest.mark.parametrize("equity", [0.0, -1.0, float("nan")])
def test_weights_without_equity_are_refused(equity: float) -> None:
    with pytest.raises(ValueError, match="at an equity of"):
        Holdings(2).weigh(equity)
