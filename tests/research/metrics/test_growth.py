"""Growth at its edges; test_catalogue.py compares each metric with its references."""

import pytest

from quantd.research.metrics.catalogue import measure
from tests.support.metric_references import record_of


def test_wealth_on_an_exponential_line_is_fully_stable_and_constant_wealth_has_no_stability() -> None:
    assert measure(record_of([100.0 * 1.01**k for k in range(50)]))["stability"] == pytest.approx(1.0, abs=1e-12)
    assert measure(record_of([100.0] * 50))["stability"] is None


def test_no_gain_has_no_average() -> None:
    figures = measure(record_of([100.0, 99.0, 98.0]))
    assert figures["average_gain"] is None
    assert figures["average_loss"] is not None
