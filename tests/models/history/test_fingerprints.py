"""A fingerprint recognises a series under another name, whatever its start and the scale of its prices."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quantd.models.history.fingerprints import MOST_WEEKS, fingerprints, share_series
from tests.support.checkout import DATA

DAYS_NS = 86_400_000_000_000


def weekdays(count: int, first: date = date(2012, 3, 7), *, every_day: bool = False) -> np.ndarray:
    """So many dates from `first` on, without weekends unless `every_day`, in ns."""
    days = (first + timedelta(days=k) for k in range(2 * count))
    kept = [day for day in days if every_day or day.weekday() < 5][:count]
    return np.array([day.toordinal() - date(1970, 1, 1).toordinal() for day in kept]) * DAYS_NS


def prices(count: int, seed: int, volatility: float = 0.01) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, volatility, count)))


def same(days: np.ndarray, one: np.ndarray, other_days: np.ndarray, other: np.ndarray) -> bool:
    prints = [fingerprints(["X"], d, p[:, None]).values() for d, p in ((days, one), (other_days, other))]
    return share_series(prints[0], prints[1])


@pytest.mark.parametrize("every_day", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_series_with_equal_returns_on_250_common_dates_are_the_same(seed: int, *, every_day: bool) -> None:
    first = date(2012, 3, 7) + timedelta(days=37 * seed)
    days, price = weekdays(700, first, every_day=every_day), prices(700, seed)
    # one file ends where the other begins, but for 251 closes, which are 250 returns
    assert same(days[:451], price[:451], days[200:], 7.3 * price[200:])
    assert not same(days[:351], price[:351], days[200:], price[200:]), "150 common returns"


@pytest.mark.parametrize("seed", range(5))
def test_a_series_that_is_equal_in_one_year_only_is_the_same(seed: int) -> None:
    days, price, other = weekdays(2_000), prices(2_000, seed), prices(2_000, 100 + seed)
    begin = 300 * seed + 200
    other[begin : begin + 251] = 2.0 * price[begin : begin + 251]
    assert same(days, price, days, other)


def test_prices_that_do_not_move_are_no_evidence() -> None:
    days = weekdays(600)
    assert not same(days, np.full(600, 1.0), days, np.full(600, 2.0))


def test_a_series_differs_where_one_of_its_bars_is_missing_and_is_the_same_elsewhere() -> None:
    days, price = weekdays(600), prices(600, 3)
    kept = np.random.default_rng(4).random(600) > 0.02
    assert same(days, price, days[kept], price[kept])


def test_bars_within_a_day_have_the_returns_of_their_last_closes() -> None:
    days, price = weekdays(300), prices(300, 5)
    hours = np.repeat(days, 3) + np.tile(np.arange(3), 300) * 3_600_000_000_000
    assert same(days, price, hours, np.repeat(price, 3) * np.tile([1.01, 0.99, 1.0], 300))


def test_no_two_symbols_of_the_bundled_markets_are_the_same() -> None:
    frame = pl.read_parquet(DATA / "us_daily.parquet").sort("ts")
    prints = {}
    for (symbol,), rows in frame.group_by(["symbol"], maintain_order=True):
        days = rows["ts"].dt.timestamp("ns").to_numpy().astype(np.int64)
        prints |= fingerprints([str(symbol)], days, rows["close"].to_numpy()[:, None])
    assert len(prints) == 5
    for name, one in prints.items():
        assert share_series([one], [one]), name
        assert not share_series([one], [other for key, other in prints.items() if key != name]), name


def test_the_size_of_a_fingerprint_is_bounded_and_short_series_have_none() -> None:
    days = weekdays(20_000, date(1950, 1, 2))
    (fingerprint,) = fingerprints(["X"], days, prices(20_000, 1)[:, None]).values()
    assert len(fingerprint.returns) == MOST_WEEKS
    assert fingerprints(["X"], days[:1], prices(1, 1)[:, None]) == {}
    assert not share_series([], [fingerprint])
