"""Loops over the market of a sample, beside numpy."""

import numpy as np
import pytest

from quantd.risk.measures.market_loops import MarketLoops

LOOPS = MarketLoops()


def quotes(px, nano=(1, 2), age=(3, -4), volume=(1.0, 0.0)):
    """What two quotes have in common."""
    market = LOOPS.read(
        np.array(px).data, np.array(nano, dtype=np.int64).data, np.array(age, dtype=np.int64).data,
        np.array(volume).data,
    )  # fmt: skip
    return market.priced, market.lowest_nano, market.oldest_ns, market.youngest_ns, market.volumes_known


def test_quotes_are_priced_where_every_price_is_finite_and_positive():
    assert quotes((1.0, 2.0)) == (True, 1, 3, -4, True)
    assert quotes((1.0, 2.0), nano=(5, 0)) == (False, 0, 3, -4, True)
    for bad in (0.0, -1.0, np.nan, np.inf):
        assert quotes((bad, 2.0))[0] is False
        assert quotes((2.0, bad))[0] is False
    for bad in (-1.0, np.nan, np.inf):
        assert quotes((1.0, 2.0), volume=(bad, 1.0))[4] is False
        assert quotes((1.0, 2.0), volume=(1.0, bad))[4] is False


@pytest.mark.parametrize(("rows", "n"), [(1, 1), (3, 1), (1, 3), (4, 2), (9, 7), (252, 20)])
def test_moments_and_columns_are_those_of_numpy(rows, n):
    returns = np.random.default_rng(rows).normal(0.001, 0.01, (rows, n))
    returns.flags.writeable = False
    deviation, size, columns = np.full(n, np.nan), np.full(n, np.nan), np.empty((n, rows))
    assert LOOPS.moments(deviation.data, size.data, returns.data, rows)
    LOOPS.transpose(columns.data, returns.data, rows, n)
    assert np.array_equal(columns, returns.T)
    wanted = returns.std(axis=0, ddof=1) if rows > 1 else np.zeros(n)
    assert deviation == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert size == pytest.approx(abs(returns.mean(axis=0)), rel=1e-8)
    assert (size >= abs(returns.mean(axis=0))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", range(6))
def test_one_return_that_is_not_finite_is_noticed(bad, row):
    returns = np.full((6, 3), 0.01)
    returns[row, 1] = bad
    assert not LOOPS.moments(np.empty(3).data, np.empty(3).data, returns.data, 6)


@pytest.mark.parametrize(("rows", "n"), [(5, 3), (4, 4)])
def test_rows_that_are_not_there_are_refused(rows, n):
    returns = np.zeros((4, 3))
    with pytest.raises(IndexError):
        LOOPS.moments(np.empty(n).data, np.empty(n).data, returns.data, rows)
    with pytest.raises(IndexError):
        LOOPS.transpose(np.empty((n, rows)).data, returns.data, rows, n)
    with pytest.raises(IndexError):
        LOOPS.transpose(np.empty((2, 4)).data, returns.data, 4, 3)
    with pytest.raises(IndexError):
        LOOPS.moments(np.empty(3).data, np.empty(2).data, returns.data, 4)
