"""Realised returns of a book: deposits are no profit, the figures are those of `quantd.trading.statistics`, a year is
kept."""

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.risk.limits.catalogue import Limits
from quantd.risk.monitor.equity_series import KEPT, LEAST, ROOM
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.trading.statistics import sharpe, volatility

BOTH = Limits(max_realised_volatility=0.25, min_sharpe=0.5)


def of(equity: list[int], flows: list[int] | None = None) -> Realised:
    realised = Realised()
    for value, flow in zip(equity, flows or [0] * len(equity), strict=True):
        realised.add(value, flow)
    return realised


def walk(samples: int, seed: int = 1) -> list[int]:
    moves = np.random.default_rng(seed).normal(0.0005, 0.01, samples)
    return np.rint(1e12 * np.cumprod(1.0 + moves)).astype(int).tolist()


def test_volatility_and_sharpe_are_those_of_the_statistics() -> None:
    equity = walk(300)
    values = of(equity).values(BOTH)
    returns = np.diff(equity)[-KEPT:] / np.array(equity[-KEPT - 1 : -1])
    assert values["max_realised_volatility"] == (pytest.approx(volatility(returns), rel=1e-12), 0.25)
    assert values["min_sharpe"] == (pytest.approx(sharpe(returns), rel=1e-9), 0.5)


def test_fewer_than_60_returns_say_nothing() -> None:
    assert of(walk(LEAST)).values(BOTH) == {}
    assert of(walk(LEAST + 1)).values(BOTH).keys() == {"max_realised_volatility", "min_sharpe"}
    assert of(walk(LEAST + 1)).values(Limits()) == {}


@given(st.lists(st.integers(-(10**9), 10**12), min_size=2, max_size=40))
def test_deposits_and_withdrawals_are_neither_profit_nor_loss(amounts: list[int]) -> None:
    equity, total, given_so_far = [10**13], 0, [0]
    for amount in amounts:
        total += amount
        equity.append(10**13 + total)
        given_so_far.append(total)
    assert np.abs(of(equity, given_so_far).returns()).max() == 0.0


def test_a_book_whose_returns_never_vary_has_no_sharpe_ratio() -> None:
    assert of([10**12] * 100).values(BOTH) == {"max_realised_volatility": (0.0, 0.25)}


def test_samples_without_equity_are_no_returns_that_count() -> None:
    assert of([0] * 5 + walk(LEAST)).values(BOTH) == {}
    assert len(of([0] * 5 + walk(LEAST + 1)).values(BOTH)) == 2
    assert of([0, 1, 2]).returns().tolist() == [1.0]


def test_a_book_that_had_nothing_earns_from_its_first_deposit_on() -> None:
    assert of([0, 10, 30, 45], [0, 10, 20, 25]).returns() == pytest.approx([1.0, 1.0 / 3.0])


def test_a_year_is_known_at_every_sample_and_what_is_kept_is_bounded() -> None:
    equity = walk(2_100)
    flows = [k * 10**6 for k in range(len(equity))]
    earned = (np.array(equity[1:]) - 10**6) / np.array(equity[:-1]) - 1.0
    book = Realised()
    for k, (value, flow) in enumerate(zip(equity, flows, strict=True)):
        book.add(value, flow)
        assert book.count == min(k + 1, KEPT + 1) <= book.end <= ROOM
        if k % 100 == 0 or k > 8 * (KEPT + 1) - 3:
            assert book.returns() == pytest.approx(earned[max(k - KEPT, 0) : k], rel=1e-9)
    assert len(book.freeze().flows) == 8 * (KEPT + 1)


def test_growth_begins_at_the_first_sample_whatever_was_deposited_before() -> None:
    book = Realised()
    book.begin(50, 1_000)
    assert (book.growth, book.grown(60, 1_000)) == (1.0, 60 / 50)
    book.add(55, 1_000)
    assert book.freeze() == FrozenReturns(packed(50, 55), packed(1_000, 1_000), 55 / 50, b"")


step = st.tuples(st.integers(-5, 2**62), st.integers(-(2**62), 2**62), st.none() | st.floats(-0.01, 0.01))


@given(st.lists(st.tuples(step, st.integers(1, 60)), min_size=1, max_size=12))
@example([((1, 0, None), 1), ((0, 0, None), 1)])  # all is lost: growth 0
def test_a_snapshot_has_the_newest_samples_in_the_order_in_which_they_came(
    steps: list[tuple[tuple[int, int, float | None], int]],
) -> None:
    """Each sample comes several times; all are kept in lists."""
    book, equity, flows, earned = Realised(), [], [], []
    growth = 1.0
    for (value, deposits, rate), times in steps * 4:
        for _ in range(times):
            book.add(value, deposits, rate)
            if not equity:
                growth = value / deposits if deposits > 0 else 1.0
            elif equity[-1] > 0.0:
                growth *= (value - (deposits - flows[-1])) / equity[-1]
            earned = [] if rate is None else [*(earned or [0.02 / 252] * len(equity)), rate]
            equity.append(float(value))
            flows.append(float(deposits))
    expected = (packed(*column[-KEPT - 1 :]) for column in (equity, flows, earned))
    frozen = book.freeze()
    assert (frozen.equity, frozen.flows, frozen.earned) == tuple(expected)
    assert np.array(frozen.grown).tobytes() == np.array(growth).tobytes()
    assert book.copy().freeze() == frozen


def packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def test_the_risk_free_rate_has_a_value_for_each_return_and_none_for_a_book_without_equity() -> None:
    book = Realised()
    for equity, earned in ((0, 0.001), (10**6, 0.002), (2 * 10**6, 0.003)):
        book.add(equity, 0, earned)
    assert book.returns().tolist() == [1.0]
    assert book.risk_free_annual().tolist() == pytest.approx([0.003 * 252])


def test_what_cash_earned_is_the_risk_free_rate_of_the_limit_and_survives_a_snapshot() -> None:
    equity, draw = walk(300), np.random.default_rng(2).integers(1, 4, 300) * 0.0002
    realised = Realised()
    for value, rate in zip(equity, draw, strict=True):
        realised.add(value, 0, float(rate))
    returns = np.diff(equity)[-KEPT:] / np.array(equity[-KEPT - 1 : -1])
    expected = sharpe(returns, 252, draw[-KEPT:] * 252)
    assert realised.values(BOTH)["min_sharpe"] == (pytest.approx(expected, rel=1e-9), 0.5)
    assert realised.values(BOTH)["min_sharpe"] != of(equity).values(BOTH)["min_sharpe"]
    again = Realised.thaw(realised.freeze())
    assert again.values(BOTH) == realised.values(BOTH)
    again.add(equity[-1], 0)  # the rate was taken away: the usual one holds again
    assert again.risk_free_annual() == 0.02


def test_a_snapshot_without_growth_has_that_of_its_last_sample() -> None:
    book = of([300, 400, 500], [200, 250, 400])
    assert Realised.thaw(replace(book.freeze(), grown=None)).growth == 1.25
    unpaid = of([300], [0])
    assert Realised.thaw(replace(unpaid.freeze(), grown=None)).growth == 1.0
