"""Metrics of a run, from exact money, by hand."""

import math
import statistics

import pytest

from quantd.research.run_metrics import metrics_of, metrics_of_text
from quantd.trading.statistics import SHARPE_DEFINITION

EQUITY = [100_000_000_000, 101_000_000_000, 99_990_000_000, 103_000_000_000]


def test_a_run_of_four_samples_by_hand() -> None:
    got = metrics_of(EQUITY).as_dict()
    returns = [0.01, -0.01, 103_000 / 99_990 - 1]
    assert got["total_return"] == pytest.approx(0.03)
    assert got["max_drawdown"] == pytest.approx(0.01)
    assert got["annual_return"] == pytest.approx(1.03**84 - 1)
    assert got["volatility_annual"] == pytest.approx(statistics.stdev(returns) * math.sqrt(252))
    expected = (statistics.mean(returns) - 0.02 / 252) / statistics.stdev(returns) * math.sqrt(252)
    assert got["sharpe"] == pytest.approx(expected)
    assert got["sharpe_definition"] == SHARPE_DEFINITION


def test_an_export_gives_the_same_figures() -> None:
    assert metrics_of_text(["100000.00", "101000.00", "99990.00", "103000.00"]) == metrics_of(EQUITY)


def test_another_year_or_rate_is_said_where_sharpe_is_printed() -> None:
    assert "365 samples a year" in metrics_of(EQUITY, periods=365).sharpe_definition


def test_an_account_that_never_moved_has_no_sharpe_but_the_rest() -> None:
    got = metrics_of([1_000_000] * 5).as_dict()
    assert got["sharpe"] is None
    assert got["total_return"] == 0.0


def test_a_lost_account_is_refused() -> None:
    with pytest.raises(ValueError, match="finite and positive"):
        metrics_of([1_000_000, 0])
