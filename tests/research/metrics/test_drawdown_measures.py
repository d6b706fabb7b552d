"""Drawdowns at their edges; test_catalogue.py compares each measure with its references."""

import numpy as np

from quantd.research.metrics.catalogue import measure
from tests.support.metric_references import record_of


def test_a_drawdown_that_lasts_has_no_recovery() -> None:
    figures = measure(record_of([100.0, 80.0, 90.0]))
    assert figures["recovery"] is None
    assert figures["longest_drawdown"] == 2.0


def test_wealth_that_only_grows_has_no_drawdown_and_no_ratio_to_it() -> None:
    figures = measure(record_of([100.0, 101.0, 102.0, 102.0]))
    assert (figures["max_drawdown"], figures["longest_drawdown"], figures["time_under_water"]) == (0.0, 0.0, 0.0)
    names = ("average_drawdown", "recovery", "calmar", "martin_ratio", "pain_ratio", "burke_ratio")
    assert {figures[name] for name in names} == {None}


def test_rounding_of_deposits_is_no_drawdown() -> None:
    flows = np.append(0.0, np.cumsum(np.random.default_rng(1).uniform(0.0, 30.0, 60)))
    record = record_of((100.0 + flows).tolist(), flows=flows)
    assert 0.0 < record.drawdowns.max() < 1e-12
    figures = measure(record)
    assert (figures["longest_drawdown"], figures["time_under_water"], figures["recovery"]) == (0.0, 0.0, None)
