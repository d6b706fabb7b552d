"""Measures against a benchmark at its edges; test_catalogue.py compares each with its references."""

import numpy as np
import pytest

from quantd.research.metrics import benchmark_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import random_record, record_of


def test_an_account_equal_to_its_benchmark_is_its_benchmark() -> None:
    equity = random_record(17, 300).equity
    figures = measure(record_of(equity.tolist(), benchmark=equity * 3.0))
    assert (figures["beta"], figures["r_squared"], figures["up_capture"]) == pytest.approx((1.0, 1.0, 1.0), rel=1e-9)
    assert figures["tracking_error"] == pytest.approx(0.0, abs=1e-12)
    assert figures["information_ratio"] is None


def test_a_constant_benchmark_or_none_has_no_measures() -> None:
    equity = random_record(18, 50).equity
    names = [metric.name for metric in metrics_in(benchmark_measures)]
    assert set(measure(record_of(equity.tolist()), names).values()) == {None}
    regressed = ("beta", "alpha", "correlation", "r_squared", "specific_risk", "appraisal_ratio", "treynor")
    for benchmark in (np.full(51, 7.0), 7.0 * 1.001 ** np.arange(51)):  # the returns of the second vary by rounding
        constant = measure(record_of(equity.tolist(), benchmark=benchmark))
        assert {constant[name] for name in regressed} == {None}
        assert constant["tracking_error"] is not None
