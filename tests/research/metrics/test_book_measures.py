"""Turnover, costs and exposure against loops and numbers worked by hand."""

import numpy as np
import pytest

from quantd.research.metrics import book_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import largest_differences, record_of

NAMES = [metric.name for metric in metrics_in(book_measures)]


@pytest.mark.long
@pytest.mark.requirement("R-240")
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_of_the_book_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_the_book_by_hand() -> None:
    # two samples are 2 / 252 of a year; average equity 100
    record = record_of(
        [100.0, 110.0, 90.0],
        traded=400.0,
        commission=0.5,
        slippage_paid=0.3,
        borrow=0.2,
        gross=np.array([0.0, 1.0, 0.5]),
        net=np.array([0.0, -1.0, 0.4]),
    )
    figures = measure(record, NAMES)
    assert figures["turnover"] == pytest.approx(4.0 * 126.0, rel=1e-12)
    assert figures["cost_drag"] == pytest.approx(0.01 * 126.0, rel=1e-12)
    assert figures["commission_drag"] == pytest.approx(0.005 * 126.0, rel=1e-12)
    assert figures["slippage_paid_drag"] == pytest.approx(0.003 * 126.0, rel=1e-12)
    assert figures["borrow_drag"] == pytest.approx(0.002 * 126.0, rel=1e-12)
    assert figures["trading_cost"] == pytest.approx(20.0, rel=1e-12)
    assert (figures["average_gross"], figures["largest_gross"]) == (0.5, 1.0)
    assert figures["average_net"] == pytest.approx(-0.2, rel=1e-12)


def test_costs_that_are_not_recorded_are_not_taken_as_zero() -> None:
    figures = measure(record_of([100.0, 110.0], commission=1.0, slippage_paid=1.0), NAMES)
    assert {name for name, value in figures.items() if value is not None} == {"commission_drag", "slippage_paid_drag"}


def test_an_account_that_traded_nothing_has_no_cost_of_trading() -> None:
    figures = measure(record_of([100.0, 110.0], commission=0.0, slippage_paid=0.0, traded=0.0), NAMES)
    assert (figures["turnover"], figures["trading_cost"]) == (0.0, None)
