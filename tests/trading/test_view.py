"""Statistics of a view: their formulas, and that agents share them."""

import numpy as np
import pytest

from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from quantd.trading.view import View

SIZE = 3


def seen(gap: bool = False) -> tuple[View, Ring, Ring]:
    rng = np.random.default_rng(2)
    ring, by_date = Ring(SIZE, 40), Ring(SIZE, 40)
    prices = np.exp(rng.normal(0.0, 0.02, (60, SIZE)).cumsum(axis=0))
    for k, row in enumerate(prices):
        if gap and k == 50:
            row = np.array([np.nan, *row[1:]])
        ring.append(row)
        by_date.append(row[::-1] * (1.0 + k / 7e3))
    return view_of(ring, by_date, prices[-1]), ring, by_date


def view_of(ring: Ring, by_date: Ring, prices: Floats) -> View:
    return View(
        universe=Universe(tuple(Instrument(s) for s in ("A", "B", "C"))), ring=ring, by_date=by_date, prices=prices,
        weights=np.zeros(SIZE), cash=1.0, equity=1e5, time=1, sample_time=1,
    )  # fmt: skip


def test_statistics_are_those_of_numpy_over_the_rows_they_name() -> None:
    view, ring, by_date = seen()
    np.testing.assert_allclose(view.deviation(30), ring.returns(30).std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(view.mean(30), ring.returns(30).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(view.momentum(30), (1.0 + ring.returns(30)).prod(axis=0) - 1.0, rtol=1e-12)
    np.testing.assert_allclose(view.momentum(30, 5), (1.0 + ring.returns(35)[:30]).prod(axis=0) - 1.0, rtol=1e-12)
    np.testing.assert_allclose(view.covariance(30), np.cov(by_date.returns(30).T), rtol=1e-12)


def test_a_statistic_of_one_sample_has_no_spread() -> None:
    view, _, _ = seen()
    assert not view.deviation(1).any()
    assert not view.covariance(1).any()


def test_a_missing_return_makes_that_symbols_statistics_unknown() -> None:
    view, _, _ = seen(gap=True)
    for figure in (view.deviation(20), view.mean(20), view.momentum(20)):
        assert np.isnan(figure).tolist() == [True, False, False]
    assert np.isnan(view.covariance(20)).tolist() == [[False, False, True], [False, False, True], [True, True, True]]


def test_views_of_a_sample_share_one_array_and_a_later_sample_has_its_own() -> None:
    view, ring, by_date = seen()
    other = view_of(ring, by_date, view.prices).held_by(np.full(SIZE, 0.1))
    first = [view.deviation(30), view.mean(30), view.momentum(30), view.covariance(30)]
    again = [other.deviation(30), other.mean(30), other.momentum(30), other.covariance(30)]
    assert all(a is b for a, b in zip(first, again, strict=True))
    ring.append(view.prices * 1.5)
    by_date.append(view.prices * 1.5)
    later = view_of(ring, by_date, view.prices)
    assert not np.array_equal(later.deviation(30), first[0])
    assert not np.array_equal(later.covariance(30), first[3])
    with pytest.raises(RuntimeError, match="earlier sample"):
        view.deviation(30)
    with pytest.raises(RuntimeError, match="earlier sample"):
        view.covariance(30)
