"""The formula of Perold (1988) and its parts, exact."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.measures.execution_shortfall import Piece, Shortfall, added, shortfall
from quantd.trading.instruments import NANO

PRICES = st.integers(1, 10**6).map(lambda cents: cents * 10**7)


def test_each_part_of_a_worked_buy_is_what_it_is_called() -> None:
    # 1,000 decided at 100; 600 sent at 101 and filled at 101.5 with 6.00 of fees; 400 never, the mark ends at 103
    costs = shortfall(1_000, NANO, 100 * NANO, [Piece(600, 101_500_000_000, 6_000_000, 101 * NANO)], 103 * NANO)
    assert costs == Shortfall(100_000 * 10**6, 600 * 10**6, 300 * 10**6, 6 * 10**6, 1_200 * 10**6)
    assert costs.total_micro == 2_106 * 10**6
    assert costs.bp(costs.total_micro) == 210.6


def test_a_sale_into_a_falling_market_is_worse_too() -> None:
    costs = shortfall(-10, NANO, 100 * NANO, [Piece(-10, 98 * NANO, 0, 99 * NANO)], None)
    assert (costs.delay_micro, costs.impact_micro, costs.opportunity_micro) == (10 * 10**6, 10 * 10**6, 0)


def test_what_may_still_fill_has_no_opportunity_yet() -> None:
    costs = shortfall(10, NANO, 100 * NANO, [], None)
    assert costs.opportunity_micro is None
    assert costs.total_micro is None
    assert costs.bp(costs.total_micro) is None
    assert added([costs, costs]).total_micro is None


@given(
    st.integers(-(10**6), 10**6).filter(bool), PRICES, PRICES,
    st.lists(st.tuples(st.integers(1, 1_000), PRICES, PRICES, st.integers(0, 10**9)), max_size=5),
)  # fmt: skip
def test_the_parts_add_up_to_paper_less_real(lots, decision, end, fills) -> None:
    side = 1 if lots > 0 else -1
    pieces, unfilled = [], abs(lots)
    for many, price, arrival, fee in fills:
        if many <= unfilled:
            pieces.append(Piece(side * many, price, fee, arrival))
            unfilled -= many
    costs = shortfall(lots, NANO, decision, pieces, end)
    paper = Fraction(lots * (end - decision), NANO)
    real = sum(Fraction(p.lots * (end - p.price_nano), NANO) - Fraction(p.fee_micro, 10**6) for p in pieces)
    assert costs.total_micro is not None
    assert abs(Fraction(costs.total_micro, 10**6) - (paper - real)) <= Fraction(3, 2 * 10**6)
    assert added([costs]) == costs
    assert added([costs, costs]).total_micro == 2 * costs.total_micro
