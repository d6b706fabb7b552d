"""Average cost and realised profit of one account."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from quantd.trading.portfolio import Account

trades = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-1000, 1000).filter(bool), st.integers(1, 10**9)), max_size=40
)


def played(rows: list[tuple[int, int, int]]) -> Account:
    account = Account(3)
    for column, lots, price in rows:
        account.trade([(column, lots, -lots * price)])
    return account


def test_a_partial_sale_realises_against_the_average_cost() -> None:
    account = played([(0, 10, 100), (0, 10, 200), (0, -5, 190)])
    assert (account.lots[0], account.cost_micro[0], account.realised_micro) == (15, 2250, 5 * 190 - 750)


def test_a_short_that_is_bought_back_realises_the_fall() -> None:
    account = played([(1, -10, 100), (1, 4, 90)])
    assert (account.lots[1], account.cost_micro[1], account.realised_micro) == (-6, -600, 40)


def test_a_trade_through_zero_closes_the_old_side_and_opens_the_new_at_the_price() -> None:
    account = played([(0, 10, 100), (0, -25, 120)])
    assert (account.lots[0], account.cost_micro[0], account.realised_micro) == (-15, -1800, 200)


@given(trades)
def test_trades_in_columns_equal_trades_one_by_one(rows: list[tuple[int, int, int]]) -> None:
    together = Account(3)
    together.trade((column, lots, -lots * price) for column, lots, price in rows)
    assert together.freeze() == played(rows).freeze()


@given(trades)
def test_profit_is_within_a_micro_a_trade_of_the_rational_average(rows: list[tuple[int, int, int]]) -> None:
    account = played(rows)
    lots, cost, realised = [0] * 3, [Fraction(0)] * 3, Fraction(0)
    for column, change, price in rows:
        held = lots[column]
        closing = -max(-abs(held), -abs(change)) * (1 if change > 0 else -1) if held * change < 0 else 0
        if closing:
            part = cost[column] * closing / held
            realised += -closing * price + part
            cost[column] += part
        cost[column] += (change - closing) * price
        lots[column] = held + change
    assert account.lots == lots
    assert abs(account.realised_micro - realised) <= len(rows)
    assert account.unexplained_micro() == 0
    assert all(not cost for cost, held in zip(account.cost_micro, lots, strict=True) if not held)


@given(trades, st.integers(-(10**30), 10**30))
def test_a_frozen_account_comes_back_whole(rows: list[tuple[int, int, int]], residue: int) -> None:
    account = played(rows)
    account.residue_atto = residue
    account.pay(7)
    account.receive(-3)
    account.flow(11)
    other = Account(3)
    other.trade([(0, 5, 99)])
    other.thaw(account.freeze())
    assert other.freeze() == account.freeze()
    assert other.residue_atto == residue


def test_unexplained_cash_is_measured() -> None:
    account = played([(0, 10, 100)])
    account.cash_micro += 5
    assert account.unexplained_micro() == 5
