"""Ratios against empyrical, quantstats, scipy and loops. Where a definition differs, the difference is converted."""

import math

import numpy as np
import pytest
from scipy import stats

from quantd.research.metrics import excess_ratios
from quantd.research.metrics.catalogue import measure, metrics_in
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading import statistics
from tests.support.metric_references import World, largest_differences, record_of, value_of, worlds


@pytest.mark.requirement("R-238")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(excess_ratios)])
def test_a_ratio_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


@pytest.mark.parametrize("world", worlds(), ids=str)
def test_the_sharpe_and_sortino_ratios_are_those_of_every_other_report(world: World) -> None:
    record = world.record
    assert value_of(record, "sharpe") == statistics.sharpe(record.returns, record.periods, record.risk_free_annual)
    assert value_of(record, "sortino") == statistics.sortino(record.returns, record.periods, record.risk_free_annual)


@pytest.mark.requirement("R-238")
def test_ratios_by_hand() -> None:
    # returns 0.2, -0.1, 0.2, -0.1: mean 0.05, deviation sqrt(0.09 / 3), sum of gains 0.4, of losses 0.2
    figures = measure(record_of([100.0, 120.0, 108.0, 129.6, 116.64], risk_free_annual=0.0))
    sharpe = 0.05 / math.sqrt(0.03)
    assert figures["sharpe"] == pytest.approx(sharpe * math.sqrt(252), rel=1e-12)
    assert figures["sortino"] == pytest.approx(0.05 / math.sqrt(0.005) * math.sqrt(252), rel=1e-12)
    assert (figures["omega"], figures["gain_loss_ratio"]) == pytest.approx((2.0, 2.0), rel=1e-12)
    assert figures["gain_to_pain"] == pytest.approx(1.0, rel=1e-12)
    assert figures["kappa_3"] == pytest.approx(0.05 / 0.0005 ** (1 / 3), rel=1e-12)
    assert figures["upside_potential"] == pytest.approx(0.1 / math.sqrt(0.005), rel=1e-12)
    assert (figures["reward_to_var"], figures["starr"]) == pytest.approx((0.5, 0.5), rel=1e-12)
    assert figures["kelly_leverage"] == pytest.approx(0.05 / 0.03, rel=1e-12)
    # no skewness, excess kurtosis -2
    assert figures["adjusted_sharpe"] == pytest.approx(sharpe * (1 + 2 * sharpe**2 / 24) * math.sqrt(252), rel=1e-12)
    probability = stats.norm.cdf(sharpe * math.sqrt(3))  # (K + 2) is 0
    assert figures["probabilistic_sharpe"] == pytest.approx(probability, rel=1e-12)


def test_positive_serial_correlation_lowers_the_annual_ratio() -> None:
    smooth = np.convolve(np.random.default_rng(5).normal(0.002, 0.01, 600), [0.5, 0.5], "valid")
    record = record_of(np.cumprod(np.append(100.0, 1.0 + smooth)).tolist())
    assert value_of(record, "serial_sharpe") < value_of(record, "sharpe")
    # two samples a year: the variance of their sum is 2 + 2 a variances
    twice = TrackRecord(record.equity, record.days_ns, 2.0, 0.0)
    by_hand = twice.returns.mean() / twice.returns.std(ddof=1) * 2.0
    by_hand /= math.sqrt(2.0 + 2.0 * value_of(twice, "serial_correlation"))
    assert value_of(twice, "serial_sharpe") == pytest.approx(by_hand, rel=1e-12)


def test_ratios_without_a_loss_or_without_risk_are_undefined() -> None:
    up = measure(record_of([100.0, 101.0, 103.0, 104.0], risk_free_annual=0.0))
    assert {up[name] for name in ("sortino", "omega", "gain_loss_ratio", "gain_to_pain", "kappa_3")} == {None}
    assert {up[name] for name in ("reward_to_var", "starr", "upside_potential", "common_sense_ratio")} == {None}
    flat = measure(record_of([100.0 * 1.001**k for k in range(20)]))
    names = ("sharpe", "serial_sharpe", "adjusted_sharpe", "probabilistic_sharpe", "kelly_leverage")
    assert {flat[name] for name in names} == {None}
