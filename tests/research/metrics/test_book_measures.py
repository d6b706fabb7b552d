"""Costs that are not recorded, and an account that traded nothing; test_catalogue.py has the references."""

from quantd.research.metrics import book_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import record_of

NAMES = [metric.name for metric in metrics_in(book_measures)]


def test_costs_that_are_not_recorded_are_not_taken_as_zero() -> None:
    figures = measure(record_of([100.0, 110.0], commission=1.0, slippage_paid=1.0), NAMES)
    assert {name for name, value in figures.items() if value is not None} == {"commission_drag", "slippage_paid_drag"}


def test_an_account_that_traded_nothing_has_no_cost_of_trading() -> None:
    figures = measure(record_of([100.0, 110.0], commission=0.0, slippage_paid=0.0, traded=0.0), NAMES)
    assert (figures["turnover"], figures["trading_cost"]) == (0.0, None)
