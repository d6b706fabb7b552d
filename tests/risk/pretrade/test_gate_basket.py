"""A whole basket at the gate: what is asked for, in which order, and what is not."""

import numpy as np
import pytest

from quantd.risk.limits.catalogue import Limits, Reason, Tail
from quantd.risk.pretrade.gate import Account, gate
from tests.support.risk_books import make_context, scenario_returns

PX = np.array([100.0, 50.0, 200.0])


def test_rows_that_symbols_have_together_are_too_few_where_one_lookback_is() -> None:
    """Each of two symbols has 60 of the last 100 rows, both together 20. Of the last 300 they have 220."""
    returns = scenario_returns(np.random.default_rng(5), 2, 300)
    returns[-100:-60, 0] = returns[-40:, 1] = np.nan
    limits = Limits(var=Tail(limit=0.5, lookback=100), cvar=Tail(limit=0.5, lookback=300), min_history=60)
    book = Account(lots=np.zeros(2), cash=1e5, equity=1e5)
    for asked, passes in (([1.0, 0.0], True), ([0.0, 1.0], True), ([1.0, 1.0], False)):
        ctx = make_context(PX[:2], returns, ["A", "B"])
        verdict = gate(ctx, book, np.array(asked), limits)
        assert verdict.lots.tolist() == (asked if passes else [0.0, 0.0])
        assert verdict.reason.tolist() == ([0, 0] if passes else [Reason.HISTORY] * 2)


@pytest.mark.parametrize("by_hand", [False, True])
def test_orders_of_a_symbol_whose_price_jumped_are_refused_or_by_hand_those_that_add(by_hand: bool) -> None:
    ctx = make_context(PX, scenario_returns(np.random.default_rng(5), 3), ["A", "B", "C"])
    jumped = np.array([True, True, False])
    book = Account(lots=np.array([5.0, 5.0, 5.0]), cash=1e5, equity=1e5, jumped=jumped, by_hand=by_hand)
    verdict = gate(ctx, book, np.array([-2.0, 3.0, -1.0]), Limits())
    assert verdict.lots.tolist() == [-2.0 if by_hand else 0.0, 0.0, -1.0]
    assert verdict.reason.tolist() == [0 if by_hand else Reason.PRICE_JUMP, Reason.PRICE_JUMP, 0]


@pytest.mark.parametrize("collar", [0.0, 0.05])
@pytest.mark.parametrize("lots", [1e307, -1e307, 1.7e308, -1.7e308])
def test_orders_whose_value_is_no_number_are_refused(collar: float, lots: float) -> None:
    """A lot is worth 100: the value is beyond the largest float, and the equity left is minus infinity or NaN."""
    ctx = make_context(PX, scenario_returns(np.random.default_rng(5), 3), ["A", "B", "C"])
    book = Account(lots=np.array([0.0, 0.0, 4.0]), cash=1e5, equity=1e5)
    for beside in (0.0, lots):
        verdict = gate(ctx, book, np.array([lots, beside, -1.0]), Limits(collar=collar, reduce_collar=collar))
        assert verdict.lots.tolist() == [0.0, 0.0, -1.0]
        assert verdict.reason[0] > 0


def test_refusals_that_follow_each_other_all_count_and_the_first_gives_the_reason() -> None:
    ctx = make_context(PX, scenario_returns(np.random.default_rng(5), 3), ["A", "B", "C"])
    limits = Limits(restricted=("A",), allow_short=False)
    book = Account(lots=np.zeros(3), cash=1e5, equity=1e5)
    for sign, codes in (
        (1.0, [Reason.RESTRICTED, 0, 0]),
        (-1.0, [Reason.RESTRICTED, Reason.SHORT, Reason.SHORT]),
    ):
        verdict = gate(ctx, book, np.full(3, sign), limits)
        assert verdict.reason.tolist() == codes
        assert verdict.lots.tolist() == [sign if code == 0 else 0.0 for code in codes]
