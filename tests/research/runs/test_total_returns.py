"""Total returns of a recorded market, and its fingerprints."""

from datetime import date

import numpy as np
import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.views.outside_wealth import grown
from quantd.models.history.fingerprints import share_series
from quantd.models.history.panel_files import read_panel
from quantd.models.history.splits import Split
from quantd.research.runs.total_returns import fingerprints_of
from quantd.trading.events import Action
from tests.support.checkout import DATA
from tests.support.command_line import CONFIG, write

LONG = CONFIG.replace("start = 2019-01-02", "start = 2014-01-02").replace('"IWM"]', '"AAPL"]')


def test_a_split_multiplies_the_shares_and_a_dividend_buys_more_at_the_price():
    at, price = np.array([10, 20, 30]), np.array([100.0, 50.0, 40.0])
    actions = [
        Action(15, 0, 0, "split", numerator=2, denominator=1),
        Action(25, 0, 0, "dividend", cash_nano=4_000_000_000),
    ]
    growth = grown(actions, at, price)
    np.testing.assert_allclose(growth, [1.0, 2.0, 1.1])
    np.testing.assert_allclose(price * np.cumprod(growth), [100.0, 100.0, 88.0])


@pytest.mark.parametrize("symbol", ["SPY", "AAPL"])
def test_a_backtest_and_an_evaluation_of_the_same_bars_have_the_same_fingerprints(tmp_path, symbol):
    evaluation = pytest.importorskip("quantd.training.runs.evaluation")
    feed = assemble(read(write(tmp_path, LONG))).feed
    fingerprints = fingerprints_of(feed)
    panel = read_panel(
        DATA / "us_daily.parquet", DATA / "us_actions.csv", [symbol], date(2013, 1, 2), date(2019, 3, 29)
    )
    rows = Split("window", date(2014, 1, 2), date(2019, 3, 29)).rows(panel.day_ns)
    evaluated = evaluation.panel_fingerprints(panel, rows)
    assert evaluated[symbol] == fingerprints[symbol]
    other_series = [series for name, series in fingerprints.items() if name != symbol]
    assert not share_series([evaluated[symbol]], other_series)
