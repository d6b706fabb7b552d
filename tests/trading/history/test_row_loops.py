"""The loops over rows: whole numbers by exact fractions, and bounds beside numpy."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from quantd.trading.history.row_loops import ENDLESS, RowLoops, Sums

LOOPS = RowLoops()
EDGE = 16.0
TIE = 2.0**-41
RETURNS = np.array([
    [0.01, -0.02, TIE, 3 * TIE, -TIE, 0.0],
    [1.5, -2.1, 3.999, -4.0, 2.0**-26, -(2.0**-25.5)],
    [1.3, np.nan, 4.1, 0.1, np.inf, -3.7],
    [-0.3, 0.1, -1e100, -0.1, 5e-324, -0.0],
    [0.02, 0.03, -0.04, 0.05, -0.06, 0.07],
])  # fmt: skip
"""Ties, squares of more than 52 bits, at the edge and beyond it, gaps, and a row whose every return counts."""


def told(sums: Sums) -> list[list[int]]:
    return [list(sums.returns), list(sums.squares), list(sums.large)]


def expected(rows: np.ndarray) -> tuple[list[list[int]], int]:
    """What some rows sum to, and how many of them are whole, by fractions."""
    sums = [[0] * rows.shape[1] for _ in range(3)]
    for row in rows.tolist():
        for k, value in enumerate(row):
            square = value * value
            if square <= EDGE:
                sums[0][k] += round(Fraction(value) * 2**40)
                sums[1][k] += round(Fraction(square) * 2**50)
            sums[2][k] += square > EDGE
    return sums, sum(all(value * value <= EDGE for value in row) for row in rows.tolist())


def test_rows_are_counted_in_and_out_as_exact_whole_numbers() -> None:
    sums = Sums(RETURNS.shape[1])
    assert LOOPS.add(sums, RETURNS.data, 0, 5, EDGE) == expected(RETURNS)[1] == 3
    assert told(sums) == expected(RETURNS)[0]
    assert LOOPS.remove(sums, RETURNS.data, 0, 2, EDGE) == 2
    assert told(sums) == expected(RETURNS[2:])[0]
    assert LOOPS.add(sums, RETURNS.data, 3, 3, EDGE) == 0
    assert told(sums) == expected(RETURNS[2:])[0]


@pytest.mark.parametrize("old", range(5))
@pytest.mark.parametrize("new", range(5))
def test_a_row_that_leaves_and_one_that_comes_are_counted_together(old: int, new: int) -> None:
    sums = Sums(RETURNS.shape[1])
    LOOPS.add(sums, RETURNS.data, old, old + 1, EDGE)
    (one, before), (other, after) = expected(RETURNS[old : old + 1]), expected(RETURNS[new : new + 1])
    assert told(sums) == one
    assert LOOPS.exchange(sums, RETURNS.data, old, new, EDGE) == after - before
    assert told(sums) == other


def test_returns_are_those_of_ieee_division() -> None:
    prices = np.array([[1.0, 0.0, np.nan, 3.0], [1.1, 2.0, 2.0, 0.0], [0.7, 0.0, 1.0, 0.0], [0.9, 5.0, 3.0, 1.0]])
    out = np.full_like(prices, 9.0)
    with np.errstate(all="ignore"):
        LOOPS.returns(out.data, prices.data, 4, 1, 4)
        np.testing.assert_array_equal(out[1:], prices[1:] / prices[:-1] - 1.0)
    assert (out[0] == 9.0).all()
    LOOPS.returns(out.data, prices.data, 4, 2, 2)


def test_bounds_hold_and_are_close() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_t(3, (40, 7)) * rng.choice([0.0, 1e-9, 0.01, 0.5], 7)
    rows[3, 2] = 100.0
    sums = Sums(7)
    LOOPS.add(sums, rows.data, 0, 40, EDGE)
    out: list[Any] = [np.empty(7) for _ in range(4)]
    LOOPS.variances(out[0].data, sums, 40)
    LOOPS.means(out[1].data, sums, 40)
    LOOPS.squares(out[2].data, sums, 40)
    np.sqrt(out[2], out=out[2])
    LOOPS.norms(out[2].data, sums)
    LOOPS.least_variances(out[3].data, sums, 40)
    assert out[2][2] == ENDLESS
    keep = [0, 1, 3, 4, 5, 6]
    assert (out[0][keep] >= rows.var(axis=0, ddof=1)[keep] * (1.0 - 1e-12)).all()
    np.testing.assert_allclose(out[0][keep], rows.var(axis=0, ddof=1)[keep], rtol=1e-6, atol=1e-9)
    assert (out[3][keep] <= rows.var(axis=0, ddof=1)[keep] * (1.0 + 1e-12)).all()
    np.testing.assert_allclose(out[3][keep], rows.var(axis=0, ddof=1)[keep], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(out[1][keep], np.abs(rows.mean(axis=0))[keep], atol=1e-11)
    np.testing.assert_allclose(out[2][keep], np.linalg.norm(rows, axis=0)[keep], rtol=1e-6, atol=1e-6)


def test_a_spread_of_norms_is_never_below_the_square_of_their_weighted_sum() -> None:
    rng = np.random.default_rng(7)
    rows = rng.standard_t(4, (40, 7)) * rng.choice([0.0, 1e-9, 0.01, 0.5], 7)
    for share in (1.0, 0.0):
        weights = np.abs(rng.normal(size=7)) * (rng.random(7) < 0.5 + share)
        sums = Sums(7)
        LOOPS.add(sums, rows.data, 0, 40, 1e4)
        norms = np.linalg.norm(rows, axis=0)
        spread = LOOPS.spread(sums, weights.data, 40)
        assert spread >= (weights @ norms) ** 2
        assert spread == pytest.approx(weights.sum() * (weights @ norms**2), rel=1e-6, abs=1e-9)
    sums.large[3] = 1
    assert LOOPS.spread(sums, weights.data, 40) == math.inf


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7])
def test_a_sum_of_products_has_every_product(size: int) -> None:
    row, values = np.arange(1.0, 8.0), 10.0 ** np.arange(7)
    assert LOOPS.dot(row.data, values.data, size) == sum((k + 1) * 10**k for k in range(size))


@pytest.mark.parametrize("call", [
    lambda loops, rows, short: loops.add(Sums(3), rows, 0, 3, EDGE),
    lambda loops, rows, short: loops.remove(Sums(4), rows, 0, 1, EDGE),
    lambda loops, rows, short: loops.exchange(Sums(3), rows, 5, 0, EDGE),
    lambda loops, rows, short: loops.returns(rows, rows, 3, 1, 3),
    lambda loops, rows, short: loops.returns(rows, rows, 3, 0, 1),
    lambda loops, rows, short: loops.dot(short, short, 3),
    lambda loops, rows, short: loops.variances(short, Sums(3), 5),
    lambda loops, rows, short: loops.least_variances(short, Sums(3), 5),
    lambda loops, rows, short: loops.means(short, Sums(3), 5),
    lambda loops, rows, short: loops.squares(short, Sums(3), 5),
    lambda loops, rows, short: loops.norms(short, Sums(3)),
    lambda loops, rows, short: loops.spread(Sums(3), short, 5),
])  # fmt: skip
def test_a_loop_beyond_its_buffers_is_refused(call: Any) -> None:
    with pytest.raises(IndexError):
        call(LOOPS, np.zeros((2, 3)).data, np.zeros(2).data)
