"""A deposit in the middle of a run changes no return, drawdown or Sharpe ratio anywhere."""

import numpy as np
import pytest

from quantd.adapters.store.read_models import Booking
from quantd.daemon.views.report.curves import Curves, span_of
from quantd.trading.effects import Valued
from quantd.trading.instruments import MICRO
from quantd.trading.statistics import compounded, performance, time_weighted_returns
from tests.support.engine import walk


def test_metrics_of_an_equity_with_deposits_are_those_without() -> None:
    equity = walk(200, 1, 4)[:, 0]
    flows = np.zeros(200)
    flows[100:] = 0.5 * equity[99]
    with_deposit = equity.copy()
    # of the 100th move the deposit has no part yet
    with_deposit[100] = equity[100] + flows[100]
    with_deposit[101:] = equity[101:] * (with_deposit[100] / equity[100])
    figures = performance(compounded(time_weighted_returns(with_deposit, 100.0 + flows)))
    wanted = performance(equity)
    for name in wanted.__struct_fields__:
        assert getattr(figures, name) == pytest.approx(getattr(wanted, name), rel=1e-4), name
    naive = performance(with_deposit)
    assert naive.total_return > wanted.total_return + 0.3


def curves(seqs: list[int], equity: list[float], books: list[list[float]], flows: list[Booking]) -> Curves:
    points = [
        Valued(k, round(e * MICRO), 0, [round(b * MICRO) for b in book_values], 0.0, 0.0)
        for k, (e, book_values) in enumerate(zip(equity, books, strict=True), 1)
    ]
    return Curves(points, seqs, ["a", "b"], flows)


def test_a_report_leaves_deposits_out_of_the_house_and_of_the_agent_whose_book_they_moved() -> None:
    """The deposit carries the instant of the second sample and was booked after it: it belongs to the third."""
    flows = [Booking(2, "flow", "", "50.00", "a", 25), Booking(2, "dividend", "SPY", "1.00", "", 26)]
    account_curves = curves([10, 20, 30], [100.0, 110.0, 176.0], [[50.0, 50.0], [55.0, 55.0], [110.0, 66.0]], flows)
    assert account_curves.returns == pytest.approx([0.0, 0.1, 16.0 / 110.0])
    assert account_curves.agents[0] == pytest.approx([0.0, 0.1, 5.0 / 55.0])
    assert account_curves.agents[1] == pytest.approx([0.0, 0.1, 0.2])
    assert max(fall for _, fall in account_curves.drawdown(0)) == 0.0
    span = span_of("x", account_curves.ts, account_curves.returns, [], 0, 9)
    assert span.total == pytest.approx(1.1 * (1 + 16.0 / 110.0) - 1.0)


def test_lots_that_came_in_kind_are_no_return_either() -> None:
    account_curves = curves(
        [1, 3], [100.0, 150.0], [[100.0, 0.0], [150.0, 0.0]], [Booking(1, "in_kind", "SPY", "50.00", "a", 2)]
    )
    assert account_curves.returns.tolist() == account_curves.agents[0].tolist() == [0.0, 0.0]
