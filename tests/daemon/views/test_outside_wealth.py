"""The wealth of a benchmark outside the universe is its price with splits and dividends, at the dates of a run."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.views.outside_wealth import outside_wealth
from quantd.trading.instruments import Instrument, Universe
from tests.support.backtest_reports import CONFIG as REPORT
from tests.support.backtest_reports import made
from tests.support.checkout import ROOT


@pytest.mark.long
def test_its_wealth_is_its_price_with_dividends_at_the_dates_of_the_samples(tmp_path: Path) -> None:
    """The reference is its price and its dividends as cash reinvested at the close of the ex date, by hand."""
    text = REPORT.replace('"SPY", "IWM", "AAPL"', '"IWM", "AAPL"').replace('"cagr/SPY" = 88.5', "cagr = 1.0")
    text = text.replace('benchmarks = ["SPY", "equal_weight", "60/40"]', 'benchmarks = ["equal_weight"]')
    report = made(tmp_path, text).report
    index = [account.name for account in report.accounts].index("SPY")
    assert report.accounts[index].limits == "not traded"
    assert report.accounts[index].missing == ""
    frame = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(
        pl.col("symbol") == "SPY", pl.col("ts").dt.year().is_between(2019, 2020)
    )
    closes = dict(zip(frame["ts"].dt.date().to_list(), frame["close"].to_list(), strict=True))
    shares = 1.0
    actions = pl.read_csv(ROOT / "data/us_actions.csv").filter(pl.col("symbol") == "SPY", pl.col("kind") == "dividend")
    days = [datetime.fromtimestamp(ts // 10**9).date() for ts in report.samples.ts]
    for day, cash in zip(actions["ts"].to_list(), actions["cash"].to_list(), strict=True):
        when = date.fromisoformat(str(day)[:10])
        if days[0] < when <= days[-1]:
            shares *= 1 + float(cash) / closes[when]
    expected = closes[days[-1]] * shares / closes[days[0]] - 1
    total = next(row for row in report.metrics if row.name == "total_return").values
    assert total[index] == pytest.approx(expected, abs=1e-6)
    beta = next(row for row in report.metrics if row.name == "beta").values
    assert beta[index] == pytest.approx(1.0)
    assert beta[0] is not None
    assert 0.3 < beta[0] < 2.0
    assert [cost.account for cost in report.costs if cost.account == "SPY"] == [], "what is not traded costs nothing"


def test_a_split_of_the_benchmark_is_no_loss() -> None:
    """AAPL's 4:1 split of 2020 would be a loss of three quarters."""
    feed = Replay.load(
        ROOT / "data/us_daily.parquet",
        universe=Universe((Instrument("AAPL"),)),
        sessions={"XNYS": sessions("XNYS", date(2020, 1, 1), date(2021, 1, 31))},
        actions=ROOT / "data/us_actions.csv",
        start=date(2020, 8, 3),
        end=date(2020, 9, 30),
    )
    wealth = outside_wealth(feed, feed.columns.ts_event.tolist())
    assert wealth[0] == 1.0
    assert np.abs(np.diff(wealth) / wealth[:-1]).max() < 0.15
