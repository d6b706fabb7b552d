"""The rate on cash: the last one known by date, mistakes by file and line, and returns that are what a ledger books."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.trading.cash_rate import CashRateError, constant, earned, parsed
from quantd.trading.execution import RATE_ONE
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.books import Ledger
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import sharpe, sortino

SERIES = "date,rate\n2024-01-02,0.05\n2024-01-05,0.04\n"


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days * DAY_NS


def test_a_session_earns_the_last_rate_dated_before_it_and_never_a_later_one() -> None:
    rate = parsed(SERIES, "bills.csv")
    rates = {
        "2024-01-02": 0,
        "2024-01-03": RATE_ONE // 20,
        "2024-01-05": RATE_ONE // 20,
        "2024-01-08": RATE_ONE // 25,
        "2030-01-01": RATE_ONE // 25,
    }
    assert {text: rate.before(day(text)) for text in rates} == rates
    interest = rate.earned([day("2024-01-02"), day("2024-01-05"), day("2024-01-08")])
    assert interest.tolist() == [0.0, earned(RATE_ONE // 20, 3), earned(RATE_ONE // 25, 3)]
    assert constant(0.05).earned([day("2024-01-02"), day("2024-01-03")])[1] == pytest.approx(0.05 / 365, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"bills.csv:1: it has the columns none. Name them date,rate"),
        ("ts,close\n", r"bills.csv:1: it has the columns ts, close. Name them date,rate"),
        ("date,rate\n", r"bills.csv:2: there is no rate"),
        ("date,rate\n2024-01-02,0.05\n2024-1-3,0.05\n", r"bills.csv:3: '2024-1-3,0.05' is no date and rate"),
        ("date,rate\n2024-01-02\n", r"bills.csv:2: '2024-01-02' is no date and rate"),
        ("date,rate\n2024-01-02,5.2\n", r"bills.csv:2: rate 5.2 is not within -0.05 to 0.5. Write 0.052"),
        ("date,rate\n2024-01-02,nan\n", r"bills.csv:2: rate nan is not within"),
        (SERIES + "2024-01-05,0.03\n", r"bills.csv:4: 2024-01-05 does not follow 2024-01-05. Sort it by date"),
    ],
)
def test_a_mistake_names_file_line_value_and_remedy(text: str, said: str) -> None:
    with pytest.raises(CashRateError, match=said):
        parsed(text, "bills.csv")


def test_a_session_before_the_first_rate_is_refused() -> None:
    rate = parsed(SERIES, "bills.csv")
    rate.begins(day("2024-01-02"))
    with pytest.raises(CashRateError, match=r"bills.csv:2: the first rate is of 2024-01-02, .* is of 2023-12-29. Add"):
        rate.begins(day("2023-12-29"))


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, RATE_ONE // 2)), min_size=3, max_size=40))
def test_an_account_of_cash_alone_has_no_excess_return(steps: list[tuple[int, int]]) -> None:
    ledger = Ledger(Universe((Instrument("A"),)), ["one"])
    ledger.deposit(10**14, 0)
    equity, free = [10**14], []
    for days, rate in steps:
        ledger.interest([book.cash_micro for book in ledger.books], rate, days)
        ledger.check()
        equity.append(ledger.house.cash_micro)
        free.append(earned(rate, days) * 252)
    returns = np.diff(equity) / np.array(equity[:-1])
    np.testing.assert_allclose(returns * 252, free, atol=1e-11)


def test_one_rate_for_each_return_gives_the_ratios_of_the_same_rate_once() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 300)
    assert sharpe(returns, 252, np.full(300, 0.03)) == pytest.approx(sharpe(returns, 252, 0.03), rel=1e-12)
    assert sortino(returns, 252, np.full(300, 0.03)) == pytest.approx(sortino(returns, 252, 0.03), rel=1e-12)
    assert np.isnan(sharpe(np.full(300, 0.0001), 252, np.full(300, 0.0252)))
