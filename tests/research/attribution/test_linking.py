"""Linked contributions add up to the compounded return, whatever the returns are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.research.attribution.linking import (
    link_factors,
    period_return,
    profit_factors,
)
from quantd.research.attribution.profit import profit
from tests.support.book_histories import idle, real_history, three_trades

RETURN = st.floats(-0.9, 2.0)
PAIRS = st.lists(st.tuples(RETURN, RETURN), max_size=60)


@pytest.mark.long
@given(PAIRS)
def test_factors_times_returns_add_up(pairs) -> None:
    one, other = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
    total, benchmark = period_return(one), period_return(other)
    scale = max(1.0, abs(total), abs(benchmark))
    assert abs(link_factors(one).dot(one) - total) < 1e-9 * scale
    assert abs(link_factors(one, other).dot(one - other) - (total - benchmark)) < 1e-9 * scale


def test_tiny_and_zero_returns_have_the_limits_of_the_formula() -> None:
    assert link_factors(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    tiny = np.array([1e-17, -1e-13, 1e-12])
    assert link_factors(tiny).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-11)
    assert link_factors(np.full(2, 0.5), np.full(2, 0.5)).tolist() == pytest.approx([1.5, 1.5])
    assert link_factors(np.empty(0)).tolist() == []
    assert period_return(np.empty(0)) == 0.0


def test_the_loss_of_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="above -100 %"):
        link_factors(np.array([0.1, -1.0]))
    with pytest.raises(ValueError, match="above -100 %"):
        link_factors(np.array([0.1]), np.array([-1.5]))


@pytest.mark.parametrize("history", [three_trades(), idle(), idle(1), real_history()[0]], ids=range(4))
def test_linked_profit_adds_up_to_the_time_weighted_return(history) -> None:
    linked = profit(history).summed("agent", "symbol", "kind", factors=profit_factors(history))
    assert abs(linked.sum() - period_return(history.returns())) < 1e-9
