"""Linked contributions add up to the compounded return, whatever the returns are."""

from math import log

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


def test_two_periods_by_hand() -> None:
    # +10 % and +20 %: R = 1.1 x 1.2 - 1 = 0.32
    factors = link_factors(np.array([0.1, 0.2]))
    slope = log(1.32) / 0.32
    assert factors.tolist() == pytest.approx([log(1.1) / 0.1 / slope, log(1.2) / 0.2 / slope], rel=1e-12)
    assert factors.dot([0.1, 0.2]) == pytest.approx(0.32, rel=1e-12)


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


def test_a_split_of_the_period_compounds() -> None:
    history, _ = real_history()
    days = history.days_ns
    halves = [history.between(int(days[0]), int(days[100])), history.between(int(days[100]), int(days[-1]))]
    grown = [1.0 + profit(half).summed(factors=profit_factors(half)) for half in halves]
    assert grown[0] * grown[1] - 1.0 == pytest.approx(period_return(history.returns()), abs=1e-9)
