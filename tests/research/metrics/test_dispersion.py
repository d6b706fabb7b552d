"""Tails by hand and constant returns; test_catalogue.py compares each metric with its references."""

import numpy as np
import pytest

from quantd.research.metrics.catalogue import measure
from tests.support.metric_references import record_of


@pytest.mark.requirement("R-239")
def test_tails_of_a_hundred_losses_by_hand() -> None:
    returns = np.random.default_rng(3).permutation(np.arange(1, 102) / -1000.0)  # losses 0.001 to 0.101
    figures = measure(record_of(np.cumprod(np.append(100.0, 1.0 + returns)).tolist()))
    # k = 101 - 95 = 6 and 101 - 99 = 2
    assert (figures["var_95"], figures["var_99"]) == pytest.approx((0.096, 0.100), rel=1e-9)
    assert (figures["cvar_95"], figures["cvar_99"]) == pytest.approx((0.0985, 0.1005), rel=1e-9)


def test_constant_returns_have_no_shape() -> None:
    figures = measure(record_of([100.0 * 1.01**k for k in range(30)]))
    names = ("skewness", "excess_kurtosis", "jarque_bera", "serial_correlation")
    assert {figures[name] for name in names} == {None}
